"""Which engine is chosen, and what the self-check refuses."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attacks.engines.choice import choose, open_engine
from attacks.engines.plain import matched
from attacks.engines.truth import mismatch
from attacks.replay.engine import ReplayedClients
from fl_sim.client_training import ClientTraining
from fl_sim.errors import ConfigError
from fl_sim.losses import targets_of
from fl_sim.records import InputSpec, ModelSpec, SpikingSpec
from tests.attacks.clients import LENET, SMALL, Register, client


class Own(nn.Module):
    """A small network whose hidden layer a test changes."""

    def __init__(self, change: Callable[[Tensor], Tensor] = torch.sigmoid) -> None:
        super().__init__()
        self.first, self.last, self.change = nn.Conv2d(1, 4, 3), nn.Linear(4 * 36, 4), change

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.last(self.change(self.first(inputs)).flatten(1))
        return logits


@pytest.mark.parametrize("spec", [
    LENET, ModelSpec("classic_lenet", InputSpec(1, 28, 28, 4)), ModelSpec("mlp", SMALL, hidden=20),
    ModelSpec("spiking_lenet", SMALL, spiking=SpikingSpec(timesteps=3)),
    ModelSpec("spiking_mlp", SMALL, "torch", SpikingSpec(timesteps=3), hidden=20),
], ids=lambda spec: spec.architecture)  # fmt: skip
@pytest.mark.parametrize("training", [ClientTraining(), ClientTraining(reduction="sum", label_smoothing=0.1, mean=0.5)])
def test_the_two_engines_agree(spec: ModelSpec, training: ClientTraining) -> None:
    clients = [client(training, model=spec, kind="gradient", batch_size=2, seed=seed) for seed in (0, 1)]
    captures = [capture for capture, _ in clients]
    choice = choose(captures)
    assert (choice.engine, choice.draws) == ("folded", False)
    inputs = torch.stack([1.0 - truth[0] for _, truth in clients]).double().requires_grad_()
    targets = torch.stack([targets_of(training, truth[1], 4) for _, truth in clients]).double()
    found = []
    for engine in (
        open_engine(captures, choice, device="cpu", precision=torch.float64),
        ReplayedClients(captures, device="cpu", precision=torch.float64),
    ):
        losses = engine.distances(inputs, targets)
        (slope,) = torch.autograd.grad(losses.sum(), inputs)
        found.append((losses.detach(), slope))
    assert torch.allclose(found[0][0], found[1][0], rtol=1e-5)
    assert torch.allclose(found[0][1], found[1][1], rtol=1e-4, atol=1e-5 * float(found[1][1].abs().max()))


@pytest.mark.parametrize("change", [
    lambda hidden: F.softmax(hidden, 1), lambda hidden: torch.cat([hidden[:, :2].sigmoid(), hidden[:, 2:]], 1),
    lambda hidden: F.layer_norm(hidden, hidden.shape[1:]), lambda hidden: hidden.view(-1, 4, 36).sigmoid(),
])  # fmt: skip
def test_what_mixes_channels_is_replayed_for_one_victim_as_for_two(
    change: Callable[[Tensor], Tensor], register: Register
) -> None:
    spec = register(lambda: Own(change))
    clients = [client(model=spec, kind="gradient", batch_size=1, seed=seed) for seed in (0, 1)]
    engines = {choose([capture for capture, _ in clients[:count]]).engine for count in (1, 2)}
    assert engines == {"replayed"} or engines == {"folded"}
    assert max(mismatch(capture, *truth) for capture, truth in clients) < 1e-3


def test_dropout_is_told(register: Register) -> None:
    spec = register(lambda: Own(lambda hidden: F.dropout(hidden.sigmoid(), 0.3)))
    assert choose([client(model=spec, kind="gradient")[0]]).draws
    assert not choose([client(model=register(Own), kind="gradient")[0]]).draws


def test_a_network_that_remembers_is_refused(register: Register) -> None:
    class Counting(Own):
        calls = 0

        def forward(self, inputs: Tensor) -> Tensor:
            Counting.calls += 1
            return super().forward(inputs) * Counting.calls

    spec = register(Counting)
    with pytest.raises(ConfigError, match="differs from the one that plain torch computes"):
        choose([client(model=spec, kind="gradient")[0]])


def test_an_error_of_the_users_own_keeps_its_line(register: Register) -> None:
    spec = register(Own)
    capture, _ = client(model=spec, kind="gradient")
    register(lambda: Own(lambda hidden: hidden[:, 7]))
    with pytest.raises(ConfigError, match=r"own.*IndexError.*test_choice\.py, line"):
        choose([capture])


def test_parameters_are_matched_in_the_models_order() -> None:
    """Sums over a set of names would end in other last bits in each process, since texts are hashed at random."""
    capture, _ = client(ClientTraining(frozen="head.bias"), kind="gradient")
    assert matched(capture) == tuple(name for name in capture.parameters if name != "head.bias")
