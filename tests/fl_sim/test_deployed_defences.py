"""Defences by their own code: Flower's mods, DP-SGD by Opacus, Soteria; and those with a memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MessageType, MetricRecord, RecordDict
from flwr.clientapp.mod import LocalDpMod, adaptiveclipping_mod, fixedclipping_mod
from flwr.clientapp.typing import Mod
from flwr.supercore.differential_privacy import compute_clip_model_update
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from fl_sim.captures import CaptureStore
from fl_sim.config import SimulationConfig, validate
from fl_sim.defences import build_defence
from fl_sim.defences.dp_sgd import dp_sgd, misfit, per_example_gradients
from fl_sim.defences.flower import adaptive_clipping, fixed_clipping, local_dp
from fl_sim.defences.functional import global_norm
from fl_sim.defences.sign import sign
from fl_sim.defences.soteria import soteria
from fl_sim.defences.top_k import top_k
from fl_sim.errors import ConfigError
from fl_sim.models import MODELS, ModelEntry, build_model
from fl_sim.records import CapturedUpdate, InputSpec, ModelSpec
from fl_sim.seeding import derive_seed, torch_stream
from fl_sim.simulation import check_federation, run_federation
from fl_sim.specs import SpikingSpec
from fl_sim.training import gradient_and_loss

STILL = InputSpec(1, 8, 8, 4)
EVENTS = InputSpec(1, 8, 8, 4, timesteps=3)
SPIKING = SpikingSpec(timesteps=3)


def captured(folder: Path, defence: Mapping[str, Any], **tables: Any) -> dict[str, CapturedUpdate]:
    federation = {"clients": 2, "rounds": 2, **tables.pop("federation", {})}
    strategy = {"name": "FedAvg", **tables.pop("strategy", {})}
    raw = {"defence": dict(defence), "federation": federation, "strategy": strategy, **tables}
    run_federation(validate(SimulationConfig, raw), output=folder, federation_id="f")
    return {capture.id: capture for capture in CaptureStore(folder / "captures")}


def batch(spec: InputSpec, count: int = 3) -> tuple[Tensor, Tensor]:
    stream = torch_stream(1, "batch")
    shape = (count, *spec.frame) if not spec.timesteps else (spec.timesteps, count, *spec.frame)
    return torch.rand(shape, generator=stream), torch.arange(count) % spec.classes


# Sign and top-k


def test_the_sign_has_the_mean_magnitude_of_its_tensor() -> None:
    update = {"a": torch.tensor([1.0, -2.0, 0.0, 5.0]), "b": torch.tensor([-0.5])}
    assert {name: tensor.tolist() for name, tensor in sign(update).items()} == {"a": [2.0, -2.0, 0.0, 2.0], "b": [-0.5]}


ENTRIES = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=9).map(torch.tensor)


@given(st.fixed_dictionaries({"a": ENTRIES, "b": ENTRIES}), st.floats(0.01, 1.0))
def test_top_k_shares_the_largest_and_remembers_the_rest(update: dict[str, Tensor], ratio: float) -> None:
    shared, left = top_k(update, {}, keep_ratio=ratio)
    together = torch.cat([update["a"], update["b"]])
    kept = torch.cat([shared["a"], shared["b"]])
    assert int((kept != 0).sum()) <= max(1, np.ceil(ratio * len(together) - 1e-9))
    for name, tensor in update.items():
        assert (shared[name] + left[name]).equal(tensor)
    rest = torch.cat([left["a"], left["b"]]).abs()
    if kept.any():
        assert float(rest.max()) <= float(kept[kept != 0].abs().min())


def test_what_top_k_leaves_is_in_the_next_update() -> None:
    defence, memory = build_defence("top_k", {"keep_ratio": 0.5}), dict[str, Tensor]()
    update = {"a": torch.tensor([3.0, 1.0])}
    told = [defence(update, generator=torch_stream(0), memory=memory)["a"].tolist() for _ in range(4)]
    assert told == [[3.0, 0.0], [3.0, 0.0], [3.0, 0.0], [0.0, 4.0]]  # of the equal 3 and 3 the first
    assert memory["a"].tolist() == [3.0, 0.0]


def test_a_client_remembers_from_round_to_round_and_another_does_not(tmp_path: Path) -> None:
    ratio = 0.01
    shared = captured(tmp_path / "top", {"name": "top_k", "keep_ratio": ratio})
    entries = sum(tensor.numel() for tensor in shared["f/r001-c000"].update.values())
    for capture in shared.values():
        assert sum(int((one != 0).sum()) for one in capture.update.values()) <= np.ceil(ratio * entries)
    plain = captured(tmp_path / "plain", {"name": "none"})["f/r001-c000"].update
    _, memory = top_k(plain, {}, keep_ratio=ratio)
    alone = captured(tmp_path / "alone", {"name": "top_k", "keep_ratio": ratio}, federation={"rounds": 1})
    assert all(alone["f/r001-c000"].update[name].equal(shared["f/r001-c000"].update[name]) for name in plain)
    second = shared["f/r002-c000"].update
    largest = max(memory.items(), key=lambda item: float(item[1].abs().max()))
    place = int(largest[1].abs().argmax())
    assert float(second[largest[0]].flatten()[place]) != 0.0  # what waited longest is shared before all else


# Flower's mods


def test_local_dp_adds_the_noise_of_its_formula_to_a_clipped_change(tmp_path: Path) -> None:
    told = {"name": "flower_local_dp", "clipping_norm": 1e-6, "sensitivity": 0.5, "epsilon": 2.0, "delta": 1e-3}
    shared = captured(tmp_path / "once", told)
    deviation = 0.5 * np.sqrt(2 * np.log(1.25 / 1e-3)) / 2.0
    values = torch.cat([one.flatten() for one in shared["f/r001-c000"].update.values()])
    assert float(values.std()) == pytest.approx(deviation, rel=0.05)
    again = captured(tmp_path / "again", told)
    for name, capture in shared.items():
        assert all(again[name].update[key].equal(tensor) for key, tensor in capture.update.items())
    drawn = {tuple(capture.update["head.bias"].tolist()) for capture in shared.values()}
    assert len(drawn) == 4  # each client and round draws for itself


def test_local_dp_is_flowers_mod_as_it_is(tmp_path: Path) -> None:
    told = {"name": "flower_local_dp", "clipping_norm": 0.01, "sensitivity": 0.02, "epsilon": 1.0, "delta": 1e-5}
    shared = captured(tmp_path / "shared", told)["f/r001-c001"]
    plain = captured(tmp_path / "plain", {"name": "none"})["f/r001-c001"]
    names = [name for name, _ in build_model(plain.model).named_parameters()]  # the order in which Flower draws
    before = [plain.parameters[name].numpy() for name in names]
    after = [start + plain.update[name].numpy() for name, start in zip(names, before, strict=True)]
    compute_clip_model_update(after, before, 0.01)
    np.random.seed(derive_seed(0, "defence", 0, 1, 1) % 2**32)  # noqa: NPY002 - the generator of Flower's mod
    deviation = 0.02 * np.sqrt(2 * np.log(1.25 / 1e-5))
    for name, start, end in zip(names, before, after, strict=True):
        noisy = end + np.random.normal(0, deviation, end.shape).astype(end.dtype)  # noqa: NPY002
        np.testing.assert_allclose(shared.update[name].numpy(), noisy - start, atol=3e-7)


@pytest.mark.parametrize("scale", [1.0, 1e-30, 0.0])
@pytest.mark.parametrize(
    ("own", "mended"),
    [
        (LocalDpMod(0.5, 0.0, 1.0, 1e-3), local_dp(clipping_norm=0.5, sensitivity=0.0, epsilon=1.0, delta=1e-3)),
        (fixedclipping_mod, fixed_clipping()),
        (adaptiveclipping_mod, adaptive_clipping()),
    ],
)
def test_a_client_that_has_learned_nothing_answers_all_the_same(own: Mod, mended: Mod, scale: float) -> None:
    """Flower's own code divides by the norm of its update."""
    weights = {"a": np.full(3, scale, np.float32), "b": np.array([0.5, -0.25], np.float32), "n": np.array(7)}
    told = ConfigRecord({"clipping_norm": 0.5})
    content = RecordDict({"arrays": ArrayRecord({key: Array(value) for key, value in weights.items()}), "config": told})
    message = Message(content, dst_node_id=1, message_type=MessageType.TRAIN)

    def unmoved(message: Message, _context: Context) -> Message:
        arrays = ArrayRecord({key: Array(value.copy()) for key, value in weights.items()})
        return Message(RecordDict({"arrays": arrays, "metrics": MetricRecord({"num-examples": 1})}), reply_to=message)

    context = Context(0, 1, {}, RecordDict(), {})
    with pytest.raises(ZeroDivisionError):
        own(message, context, unmoved)
    reply = mended(message, context, unmoved)
    for key, value in reply.content.array_records["arrays"].items():
        np.testing.assert_allclose(value.numpy(), weights[key], atol=1e-6)


@pytest.mark.parametrize("kind", ["Fixed", "Adaptive"])
def test_central_clipping_at_the_client_shortens_the_update_and_adds_no_noise(kind: str, tmp_path: Path) -> None:
    norm = "clipping_norm" if kind == "Fixed" else "initial_clipping_norm"
    strategy = {"name": f"DifferentialPrivacyClientSide{kind}Clipping", "noise_multiplier": 0.01, norm: 0.05}
    shared = captured(tmp_path / "shared", {"name": f"flower_{kind.lower()}_clipping"}, strategy=strategy)
    plain = captured(tmp_path / "plain", {"name": "none"})
    clipped, whole = shared["f/r001-c000"].update, plain["f/r001-c000"].update
    assert global_norm(clipped) == pytest.approx(0.05, rel=1e-3)
    cosine = sum(float((clipped[name] * whole[name]).sum()) for name in whole)
    assert cosine / (global_norm(clipped) * global_norm(whole)) == pytest.approx(1.0, abs=1e-4)


def test_a_server_that_defends_the_average_has_seen_the_updates_as_they_are(tmp_path: Path) -> None:
    strategy = {"name": "DifferentialPrivacyServerSideFixedClipping", "noise_multiplier": 1.0, "clipping_norm": 0.01}
    shared, plain = (
        captured(tmp_path / "a", {"name": "none"}, strategy=strategy),
        captured(tmp_path / "b", {"name": "none"}),
    )
    first = "f/r001-c000"
    assert all(shared[first].update[name].equal(tensor) for name, tensor in plain[first].update.items())
    second = "f/r002-c000"
    assert not shared[second].parameters["head.bias"].equal(plain[second].parameters["head.bias"])


# DP-SGD


def one_by_one(model: nn.Module, inputs: Tensor, labels: Tensor) -> list[dict[str, Tensor]]:
    axis = inputs.dim() - 4
    return [gradient_and_loss(model, inputs.narrow(axis, at, 1), labels[at : at + 1])[0] for at in range(len(labels))]


@pytest.mark.parametrize("architecture", ["lenet", "mlp", "spiking_lenet", "spiking_mlp"])
@pytest.mark.parametrize("spec", [STILL, EVENTS], ids=["still", "events"])
def test_dp_sgd_clips_each_examples_own_gradient(architecture: str, spec: InputSpec) -> None:
    spiking = architecture.startswith("spiking")
    if spec.timesteps and not spiking:
        pytest.skip("reads still images")
    model = build_model(ModelSpec(architecture, spec, "torch", SPIKING if spiking else None, 20), seed=0)
    inputs, labels = batch(spec)
    own = one_by_one(model, inputs, labels)
    found, loss = per_example_gradients(model, inputs, labels)
    for at, expected in enumerate(own):
        for name, tensor in expected.items():
            torch.testing.assert_close(found[name][at], tensor, rtol=1e-4, atol=1e-6)
    assert float(loss) == pytest.approx(float(F.cross_entropy(model(inputs), labels).detach()), rel=1e-5)
    norm = 0.5 * max(map(global_norm, own))
    shared, _ = dp_sgd(model, inputs, labels, generator=torch_stream(0), clipping_norm=norm, noise_multiplier=0.0)
    for name, tensor in shared.items():
        clipped = sum((min(1.0, norm / global_norm(one)) * one[name] for one in own), torch.zeros(()))
        torch.testing.assert_close(tensor, clipped / len(own), rtol=1e-4, atol=1e-6)
    assert misfit(model, inputs, labels) == ""
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_noise_of_dp_sgd_is_sigma_c_over_n_from_the_generator_alone() -> None:
    model = build_model(ModelSpec("mlp", STILL, "torch", None, 200), seed=0)
    inputs, labels = batch(STILL)
    first, again, other = (
        dp_sgd(model, inputs, labels, generator=torch_stream(seed), clipping_norm=1e-9, noise_multiplier=3e9)[0]
        for seed in (0, 0, 1)
    )
    values = torch.cat([tensor.flatten() for tensor in first.values()])
    assert float(values.std()) == pytest.approx(3.0 / len(labels), rel=0.03)
    assert all(again[name].equal(tensor) for name, tensor in first.items())
    assert not other["head.bias"].equal(first["head.bias"])


class Mixing(nn.Module):
    """A network in which each example reads the one before it in the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        flat = inputs.flatten(1)
        logits: Tensor = self.head(flat + flat.roll(1, 0))
        return logits


class Twice(Mixing):
    """A network that reads each example twice, with the two beside each other and not all first ones before."""

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.head(inputs.flatten(1).repeat_interleave(2, 0).tanh()).view(len(inputs), 2, 4).sum(1)
        return logits


def test_a_model_that_mixes_examples_is_refused_in_the_plan_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    normed = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 4))
    assert "BatchNorm" in misfit(normed, *batch(STILL))
    assert "depends on the others of its batch" in misfit(Mixing(), *batch(STILL))
    assert "are not its own: 'head.weight'" in misfit(Twice(), *batch(STILL))

    def build(spec: ModelSpec) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, spec.input.classes))

    monkeypatch.setitem(MODELS, "normed", ModelEntry(build, spiking=False, summary="with BatchNorm"))
    raw = {"model": {"name": "normed"}, "defence": {"name": "dp_sgd"}}
    with pytest.raises(ConfigError, match=r"defence.name: 'dp_sgd' cannot be had with model 'normed': Opacus refuses"):
        check_federation(validate(SimulationConfig, raw))


@pytest.mark.parametrize("strategy", ["FedSGD", "FedAvg"])
def test_a_federation_shares_what_dp_sgd_makes_of_its_gradients(strategy: str, tmp_path: Path) -> None:
    told = {"name": "dp_sgd", "clipping_norm": 1e-6, "noise_multiplier": 1e6}
    shared = captured(tmp_path, told, strategy={"name": strategy}, federation={"batch_size": 4, "learning_rate": 0.5})
    values = torch.cat([one.flatten() for one in shared["f/r001-c000"].update.values()])
    rate = 1.0 if strategy == "FedSGD" else 0.5
    assert float(values.std()) == pytest.approx(rate / 4, rel=0.05)


# Soteria


def test_soteria_leaves_out_the_features_that_tell_most_and_nothing_else() -> None:
    model = build_model(ModelSpec("lenet", STILL, "torch"), seed=0)
    inputs, labels = batch(STILL)
    plain, loss = gradient_and_loss(model, inputs, labels)
    same, own_loss = soteria(model, inputs, labels, generator=torch_stream(0), representation_ratio=0.0)
    assert all(same[name].equal(tensor) for name, tensor in plain.items())
    assert own_loss.equal(loss)
    found, _ = soteria(model, inputs, labels, generator=torch_stream(0), representation_ratio=0.25)
    assert all(found[name].equal(tensor) for name, tensor in plain.items() if name != "head.weight")
    out = (found["head.weight"] == 0).all(0)
    features = model.get_parameter("head.weight").shape[1]
    assert int(out.sum()) == features // 4
    assert found["head.weight"][:, ~out].equal(plain["head.weight"][:, ~out])
    body = model.get_submodule("body")
    scores = torch.zeros(features)
    for example in inputs:  # by the whole Jacobian, example by example
        jacobian = torch.func.jacrev(lambda x: body(x.unsqueeze(0)).flatten())(example)
        scores += jacobian.flatten(1).norm(dim=1) / (body(example.unsqueeze(0)).flatten().detach() + 0.1).abs()
    assert set(scores.argsort()[: features // 4].tolist()) == set(out.nonzero().flatten().tolist())


def test_soteria_needs_a_linear_layer() -> None:
    flat = nn.Sequential(nn.Conv2d(1, 4, 8), nn.Flatten())
    with pytest.raises(ConfigError, match="expected a model with a linear layer"):
        soteria(flat, *batch(STILL), generator=torch_stream(0), representation_ratio=0.5)


# What is refused before anything runs


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ({"defence": {"name": "soteria"}, "model": {"name": "spiking_lenet"}}, "not for spiking networks: it perturbs"),
        ({"defence": {"name": "flower_local_dp"}}, "so clients must share weights and not a gradient"),
        (
            {"defence": {"name": "flower_fixed_clipping"}, "strategy": {"name": "FedAvg"}},
            'works with strategy = "DifferentialPrivacyClientSideFixedClipping" only',
        ),
        (
            {
                "strategy": {
                    "name": "DifferentialPrivacyClientSideFixedClipping",
                    "noise_multiplier": 1.0,
                    "clipping_norm": 1.0,
                }
            },
            'needs clients with defence = "flower_fixed_clipping"',
        ),
        (
            {"strategy": {"name": "DifferentialPrivacyServerSideFixedClipping", "noise_multiplier": 1.0}},
            r"strategy.clipping_norm: .* needs it",
        ),
        (
            {"defence": {"name": "dp_sgd"}, "strategy": {"name": "FedAvg"}, "client": {"momentum": 0.9}},
            r"leave out client.momentum",
        ),
    ],
)
def test_combinations_that_cannot_be_are_refused_with_the_reason(raw: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        validate(SimulationConfig, raw)
