"""Recordings of CIFAR10-DVS, N-CARS and the Spiking Heidelberg Digits, as authors and other libraries have them."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from expelliarmus import Wizard

from fl_sim.datasets import DATASETS, fetch, load_dataset
from fl_sim.datasets.events import formats
from fl_sim.datasets.recordings import cifar10_dvs
from fl_sim.errors import ConfigError, DataError
from fl_sim.specs import Framing
from fl_sim.testing import DATASET_PROMISES, check_dataset
from tests.fl_sim.test_events import Rows, check
from tests.fl_sim.test_events_files import some_events, zipped
from tests.fl_sim.test_events_sources import aedat3, columns_of, inside, savez, write

pytestmark = pytest.mark.usefixtures("home")


def aedat2(rows: Rows) -> bytes:
    """Return events of a DVS128 as jAER stores them: both axes swapped and mirrored, polarity 0 for on."""
    words = [value for x, y, t, p in rows for value in ((127 - x) << 8 | (127 - y) << 1 | (1 - p), t)]
    return b"#!AER-DAT2.0\r\n# made by hand\r\n" + np.array(words, dtype=">u4").tobytes()


def cifar10_dvs_files() -> dict[str, bytes]:
    return {
        f"{kind}/cifar10_{kind}_{number}.aedat": aedat2(some_events(10 * label + number, 128, 12))
        for label, kind in enumerate(cifar10_dvs.CLASS_NAMES)
        for number in range(3)
    }


def test_cifar10_dvs_is_read_as_spikingjelly_reads_it(jelly: Callable[[str], Any], tmp_path: Path) -> None:
    rows = some_events(4, 128)
    path = tmp_path / "a.aedat"
    path.write_bytes(aedat2(rows))
    theirs = jelly("cifar10_dvs")._load_origin_data(path)
    events = cifar10_dvs.LAYOUTS[0].events(path.read_bytes(), path)
    for field, expected in columns_of(rows).items():
        assert events[field].tolist() == theirs[field].tolist() == expected
    for content in (path.read_bytes()[:-1], b"<!DOCTYPE html>", aedat3(rows), b""):
        with pytest.raises(DataError, match="expected an AEDAT 2 recording"):
            cifar10_dvs.LAYOUTS[0].events(content, path)


def test_every_form_of_cifar10_dvs_is_the_same_data(tmp_path: Path) -> None:
    contents = cifar10_dvs_files()
    forms = {
        "folder": inside("CIFAR10DVS", contents),
        "zips": {
            f"{kind}.zip": zipped({name: content for name, content in contents.items() if name.startswith(f"{kind}/")})
            for kind in cifar10_dvs.CLASS_NAMES
        },
        "jelly": {
            f"events_np/{name.replace('.aedat', '.npz')}": savez(some_events(seed, 128, 12))
            for name, seed in zip(contents, (10 * label + n for label in range(10) for n in range(3)), strict=True)
        },
    }
    found = {form: load_dataset("cifar10_dvs", root=str(write(tmp_path / form, forms[form]))) for form in forms}
    assert len({data.digest for data in found.values()}) == 1
    # Nine tenths of three recordings, rounded, are all three; one is left for test nevertheless.
    assert found["zips"].train.labels.bincount().tolist() == [2] * 10
    assert found["zips"].test.labels.bincount().tolist() == [1] * 10


def dat(rows: Rows, version: int = 2) -> bytes:
    """Return events as Prophesee stores them."""
    shifts = (14, 28) if version == 2 else (9, 17)
    words = [value for x, y, t, p in rows for value in (t, x | y << shifts[0] | p << shifts[1])]
    header = f"% Data file containing TD events.\n% Version {version}\n% Date 2016-12-01 10:00:00\n".encode()
    return header + bytes([0, 8]) + np.array(words, dtype="<u4").tobytes()


@pytest.mark.parametrize("version", [1, 2])
def test_prophesees_files_are_read(version: int, tmp_path: Path) -> None:
    rows = some_events(5, 100)
    path = tmp_path / "a.dat"
    path.write_bytes(dat(rows, version))
    columns = formats.dat_columns(path.read_bytes(), path)
    assert {field: columns[field].tolist() for field in columns} == columns_of(rows)
    if version == 2:
        theirs = Wizard(encoding="dat").read(path)
        assert {field: theirs[field].tolist() for field in ("x", "y", "t", "p")} == columns_of(rows)
    for content in (path.read_bytes()[:-1], b"% nothing\n", b"%", b""):
        with pytest.raises(DataError, match=r"\.dat format, 8 bytes per event, found"):
            formats.dat_columns(content, path)


def ncars_files() -> dict[str, bytes]:
    return {
        f"n-cars_{split}/{kind}/obj_{number:06d}_td.dat": dat(some_events(seed + 3 * number, 100, 12))
        for seed, (split, kind) in enumerate((s, k) for s in ("train", "test") for k in ("cars", "background"))
        for number in range(2)
    }


def test_n_cars_is_read_in_folders_and_in_zips(tmp_path: Path) -> None:
    contents = ncars_files()
    data = load_dataset("ncars", root=str(write(tmp_path / "a", inside("N-CARS", contents))))
    check(data)
    assert data.train.labels.tolist() == [0, 0, 1, 1]
    zips = {
        f"n-cars_{split}.zip": zipped({n: c for n, c in contents.items() if n.startswith(f"n-cars_{split}")})
        for split in ("train", "test")
    }
    assert load_dataset("ncars", root=str(write(tmp_path / "b", zips))).digest == data.digest
    contents["n-cars_test/cars/obj_000000_td.dat"] = dat([(119, 100, 5, 1)])
    refused_after(tmp_path / "c", "ncars", inside("N-CARS", contents), "y below 100", "y 100 in row 0")


def refused_after(root: Path, name: str, contents: dict[str, bytes], *words: str) -> None:
    """Refused like the others, although an earlier read of this test left frames in the cache."""
    with pytest.raises(DataError) as caught:
        load_dataset(name, root=str(write(root, contents)))
    assert all(word in str(caught.value) for word in words), str(caught.value)


def hdf5(labels: list[int], times: list[list[float]], units: list[list[int]]) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["labels"] = np.array(labels, dtype=np.uint16)
        file["extra/keys"], file["extra/speaker"] = [b"zero"], [0]  # which tonic reads
        for key, rows, kind in (("times", times, np.float16), ("units", units, np.uint16)):
            stored = file.create_dataset(f"spikes/{key}", (len(rows),), dtype=h5py.vlen_dtype(kind))
            for index, row in enumerate(rows):
                stored[index] = np.array(row, dtype=kind)
    return buffer.getvalue()


def shd_files(changed: Callable[[list[list[int]]], None] = lambda _: None) -> dict[str, bytes]:
    units = [[0, 26, 27, 699], [5, 6, 7, 8], [9, 10, 11, 12]]
    changed(units)
    times = [[0.0, 0.25, 0.125, 0.5], [0.0, 0.1, 0.2, 0.3], [0.0, 0.1, 0.2, 0.3]]
    return {
        "shd_train.h5": hdf5([0, 19, 3], times, units),
        "shd_test.h5": hdf5([15, 16], [[0.0, 0.5]] * 2, [[1, 2], [3, 4]]),
    }


def test_spoken_digits_lie_on_a_square(tmp_path: Path) -> None:
    data = load_dataset("shd", root=str(write(tmp_path, inside("SHD", shd_files()))), framing=Framing(time_bins=5))
    check(data)
    frames, labels = data.train.batch(slice(0, 1))
    # 500,001 us in five bins: channel 0 at once, 27 (row 1) at 0.125 s, 26 at 0.25 s, 699 (row 25, column 24) last.
    assert frames.nonzero().tolist() == [[0, 0, 0, 0, 0], [1, 0, 0, 1, 0], [2, 0, 0, 0, 26], [4, 0, 0, 25, 24]]
    assert (data.class_names[19], labels.tolist(), data.train.labels.tolist()) == ("neun", [0], [0, 19, 3])
    packed = {f"{name}.zip": zipped({name: content}) for name, content in shd_files().items()}
    assert (
        load_dataset("shd", root=str(write(tmp_path / "b", packed)), framing=Framing(time_bins=5)).digest == data.digest
    )
    for framing, words in ((Framing(polarity="off"), "no polarity"), (Framing(classes=15), "first 15 classes")):
        with pytest.raises(ConfigError, match=words):
            load_dataset("shd", root=str(tmp_path), framing=framing)


def test_damaged_spoken_digits_are_named(tmp_path: Path) -> None:
    def far(units: list[list[int]]) -> None:
        units[1][2] = 700

    def lonely(units: list[list[int]]) -> None:
        units[1].pop()

    whole = shd_files()
    path = str(tmp_path / "shd_train.h5")
    for change, words in ((far, "found 5 to 700 in recording 1"), (lonely, "units uint16 (3,) in recording 1")):
        refused_after(tmp_path, "shd", shd_files(change), path, words)
    for content in (b"", b"<!DOCTYPE html>", whole["shd_train.h5"][:-2000], hdf5([], [], [])):
        refused_after(tmp_path, "shd", {**whole, "shd_train.h5": content}, path, "expected an HDF5 file", "found")
    refused_after(
        tmp_path, "shd", {**whole, "shd_train.h5": hdf5([20], [[0.0]], [[1]])}, "labels from 0 to 19, found 20"
    )


SMALL: dict[str, Callable[[], dict[str, bytes]]] = {
    "cifar10_dvs": lambda: inside("CIFAR10DVS", cifar10_dvs_files()),
    "ncars": lambda: inside("N-CARS", ncars_files()),
    "shd": lambda: inside("SHD", shd_files()),
}


@pytest.mark.parametrize("promise", DATASET_PROMISES)
@pytest.mark.parametrize("name", SMALL)
def test_a_data_set_of_recordings_keeps_its_promise(name: str, promise: str, tmp_path: Path) -> None:
    check_dataset(name, root=write(tmp_path, SMALL[name]()), only=[promise])


def test_what_cannot_be_fetched_says_who_has_it(tmp_path: Path) -> None:
    assert DATASETS["ncars"].by_hand == "Prophesee"
    with pytest.raises(ConfigError, match="'ncars' cannot be downloaded here; get it from Prophesee"):
        fetch("ncars")
    with pytest.raises(DataError, match="Get it from Prophesee, and set SPIKELEAK_DATA"):
        load_dataset("ncars", root=str(tmp_path))
