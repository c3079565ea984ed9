"""Files of event recordings that are whole or damaged, and their downloads."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from fl_sim.datasets import DATASETS, load_dataset
from fl_sim.datasets.events.cache import frames_folder
from fl_sim.datasets.recordings import dvs_gesture
from fl_sim.errors import ConfigError, DataError
from fl_sim.specs import Framing
from tests.fl_sim.test_datasets import DAMAGE
from tests.fl_sim.test_events import Rows, check

FLIPPED = ("flipped", "flipped in the middle")

pytestmark = pytest.mark.usefixtures("home")


def nmnist_bytes(rows: Iterable[tuple[int, int, int, int]]) -> bytes:
    """Return events as N-MNIST stores them: x, y, then a bit of polarity and 23 bits of time, high byte first."""
    return b"".join(bytes([x, y]) + (p << 23 | t).to_bytes(3, "big") for x, y, t, p in rows)


def dvs_bytes(rows: Iterable[tuple[int, int, int, int]]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([(x, y, p, (t + 0.3) / 1000) for x, y, t, p in rows], dtype=np.float32))
    return buffer.getvalue()


def some_events(seed: int, side: int, count: int = 21) -> Rows:
    draw = np.random.default_rng(seed)
    xyp = np.stack([draw.integers(0, high, count) for high in (side, side, 2)], axis=1).tolist()
    times = np.sort(draw.integers(0, 300_000, count)).tolist()
    return [(x, y, t, p) for (x, y, p), t in zip(xyp, times, strict=True)]


def contents_of(name: str) -> dict[str, bytes]:
    """Return a small whole copy of a data set: its files by their path in its folder."""
    if name == "nmnist":
        paths = [f"Train/{n % 3}/{n:05d}.bin" for n in range(1, 8)] + ["Test/0/00001.bin", "Test/9/00002.bin"]
        return {path: nmnist_bytes(some_events(n, 34)) for n, path in enumerate(paths)}
    users = [("Train", 1, (0, 2, 10)), ("Train", 12, (0, 1)), ("Test", 24, (0, 3))]
    paths = [f"ibmGesture{split}/user{user:02d}_led/{label}.npy" for split, user, gs in users for label in gs]
    return {path: dvs_bytes(some_events(n, 128)) for n, path in enumerate(paths)}


def put(root: Path, name: str, contents: dict[str, bytes], *, packed: bool) -> Path:
    """Write the files of a data set as a folder or a zip; return which."""
    folder = root / DATASETS[name].layouts[0]
    if packed:
        root.mkdir(parents=True, exist_ok=True)
        folder = root / DATASETS[name].layouts[1]
        folder.write_bytes(zipped({f"{folder.stem}/{path}": content for path, content in contents.items()}))
        return folder
    for path, content in contents.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def zipped(contents: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_LZMA) as archive:
        for path, content in contents.items():
            archive.writestr(path, content)
    return buffer.getvalue()


def refused(name: str, root: Path, *words: str) -> str:
    with pytest.raises(DataError) as caught:
        load_dataset(name, root=str(root))
    text = str(caught.value)
    assert caught.value.exit_code == 3
    assert "\n" not in text
    assert all(word in text for word in ("expected", "found", *words)), text
    assert not frames_folder().exists()
    return text


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
@pytest.mark.parametrize("name", ["nmnist", "dvs_gesture"])
def test_a_whole_copy_is_read_in_the_order_of_numbers(name: str, packed: bool, tmp_path: Path) -> None:
    contents = contents_of(name)
    # Another order of files, as another file system would give, changes nothing.
    where = put(tmp_path / "root", name, dict(reversed(contents.items())), packed=packed)
    data = load_dataset(name, root=str(tmp_path / "root"))
    check(data)
    assert data.spec.frame == DATASETS[name].shape
    assert data.spec.timesteps == {"nmnist": 10, "dvs_gesture": 20}[name]
    assert (data.spec.low, data.spec.high) == (0, 1)
    expected = {"nmnist": ([0, 0, 1, 1, 1, 2, 2], [0, 9]), "dvs_gesture": ([0, 2, 10, 0, 1], [0, 3])}[name]
    assert (data.train.labels.tolist(), data.test.labels.tolist()) == expected
    assert data.source.startswith(f"{where}: ")
    assert "no hash" in data.source
    counted = load_dataset(name, root=str(tmp_path / "root"), framing=Framing(voxels="counts", time_bins=3))
    assert counted.train.batch()[0].sum() == 21 * len(counted.train)
    assert counted.spec.high == counted.train.batch()[0].max()
    smaller = load_dataset(name, root=str(tmp_path / "root"), size=16, framing=Framing(polarity="merged"))
    check(smaller)
    assert smaller.spec.frame == (1, 16, 16)


def test_events_reach_the_frames_as_they_are_stored(tmp_path: Path) -> None:
    row: Rows = [(33, 1, 0, 1), (2, 3, 299_999, 0)]
    put(
        tmp_path, "nmnist", {"Train/4/00001.bin": nmnist_bytes(row), "Test/4/00001.bin": nmnist_bytes(row)}, packed=True
    )
    frames, labels = load_dataset("nmnist", root=str(tmp_path)).train.batch()
    assert (frames.nonzero().tolist(), labels.tolist()) == ([[0, 0, 1, 1, 33], [9, 0, 0, 3, 2]], [4])
    row = [(127, 0, 7, 1), (5, 126, 19_999, 0), (5, 126, 20_006, 0)]  # bins of 1,000 us from 7 us on
    put(tmp_path, "dvs_gesture", {p: dvs_bytes(row) for p in contents_of("dvs_gesture")}, packed=False)
    frames, _ = load_dataset("dvs_gesture", root=str(tmp_path)).test.batch(slice(0, 1))
    assert frames.nonzero().tolist() == [[0, 0, 1, 0, 127], [19, 0, 0, 126, 5]]


def test_a_part_of_dvs_gesture_is_split_by_recording(tmp_path: Path) -> None:
    part = {f"ibmGestureTrain/user00_unknown/{n}.npy": dvs_bytes(some_events(n, 128)) for n in range(10)}
    put(tmp_path, "dvs_gesture", part, packed=True)
    data = load_dataset("dvs_gesture", root=str(tmp_path), framing=Framing(window_ms=100))
    check(data)
    assert set(data.train.labels.tolist()) == set(range(8))
    assert set(data.test.labels.tolist()) == {8, 9}
    assert len(data.train) > 8
    assert (data.spec.classes, data.class_names[9]) == (11, "air guitar")
    assert "split by recording" in data.source
    # Two recordings of a class and no test folder: an original that was not unpacked to its end.
    part["ibmGestureTrain/user01_led/0.npy"] = part["ibmGestureTrain/user00_unknown/0.npy"]
    put(tmp_path, "dvs_gesture", part, packed=True)
    with pytest.raises(DataError, match="expected recordings in the folder ibmGestureTest, found none"):
        dvs_gesture.read(tmp_path / "DVSGesture.zip", 0)


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_only_the_first_classes_are_read(packed: bool, tmp_path: Path) -> None:
    contents = {"nmnist": contents_of("nmnist"), "dvs_gesture": contents_of("dvs_gesture")}
    contents["nmnist"] |= {"Test/1/00003.bin": nmnist_bytes(some_events(3, 34)), "Test/9/00002.bin": b"not read"}
    for name in contents:
        put(tmp_path, name, contents[name], packed=packed)
    digits = load_dataset("nmnist", root=str(tmp_path), framing=Framing(classes=2))
    check(digits)
    assert (digits.train.labels.tolist(), digits.test.labels.tolist()) == ([0, 0, 1, 1, 1], [0, 1])
    assert (digits.spec.classes, digits.class_names) == (2, ("0", "1"))
    assert digits.source.endswith("; of these, the recordings of the first 2 of 10 classes")
    gestures = load_dataset("dvs_gesture", root=str(tmp_path), framing=Framing(classes=10))
    check(gestures)
    assert (gestures.train.labels.tolist(), gestures.test.labels.tolist()) == ([0, 2, 0, 1], [0, 3])
    assert (gestures.spec.classes, gestures.class_names[-1]) == (10, "air guitar")
    everything = load_dataset("dvs_gesture", root=str(tmp_path))
    assert torch.equal(gestures.train.batch()[0], everything.train.batch(torch.tensor([0, 1, 3, 4]))[0])
    assert "of these" not in everything.source


def test_a_number_of_classes_that_cannot_be_is_refused(tmp_path: Path) -> None:
    part = {f"ibmGestureTrain/user00_unknown/{n}.npy": dvs_bytes(some_events(n, 128)) for n in range(10)}
    where = put(tmp_path, "dvs_gesture", part, packed=True)
    put(tmp_path, "nmnist", contents_of("nmnist"), packed=True)
    for name, most in (("nmnist", 10), ("dvs_gesture", 11), ("digits_dvs", 10)):
        with pytest.raises(ConfigError, match=rf"dataset\.classes: expected at most {most}, .* found {most + 1}"):
            load_dataset(name, root=str(tmp_path), framing=Framing(classes=most + 1))
    assert load_dataset("dvs_gesture", root=str(tmp_path), framing=Framing(classes=9)).test.labels.tolist() == [8]
    with pytest.raises(ConfigError, match=r"dataset\.classes: expected .* first 8 classes in both splits") as caught:
        load_dataset("dvs_gesture", root=str(tmp_path), framing=Framing(classes=8))
    assert f"{where}, found none among the 2" in str(caught.value)


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", ["nmnist", "dvs_gesture"])
def test_a_damaged_zip_is_named_with_what_was_found(name: str, damage: str, tmp_path: Path) -> None:
    path = put(tmp_path, name, contents_of(name), packed=True)
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    text = refused(name, tmp_path, str(path), "an empty file" if damage == "empty" else "bytes that begin with")
    assert ("<!DOCTYPE" in text) == (damage == "web page")


def test_a_flipped_bit_in_a_stored_recording_is_found_by_its_crc(tmp_path: Path) -> None:
    path = tmp_path / "NMNIST.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents_of("nmnist").items():
            archive.writestr(f"NMNIST/{name}", content)
    content = path.read_bytes()
    at = content.index(contents_of("nmnist")["Train/2/00002.bin"])
    path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    refused("nmnist", tmp_path, "'Train/2/00002.bin': Bad CRC-32")


@pytest.mark.parametrize("damage", sorted(DAMAGE.keys() - FLIPPED))
@pytest.mark.parametrize("name", ["nmnist", "dvs_gesture"])
def test_a_damaged_recording_is_named_with_what_was_found(name: str, damage: str, tmp_path: Path) -> None:
    contents = contents_of(name)
    member = next(iter(contents))
    contents[member] = DAMAGE[damage](contents[member])
    found = "an empty file" if damage == "empty" else "bytes that begin with"
    refused(name, tmp_path / "a", str(put(tmp_path / "a", name, contents, packed=False) / member), found)
    refused(name, tmp_path / "b", f"{put(tmp_path / 'b', name, contents, packed=True)}", member, found)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([(1, 0, 5, 1), (34, 0, 5, 1)], "with x 34 in row 1 "),
        ([(0, 99, 5, 1)], "with y 99 in row 0 "),
        ([(0, 240, 5, 1)], "with no event"),
        ([(0, 0, 5, 1), (0, 0, 9, 1), (0, 0, 8, 1)], "with time 8 after 9 in row 2 "),
    ],
)
def test_events_off_the_sensor_are_refused(rows: Rows, words: str, tmp_path: Path) -> None:
    put(tmp_path, "nmnist", {**contents_of("nmnist"), "Train/1/00001.bin": nmnist_bytes(rows)}, packed=False)
    refused("nmnist", tmp_path, "Train/1/00001.bin", "x below 34, y below 34", words)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((3, 5), dtype=np.float32), "float32 (3, 5)"),
        (np.zeros((0, 4)), "no event"),
        (np.array([[128.0, 0, 0, 0]]), "x 128 in row 0 "),
        (np.array([[0.0, 0, 2, 0]]), "polarity 2 in row 0 "),
        (np.array([[0.0, 0, 0, 0], [0, 0, 0.5, 1]]), "polarity 0.5 in row 1 "),
        (np.array([[0.0, 0.25, 0, 0]]), "y 0.25 in row 0 "),
        (np.array([[0.0, 0, 0, np.nan]]), "time nan in row 0 "),
        (np.array([[0.0, 0, 0, 1e300]]), "time 1e+303 in row 0 "),
        (np.array([[0.0, 0, 0, -1]]), "time -1000 in row 0 "),
        (np.array([[0.0, 0, 0, 3], [0, 0, 0, 1]]), "time 1000 after 3000 in row 1 "),
        (np.array([[0.0, 0, 0, 0], [0, 0, 0, 1e9]]), "time 1000000000000 in row 1, more than a day after the first"),
        (np.array([[0.0, -1, 0, 0]]), "y -1 in row 0 "),
        (np.array([[0, 0, 0, "now"]]), "<U"),
        (np.array([[0, 0, 0, None]]), "Object arrays cannot be loaded"),
    ],
)
def test_an_npy_of_something_else_is_refused(array: npt.NDArray[Any], words: str, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, array)
    put(
        tmp_path,
        "dvs_gesture",
        {**contents_of("dvs_gesture"), "ibmGestureTrain/user01_led/2.npy": buffer.getvalue()},
        packed=False,
    )
    refused("dvs_gesture", tmp_path, "ibmGestureTrain/user01_led/2.npy", "an .npy file of events (N, 4)", words)


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
@pytest.mark.parametrize("name", ["Train/1/../../../x.bin", "Train/1/notes.txt", "Train/11/00001.bin", "Train/1/1.bin"])
def test_a_foreign_name_is_refused(name: str, packed: bool, tmp_path: Path) -> None:
    if ".." in name and not packed:
        return  # no folder lists such a name
    put(tmp_path, "nmnist", {**contents_of("nmnist"), name: b"foreign"}, packed=packed)
    refused("nmnist", tmp_path, f"an additional file '{name}'")


def test_what_lies_beside_the_recordings_is_left_alone(tmp_path: Path) -> None:
    beside = {"train.zip": b"tonic's archive", "Train/1/.DS_Store": b"a desktop's own", "Notes/1.txt": b""}
    put(tmp_path, "nmnist", {**contents_of("nmnist"), **beside}, packed=False)
    check(load_dataset("nmnist", root=str(tmp_path)))


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_a_missing_split_is_refused(packed: bool, tmp_path: Path) -> None:
    contents = {path: content for path, content in contents_of("nmnist").items() if path.startswith("Train")}
    put(tmp_path, "nmnist", contents, packed=packed)
    refused("nmnist", tmp_path, "recordings in the folder Test", "found none")
    put(tmp_path / "b", "dvs_gesture", {}, packed=True)
    refused("dvs_gesture", tmp_path / "b", "recordings such as ibmGestureTrain", "found none")
    (tmp_path / "c" / "NMNIST").mkdir(parents=True)
    refused("nmnist", tmp_path / "c", str(tmp_path / "c" / "NMNIST"), "found none")
    (tmp_path / "d" / "NMNIST.zip").mkdir(parents=True)
    refused("nmnist", tmp_path / "d", "found a folder")
