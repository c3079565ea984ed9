"""N-MNIST: MNIST recorded by a moving event camera; the original as downloaded, unpacked or converted, or a part."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np

from fl_sim.datasets.events import Events, assemble_events, plan_frames
from fl_sim.datasets.events.checking import Sensor, checked
from fl_sim.datasets.events.files import Layout, event_files, splits_of_files
from fl_sim.datasets.events.formats import NPZ, npz_columns
from fl_sim.datasets.examples import Dataset
from fl_sim.datasets.locations import locate
from fl_sim.datasets.reading.integrity import corrupt, describe
from fl_sim.specs import Framing

SENSOR = 34
BINS = 10
CLASS_NAMES = tuple(str(digit) for digit in range(10))
BYTES_PER_EVENT = 5
ORIGINAL = (60_000, 10_000)

# SHA-256 of the only subset of known origin: samples 1 to 1,000 of train and 1 to 100 of test.
KNOWN_PART = "5b5450913d6890159124086f310fd7e074c6d6b563dcb316fb0e16e70a09a666"


INSIDE = ("Train", "Train.zip", "train.zip", "events_np")
"""What lies in the folder of the data set, whatever that is called."""

_STORED = np.dtype([("x", np.int64), ("y", np.int64), ("t", np.int64), ("p", np.int64)])
_KIND = f"an N-MNIST recording, {BYTES_PER_EVENT} bytes per event"


def _events(content: bytes, path: Path) -> Events:
    from tonic.io import read_mnist_file

    if not content or len(content) % BYTES_PER_EVENT:
        raise corrupt(path, _KIND, describe(content))
    events = read_mnist_file(io.BytesIO(content), dtype=_STORED, is_stream=True)
    # y = 240 marks an overflow of the clock, not an event, so that none may be left.
    return checked(
        {field: events[field] for field in _STORED.fields or ()}, path, Sensor(SENSOR, SENSOR), _KIND, content
    )


def _converted(content: bytes, path: Path) -> Events:
    return checked(npz_columns(content, path), path, Sensor(SENSOR, SENSOR), NPZ, content)


LAYOUTS = (
    Layout(
        ("Train", "Test"),
        re.compile(r"(Train|Test)/\d/\d{5}\.bin"),
        "Train/5/00001.bin",
        lambda name: int(name.split("/")[1]),
        _events,
    ),
    Layout(
        ("events_np/train", "events_np/test"),
        re.compile(r"events_np/(train|test)/\d/\d{5}\.npz"),
        "events_np/train/5/00001.npz",
        lambda name: int(name.split("/")[2]),
        _converted,
    ),
)
"""As the authors ship it, and as SpikingJelly converts it."""


def load(root: Path | None, size: int, framing: Framing) -> Dataset:
    """Return N-MNIST, or the subset that is found, as frames; each split is ordered by class and number.

    A recording lasts about 0.3 s, three saccades of the camera. Its number is that of the MNIST image on the screen.

    Args:
        root: the folder in which to look first, or None.
        size: side of the frames in pixels; 0 for 34.
        framing: how events become frames; T is 10 by default.

    Raises:
        ConfigError: the recordings do not allow the size, window, bin or number of classes.
        DataError: the data set is not found, or a file is damaged.

    Source: Orchard, Jayawant, Cohen and Thakor, "Converting Static Image Datasets to Spiking Neuromorphic Datasets
    Using Saccades", 2015.
    """
    where = locate("nmnist", root)
    return read(where.parent if where.name in INSIDE else where, size, framing)


def read(where: Path, size: int, framing: Framing | None = None) -> Dataset:
    """Return N-MNIST from the folder or the zip of its recordings; see `load`."""
    plan = plan_frames(framing or Framing(), sensor=SENSOR, size=size, bins=BINS, classes=len(CLASS_NAMES))
    with event_files(where, LAYOUTS) as files:
        names = [[name for name in files.names if name.startswith(folder)] for folder in files.layout.folders]
        train, test = splits_of_files("nmnist", files, names, plan)
        counts = f"{len(names[0]):,} train and {len(names[1]):,} test recordings"
        if files.content == KNOWN_PART:
            origin = "samples 1 to 1,000 and 1 to 100 of N-MNIST, verified by their hash"
        elif (len(names[0]), len(names[1])) == ORIGINAL:
            origin = "as many as the original has; its files have no hash to verify them by"
        else:
            origin = "a part of N-MNIST of unknown origin, with no hash to verify it by"
    source = f"{where}: {counts}, {origin}"
    return assemble_events("nmnist", train=train, test=test, classes=CLASS_NAMES, source=source)
