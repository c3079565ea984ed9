"""Inverting Gradients and frozen-delta matching: what they find, and the identities behind them."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from attacks import build_attack
from attacks.budgets import most_evaluations
from attacks.contracts import StopReason
from attacks.descent.frozen_delta import FrozenDelta, weights_of
from attacks.descent.priors import absolute_variation, blurred, with_dark_background
from attacks.folding import Fold
from attacks.reading.head import read_head
from attacks.reading.labels import best_labels
from attacks.settings import FrozenDeltaSettings
from fl_sim.errors import ConfigError
from fl_sim.models import build_model
from fl_sim.records import CapturedUpdate, InputSpec, ModelSpec, SpikingSpec
from fl_sim.training import capture_gradient, parameters_of

SPEC = InputSpec(channels=1, height=16, width=16, classes=10)
LENET = ModelSpec("lenet", SPEC, init="torch")
SPIKING = ModelSpec("spiking_lenet", SPEC, spiking=SpikingSpec(timesteps=4), init="torch")


def square() -> torch.Tensor:
    """Return a picture (1, 1, 16, 16): a bright square on black."""
    picture = torch.zeros(1, 1, 16, 16)
    picture[..., 4:11, 5:12] = 1.0
    return picture


def texture() -> torch.Tensor:
    """Return a picture (1, 1, 16, 16) of random grey levels, the roughest there is."""
    return torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(5))


def captured(spec: ModelSpec, picture: torch.Tensor | None = None, seed: int = 1) -> CapturedUpdate:
    picture = square() if picture is None else picture
    capture = capture_gradient(spec, parameters_of(build_model(spec, seed=seed)), picture, torch.tensor([3]))
    return dataclasses.replace(capture, id=f"own/r001-c{seed:03d}")


def test_inverting_gradients_finds_what_a_sigmoid_network_hides_from_the_published_weight() -> None:
    capture = captured(LENET, texture())
    relative, absolute = (
        build_attack("inverting_gradients", {"steps": 200, "tv_scale": scale, "tv_weight": 0.1}).reconstruct(
            [capture], seed=0
        )[0]
        for scale in ("relative", "absolute")
    )
    assert relative.labels.tolist() == [3]
    assert float((relative.inputs - texture()).square().mean()) < 1e-3
    assert float((absolute.inputs - texture()).square().mean()) > 1e-2


@pytest.mark.parametrize("factor", [0.01, 40.0])
def test_a_clipped_or_summed_update_is_no_obstacle_to_a_cosine(factor: float) -> None:
    capture = captured(LENET)
    scaled = dataclasses.replace(capture, update={name: factor * value for name, value in capture.update.items()})
    settings = {"steps": 20}
    whole, other = (
        build_attack("inverting_gradients", settings).reconstruct([one], seed=0)[0] for one in (capture, scaled)
    )
    assert torch.allclose(whole.inputs, other.inputs, atol=1e-3)


def test_frozen_deltas_find_what_a_spiking_network_saw() -> None:
    (answer,) = build_attack("frozen_delta", {"steps": 100}).reconstruct([captured(SPIKING)], seed=0)
    assert answer.labels.tolist() == [3]
    assert float((answer.inputs - square()).square().mean()) < 0.02  # that of black is 0.19


def test_the_loss_of_frozen_deltas_is_zero_at_the_truth() -> None:
    capture = captured(SPIKING)
    for layers in ("early", "late"):
        problem = FrozenDelta(FrozenDeltaSettings(layers=layers)).problem([capture], [torch.tensor([3])], device="cpu")
        losses, _ = problem.evaluate(square().flatten(1))
        elsewhere, _ = problem.evaluate(torch.zeros(1, 256))
        assert float(losses) < 1e-5 < 0.1 < float(elsewhere)


def test_its_slope_leaves_the_deltas_out() -> None:
    """With deltas held fixed the slope is that of <delta^T source>, which a numerical derivative of sources gives."""
    capture = captured(LENET)
    problem = FrozenDelta(FrozenDeltaSettings(layers="early", precision="float64")).problem(
        [capture], [torch.tensor([3])], device="cpu"
    )
    start = torch.full((1, 256), 0.5, dtype=torch.float64)
    _, slopes = problem.evaluate(start)
    fold, names = Fold(capture.model, [capture.parameters], dtype=torch.float64), ["body.0.weight", "body.2.weight"]
    logits = fold.logits(start.view(1, 1, 1, 16, 16).requires_grad_())
    read = read_head(capture)
    assert read is not None
    residual = read.residual.double()
    deltas = torch.autograd.grad((residual * logits).sum(), [fold._taps["body.0"].output, fold._taps["body.2"].output])

    def loss(point: torch.Tensor) -> torch.Tensor:
        fold.logits(point.view(1, 1, 1, 16, 16))
        terms = []
        for factor, name, delta in zip((0.3, 1.0), names, deltas, strict=True):
            found = fold._taps[name.removesuffix(".weight")].gradients(delta)[0].flatten()
            wanted = capture.update[name].double().flatten()
            terms.append(factor * (1.0 - torch.cosine_similarity(found, wanted, dim=0)))
        return torch.stack(terms).sum()

    step, place = 1e-5, 100
    ahead, behind = (start + sign * step * torch.eye(256, dtype=torch.float64)[place] for sign in (1, -1))
    numerical = (loss(ahead) - loss(behind)) / (2 * step)
    assert float(slopes[0, place]) == pytest.approx(float(numerical), rel=1e-4)


def test_layers_are_chosen_by_what_the_last_layer_tells() -> None:
    names = ["a.weight", "b.weight", "c.weight", "head.weight"]
    read = read_head(captured(LENET))
    assert read is not None
    assert read.active == 1.0
    assert weights_of("auto", names, read) == {"b.weight": 1.0, "c.weight": 1.0, "head.weight": 1.0}
    assert weights_of("auto", names, None) == {"a.weight": 0.3, "b.weight": 1.0}
    assert weights_of("c.weight=2 a.weight=0.5", names, read) == {"c.weight": 2.0, "a.weight": 0.5}
    with pytest.raises(ConfigError, match=r"attack.layers.*b.weigt.*b.weight"):
        weights_of("b.weigt=1", names, read)
    with pytest.raises(ConfigError, match=r"expected a number after 'a.weight='"):
        weights_of("a.weight=much", names, read)


def test_frozen_deltas_refuse_what_does_not_fold() -> None:
    recurrent = dataclasses.replace(captured(LENET), kind="delta", learning_rate=0.1, local_steps=2, batch_size=1)
    with pytest.raises(ConfigError, match=r"frozen_delta.*several local steps.*inverting_gradients"):
        build_attack("frozen_delta", {"steps": 1}).reconstruct([recurrent], seed=0)


def test_the_priors() -> None:
    ramp = torch.linspace(0.0, 1.0, 5).repeat(5, 1).view(1, 1, 1, 5, 5)
    assert float(absolute_variation(ramp)) == pytest.approx(0.25)
    assert float(absolute_variation(torch.stack([ramp, 1 - ramp], 1).flatten(1, 2).unsqueeze(2))) > 0.25
    spike = torch.zeros(1, 1, 1, 9, 9)
    spike[..., 4, 4] = 1.0
    smooth = blurred(spike, 1.0)
    assert float(smooth.sum()) == pytest.approx(1.0, abs=1e-3)
    assert float(smooth[0, 0, 0, 4, 4] / smooth[0, 0, 0, 4, 5]) == pytest.approx(float(torch.tensor(0.5).exp()))
    assert with_dark_background(torch.tensor([0.05, 0.5, 0.95]), 0.05).tolist() == pytest.approx([0.0, 0.5, 1.0])


@pytest.mark.parametrize("attack", ["inverting_gradients", "frozen_delta", "ensemble"])
def test_of_too_many_examples_only_the_labels_are_read(attack: str) -> None:
    pictures, labels = torch.cat([square(), texture(), 1.0 - square()]), torch.tensor([1, 3, 3])
    capture = capture_gradient(LENET, parameters_of(build_model(LENET, seed=1)), pictures, labels)
    (answer,) = build_attack(attack, {"most_examples": 2}).reconstruct([capture], seed=0)
    assert (answer.stop_reason, answer.gradient_evaluations) == (StopReason.NOT_ATTEMPTED, 0)
    assert set(answer.inputs.flatten().tolist()) == {0.5}
    assert answer.labels.tolist() == best_labels(capture).tolist()
    assert most_evaluations(attack, {"most_examples": 2}, spiking=False, examples=3) == 0
