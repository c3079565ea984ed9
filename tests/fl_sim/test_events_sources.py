"""Recordings of events as people have them: as downloaded, as other libraries convert them, with what desktops add."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fl_sim.datasets import load_dataset
from fl_sim.datasets.events import formats
from fl_sim.errors import DataError
from fl_sim.specs import Framing
from tests.fl_sim.test_events import Rows, check
from tests.fl_sim.test_events_files import contents_of, put, refused, some_events, zipped

pytestmark = pytest.mark.usefixtures("home")

NMNIST = contents_of("nmnist")


def write(root: Path, contents: dict[str, bytes]) -> Path:
    for name, content in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def inside(folder: str, contents: dict[str, bytes] = NMNIST) -> dict[str, bytes]:
    return {f"{folder}/{name}": content for name, content in contents.items()}


def of_split(which: str) -> bytes:
    return zipped({name: content for name, content in NMNIST.items() if name.startswith(which)})


MAC = {"__MACOSX/NMNIST/Train/1/._00001.bin": b"x", "NMNIST/.DS_Store": b"x", "NMNIST/Train/1/Thumbs.db": b"x"}
STRAY = {"Train/1/Thumbs.db": b"x", "Train/desktop.ini": b"x", "Train/1/._00001.bin": b"x", "Test/__MACOSX/a": b"x"}
FORMS: dict[str, dict[str, bytes]] = {
    "its two zips": {"NMNIST/Train.zip": of_split("Train"), "NMNIST/Test.zip": of_split("Test")},
    "its two zips in the root": {"train.zip": of_split("Train"), "test.zip": of_split("Test")},
    "a zip and a folder": {"Test.zip": of_split("Test"), **{n: c for n, c in NMNIST.items() if n.startswith("Train")}},
    "another name": inside("N-MNIST"),
    "a folder in a folder": inside("NMNIST/NMNIST"),
    "folders in the root": NMNIST,
    "stray files of desktops": inside("NMNIST", {**NMNIST, **STRAY}),
    "a zip without its folder": {"NMNIST.zip": zipped(NMNIST)},
    "a zip in a folder of any name": {"NMNIST.zip": zipped(inside("n-mnist-main/data"))},
    "a zip by a Mac": {"NMNIST.zip": zipped({**inside("NMNIST"), **MAC})},
    "a zip with backslashes": {"NMNIST.zip": zipped({n.replace("/", "\\"): c for n, c in inside("NMNIST").items()})},
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_n_mnist_is_the_same_data(form: str, tmp_path: Path) -> None:
    expected = load_dataset("nmnist", root=str(put(tmp_path / "whole", "nmnist", NMNIST, packed=False)))
    data = load_dataset("nmnist", root=str(write(tmp_path / "root", FORMS[form])))
    check(data)
    assert data.digest == expected.digest


@pytest.mark.parametrize("given", ["NMNIST", "NMNIST/Train", "NMNIST.zip"])
def test_the_root_may_be_the_data_set_itself(given: str, tmp_path: Path) -> None:
    put(tmp_path, "nmnist", NMNIST, packed=given.endswith("zip"))
    assert len(load_dataset("nmnist", root=str(tmp_path / given)).train) == 7


def savez(rows: Rows | dict[str, Any]) -> bytes:
    """Return events as SpikingJelly stores them."""
    buffer = io.BytesIO()
    x, y, t, p = zip(*rows, strict=True) if isinstance(rows, list) else ((),) * 4
    np.savez(buffer, **(rows if isinstance(rows, dict) else {"t": t, "x": x, "y": y, "p": p}))
    return buffer.getvalue()


def test_n_mnist_as_spikingjelly_converts_it_is_the_same(jelly: Callable[[str], Any], tmp_path: Path) -> None:
    whole = put(tmp_path / "whole", "nmnist", NMNIST, packed=False)
    converted = {
        f"NMNIST/events_np/{name.lower().replace('.bin', '.npz')}": savez(jelly("utils").load_ATIS_bin(whole / name))
        for name in NMNIST
    }
    write(tmp_path / "root", {**converted, "NMNIST/frames_number_4_split_by_number/train/1/00001.npz": b"not read"})
    expected = load_dataset("nmnist", root=str(tmp_path / "whole")).digest
    assert load_dataset("nmnist", root=str(tmp_path / "root")).digest == expected
    assert load_dataset("nmnist", root=str(tmp_path / "root" / "NMNIST" / "events_np")).digest == expected


GOOD: dict[str, Any] = {"x": [1, 2, 3], "y": [4, 5, 6], "t": [7, 8, 9], "p": [0, 1, 1]}
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "time backwards": ({"t": [7, 5, 9]}, "time 5 after 7 in row 1"),
    "off the sensor": ({"x": [1, 2, 34]}, "x 34 in row 2"),
    "a negative coordinate": ({"y": [4, -5, 6]}, "y -5 in row 1"),
    "a fraction": ({"y": [4.0, 5.5, 6.0]}, "y 5.5 in row 1"),
    "half a polarity": ({"p": [0.5, 1, 1]}, "polarity 0.5 in row 0"),
    "polarity of minus one": ({"p": [-1, 1, 1]}, "polarity -1 in row 0"),
    "a time of 1e300": ({"t": [7, 8, 1e300]}, "time 1e+300 in row 2"),
    "no number": ({"t": [7, np.nan, 9]}, "time nan in row 1"),
    "no number for x": ({"x": [np.nan, 2, 3]}, "x nan in row 0"),
    "a year": ({"t": [7, 8, 3 * 10**13]}, "more than a day after the first"),
    "another length": ({"p": [0, 1]}, "p int64 (2,)"),
    "text": ({"x": ["a", "b", "c"]}, "x <U1 (3,)"),
    "objects": ({"x": [None, None, None]}, "Object arrays cannot be loaded"),
    "nothing": ({"x": [], "y": [], "t": [], "p": []}, "no event"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_no_event_can_be_is_refused_with_its_row(kind: str, tmp_path: Path) -> None:
    changed, words = BAD[kind]
    name = "events_np/train/3/00001.npz"
    arrays = {key: np.array(value) for key, value in {**GOOD, **changed}.items()}
    write(tmp_path, {name: savez(arrays), "events_np/test/3/00001.npz": savez(GOOD)})
    refused("nmnist", tmp_path, str(tmp_path / name), words)


def test_frames_in_place_of_events_are_refused(tmp_path: Path) -> None:
    contents = {f"events_np/{split}/3/00001.npz": savez({"frames": np.zeros((2, 2))}) for split in ("train", "test")}
    refused("nmnist", write(tmp_path, contents), "the arrays x, y, t and p", "only frames.npy")


def aedat3(rows: Rows, *, per_packet: int = 5) -> bytes:
    """Return events as jAER and the authors of DVS Gesture store them, and a packet of another kind before them."""
    content = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#!END-HEADER\r\n"
    content += struct.pack("<HHIIIIII", 0, 1, 8, 4, 0, 1, 1, 1) + bytes(8)
    for start in range(0, len(rows), per_packet):
        part = rows[start : start + per_packet]
        content += struct.pack("<HHIIIIII", 1, 1, 8, 4, 0, len(part), len(part), len(part))
        content += b"".join(struct.pack("<II", x << 17 | y << 2 | p << 1 | 1, t) for x, y, t, p in part)
    return content


def columns_of(rows: Rows) -> dict[str, list[int]]:
    return dict(zip(("x", "y", "t", "p"), map(list, zip(*rows, strict=True)), strict=True))


def test_aedat_3_is_read_as_spikingjelly_reads_it(jelly: Callable[[str], Any], tmp_path: Path) -> None:
    rows = some_events(0, 128)
    path = tmp_path / "a.aedat"
    path.write_bytes(aedat3(rows))
    ours, theirs = formats.aedat3_columns(path.read_bytes(), path), jelly("utils").load_aedat_v3(path)
    for field, expected in columns_of(rows).items():
        assert ours[field].tolist() == theirs[field].tolist() == expected
    invalid = aedat3([(1, 2, 3, 1)])
    assert len(formats.aedat3_columns(invalid[:-8] + bytes([invalid[-8] & 0xFE]) + invalid[-7:], path)["t"]) == 0
    for content in (invalid[:-1], invalid[:-20], b"#!AER-DAT2.0\r\n", b"<!DOCTYPE html>", b""):
        with pytest.raises(DataError, match=rf"{path}: expected an AEDAT 3 recording, found"):
            formats.aedat3_columns(content, path)


def gestures() -> dict[str, bytes]:
    """Return DVS Gesture as its authors ship it: gestures 1 and 11, then 3, each of ten events."""
    contents = {
        "trials_to_train.txt": b"user01_led.aedat\nuser02_lab.aedat\n",
        "trials_to_test.txt": b"user24_led.aedat\n",
    }
    for seed, name in enumerate(("user01_led", "user02_lab", "user24_led")):
        first, second = some_events(seed, 128, 10), some_events(seed + 9, 128, 10)
        rows = [(x, y, t + 1_000_000, p) for x, y, t, p in first] + [(x, y, t + 3_000_000, p) for x, y, t, p in second]
        contents[f"{name}.aedat"] = aedat3([(0, 0, 5, 1), *rows])
        label = 11 if seed == 0 else 3
        table = f"class,startTime_usec,endTime_usec\n1,1000000,2000000\n{label},3000000,4000000\n"
        contents[f"{name}_labels.csv"] = table.encode()
    return contents


@pytest.mark.parametrize("where", ["DvsGesture", "DVS128Gesture/extract", "."])
def test_gestures_are_cut_as_the_authors_table_says(where: str, tmp_path: Path) -> None:
    data = load_dataset("dvs_gesture", root=str(write(tmp_path, inside(where, gestures()))), framing=COUNTS)
    check(data)
    assert (data.train.labels.tolist(), data.test.labels.tolist()) == ([0, 10, 0, 2], [0, 2])
    assert data.train.batch()[0].sum() == 40  # the event at 5 us is in no gesture
    assert "split by person, as the authors did" in data.source
    few = load_dataset("dvs_gesture", root=str(tmp_path), framing=Framing(classes=3))
    assert (few.train.labels.tolist(), few.spec.classes) == ([0, 0, 2], 3)


COUNTS = Framing(voxels="counts", time_bins=2)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("trials_to_test.txt", None, "trials_to_test.txt: expected a list of recordings"),
        ("trials_to_test.txt", b"../x.aedat\n", "'../x.aedat'"),
        ("user24_led.aedat", None, "user24_led.aedat: expected an AEDAT 3 recording, found no such file"),
        ("user24_led.aedat", b"#!AER-DAT3.1\r\n" + bytes(196), "with no event"),
        ("user24_led_labels.csv", b"1,2,3\n", "the first line '1,2,3'"),
        ("user24_led_labels.csv", b"class,startTime_usec,endTime_usec\n12,1,2\n", "'12,1,2' in line 2"),
        ("user24_led_labels.csv", b"class,startTime_usec,endTime_usec\n1,2,one\n", "'1,2,one' in line 2"),
        ("user24_led_labels.csv", b"class,startTime_usec,endTime_usec\n1,10,20\n", "events from 10 to 20 us"),
    ],
)
def test_a_damaged_trial_is_named(name: str, content: bytes | None, words: str, tmp_path: Path) -> None:
    contents = {**gestures(), name: content or b""}
    write(tmp_path, inside("DvsGesture", contents))
    if content is None:
        (tmp_path / "DvsGesture" / name).unlink()
    refused("dvs_gesture", tmp_path, words)
