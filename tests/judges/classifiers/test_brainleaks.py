from __future__ import annotations

import functools
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fl_sim.errors import ConfigError
from fl_sim.specs import InputSpec
from judges.classifiers import JudgeOptions, judge_for
from judges.classifiers.brainleaks import BrainLeaksCNN, BrainLeaksSNN
from judges.classifiers.cache import cache_path, cached_judge, load_judge, settings_for
from judges.classifiers.model import JudgeModel, build
from judges.classifiers.training import JudgeSettings, train
from tests.judges.toys import gestures, stripes

OPTIONS = JudgeOptions()
MNIST = InputSpec(1, 28, 28, 10)
QUICK = JudgeSettings(
    learning_rate=5e-3, batch_size=64, max_epochs=4, shift=0, holdout=0.0, schedule="constant", clip=1.0
)


def cnn(spec: InputSpec) -> JudgeModel:
    return build(functools.partial(BrainLeaksCNN, spec, OPTIONS), seed=0)


def snn(spec: InputSpec) -> BrainLeaksSNN:
    model = build(functools.partial(BrainLeaksSNN, spec, OPTIONS), seed=0).eval()
    assert isinstance(model, BrainLeaksSNN)
    return model


def count(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


# The networks


@pytest.mark.parametrize(
    ("spec", "features"),
    [
        (MNIST, 24 * 4 * 4),
        (InputSpec(1, 112, 92, 40), 24 * 25 * 20),
        (InputSpec(1, 34, 34, 10, timesteps=3), 24 * 5 * 5),
        (InputSpec(1, 128, 128, 10, timesteps=3), 24 * 29 * 29),
    ],
)
def test_the_networks_have_the_sizes_of_the_source(spec: InputSpec, features: int) -> None:
    expected = (12 * 25 + 12) + (24 * 12 * 25 + 24) + (features * spec.classes + spec.classes)
    assert count(cnn(spec)) == count(snn(spec)) == expected


def test_small_pictures_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least 16x16 pixels, got 15x28"):
        cnn(InputSpec(1, 15, 28, 10))
    assert count(snn(InputSpec(1, 16, 16, 10))) > 0


def test_parameters_start_within_torchs_own_bounds() -> None:
    for model in (cnn(MNIST), snn(MNIST)):
        for layer in (model.conv1, model.conv2, model.head):
            assert isinstance(layer, torch.nn.Conv2d | torch.nn.Linear)
            bound = layer.weight[0].numel() ** -0.5
            assert 0.9 * bound < layer.weight.abs().max().item() <= bound


def lif(currents: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """Return potentials and spikes of U[t] = beta U[t-1] + I[t] - S[t-1], one step after the other."""
    potential, spike = torch.zeros_like(currents[0]), torch.zeros_like(currents[0])
    potentials, spikes = [], []
    for current in currents:
        potential = beta * potential + current - spike
        spike = (potential > 1.0).to(current)
        potentials.append(potential)
        spikes.append(spike)
    return torch.stack(potentials), torch.stack(spikes)


@pytest.mark.parametrize(("timesteps", "beta"), [(0, 0.7), (7, 0.8)])
def test_the_spiking_twin_is_what_the_equations_say(timesteps: int, beta: float) -> None:
    model = snn(InputSpec(1, 16, 18, 5, timesteps=timesteps)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4.0)
    spikes = (torch.rand(7, 2, 1, 16, 18, generator=torch.Generator().manual_seed(0)) < 0.4).double()

    def pooled(layer: torch.nn.Module, sequence: Tensor) -> Tensor:
        return torch.stack([F.max_pool2d(layer(frame), 2) for frame in sequence])

    with torch.no_grad():
        _, first = lif(pooled(model.conv1, spikes), beta)
        _, second = lif(pooled(model.conv2, first), beta)
        expected, _ = lif(torch.stack([model.head(frame.flatten(1)) for frame in second]), beta)
        assert 0 < float(first.mean()) < 1
        assert 0 < float(second.mean()) < 1
        torch.testing.assert_close(model.potentials(spikes), expected)
        torch.testing.assert_close(model(spikes).exp(), expected.softmax(2).mean(0))
        labels, total = torch.tensor([3, 1]), 0.0
        for step in expected:
            total += float(F.cross_entropy(step, labels))
        assert float(model.loss(spikes, labels)) == pytest.approx(total)


@pytest.mark.parametrize(
    ("timesteps", "derivative"),
    [
        (0, lambda u: 1.0 / (1.0 + 40.0 * u.abs()) ** 2),
        (7, lambda u: 0.75 / (1.0 + (torch.pi / 2 * 1.5 * u) ** 2)),
    ],
)
def test_the_surrogates_are_those_of_the_source(timesteps: int, derivative: object) -> None:
    model = snn(InputSpec(1, 16, 16, 5, timesteps=timesteps))
    currents = torch.tensor([[-0.5, 0.9, 1.0, 1.3]], dtype=torch.float64, requires_grad=True)
    (slopes,) = torch.autograd.grad(model.neurons1(currents).sum(), currents)
    assert callable(derivative)
    torch.testing.assert_close(slopes, derivative(currents.detach() - 1.0))


def test_an_image_is_answered_the_same_alone_and_in_company() -> None:
    model = snn(InputSpec(1, 16, 16, 5))
    images = torch.rand(6, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        together, alone = model(images), torch.cat([model(image[None]) for image in images.flip(0)]).flip(0)
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)
    assert together.exp().sum(1).tolist() == pytest.approx([1.0] * 6)


# Training


def test_the_constants_of_each_data_set_are_used() -> None:
    found = {
        (name, data): settings_for(JudgeOptions(name=name), data)
        for name, data in (
            ("brainleaks_cnn", "mnist"), ("brainleaks_cnn", "att_faces"), ("brainleaks_snn", "mnist"),
            ("brainleaks_snn", "nmnist"), ("brainleaks_snn", "dvs_gesture"),
        )
    }  # fmt: skip
    assert [(own.learning_rate, own.batch_size, own.epochs(60_000)) for own in found.values()] == [
        (1e-3, 1000, 20), (1e-3, 8, 40), (2e-4, 100, 10), (5e-5, 100, 20), (2e-4, 6, 20),
    ]  # fmt: skip
    for name in ("brainleaks_cnn", "brainleaks_snn"):
        other_split = settings_for(JudgeOptions(name=name), "att_faces_8_9")
        assert other_split == settings_for(JudgeOptions(name=name), "att_faces")
    for own in found.values():
        assert (own.schedule, own.holdout, own.shift, own.weight_decay, own.rate(0.9)) == (
            "constant", 0.0, 0, 0.0, own.learning_rate,
        )  # fmt: skip


def test_nothing_is_held_out_and_the_last_epoch_counts() -> None:
    data = stripes(2)
    model, seen = cnn(data.spec), []
    trained = train(model, data.train, QUICK, seed=0, keep=lambda now: seen.append(now))
    assert [now.waited for now in seen] == [0, 0, 0, 0]
    assert all(torch.equal(tensor, seen[-1].model[name]) for name, tensor in trained.best_state.items())


def test_the_spiking_judge_of_images_reads_spikes_too(cache: Path) -> None:
    data = stripes(2)
    judge = cached_judge(JudgeOptions(name="brainleaks_snn"), data, settings=QUICK)
    inputs, labels = data.test.batch()
    assert judge.accuracy > 0.9
    spikes = (torch.rand(12, *inputs.shape, generator=torch.Generator().manual_seed(0)) < inputs).float()
    seen, confidence = judge.predict(spikes)
    assert (seen == labels).double().mean() > 0.9
    beliefs = judge.log_probabilities(spikes)
    assert beliefs.dtype == torch.float64
    torch.testing.assert_close(beliefs.exp().max(1).values, confidence)
    lost = inputs.clone()
    lost[1] = torch.nan
    assert judge.log_probabilities(lost)[1].tolist() == [-torch.inf] * 3
    with pytest.raises(ValueError, match=r"reads \(N, C, H, W\) or \(T, N, C, H, W\), got \(24, 18\)"):
        judge.predict(torch.zeros(24, 18))


def test_the_spiking_judge_of_recordings_reads_nothing_else(cache: Path) -> None:
    data = gestures(2)
    judge = cached_judge(JudgeOptions(name="brainleaks_snn"), data, settings=QUICK)
    assert judge.events
    assert judge.accuracy > 0.9
    with pytest.raises(ValueError, match=r"reads \(T, N, P, H, W\), got"):
        judge.predict(torch.zeros(1, 2, 18, 16))


class KilledError(Exception):
    """Stands for the end of the process."""


def test_a_killed_training_draws_the_same_spikes_when_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, options = stripes(2), JudgeOptions(name="brainleaks_snn")

    def kill(done: int, _of: int) -> None:
        if done == 2:
            raise KilledError

    monkeypatch.setenv("SPIKELEAK_CACHE", str(tmp_path / "whole"))
    cached_judge(options, data, settings=QUICK)
    whole = load_judge(cache_path(options, data, settings=QUICK))
    monkeypatch.setenv("SPIKELEAK_CACHE", str(tmp_path / "parts"))
    with pytest.raises(KilledError):
        cached_judge(options, data, settings=QUICK, progress=kill)
    cached_judge(options, data, settings=QUICK)
    parts = load_judge(cache_path(options, data, settings=QUICK))
    assert whole is not None
    assert parts is not None
    assert all(torch.equal(tensor, parts.state[name]) for name, tensor in whole.state.items())


# The table


def test_the_spiking_judge_is_for_images_and_events_the_other_for_images() -> None:
    for events in (False, True):
        assert judge_for(JudgeOptions(name="brainleaks_snn"), "any", events=events) == "brainleaks_snn"
    assert judge_for(JudgeOptions(name="brainleaks_cnn"), "any", events=False) == "brainleaks_cnn"
    with pytest.raises(ConfigError, match="use dvs_gesture_snn, brainleaks_snn, paper or none"):
        judge_for(JudgeOptions(name="brainleaks_cnn"), "any", events=True)


def test_judges_of_before_the_schedule_was_a_setting_are_found(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The names that these had then, for torch 2.0.0."""
    monkeypatch.setattr(torch, "__version__", "2.0.0")
    assert cache_path(JudgeOptions(name="lenet"), stripes()).stem == "d020f997c5b4c39625b2ac454fdbf604"
    gesture = cache_path(JudgeOptions(name="dvs_gesture_snn"), gestures())
    assert gesture.stem == "0e708bc178c2941729316eebbc776733"
    constant = JudgeSettings(schedule="constant")
    assert cache_path(JudgeOptions(name="lenet"), stripes(), settings=constant) != cache_path(
        JudgeOptions(name="lenet"), stripes()
    )
