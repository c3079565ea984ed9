from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydantic
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fl_sim import central
from fl_sim.cache import cache_root
from fl_sim.central import batch_loss, central_training, measured_accuracy, target_path
from fl_sim.config.training import TrainingSettings
from fl_sim.datasets.examples import Dataset
from fl_sim.epochs import EpochLoop
from fl_sim.errors import ConfigError
from fl_sim.models import build_model
from fl_sim.records import InputSpec, ModelSpec, TrainedModel
from fl_sim.seeding import derive_seed, torch_stream
from fl_sim.specs import BRAINLEAKS_NEURONS
from fl_sim.training import load_parameters
from tests.fl_sim.kept_models import KilledError, cut, flip_a_bit, kill_after, praise
from tests.judges.toys import gestures, stripes

NEURONS = BRAINLEAKS_NEURONS.model_copy(update={"timesteps": 6})
STRIPES, GESTURES = stripes().spec, gestures().spec
MLP = ModelSpec("mlp", STRIPES, "torch", hidden=16)
SPIKING = ModelSpec("spiking_mlp", STRIPES, "torch", NEURONS, hidden=16)
EVENTS = ModelSpec("spiking_mlp", GESTURES, "torch", NEURONS, hidden=16)
CASES = {"mlp": (MLP, stripes), "spiking_mlp": (SPIKING, stripes), "events": (EVENTS, gestures)}
SHORT = TrainingSettings(epochs=3, batch_size=40, learning_rate=3e-3)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPIKELEAK_CACHE", str(tmp_path))
    return tmp_path / "targets"


def case(name: str) -> tuple[ModelSpec, Dataset]:
    spec, make = CASES[name]
    return spec, make()


def same(first: TrainedModel, second: TrainedModel) -> bool:
    assert first.parameters.keys() == second.parameters.keys()
    return all(torch.equal(tensor, second.parameters[name]) for name, tensor in first.parameters.items())


def rebuilt(model: TrainedModel) -> Any:
    module = build_model(model.model)
    load_parameters(module, model.parameters)
    return module


# The loss and the steps


def test_the_loss_is_summed_over_time_and_averaged_over_the_batch() -> None:
    """Step by step: -log softmax(U_t)_y."""
    outputs = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.tensor([1, 4, 0])
    total = 0.0
    for step in outputs:
        for row, label in zip(step, labels, strict=True):
            total += float(row.exp().sum().log() - row[label])
    assert batch_loss(outputs, labels).item() == pytest.approx(total / 3)
    assert batch_loss(outputs, labels, "mean_output").item() == pytest.approx(
        F.cross_entropy(outputs.mean(0), labels).item()
    )
    assert batch_loss(outputs[0], labels).item() == pytest.approx(F.cross_entropy(outputs[0], labels).item())


@pytest.mark.parametrize("clip", [0.0, 0.05])
def test_a_training_is_what_plain_torch_does(folder: Path, clip: float) -> None:
    data, settings = stripes(), SHORT.model_copy(update={"clip": clip})
    model = build_model(MLP, seed=derive_seed(3, "central"))
    optimiser = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
    generator = torch_stream(3, "central", "order")
    for _ in range(settings.epochs):
        order = torch.randperm(150, generator=generator)
        for part in torch.split(order, 40):
            inputs, labels = data.train.batch(part)
            optimiser.zero_grad()
            F.cross_entropy(model(inputs), labels).backward()  # type: ignore[no-untyped-call]
            if clip:
                norm = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).norm()
                for parameter in model.parameters():
                    assert parameter.grad is not None
                    parameter.grad *= torch.clamp(clip / (norm + 1e-6), max=1.0)
            optimiser.step()
    trained = central_training(MLP, data, settings, seed=3).model
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(trained.parameters[name], parameter.detach(), rtol=1e-4, atol=1e-6)
    assert (trained.round, trained.seed, trained.model) == (3, 3, MLP)


def test_every_batch_is_coded_with_draws_of_its_own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []
    spikes: list[Tensor] = []
    loss = central.batch_loss

    def note(outputs: Tensor, labels: Tensor, kind: str) -> Tensor:
        spikes.append(model.encoder(torch.full((1, 1, 4, 4), 0.5)))
        seeds.append(model.encoder.seed)
        return loss(outputs, labels, kind)

    model: Any = build_model(SPIKING, seed=0)
    monkeypatch.setattr(central, "build_model", lambda *_args, **_kwargs: model)
    monkeypatch.setattr(central, "batch_loss", note)
    central_training(SPIKING, stripes(), SHORT, seed=0)
    assert len(seeds) == len(set(seeds)) == 3 * 4
    assert not torch.equal(spikes[0], spikes[1])


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_model_learns_its_toy_and_no_global_stream_is_touched(name: str, folder: Path) -> None:
    spec, data = case(name)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    done = central_training(spec, data, SHORT.model_copy(update={"epochs": 12}), seed=0)
    assert torch.equal(torch.get_rng_state(), before)
    assert done.model.test_accuracy > 0.9
    assert done.train_accuracy > 0.9
    assert done.epochs == 12
    assert done.seconds > 0
    assert measured_accuracy(rebuilt(done.model), data.test) == done.model.test_accuracy


def test_accuracy_by_spike_counts_is_that_of_the_output_spikes(folder: Path) -> None:
    data, settings = gestures(), SHORT.model_copy(update={"answer": "spike_count"})
    trained = central_training(EVENTS, data, settings, seed=0).model
    inputs, labels = data.test.batch()
    with torch.no_grad():
        counts = rebuilt(trained).output_spikes(inputs).sum(0)
    assert trained.test_accuracy == (counts.argmax(1) == labels).double().mean().item()


# Going on


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_killed_training_goes_on_to_the_same_bits(name: str, tmp_path: Path) -> None:
    spec, data = case(name)
    settings = SHORT.model_copy(update={"epochs": 5})
    seen: list[int] = []
    whole = central_training(spec, data, settings, seed=1, folder=tmp_path / "whole", progress=kill_after(0, seen))
    assert seen == [1, 2, 3, 4, 5]
    seen.clear()
    parts = tmp_path / "parts"
    for epoch in (2, 3):
        with pytest.raises(KilledError):
            central_training(spec, data, settings, seed=1, folder=parts, progress=kill_after(epoch, seen))
    resumed = central_training(spec, data, settings, seed=1, folder=parts, progress=kill_after(0, seen))
    assert seen == [1, 2, 3, 4, 5]
    assert same(whole.model, resumed.model)
    assert (whole.model.test_accuracy, whole.train_accuracy) == (resumed.model.test_accuracy, resumed.train_accuracy)
    assert [path.name for path in parts.iterdir()] == [resumed.path.name]


def one_weight(**settings: Any) -> EpochLoop:
    """Return the training of a weight that starts at 0, by steps of 1: it is minus the number of steps."""
    model = nn.Linear(1, 1)
    nn.init.zeros_(model.weight)
    own: dict[str, Any] = {
        "optimiser": torch.optim.SGD(model.parameters(), lr=1.0),
        "generator": torch.Generator().manual_seed(0),
        "members": torch.arange(10, 16),
        "cut": lambda shuffled: torch.split(shuffled, 4),
        "loss": lambda *_: model.weight.sum(),
        "epochs": 9,
    }
    return EpochLoop(model, **own | settings)


def test_the_loop_keeps_the_best_epoch_or_the_last() -> None:
    losses = iter([3.0, 1.0, 2.0, 5.0])
    best = one_weight(held_out_loss=lambda: next(losses), patience=2).run()
    last = one_weight(patience=2).run()
    assert (best.epoch, best.best_state["weight"].item()) == (4, -4.0)
    assert (last.epoch, last.best_state["weight"].item()) == (9, -18.0)


def test_the_loop_shuffles_all_examples_in_each_epoch_and_follows_the_rate() -> None:
    seen: list[tuple[list[int], int, int]] = []
    loop = one_weight(epochs=2, rate=lambda share: 8 * share)

    def note(indices: Tensor, epoch: int, number: int) -> Tensor:
        seen.append((indices.tolist(), epoch, number))
        return loop.loss(indices, epoch, number)

    replace(loop, loss=note).run()
    draw = torch.Generator().manual_seed(0)
    first, second = ((torch.randperm(6, generator=draw) + 10).tolist() for _ in range(2))
    assert seen == [(first[:4], 0, 0), (first[4:], 0, 1), (second[:4], 1, 0), (second[4:], 1, 1)]
    assert loop.model.state_dict()["weight"].item() == -(0 + 2 + 4 + 6)


# The cache


def test_what_is_trained_once_is_found_again(folder: Path) -> None:
    first = central_training(MLP, stripes(), SHORT, seed=0)
    again = central_training(MLP, stripes(), SHORT, seed=0, progress=lambda *_: pytest.fail("trained twice"))
    assert same(first.model, again.model)
    assert (first.epochs, first.seconds, first.train_accuracy) == (again.epochs, again.seconds, again.train_accuracy)
    assert first.path.parent == folder == cache_root() / "targets"


@pytest.mark.parametrize("damage", [cut, flip_a_bit, praise, Path.unlink])
def test_a_corrupt_model_is_trained_anew(damage: Callable[[Path], None], folder: Path) -> None:
    first = central_training(MLP, stripes(), SHORT, seed=0)
    kept = {name: tensor.clone() for name, tensor in first.model.parameters.items()}  # the file is mapped, not read
    damage(first.path)
    seen: list[int] = []
    again = central_training(MLP, stripes(), SHORT, seed=0, progress=kill_after(0, seen))
    assert seen == [1, 2, 3]
    assert all(torch.equal(tensor, again.model.parameters[name]) for name, tensor in kept.items())


def test_the_key_holds_all_that_matters(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = stripes()
    changes: list[tuple[ModelSpec, Dataset, TrainingSettings, int]] = [
        (MLP, data, SHORT, 0),
        (MLP, data, SHORT, 1),
        (MLP, replace(data, digest="other"), SHORT, 0),
        (replace(MLP, hidden=17), data, SHORT, 0),
        (SPIKING, data, SHORT, 0),
        (replace(SPIKING, spiking=NEURONS.model_copy(update={"slope": 25.0})), data, SHORT, 0),
        (MLP, data, SHORT.model_copy(update={"clip": 0.0}), 0),
    ]
    paths = {target_path(spec, dataset, settings, seed=seed) for spec, dataset, settings, seed in changes}
    paths.add(target_path(MLP, data, SHORT, seed=0, device="cuda"))
    monkeypatch.setattr(torch, "__version__", "0.0")
    paths.add(target_path(MLP, data, SHORT, seed=0))
    assert len(paths) == len(changes) + 2


def test_what_users_keep_is_found_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of these names would train every target of every user anew; so it comes with a change of version."""
    monkeypatch.setattr(torch, "__version__", "0.0")
    assert target_path(MLP, stripes(), SHORT, seed=0).stem == "360a35858534942de7737d26e6136fe6"
    assert target_path(SPIKING, stripes(), SHORT, seed=1, device="cuda").stem == "30757f1af5e34be28a896436a21644aa"


def test_a_presets_name_does_not_count(folder: Path) -> None:
    preset = TrainingSettings(preset="att_faces_snn")
    spelt = TrainingSettings(epochs=30, batch_size=8, learning_rate=5e-5)
    assert target_path(MLP, stripes(), preset, seed=0) == target_path(MLP, stripes(), spelt, seed=0)


# The settings


def test_presets_hold_the_authors_constants_and_can_be_overridden() -> None:
    snn, ann = TrainingSettings(preset="mnist_snn"), TrainingSettings(preset="mnist_ann", epochs=2)
    assert (snn.epochs, snn.batch_size, snn.learning_rate, snn.clip) == (10, 100, 5e-5, 1.0)
    assert (ann.epochs, ann.batch_size, ann.learning_rate, ann.clip) == (2, 1000, 1e-3, 0.0)
    assert TrainingSettings.preset_for("mnist", spiking=True) == "mnist_snn"
    assert TrainingSettings.preset_for("digits", spiking=True) == "own"
    for name in TrainingSettings.PRESETS:
        assert TrainingSettings(preset=name).preset == name
    with pytest.raises(pydantic.ValidationError, match="preset 'mnist' is not known; use own, mnist_ann"):
        TrainingSettings(preset="mnist")


def test_what_cannot_be_trained_or_measured_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="'gestures' holds"):
        central_training(MLP, gestures(), SHORT, seed=0)
    with pytest.raises(ConfigError, match="needs a spiking model"):
        central_training(MLP, stripes(), SHORT.model_copy(update={"answer": "spike_count"}), seed=0)
    assert not folder.exists()


def test_accuracy_can_be_measured_on_some_examples() -> None:
    data = stripes()
    model = build_model(replace(MLP, input=InputSpec(3, 9, 8, 3)), seed=0)
    whole = measured_accuracy(model, data.test)
    assert measured_accuracy(model, data.test, at_most=1000) == whole
    assert measured_accuracy(model, data.test, at_most=1) in (0.0, 1.0)
