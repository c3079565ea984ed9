"""The Spiking Heidelberg Digits: spoken digits as the spikes of 700 channels of a model of the cochlea."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fl_sim.datasets.events import FramePlan, Recording, assemble_events, plan_frames
from fl_sim.datasets.events.cache import Splits, cached_splits
from fl_sim.datasets.events.checking import Sensor, checked
from fl_sim.datasets.examples import Dataset
from fl_sim.datasets.locations import locate
from fl_sim.datasets.reading.integrity import DAMAGED_ZIP, corrupt, describe, read_bytes, read_member
from fl_sim.errors import ConfigError
from fl_sim.extras import EVENTS, require
from fl_sim.specs import Framing

CHANNELS = 700
SIDE = 27
"""Side of the square on which the channels lie row by row, the smallest with room for them."""

BINS = 20
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
           "null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun")  # fmt: skip
FILES = ("shd_train.h5", "shd_test.h5")
INSIDE = ("shd_train.h5", "shd_train.h5.zip")
"""What lies in the folder of the data set, whatever that is called."""

MOST_BYTES = 2_000_000_000
_KIND = "an HDF5 file with the labels (N,), spikes/times and spikes/units"


class Spikes(NamedTuple):
    """The spikes of a file as stored: its content, labels (N,), and of each recording times in s and channels."""

    path: Path
    content: bytes
    labels: npt.NDArray[np.int64]


def load(root: Path | None, size: int, framing: Framing) -> Dataset:
    """Return the spoken digits as frames of spikes, 0 to 9 in English and in German.

    Channel c is the pixel of row c // 27 and column c % 27 of a square of 27; the last 29 pixels stay empty. Spikes
    have no polarity, so that a frame has one channel. Each recording starts with its first spike.

    Args:
        root: the folder in which to look first, or None.
        size: side of the frames, whose pixels are merged below 27; 0 for 27.
        framing: how spikes become frames; T is 20 by default.

    Raises:
        ConfigError: the recordings do not allow the size, window, bin, polarity or number of classes, or the extra for
            events is not installed.
        DataError: the data set is not found, or a file is damaged.

    Source: Cramer, Stradmann, Schemmel and Zenke, "The Heidelberg Spiking Data Sets for the Systematic Evaluation of
    Spiking Neural Networks", 2020.
    """
    where = locate("shd", root)
    return read(where.parent if where.name in INSIDE else where, size, framing)


def read(where: Path, size: int, framing: Framing | None = None) -> Dataset:
    """Return the spoken digits from the folder of both files, unpacked or as zips; see `load`."""
    framing = framing or Framing()
    if framing.polarity == "off":
        raise ConfigError('dataset.polarity: spikes of \'shd\' have no polarity; expected "merged", found "off".')
    framing = framing.model_copy(update={"polarity": "merged"})
    plan = plan_frames(framing, sensor=SIDE, size=size, bins=BINS, classes=len(NUMBERS))
    require(EVENTS, "dataset.name: 'shd'")
    files = [_file(where, name) for name in FILES]
    splits = _splits(files, plan)
    counts = " and ".join(f"{len(one.labels):,} {split}" for one, split in zip(files, ("train", "test"), strict=True))
    source = f"{where}: {counts} recordings, no hash to verify them by; the authors' split"
    return assemble_events("shd", train=splits.train, test=splits.test, classes=NUMBERS, source=source)


def _splits(files: list[Spikes], plan: FramePlan) -> Splits:
    content = hashlib.sha256(b"".join(hashlib.sha256(one.content).digest() for one in files)).hexdigest()
    for one in files:
        if not (one.labels < plan.classes).any():
            raise ConfigError(f"dataset.classes: {one.path} holds no recording of the first {plan.classes} classes.")

    def recordings(spikes: Spikes) -> Iterator[Recording]:
        for index in np.flatnonzero(spikes.labels < plan.classes):
            times, units = _of(spikes, int(index))
            # Nothing says that a file lists spikes by time.
            order = np.argsort(times, kind="stable")
            columns = {"x": units % SIDE, "y": units // SIDE, "p": np.ones(len(units)), "t": times * 1e6}
            ordered = {field: column[order] for field, column in columns.items()}
            kind = f"{_KIND}, of recording {index}"
            events = checked(ordered, spikes.path, Sensor(SIDE, SIDE), kind, spikes.content)
            yield Recording.of(int(spikes.labels[index]), events)

    return cached_splits("shd", plan, content, files, recordings)


def _file(where: Path, name: str) -> Spikes:
    """Return a file, unpacked or from the zip in which it is downloaded."""
    path, packed = where / name, where / f"{name}.zip"
    if path.is_file() or not packed.is_file():
        content = read_bytes(path, _KIND)
    else:
        path = packed
        try:
            with zipfile.ZipFile(packed) as archive:
                content = read_member(archive, name, MOST_BYTES)
        except DAMAGED_ZIP as error:
            stored = read_bytes(packed, _KIND)
            raise corrupt(packed, f"a zip with {name}", f"{describe(stored)} and cannot be read ({error})") from error
    labels = np.asarray(_array(path, content, "labels"))
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or not len(labels):
        raise corrupt(path, _KIND, f"labels {labels.dtype} {labels.shape}")
    if not 0 <= labels.min() <= labels.max() < len(NUMBERS):
        raise corrupt(path, f"{_KIND}, labels from 0 to {len(NUMBERS) - 1}", f"{labels.min()} to {labels.max()}")
    return Spikes(path, content, labels.astype(np.int64))


def _of(spikes: Spikes, index: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return the times in seconds and the channels of the spikes of a recording."""
    times, units = (
        np.asarray(_array(spikes.path, spikes.content, f"spikes/{key}", index)) for key in ("times", "units")
    )
    if times.shape != units.shape or times.dtype.kind != "f" or units.dtype.kind not in "iu":
        found = f"times {times.dtype} {times.shape} and units {units.dtype} {units.shape} in recording {index}"
        raise corrupt(spikes.path, _KIND, found)
    if len(units) and not 0 <= units.min() <= units.max() < CHANNELS:
        found = f"{units.min()} to {units.max()} in recording {index}"
        raise corrupt(spikes.path, f"{_KIND}, channels from 0 to {CHANNELS - 1}", found)
    return times.astype(np.float64), units.astype(np.int64)


def _array(path: Path, content: bytes, key: str, index: int | None = None) -> Any:  # noqa: ANN401 - h5py has no types
    """Return what an HDF5 file holds under a key, all of it or one element."""
    import h5py

    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            return file[key][()] if index is None else file[key][index]
    except (OSError, KeyError, ValueError, RuntimeError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise corrupt(path, _KIND, f"{describe(content)} and cannot be read ({reason})") from error
