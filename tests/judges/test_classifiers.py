from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from fl_sim.datasets import load_dataset
from fl_sim.datasets.examples import Dataset
from fl_sim.datasets.images import Split
from fl_sim.errors import ConfigError
from fl_sim.records import InputSpec
from judges.classifiers import JUDGES, get_judge
from judges.classifiers.cache import cache_folder, cached_judge
from judges.classifiers.lenet import JudgeLeNet
from judges.classifiers.training import JudgeSettings, build, shifted, train

FEW = JudgeSettings(max_epochs=3)


@pytest.fixture
def stripes() -> Dataset:
    """Three classes of 9x8 pictures in two channels: which third of the rows is bright."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(180) % 3
    pixels = torch.randint(0, 120, (180, 2, 9, 8), generator=generator, dtype=torch.uint8)
    for picture, label in zip(pixels, labels.tolist(), strict=True):
        picture[:, 3 * label : 3 * label + 3] += 130
    split = Split(pixels[:150], labels[:150]), Split(pixels[150:], labels[150:])
    return Dataset("stripes", InputSpec(2, 9, 8, 3), *split, ("a", "b", "c"), "made here", "stripes-1")


def test_the_table_is_free_of_torch() -> None:
    code = "import sys, judges.classifiers; sys.exit('torch' in sys.modules)"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


def test_an_unknown_judge_is_named(stripes: Dataset) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'lenet'"):
        get_judge("lenett", stripes, seed=0)


@pytest.mark.parametrize("name", sorted(JUDGES))
def test_every_judge_learns_stripes(name: str, stripes: Dataset, cache: Path) -> None:
    epochs: list[tuple[int, int]] = []
    judge = get_judge(name, stripes, seed=0, progress=lambda done, of: epochs.append((done, of)))
    assert judge.accuracy > 0.9
    assert judge.chance == pytest.approx(1 / 3)
    assert (judge.n_train, judge.n_test, judge.dataset) == (150, 30, "stripes")
    assert [done for done, _ in epochs] == list(range(1, len(epochs) + 1))
    inputs, labels = stripes.test.batch()
    seen, confidence = judge.predict(inputs)
    assert (seen == labels).double().mean().item() == pytest.approx(judge.accuracy)
    assert ((confidence > 1 / 3) & (confidence <= 1)).all()
    assert "model" not in judge.facts()


def test_what_is_not_finite_shows_no_class(stripes: Dataset, cache: Path) -> None:
    judge = cached_judge("lenet", stripes, seed=0, settings=FEW)
    inputs, _ = stripes.test.batch(slice(0, 3))
    clean, confidence = judge.predict(inputs)
    inputs[1, 0, 0, 0] = torch.nan
    seen, sure = judge.predict(inputs)
    assert seen.tolist() == [clean[0], -1, clean[2]]
    assert sure.tolist() == pytest.approx([float(confidence[0]), 0.0, float(confidence[2])])


def retrained(stripes: Dataset, *, seed: int = 0) -> bool:
    epochs: list[int] = []
    cached_judge("lenet", stripes, seed=seed, settings=FEW, progress=lambda done, _: epochs.append(done))
    return bool(epochs)


def test_the_cache_is_used_and_holds_the_same_judge(stripes: Dataset, cache: Path) -> None:
    first = cached_judge("lenet", stripes, seed=0, settings=FEW)
    assert not retrained(stripes)
    second = cached_judge("lenet", stripes, seed=0, settings=FEW)
    inputs, _ = stripes.test.batch()
    assert torch.equal(first.model(inputs), second.model(inputs))
    assert first.facts() == second.facts()
    assert [path.parent for path in cache.rglob("*.safetensors")] == [cache / "judges"]


def test_the_key_holds_all_that_matters(stripes: Dataset, cache: Path) -> None:
    assert retrained(stripes)
    assert retrained(stripes, seed=1)
    assert retrained(dataclasses.replace(stripes, digest="stripes-2"))
    assert not retrained(stripes)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(bytes(content))


def swap_the_tensors(path: Path) -> None:
    save_file({name: tensor + 1 for name, tensor in load_file(path).items()}, path)


@pytest.mark.parametrize("damage", [cut, flip_a_bit, swap_the_tensors, Path.unlink])
def test_a_corrupt_cache_is_trained_anew(damage: Callable[[Path], None], stripes: Dataset, cache: Path) -> None:
    cached_judge("lenet", stripes, seed=0, settings=FEW)
    (path,) = cache.rglob("*.safetensors")
    sound = path.read_bytes()
    damage(path)
    assert retrained(stripes)
    assert path.read_bytes() == sound
    assert not retrained(stripes)


def test_training_is_deterministic_in_threads_and_touches_no_global_stream(stripes: Dataset) -> None:
    torch.manual_seed(123)
    before = torch.get_rng_state()
    results = []

    def work() -> None:
        model = build(JudgeLeNet, stripes.spec, seed=4)
        results.append(train(model, stripes.train, FEW, seed=4))

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


def test_training_stops_early_and_keeps_the_best_epoch(stripes: Dataset) -> None:
    pixels = (stripes.train.batch()[0] * 255).to(torch.uint8)
    noise = Split(pixels, torch.randint(0, 3, (150,), generator=torch.Generator().manual_seed(1)))
    epochs: list[int] = []
    settings = JudgeSettings(max_epochs=40, patience=3)
    model = build(JudgeLeNet, stripes.spec, seed=0)
    best = train(model, noise, settings, seed=0, progress=lambda done, _: epochs.append(done))
    assert epochs[-1] < 40
    assert all(torch.equal(parameter, best[name]) for name, parameter in model.named_parameters())


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
    assert shifted(picture, 0, torch.Generator()) is picture


def test_a_large_data_set_gets_fewer_passes() -> None:
    settings = JudgeSettings(max_epochs=40, max_examples=1000)
    assert [settings.epochs(count) for count in (10, 100, 5000)] == [40, 10, 1]


def test_the_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SPIKELEAK_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "spikeleak" / "judges"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "spikeleak" / "judges"
    monkeypatch.setenv("SPIKELEAK_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own" / "judges"


def test_a_picture_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="4x4"):
        JudgeLeNet(InputSpec(1, 3, 8, 2))


@pytest.mark.slow
def test_the_digits_judge_reaches_its_target(cache: Path) -> None:
    assert get_judge("lenet", load_dataset("digits"), seed=0).accuracy >= 0.95
