"""Files that would run code, or fill the memory, wherever a file is read: refused at once, and nothing is run."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import tonic.io  # noqa: F401 - what a loader imports first takes longer than it may take to refuse a file
import torch
import torchvision.datasets  # noqa: F401

from fl_sim.checkpoints import Stored, load_checkpoint, load_stored
from fl_sim.datasets.images import cifar100
from fl_sim.datasets.reading import integrity
from fl_sim.datasets.recordings import dvs_gesture, nmnist
from fl_sim.errors import DataError
from fl_sim.records import CapturedUpdate, SealedBatch, TrainedModel, load_record
from judges import cli
from judges.classifiers.cache import cache_folder, cached_judges, load_judge
from tests.fl_sim.test_datasets import make_cifar100
from tests.judges.bench.test_gradient_inversion import run

SECONDS, MEGABYTES = 5.0, 200  # of processor time: a collection of garbage takes a second late in a long session
MARKER = "executed"
NO_STEP: dict[str, Any] = {
    "name": "tiny",
    "dataset": {"name": "digits", "split": "test", "size": 12},
    "model": "lenet",
    "federation": {"clients": 1},
    "attack": {"name": "idlg", "iterations": 0},
    "judge": "none",
}
"""The config of a small run whose attack takes no step."""


class Bomb:
    """Makes a file where it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.marker),)


def torch_file(marker: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save({"w": Bomb(marker)}, buffer)
    return buffer.getvalue()


def object_npz(marker: Path) -> bytes:
    buffer = io.BytesIO()
    array = np.empty(1, dtype=object)
    array[0] = Bomb(marker)
    np.savez(buffer, images=array, fine_labels=array, label_names=array)
    return buffer.getvalue()


def safetensors_of(header: object, length: int | None = None, body: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + body


def terabyte(_: Path) -> bytes:
    """Return a file whose header declares a tensor of 1 TB."""
    size = 10**12
    tensor = {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}
    return safetensors_of({"__metadata__": {"spikeleak": "{}"}, "w": tensor}, body=bytes(64))


def deep_json(_: Path) -> bytes:
    """Return a safetensors file whose own part is JSON of many levels."""
    return safetensors.torch.save({"w": torch.zeros(1)}, {"spikeleak": "[" * 200_000})


BOMBS: dict[str, Callable[[Path], bytes]] = {
    "pickle": lambda marker: pickle.dumps(Bomb(marker)),
    "torch": torch_file,
    "npz of objects": object_npz,
    "pickle behind a header": lambda marker: safetensors_of({"w": 1}, body=pickle.dumps(Bomb(marker))),
    "a header of 1 TB": lambda _: safetensors_of({}, length=10**12),
    "a tensor of 1 TB": terabyte,
    "a shape that overflows": lambda _: safetensors_of(
        {"w": {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 4]}}, body=bytes(4)
    ),
    "deep JSON": deep_json,
    "JSON of another kind": lambda _: safetensors.torch.save({"w": torch.zeros(1)}, {"spikeleak": '"text"'}),
}


def resident(key: str) -> int:
    """Return a line of the process's status in kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(f"{key}:")))


@contextmanager
def harmless(marker: Path) -> Iterator[None]:
    """Check time and peak memory of what is done, and that nothing was run."""
    measured = Path("/proc/self/clear_refs").exists()
    if measured:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = resident("VmRSS") if measured else 0
    started = time.process_time()
    yield
    assert time.process_time() - started < SECONDS
    if measured:
        assert resident("VmHWM") - before < MEGABYTES * 1024
    assert not marker.exists()


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / MARKER


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Return a function that runs the command; it must end with code 3 and one paragraph that names the file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SPIKELEAK_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("SPIKELEAK_CACHE", str(tmp_path / "cache"))

    def refused(path: Path, *arguments: object, code: int = 3) -> None:
        monkeypatch.setattr(sys, "argv", ["spikeleak", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        err = capsys.readouterr().err
        assert ended.value.code == code, err
        told = err.splitlines()[-1]  # progress before it
        assert told.startswith("spikeleak: "), err
        assert "Traceback" not in err
        assert path.name in told, err
        assert "expected" in told, err

    return refused


def test_the_bombs_go_off(tmp_path: Path) -> None:
    """A bomb that no one can set off proves nothing."""
    for number, name in enumerate(["pickle", "torch"]):
        content = BOMBS[name](tmp_path / str(number))
        if name == "pickle":
            pickle.loads(content)  # noqa: S301 - our own
        else:
            torch.load(io.BytesIO(content), weights_only=False)
        assert (tmp_path / str(number)).is_dir()
    with np.load(io.BytesIO(object_npz(tmp_path / "2")), allow_pickle=True) as stored:
        assert len(stored["images"]) == 1
    assert (tmp_path / "2").is_dir()


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".npz"])
def test_a_bomb_is_no_record(bomb: str, suffix: str, tmp_path: Path, marker: Path, call: Any) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(BOMBS[bomb](marker))
    for kind in (TrainedModel, CapturedUpdate, SealedBatch):
        with harmless(marker), pytest.raises(DataError, match=rf"{path}: expected a {kind.__name__}"):
            load_record(kind, path)
    with harmless(marker):
        call(path, "invert", path)


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_in_the_cache_is_no_file(bomb: str, tmp_path: Path, marker: Path, call: Any) -> None:
    path = cache_folder() / f"{'0' * 32}.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(BOMBS[bomb](marker))
    with harmless(marker):
        assert load_judge(path) is None
        assert load_stored(Stored, path) is None
        assert load_checkpoint(path, torch.nn.Linear(1, 1)) is None
        assert cached_judges() == {path: None}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_no_data(bomb: str, tmp_path: Path, marker: Path) -> None:
    path = make_cifar100(tmp_path) / "cifar100_test.npz"
    path.write_bytes(BOMBS[bomb](marker))
    with harmless(marker), pytest.raises(DataError, match=r"cifar100_test\.npz: expected an .npz file"):
        cifar100.read(path.parent, 0)
    original = tmp_path / "cifar-100-python"
    original.mkdir()
    (original / "train").write_bytes(BOMBS[bomb](marker))
    with harmless(marker), pytest.raises(DataError, match="train: expected a file of the original CIFAR-100 with md5"):
        cifar100.read(original, 0)
    gesture = tmp_path / "DVSGesture" / dvs_gesture.TRAIN / "user01_led" / "0.npy"
    gesture.parent.mkdir(parents=True)
    gesture.write_bytes(BOMBS[bomb](marker))
    for label in (1, 8):
        np.save(gesture.with_name(f"{label}.npy"), np.zeros((1, 4)))
    with harmless(marker), pytest.raises(DataError, match=r"0\.npy: expected an .npy file of events"):
        dvs_gesture.read(tmp_path / "DVSGesture", 0)


def test_an_archive_that_unpacks_to_gigabytes_is_not_unpacked(
    tmp_path: Path, marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert integrity.MOST_UNPACKED < MEGABYTES * 1_000_000
    monkeypatch.setattr(integrity, "MOST_UNPACKED", 1 << 20)
    path = make_cifar100(tmp_path) / "cifar100_test.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", bytes(1 << 24))
    with harmless(marker), pytest.raises(DataError, match=r"cifar100_test.npz: .*images.npy.* 16,777,216 bytes"):
        cifar100.read(path.parent, 0)
    with zipfile.ZipFile(tmp_path / "NMNIST.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("NMNIST/Train/1/00001.bin", bytes(1 << 24))
        archive.writestr("NMNIST/Test/1/00001.bin", bytes(5))
    with harmless(marker), pytest.raises(DataError, match=r"NMNIST.zip: .*00001.bin.* 16,777,216 bytes"):
        nmnist.read(tmp_path / "NMNIST.zip", 0)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    run(folder, NO_STEP)
    return folder


READ_BY = {
    "manifest.json": ["report"],
    "summary.json": ["report"],
    "scores.csv": ["report", "attack"],
    "gallery/*.safetensors": ["report"],
    "captures/*/r*.safetensors": ["attack"],
    "captures/*/model-*.safetensors": ["attack"],
    "sealed/*/*.safetensors": ["attack"],
    "files.sha256": ["verify"],
}


@pytest.mark.parametrize("bomb", ["pickle", "torch", "a tensor of 1 TB", "deep JSON"])
@pytest.mark.parametrize("pattern", READ_BY)
def test_a_bomb_in_a_run_is_no_result(
    pattern: str, bomb: str, finished: Path, tmp_path: Path, marker: Path, call: Any
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    (path,) = folder.glob(pattern)
    path.write_bytes(BOMBS[bomb](marker))
    for command in READ_BY[pattern]:
        if command == "report":
            (folder / "files.sha256").unlink()  # by which it would be refused unread
        more = ["--set", "attack=dlg", "--set", "attack.iterations=0"] if command == "attack" else []
        with harmless(marker):
            call(path, command, folder, *more)


@pytest.mark.parametrize("name", ["manifest.json", "summary.json"])
def test_json_of_many_levels_is_no_result(name: str, finished: Path, tmp_path: Path, marker: Path, call: Any) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    (folder / name).write_text("[" * 200_000)
    (folder / "files.sha256").unlink()  # by which it would be refused unread
    with harmless(marker):
        call(folder / name, "report", folder)
