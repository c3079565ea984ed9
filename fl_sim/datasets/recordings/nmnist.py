"""N-MNIST: MNIST recorded by a moving event camera; the original as unpacked by tonic, or a subset in a zip."""

from __future__ import annotations

import io
import re
from pathlib import Path

from fl_sim.datasets.events import EVENT, Events, assemble_events, plan_frames
from fl_sim.datasets.events.files import Layout, event_files, splits_of_files
from fl_sim.datasets.examples import Dataset
from fl_sim.datasets.locations import locate
from fl_sim.datasets.reading.integrity import corrupt, describe
from fl_sim.specs import Framing

SENSOR = 34
BINS = 10
CLASS_NAMES = tuple(str(digit) for digit in range(10))
BYTES_PER_EVENT = 5
ORIGINAL = (60_000, 10_000)
LAYOUT = Layout(("Train", "Test"), re.compile(r"(Train|Test)/\d/\d{5}\.bin"), "Train/5/00001.bin")

# SHA-256 of the only subset of known origin: samples 1 to 1,000 of train and 1 to 100 of test.
KNOWN_PART = "5b5450913d6890159124086f310fd7e074c6d6b563dcb316fb0e16e70a09a666"


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
    return read(locate("nmnist", root), size, framing)


def read(where: Path, size: int, framing: Framing | None = None) -> Dataset:
    """Return N-MNIST from the folder or the zip of its recordings; see `load`."""
    plan = plan_frames(framing or Framing(), sensor=SENSOR, size=size, bins=BINS, classes=len(CLASS_NAMES))
    with event_files(where, LAYOUT) as files:
        names = [[name for name in files.names if name.startswith(folder)] for folder in LAYOUT.folders]
        train, test = splits_of_files("nmnist", files, names, plan, label=_label, events=_events)
        counts = f"{len(names[0]):,} train and {len(names[1]):,} test recordings"
        if files.content == KNOWN_PART:
            origin = "samples 1 to 1,000 and 1 to 100 of N-MNIST, verified by their hash"
        elif (len(names[0]), len(names[1])) == ORIGINAL:
            origin = "as many as the original has; its files have no hash to verify them by"
        else:
            origin = "a part of N-MNIST of unknown origin, with no hash to verify it by"
    source = f"{where}: {counts}, {origin}"
    return assemble_events("nmnist", train=train, test=test, classes=CLASS_NAMES, source=source)


def _label(name: str) -> int:
    return int(name.split("/")[1])


def _events(content: bytes, path: Path) -> Events:
    from tonic.io import read_mnist_file

    expected = f"an N-MNIST recording, {BYTES_PER_EVENT} bytes per event, on {SENSOR}x{SENSOR} pixels"
    if not content or len(content) % BYTES_PER_EVENT:
        raise corrupt(path, expected, describe(content))
    events: Events = read_mnist_file(io.BytesIO(content), dtype=EVENT, is_stream=True)
    if not len(events):  # y = 240 marks an overflow of the clock, not an event
        raise corrupt(path, expected, f"{describe(content)}, with no event")
    x, y = int(events["x"].max()), int(events["y"].max())
    if max(x, y) >= SENSOR:
        raise corrupt(path, expected, f"{describe(content)}, with events up to x {x}, y {y}")
    return events
