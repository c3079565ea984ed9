from __future__ import annotations

import functools
import threading
import urllib.error
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor
from torchvision.models import ResNet50_Weights

from fl_sim.checkpoints import Checkpoint, load_checkpoint
from fl_sim.datasets.examples import Dataset
from fl_sim.datasets.reading.images import Split
from fl_sim.errors import ConfigError, DataError
from fl_sim.specs import InputSpec
from judges.classifiers import JUDGES, JudgeOptions
from judges.classifiers.augmentation import augmented, flipped, shifted, zoomed
from judges.classifiers.cache import cache_path, cached_judge, load_judge
from judges.classifiers.gesture import DVSGestureSNN, ResidualBlock
from judges.classifiers.lenet import JudgeLeNet
from judges.classifiers.model import JudgeModel, build
from judges.classifiers.resnet import JudgeResNet
from judges.classifiers.training import JudgeSettings, evaluation_batches, measured_accuracy, train
from tests.fl_sim.kept_models import KilledError, flip_a_bit, kill_after
from tests.judges.toys import gestures, stripes

FEW = JudgeSettings(max_epochs=3)
OPTIONS = JudgeOptions()


def lenet(spec: InputSpec, *, seed: int = 0) -> JudgeModel:
    return build(functools.partial(JudgeLeNet, spec, OPTIONS), seed=seed)


def gesture_model(spec: InputSpec, width: int = 64) -> JudgeModel:
    options = JudgeOptions(name="dvs_gesture_snn", width=width)
    return build(functools.partial(DVSGestureSNN, spec, options), seed=0)


def count(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


# The networks


def test_the_gesture_judge_has_the_size_of_table_one() -> None:
    """By hand: 3x3 convolutions without bias, two in each residual block, a scale and a shift for each channel."""
    model = gesture_model(InputSpec(2, 128, 128, 11, timesteps=20))
    main = 9 * (2 * 64 + 64 * 128 + 128 * 256 + 256 * 512) + 2 * (64 + 128 + 256 + 512)
    residual = sum(2 * (9 * channels**2 + 2 * channels) for channels in (128, 256, 512))
    assert count(model) == main + residual + 512 * 11 + 11 == 7_753_739


def test_the_width_scales_every_layer() -> None:
    model = gesture_model(InputSpec(2, 32, 32, 11, timesteps=4), width=8)
    assert [parameter.shape[0] for parameter in model.parameters() if parameter.dim() == 4] == [
        8, 16, 16, 16, 32, 32, 32, 64, 64, 64,
    ]  # fmt: skip
    assert "width 8" in model.note
    assert gesture_model(InputSpec(2, 32, 32, 11, timesteps=4)).note == ""


def test_the_gesture_judge_forgets_and_averages_over_time() -> None:
    inputs, _ = gestures().test.batch()
    model = gesture_model(gestures().spec, width=4).eval()
    first = model(inputs)
    assert first.shape == (30, 3)
    assert torch.equal(first, model(inputs))
    sequence = torch.rand(4, 2, 8, 5, 5).round()
    block = ResidualBlock(8)
    added = block(sequence) - sequence
    assert set(added.flatten().tolist()) <= {0.0, 1.0}  # spikes are added to the input


def test_the_gesture_judge_refuses_images() -> None:
    with pytest.raises(ConfigError, match="reads recordings of events"):
        gesture_model(InputSpec(1, 28, 28, 10))


@pytest.mark.parametrize(("margin", "scale"), [(11.5, 16.0), (28.6, 64.0)])
def test_logits_of_arcface_are_cosines_and_its_loss_has_the_margin(margin: float, scale: float) -> None:
    """Deng et al. 2019, eq. 3, by hand, with the default settings and the authors'."""
    options = OPTIONS.model_copy(update={"margin": margin, "scale": scale})
    assert (OPTIONS.margin, OPTIONS.scale) == (11.5, 16.0)
    named = type(OPTIONS)(name="resnet50_arcface", margin="authors", scale="authors")  # type: ignore[arg-type]
    assert (named.margin, named.scale) == (28.6, 64.0)
    model = build(functools.partial(JudgeResNet, InputSpec(1, 16, 16, 5), options), seed=0).eval()
    assert isinstance(model, JudgeResNet)
    inputs, labels = torch.rand(3, 1, 16, 16, generator=torch.Generator().manual_seed(0)), torch.tensor([4, 0, 2])
    with torch.no_grad():
        embeddings, logits = model.embed(inputs), model(inputs)
        cosines = torch.nn.functional.normalize(embeddings) @ torch.nn.functional.normalize(model.head.W, dim=0)
        torch.testing.assert_close(logits, scale * cosines)
        right = torch.nn.functional.one_hot(labels, 5).bool()
        wider = torch.cos(torch.acos(cosines) + torch.tensor(margin).deg2rad())
        expected = torch.nn.functional.cross_entropy(scale * wider.where(right, cosines), labels)
        torch.testing.assert_close(model.loss(inputs, labels), expected)
    backbone = count(torchvision.models.resnet50(weights=None)) - (2048 * 1000 + 1000)
    assert count(model) == backbone + 2048 * 512 + 2 * 512 + 512 * 5


def test_imagenet_weights_are_used_and_named_or_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = InputSpec(3, 16, 16, 5)
    wanted = functools.partial(JudgeResNet, spec, JudgeOptions(name="resnet50_arcface", weights="imagenet"))

    def offline(*_args: Any, **_kwargs: Any) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(ResNet50_Weights, "get_state_dict", offline)
    with pytest.raises(DataError, match=r"judge\.weights: .*no network.* leave weights = none"):
        build(wanted, seed=0)
    theirs = torchvision.models.resnet50(weights=None).state_dict()
    monkeypatch.setattr(ResNet50_Weights, "get_state_dict", lambda *_args, **_kwargs: theirs)
    model = build(wanted, seed=0)
    assert torch.equal(model.state_dict()["body.layer4.2.conv3.weight"], theirs["layer4.2.conv3.weight"])
    assert "started from ImageNet weights" in model.note
    assert "random weights" in build(functools.partial(JudgeResNet, spec, OPTIONS), seed=0).note


def test_a_picture_too_small_or_of_odd_channels_is_refused() -> None:
    with pytest.raises(ValueError, match="4x4"):
        lenet(InputSpec(1, 3, 8, 2))
    with pytest.raises(ConfigError, match="1 or 3 channels"):
        build(functools.partial(JudgeResNet, InputSpec(2, 8, 8, 2), OPTIONS), seed=0)


# Training


def test_training_is_deterministic_in_threads_and_touches_no_global_stream() -> None:
    data = stripes()
    torch.manual_seed(123)
    before = torch.get_rng_state()
    results = []

    def work() -> None:
        results.append(train(lenet(data.spec, seed=4), data.train, FEW, seed=4).best_state)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    work()
    assert torch.equal(torch.get_rng_state(), before)
    for name, tensor in results[0].items():
        assert torch.equal(tensor, results[1][name])
        assert torch.equal(tensor, results[2][name])


def test_training_stops_early_and_keeps_the_best_epoch() -> None:
    data = stripes()
    pixels = (data.train.batch(slice(None))[0] * 255).to(torch.uint8)
    noise = Split(pixels, torch.randint(0, 3, (150,), generator=torch.Generator().manual_seed(1)))
    kept: list[Checkpoint] = []
    model = lenet(data.spec)
    trained = train(model, noise, JudgeSettings(max_epochs=40, patience=3), seed=0, keep=kept.append)
    assert trained.epoch == len(kept) < 40
    assert [now.waited for now in kept[-4:]] == [0, 1, 2, 3]
    assert all(torch.equal(tensor, kept[-4].model[name]) for name, tensor in trained.best_state.items())
    assert all(torch.equal(tensor, trained.best_state[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("name", ["lenet", "dvs_gesture_snn"])
def test_a_killed_training_goes_on_to_the_same_bits(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = gestures() if JUDGES[name].events else stripes()
    options = JudgeOptions(name=name, max_epochs=5, width=2 if JUDGES[name].events else 64)

    seen: list[int] = []
    monkeypatch.setenv("SPIKELEAK_CACHE", str(tmp_path / "whole"))
    cached_judge(options, data, progress=kill_after(0, seen))
    whole = load_judge(cache_path(options, data))
    assert seen == [1, 2, 3, 4, 5]
    seen.clear()
    monkeypatch.setenv("SPIKELEAK_CACHE", str(tmp_path / "parts"))
    for epoch in (2, 3):
        with pytest.raises(KilledError):
            cached_judge(options, data, progress=kill_after(epoch, seen))
    cached_judge(options, data, progress=kill_after(0, seen))
    parts = load_judge(cache_path(options, data))
    assert seen == [1, 2, 3, 4, 5]
    assert whole is not None
    assert parts is not None
    assert all(torch.equal(tensor, parts.state[key]) for key, tensor in whole.state.items())
    assert {**whole.facts, "seconds": 0} == {**parts.facts, "seconds": 0}
    assert [path.suffix for path in (tmp_path / "parts" / "judges").iterdir()] == [".safetensors"]


def test_a_damaged_checkpoint_is_not_gone_on_from(cache: Path) -> None:
    data, options = stripes(), JudgeOptions(name="lenet", max_epochs=2)
    with pytest.raises(KilledError):
        cached_judge(options, data, progress=kill_after(1, []))
    path = cache_path(options, data).with_suffix(".checkpoint")
    assert load_checkpoint(path, lenet(data.spec)) is not None
    assert load_checkpoint(path, lenet(InputSpec(1, 9, 8, 3))) is None
    flip_a_bit(path)
    epochs: list[int] = []
    cached_judge(options, data, progress=lambda done, _: epochs.append(done))
    assert epochs == [1, 2]


def test_a_large_data_set_gets_fewer_passes() -> None:
    settings = JudgeSettings(max_epochs=40, max_examples=1000)
    assert [settings.epochs(count) for count in (10, 100, 5000)] == [40, 10, 1]


def test_no_more_than_the_largest_number_of_examples_is_seen() -> None:
    data = stripes()
    seen: set[int] = set()

    class Watched:
        labels = data.train.labels

        def __len__(self) -> int:
            return len(data.train)

        def batch(self, indices: torch.Tensor | slice = slice(None)) -> tuple[torch.Tensor, torch.Tensor]:
            if isinstance(indices, torch.Tensor):
                seen.update(indices.tolist())
            return data.train.batch(indices)

    settings = JudgeSettings(max_epochs=3, max_examples=12, holdout=0.0)
    assert train(lenet(data.spec), Watched(), settings, seed=0).epoch == 1
    assert len(seen - {0}) in (11, 12)  # the first example is looked at for its size
    whole = JudgeSettings(max_epochs=3, max_examples=len(data.train), holdout=0.0)
    train(lenet(data.spec), Watched(), whole, seed=0)
    assert len(seen) == len(data.train)


def test_the_learning_rate_rises_and_falls() -> None:
    settings = JudgeSettings(learning_rate=0.1, warmup=0.1)
    assert [settings.rate(share) for share in (0.0, 0.05, 0.5, 1.0)] == pytest.approx(
        [0.0, 0.05 * 0.5 * (1 + torch.tensor(0.05 * torch.pi).cos().item()), 0.05, 0.0]
    )


def test_large_examples_are_evaluated_in_small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("judges.classifiers.training.EVALUATED_AT_ONCE", 3 * 4 * 9 * 8)
    assert [len(part) for part in evaluation_batches(gestures().test, torch.arange(7))] == [3, 3, 1]
    assert [len(part) for part in evaluation_batches(stripes().test, torch.arange(14))] == [12, 2]
    data = stripes()
    model = train_quickly(data)
    assert measured_accuracy(model, data.test) == measured_accuracy(model, data.test, at_most=1000)
    assert measured_accuracy(model, data.test, at_most=1) in (0.0, 1.0)


def train_quickly(data: Dataset) -> JudgeModel:
    model = lenet(data.spec)
    train(model, data.train, FEW, seed=0)
    return model


# Augmentation


def test_a_shift_moves_each_picture_as_a_whole() -> None:
    picture = torch.zeros(8, 2, 9, 9)
    picture[:, :, 4, 4] = 1.0
    moved = shifted(picture, 2, torch.Generator().manual_seed(0))
    places = moved.flatten(2).argmax(dim=2)
    assert (moved.sum(dim=(2, 3)) == 1).all()
    assert torch.equal(places[:, 0], places[:, 1])
    rows, columns = places[:, 0] // 9, places[:, 0] % 9
    assert ((rows - 4).abs() <= 2).all()
    assert ((columns - 4).abs() <= 2).all()
    assert len(set(places[:, 0].tolist())) > 1


def changed(inputs: Tensor, **changes: Any) -> Tensor:
    settings = {"shift": 0, "zoom": 0.0, "flip": False} | changes
    return augmented(inputs, generator=torch.Generator().manual_seed(0), **settings)


def test_all_frames_of_a_recording_are_changed_alike() -> None:
    frame = (torch.rand(1, 6, 2, 9, 8, generator=torch.Generator().manual_seed(1)) > 0.7).float()
    inputs = frame.expand(5, -1, -1, -1, -1)
    moved = changed(inputs, shift=2, flip=True)
    assert moved.shape == inputs.shape
    assert (moved == moved[:1]).all()
    assert set(moved.flatten().tolist()) == {0.0, 1.0}
    assert moved.sum() <= inputs.sum()  # what leaves the frame is gone, and nothing enters
    assert torch.equal(changed(inputs), inputs)
    assert not torch.equal(moved, inputs)


def test_a_picture_is_mirrored_or_left() -> None:
    pictures = torch.rand(16, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    mirrored = flipped(pictures, torch.Generator().manual_seed(0))
    same = (mirrored == pictures).flatten(1).all(1)
    assert (same | (mirrored == pictures.flip(-1)).flatten(1).all(1)).all()
    assert 0 < same.sum() < 16


def test_a_zoom_keeps_the_centre_and_the_range() -> None:
    pictures = torch.zeros(8, 1, 9, 9)
    pictures[..., 4, 4] = 1.0
    larger = zoomed(pictures, 0.3, torch.Generator().manual_seed(0))
    assert torch.allclose(larger[..., 4, 4], torch.ones(()))
    assert ((larger >= 0) & (larger <= 1 + 1e-6)).all()
    assert len(set(larger.sum(dim=(1, 2, 3)).tolist())) > 1
