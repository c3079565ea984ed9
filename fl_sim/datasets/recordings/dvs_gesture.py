"""DVS128 Gesture: gestures recorded by an event camera; the original as unpacked by tonic, or a subset in a zip."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import numpy as np

from fl_sim.datasets.events import EVENT, Events, assemble_events, plan_frames
from fl_sim.datasets.events.files import EventFiles, Layout, event_files, splits_of_files
from fl_sim.datasets.examples import Dataset
from fl_sim.datasets.locations import locate
from fl_sim.datasets.reading.integrity import DAMAGED_ZIP, corrupt, describe, read_array
from fl_sim.specs import Framing

SENSOR = 128
BINS = 20
TRAIN, TEST = "ibmGestureTrain", "ibmGestureTest"
LAYOUT = Layout(
    (TRAIN, TEST),
    re.compile(rf"({TRAIN}|{TEST})/user\d+_\w+/(\d|10)\.npy"),
    f"{TRAIN}/user01_fluorescent/0.npy",
)
CLASS_NAMES = (
    "hand clapping", "right hand wave", "left hand wave", "right arm clockwise", "right arm counter-clockwise",
    "left arm clockwise", "left arm counter-clockwise", "arm roll", "air drums", "air guitar", "other gestures",
)  # fmt: skip

# SHA-256 of the only subset of known origin: the first 1.45 s of one recording of each of the classes 0 to 9.
KNOWN_PART = "34e60a8d02e52a8d7732b51ee7dc51e61e1e525406e52ed5adb1af61551908b7"
FIRST_TEST_CLASS = 8


def load(root: Path | None, size: int, framing: Framing) -> Dataset:
    """Return DVS128 Gesture, or the subset that is found, as frames.

    The original is split by its authors, by person. A subset without a test folder and with at most one recording per
    class is split by recording: classes 0 to 7 are for training, 8 and above for test, so that the windows of a
    recording stay on one side. The splits then have no class in common, and accuracy on the test split is meaningless.

    Args:
        root: the folder in which to look first, or None.
        size: side of the frames in pixels; 0 for 128.
        framing: how events become frames; T is 20 by default.

    Raises:
        ConfigError: the recordings do not allow the size, window, bin or number of classes.
        DataError: the data set is not found, or a file is damaged.

    Source: Amir et al., "A Low Power, Fully Event-Based Gesture Recognition System", 2017.
    """
    return read(locate("dvs_gesture", root), size, framing)


def read(where: Path, size: int, framing: Framing | None = None) -> Dataset:
    """Return DVS128 Gesture from the folder or the zip of its recordings; see `load`."""
    plan = plan_frames(framing or Framing(), sensor=SENSOR, size=size, bins=BINS, classes=len(CLASS_NAMES))
    with event_files(where, LAYOUT) as files:
        names, split = _split(files)
        train, test = splits_of_files("dvs_gesture", files, names, plan, label=_label, events=_events)
        counts = f"{len(names[0]):,} train and {len(names[1]):,} test recordings"
        origin = "no hash to verify them by"
        if files.content == KNOWN_PART:
            origin = "the first 1.45 s of one recording of each of the classes 0 to 9, verified by their hash"
    source = f"{where}: {counts}, {origin}; {split}"
    return assemble_events("dvs_gesture", train=train, test=test, classes=CLASS_NAMES, source=source)


def _split(files: EventFiles) -> tuple[tuple[list[str], list[str]], str]:
    """Return the names of the recordings for training and for test, and how they were divided."""
    train = [name for name in files.names if name.startswith(TRAIN)]
    test = [name for name in files.names if name.startswith(TEST)]
    split = "split by person, as the authors did"
    # More than one recording of a class and no test folder is an original that was not unpacked to its end.
    if not test and len({_label(name) for name in train}) == len(train):
        test = [name for name in train if _label(name) >= FIRST_TEST_CLASS]
        train = [name for name in train if _label(name) < FIRST_TEST_CLASS]
        split = f"split by recording, classes {FIRST_TEST_CLASS} and above for test, so no class is in both splits"
    return (train, test), split


def _label(name: str) -> int:
    return int(PurePosixPath(name).stem)


def _events(content: bytes, path: Path) -> Events:
    """Return the events in an .npy file of rows (x, y, polarity, time in milliseconds)."""
    expected = f"an .npy file of events (N, 4): x and y below {SENSOR}, polarity 0 or 1, time in ms"
    try:
        rows = read_array(content)
    except DAMAGED_ZIP as error:
        reason = " ".join(str(error).split())
        raise corrupt(path, expected, f"{describe(content)} and cannot be read ({reason})") from error
    if rows.ndim != 2 or rows.shape[1] != 4 or not len(rows) or rows.dtype.kind not in "fiu":
        raise corrupt(path, expected, f"{rows.dtype} {rows.shape}")
    limits = (SENSOR, SENSOR, 2, np.inf)
    # Written so that NaN, for which every comparison is false, is rejected.
    if not ((rows >= 0) & (rows < limits)).all():
        raise corrupt(path, expected, f"values from {rows.min(axis=0).tolist()} to {rows.max(axis=0).tolist()}")
    events = np.empty(len(rows), dtype=EVENT)
    for column, field in enumerate(("x", "y", "p")):
        events[field] = rows[:, column]
    # In float64, since float32 would round the product before it is truncated to whole microseconds.
    events["t"] = rows[:, 3].astype(np.float64) * 1000
    return events
