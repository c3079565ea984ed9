"""Damaged data in every form that a loader reads: refused with the file, or named as not to be verified."""

from __future__ import annotations

import hashlib
import random
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.font_manager  # noqa: F401 - it writes a cache where it is first imported, which no test shall see
import pytest
import tomli_w

import fl_sim.datasets
from fl_sim.datasets import DATASETS, load_dataset
from fl_sim.errors import DataError
from judges import cli
from tests.fl_sim.test_datasets import (
    DAMAGE,
    grey,
    make_att_faces,
    make_cifar10,
    make_cifar100,
    make_fashion_mnist,
    make_lfw,
    make_mnist,
    pickled,
)
from tests.fl_sim.test_events_files import contents_of, put

FLIPS, SEED = 12, 3
Make = Callable[[Path, pytest.MonkeyPatch], Path]


def original_cifar100(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a small original whose hashes are taken for the published ones."""
    from torchvision.datasets import CIFAR100

    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    images = grey(0, 6, 3 * 32 * 32)
    contents = {
        "train": pickled(data=images[:4], fine_labels=[7, 99, 0, 1]),
        "test": pickled(data=images[4:], fine_labels=[3, 4]),
        "meta": pickled(fine_label_names=[f"class{number}" for number in range(100)]),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    md5 = {name: hashlib.md5(content).hexdigest() for name, content in contents.items()}  # noqa: S324
    monkeypatch.setattr(CIFAR100, "train_list", [["train", md5["train"]]])
    monkeypatch.setattr(CIFAR100, "test_list", [["test", md5["test"]]])
    monkeypatch.setitem(CIFAR100.meta, "md5", md5["meta"])
    return folder / "test"


def events(name: str, *, packed: bool) -> Make:
    def make(root: Path, _: pytest.MonkeyPatch) -> Path:
        contents = contents_of(name)
        where = put(root, name, contents, packed=packed)
        return where if packed else where / next(iter(contents))

    return make


FORMS: dict[str, tuple[str, Make]] = {
    "mnist packed": ("mnist", lambda root, patch: make_mnist(root, patch) / "train-images-idx3-ubyte.gz"),
    "mnist": ("mnist", lambda root, patch: make_mnist(root, patch, packed=False) / "t10k-labels-idx1-ubyte"),
    "fashion_mnist": ("fashion_mnist", lambda r, patch: make_fashion_mnist(r, patch) / "t10k-images-idx3-ubyte.gz"),
    "cifar10": ("cifar10", lambda root, patch: make_cifar10(root, patch) / "data_batch_2"),
    "cifar100 npz": ("cifar100", lambda root, _: make_cifar100(root) / "cifar100_train.npz"),
    "cifar100 original": ("cifar100", original_cifar100),
    "lfw": ("lfw", lambda root, _: make_lfw(root) / "Bob_Two" / "Bob_Two_0002.jpg"),
    "att_faces": ("att_faces", lambda root, _: make_att_faces(root) / "s40" / "10.pgm"),
    "att_faces 64x64": ("att_faces", lambda root, _: make_att_faces(root, (64, 64), "olivetti_faces") / "s1/1.pgm"),
    "att_faces_8_9": ("att_faces_8_9", lambda root, _: make_att_faces(root) / "s3" / "8.pgm"),
    "nmnist zip": ("nmnist", events("nmnist", packed=True)),
    "nmnist folder": ("nmnist", events("nmnist", packed=False)),
    "dvs_gesture zip": ("dvs_gesture", events("dvs_gesture", packed=True)),
    "dvs_gesture folder": ("dvs_gesture", events("dvs_gesture", packed=False)),
}
UNVERIFIABLE = {"lfw", "att_faces", "att_faces 64x64", "att_faces_8_9", "nmnist folder", "dvs_gesture folder"}
"""Plain pixels or events: a flipped bit among them makes another picture, which no checksum of the format reveals. All
other forms are checked by published hashes, or by the CRC of their archive."""
SAID = re.compile("differ from the original|no hash to verify")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the data and the caches of whoever runs the tests."""
    monkeypatch.setenv("SPIKELEAK_DATA", str(tmp_path / "root"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("SPIKELEAK_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def outcome(name: str, root: Path) -> tuple[str, str]:
    """Return (digest, source) of what is read, or ("", the error)."""
    fl_sim.datasets._load.cache_clear()
    try:
        data = load_dataset(name, root=str(root))
    except DataError as error:
        return "", str(error)
    return data.digest, data.source


@pytest.mark.parametrize("form", FORMS)
def test_a_flipped_bit_is_found_or_the_data_are_called_unverified(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, make = FORMS[form]
    path = make(tmp_path / "root", monkeypatch)
    whole, _ = outcome(name, tmp_path / "root")
    assert whole
    content, changed = path.read_bytes(), 0
    draw = random.Random(SEED)  # noqa: S311 - a seeded draw of test cases
    for turn in range(FLIPS):
        at = draw.randrange(len(content) // 2 if turn % 2 else 0, len(content))
        damaged = bytearray(content)
        damaged[at] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        digest, said = outcome(name, tmp_path / "root")
        if not digest:
            assert str(path) in said
            assert "expected" in said
            assert "found" in said
        elif digest != whole:
            changed += 1
            assert SAID.search(said), said
    assert (changed > 0) == (form in UNVERIFIABLE)


@pytest.mark.parametrize("damage", ["empty", "web page", "truncated"])
@pytest.mark.parametrize("form", FORMS)
def test_no_command_trains_on_a_damaged_file(
    form: str, damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name, make = FORMS[form]
    path = make(tmp_path / "root", monkeypatch)
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    model = "spiking_lenet" if DATASETS[name].events else "lenet"
    (tmp_path / "x.toml").write_text(tomli_w.dumps({"name": "x", "dataset": name, "model": model, "judge": "none"}))
    before = set(tmp_path.rglob("*"))
    for arguments in (["run", "x.toml"], ["train", name], ["judge", "train", name]):
        fl_sim.datasets._load.cache_clear()
        monkeypatch.setattr(sys, "argv", ["spikeleak", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told: Any = capsys.readouterr()
        assert ended.value.code == 3, told.err
        assert told.err.startswith("spikeleak: ")
        assert told.err.count("\n") == 1
        assert all(part in told.err for part in (str(path), "expected", "found")), told.err
        assert ("an empty file" in told.err) == (damage == "empty")
        assert ("<!DOCTYPE" in told.err) == (damage == "web page")
    assert set(tmp_path.rglob("*")) == before
