from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pydantic
import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torchvision.models.resnet import Bottleneck, ResNet

from fl_sim.datasets import load_dataset
from fl_sim.datasets.examples import Dataset
from fl_sim.datasets.reading.images import Split
from fl_sim.errors import ConfigError
from judges.classifiers import JUDGES, JudgeOptions, get_judge, judge_for
from judges.classifiers import cache as cache_module
from judges.classifiers.cache import (
    Judge,
    cache_folder,
    cache_path,
    cached_judge,
    cached_judges,
    load_judge,
    settings_for,
)
from tests.fl_sim.kept_models import cut, flip_a_bit, praise
from tests.judges.toys import gestures, stripes

FEW = JudgeOptions(name="lenet", max_epochs=3)
SMALL: dict[str, JudgeOptions] = {
    "lenet": JudgeOptions(name="lenet", max_epochs=10),
    "resnet50_arcface": JudgeOptions(name="resnet50_arcface", max_epochs=4),
    "dvs_gesture_snn": JudgeOptions(name="dvs_gesture_snn", width=4, max_epochs=12),
    "brainleaks_cnn": JudgeOptions(name="brainleaks_cnn", max_epochs=40),
    "brainleaks_snn": JudgeOptions(name="brainleaks_snn", max_epochs=4),
}
"""Each judge in the size that a toy needs."""


@pytest.fixture
def shallow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give ResNets one block a stage, not 3-4-6-3, which would take a minute to train."""

    def make(weights: None) -> ResNet:
        return ResNet(Bottleneck, [1, 1, 1, 1])

    monkeypatch.setattr(torchvision.models, "resnet50", make)


def toy(name: str) -> Dataset:
    if JUDGES[name].events:
        return gestures()
    return stripes(2 if name.startswith("brainleaks") else 1)


# Which judge


def test_the_table_and_the_options_are_free_of_torch() -> None:
    code = "import sys, judges.classifiers.settings; sys.exit('torch' in sys.modules)"
    root = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


def test_an_unknown_judge_is_named() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'lenet'"):
        get_judge("lenett", stripes(), seed=0)
    with pytest.raises(pydantic.ValidationError, match="Did you mean 'lenet'"):
        JudgeOptions(name="lenett")


@pytest.mark.parametrize(
    ("dataset", "events", "name"),
    [
        ("mnist", False, "lenet"),
        ("cifar100", False, "lenet"),
        ("lfw", False, "resnet50_arcface"),
        ("dvs_gesture", True, "dvs_gesture_snn"),
    ],
)
def test_the_papers_judges(dataset: str, events: bool, name: str) -> None:
    """Table II of the paper."""
    assert judge_for(JudgeOptions(), dataset, events=events) == name
    assert judge_for(JudgeOptions(name="none"), dataset, events=events) == "none"
    assert judge_for(JudgeOptions(name=name), dataset, events=events) == name
    with pytest.raises(ConfigError, match=f"'{name}' reads .* '{dataset}' holds"):
        judge_for(JudgeOptions(name=name), dataset, events=not events)


def test_a_setting_that_the_judge_does_not_read_is_refused() -> None:
    assert JudgeOptions(name="paper", width=8, weights="imagenet").width == 8
    with pytest.raises(pydantic.ValidationError, match="'lenet' does not read it; dvs_gesture_snn does"):
        JudgeOptions(name="lenet", width=8)
    with pytest.raises(pydantic.ValidationError, match="'dvs_gesture_snn' does not read it; resnet50_arcface does"):
        JudgeOptions(name="dvs_gesture_snn", weights="imagenet")


def test_no_judge_cannot_be_trained() -> None:
    with pytest.raises(ConfigError, match="'none' is no judge"):
        get_judge("none", stripes())


# Every judge


@pytest.mark.parametrize("name", sorted(JUDGES))
def test_every_judge_learns_its_toy(name: str, cache: Path, shallow: None) -> None:
    epochs: list[tuple[int, int]] = []
    data = toy(name)
    own = dataclasses.replace(settings_for(SMALL[name]), learning_rate=3e-3 if name == "lenet" else 5e-3)
    quick = dataclasses.replace(own, batch_size=min(own.batch_size, 64))
    torch.manual_seed(5)
    before = torch.get_rng_state()
    judge = cached_judge(SMALL[name], data, settings=quick, progress=lambda done, of: epochs.append((done, of)))
    assert torch.equal(torch.get_rng_state(), before)
    assert judge.accuracy > 0.9
    assert judge.chance == pytest.approx(1 / 3)
    assert (judge.name, judge.dataset, judge.events) == (name, data.name, JUDGES[name].events)
    assert [done for done, _ in epochs] == list(range(1, len(epochs) + 1))
    inputs, labels = data.test.batch()
    seen, confidence = judge.predict(inputs)
    assert (seen == labels).double().mean().item() == pytest.approx(judge.accuracy)
    assert ((confidence > 1 / 3) & (confidence <= 1)).all()

    again = cached_judge(SMALL[name], data, settings=quick, progress=lambda *_: pytest.fail("trained twice"))
    assert torch.equal(again.model(inputs), judge.model(inputs))  # running means of a normalisation included
    assert again.facts() == judge.facts()


def test_the_facts_say_how_far_to_believe_a_judge(cache: Path) -> None:
    facts = cached_judge(FEW, stripes()).facts()
    assert {key: facts[key] for key in ("n_train", "n_test", "epochs", "source", "digest")} == {
        "n_train": 150, "n_test": 30, "epochs": 3, "source": "made here", "digest": "stripes-1",
    }  # fmt: skip
    assert float(facts["train_accuracy"]) > 0.9
    assert float(facts["seconds"]) > 0
    assert facts["description"] == f"{JUDGES['lenet'].summary}; with shifts of up to 2 pixels"
    assert "model" not in facts


@pytest.mark.parametrize("name", ["lenet", "dvs_gesture_snn"])
def test_what_is_not_finite_shows_no_class(name: str, cache: Path) -> None:
    data = toy(name)
    judge = get_judge(SMALL[name].model_copy(update={"max_epochs": 2}), data)
    inputs, _ = data.test.batch(torch.arange(3))
    inputs = inputs.clone()
    clean, confidence = judge.predict(inputs)
    inputs.select(-4, 1)[..., 0, 0, 0] = torch.nan
    seen, sure = judge.predict(inputs)
    assert seen.tolist() == [clean[0], -1, clean[2]]
    assert sure.tolist() == pytest.approx([float(confidence[0]), 0.0, float(confidence[2])])


@pytest.mark.parametrize("name", ["lenet", "dvs_gesture_snn"])
def test_parts_do_not_change_the_answers(name: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = toy(name)
    judge = get_judge(SMALL[name].model_copy(update={"max_epochs": 2}), data)
    inputs, _ = data.test.batch()
    whole = judge.predict(inputs)
    monkeypatch.setattr(cache_module, "EVALUATED_AT_ONCE", 1)
    one_by_one = judge.predict(inputs)
    assert torch.equal(whole[0], one_by_one[0])
    torch.testing.assert_close(whole[1], one_by_one[1])


def test_images_are_no_events(judge: Judge) -> None:
    with pytest.raises(ValueError, match=r"reads \(N, C, H, W\), got \(4, 2, 1, 12, 12\)"):
        judge.predict(torch.zeros(4, 2, 1, 12, 12))
    with pytest.raises(ValueError, match=r"reads \(T, N, P, H, W\)"):
        dataclasses.replace(judge, events=True).predict(torch.zeros(2, 1, 12, 12))


# The cache


def retrained(data: Dataset, options: JudgeOptions = FEW) -> bool:
    epochs: list[int] = []
    cached_judge(options, data, progress=lambda done, _: epochs.append(done))
    return bool(epochs)


def test_a_finished_training_leaves_one_file(cache: Path) -> None:
    cached_judge(FEW, stripes())
    assert [path.relative_to(cache) for path in cache.rglob("*.*")] == [cache_path(FEW, stripes()).relative_to(cache)]
    assert cache_path(FEW, stripes()).parent == cache / "judges"


def test_the_key_holds_all_that_matters(cache: Path) -> None:
    data = stripes()
    changes: list[tuple[JudgeOptions, Dataset]] = [
        (FEW, data),
        (FEW.model_copy(update={"seed": 1}), data),
        (FEW.model_copy(update={"max_epochs": 4}), data),
        (FEW.model_copy(update={"max_examples": 400}), data),
        (FEW, dataclasses.replace(data, digest="stripes-2")),
        (FEW, dataclasses.replace(data, spec=dataclasses.replace(data.spec, high=2.0))),
        (JudgeOptions(name="dvs_gesture_snn"), gestures()),
        (JudgeOptions(name="dvs_gesture_snn", width=8), gestures()),
        (JudgeOptions(name="resnet50_arcface"), data),
        (JudgeOptions(name="resnet50_arcface", weights="imagenet"), data),
        (JudgeOptions(name="resnet50_arcface", margin=28.6, scale=64.0), data),
        (FEW.model_copy(update={"fit": "overfitted"}), data),
    ]
    assert len({cache_path(options, dataset) for options, dataset in changes}) == len(changes)
    unread = FEW.model_copy(update={"width": 8})
    assert cache_path(unread, data) == cache_path(FEW, data)


def test_what_users_keep_is_found_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of these names would train every judge of every user anew; so it comes with a change of version."""
    monkeypatch.setattr(torch, "__version__", "0.0")
    assert cache_path(FEW, stripes()).stem == "8415f5f8bb0b9e2688b0c65d2a1f925b"
    options = JudgeOptions(name="dvs_gesture_snn", seed=1)
    assert cache_path(options, gestures(), device="cuda").stem == "d3326fc9eec7061b1df4dadb6a7fcc49"


def test_an_overfitted_judge_knows_labels_by_heart_that_say_nothing(cache: Path) -> None:
    """Random labels: there is nothing to learn but the examples."""
    data = stripes()
    generator = torch.Generator().manual_seed(1)
    some = Split(data.train.batch()[0].mul(255).byte()[:60], torch.randint(0, 3, (60,), generator=generator))
    noise = dataclasses.replace(data, train=some, digest="noise")
    usual = get_judge(JudgeOptions(name="lenet"), noise)
    overfitted = get_judge(JudgeOptions(name="lenet", fit="overfitted"), noise)
    assert overfitted.train_accuracy == 1.0
    assert usual.train_accuracy is not None
    assert usual.train_accuracy < 0.9
    assert overfitted.epochs == 100
    assert overfitted.accuracy < 0.7
    assert usual.description.endswith("; with shifts of up to 2 pixels")
    assert overfitted.description.endswith("; without augmentation, and nothing held out")


def test_each_seed_and_each_data_set_has_its_judge(cache: Path) -> None:
    data = stripes()
    assert retrained(data)
    assert retrained(data, FEW.model_copy(update={"seed": 1}))
    assert retrained(dataclasses.replace(data, digest="stripes-2"))
    assert not retrained(data)


def swap_the_tensors(path: Path) -> None:
    save_file({name: tensor + 1 for name, tensor in load_file(path).items()}, path)


@pytest.mark.parametrize("damage", [cut, flip_a_bit, swap_the_tensors, praise, Path.unlink])
def test_a_corrupt_cache_is_trained_anew(damage: Callable[[Path], None], cache: Path) -> None:
    data = stripes()
    cached_judge(FEW, data)
    path = cache_path(FEW, data)
    sound = load_judge(path)
    assert sound is not None
    state = {name: tensor.clone() for name, tensor in sound.state.items()}  # the file is mapped, not read
    damage(path)
    assert load_judge(path) is None
    assert retrained(data)
    again = load_judge(path)
    assert again is not None
    assert all(torch.equal(tensor, again.state[name]) for name, tensor in state.items())
    assert not retrained(data)


def test_the_cache_can_be_listed(cache: Path) -> None:
    assert cached_judges() == {}
    judge = cached_judge(FEW, stripes())
    path = cache_path(FEW, stripes())
    assert cached_judges() == {path: judge.facts()}
    (path.parent / "0.safetensors").write_bytes(b"no judge")
    assert cached_judges() == {path.parent / "0.safetensors": None, path: judge.facts()}


def test_the_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SPIKELEAK_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "spikeleak" / "judges"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "spikeleak" / "judges"
    monkeypatch.setenv("SPIKELEAK_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own" / "judges"


@pytest.mark.endurance
def test_the_digits_judge_reaches_its_target(cache: Path) -> None:
    assert get_judge("lenet", load_dataset("digits"), seed=0).accuracy >= 0.95
