"""DVS128 Gesture: gestures recorded by an event camera; the original as its authors, tonic or SpikingJelly have it."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import numpy as np

from fl_sim.datasets.events import Events, FramePlan, assemble_events, plan_frames
from fl_sim.datasets.events.cache import Splits
from fl_sim.datasets.events.checking import Sensor, checked
from fl_sim.datasets.events.files import EventFiles, Layout, event_files, splits_of_files
from fl_sim.datasets.events.formats import NPZ, npz_columns
from fl_sim.datasets.examples import Dataset
from fl_sim.datasets.locations import locate
from fl_sim.datasets.reading.integrity import DAMAGED_ZIP, corrupt, describe, read_array
from fl_sim.datasets.recordings.gesture_trials import LISTS, splits_of_trials, trials_in
from fl_sim.specs import Framing

SENSOR = 128
BINS = 20
TRAIN, TEST = "ibmGestureTrain", "ibmGestureTest"
INSIDE = (TRAIN, "events_np", *LISTS)
"""What lies in the folder of the data set, whatever that is called."""

CLASS_NAMES = (
    "hand clapping", "right hand wave", "left hand wave", "right arm clockwise", "right arm counter-clockwise",
    "left arm clockwise", "left arm counter-clockwise", "arm roll", "air drums", "air guitar", "other gestures",
)  # fmt: skip

# SHA-256 of the only subset of known origin: the first 1.45 s of one recording of each of the classes 0 to 9.
KNOWN_PART = "34e60a8d02e52a8d7732b51ee7dc51e61e1e525406e52ed5adb1af61551908b7"
FIRST_TEST_CLASS = 8


_SENSOR = Sensor(SENSOR, SENSOR)


def _events(content: bytes, path: Path) -> Events:
    """Return the events in an .npy file of rows (x, y, polarity, time in milliseconds)."""
    kind = "an .npy file of events (N, 4) with the time in ms"
    try:
        rows = read_array(content)
    except DAMAGED_ZIP as error:
        reason = " ".join(str(error).split())
        raise corrupt(path, kind, f"{describe(content)} and cannot be read ({reason})") from error
    if rows.ndim != 2 or rows.shape[1] != 4 or rows.dtype.kind not in "fiu":
        raise corrupt(path, kind, f"{rows.dtype} {rows.shape}")
    columns = {field: rows[:, column] for column, field in enumerate(("x", "y", "p"))}
    # In float64, since float32 would round the product before it is truncated to whole microseconds.
    columns["t"] = rows[:, 3].astype(np.float64) * 1000
    return checked(columns, path, _SENSOR, kind, content)


LAYOUTS = (
    Layout(
        (TRAIN, TEST),
        re.compile(rf"({TRAIN}|{TEST})/user\d+_\w+/(\d|10)\.npy"),
        f"{TRAIN}/user01_fluorescent/0.npy",
        lambda name: int(PurePosixPath(name).stem),
        _events,
    ),
    Layout(
        ("events_np/train", "events_np/test"),
        re.compile(r"events_np/(train|test)/(\d|10)/\w+\.npz"),
        "events_np/train/0/user01_fluorescent_0.npz",
        lambda name: int(name.split("/")[2]),
        lambda content, path: checked(npz_columns(content, path), path, _SENSOR, NPZ, content),
    ),
)
"""As tonic has it, and as SpikingJelly converts it."""


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
    where = locate("dvs_gesture", root)
    return read(where.parent if where.name in INSIDE else where, size, framing)


def read(where: Path, size: int, framing: Framing | None = None) -> Dataset:
    """Return DVS128 Gesture from the folder or the zip of its recordings; see `load`."""
    plan = plan_frames(framing or Framing(), sensor=SENSOR, size=size, bins=BINS, classes=len(CLASS_NAMES))
    trials = trials_in(where)
    splits, told = splits_of_trials("dvs_gesture", trials, plan) if trials else _splits_of_files(where, plan)
    return assemble_events(
        "dvs_gesture", train=splits.train, test=splits.test, classes=CLASS_NAMES, source=f"{where}: {told}"
    )


def _splits_of_files(where: Path, plan: FramePlan) -> tuple[Splits, str]:
    """Return both splits of recordings that are files, and what they are, in words."""
    with event_files(where, LAYOUTS) as files:
        names, split = _split(files)
        splits = splits_of_files("dvs_gesture", files, names, plan)
        counts = f"{len(names[0]):,} train and {len(names[1]):,} test recordings"
        origin = "no hash to verify them by"
        if files.content == KNOWN_PART:
            origin = "the first 1.45 s of one recording of each of the classes 0 to 9, verified by their hash"
    return splits, f"{counts}, {origin}; {split}"


def _split(files: EventFiles) -> tuple[tuple[list[str], list[str]], str]:
    """Return the names of the recordings for training and for test, and how they were divided."""
    of_train, of_test = files.layout.folders
    train = [name for name in files.names if name.startswith(of_train)]
    test = [name for name in files.names if name.startswith(of_test)]
    label = files.layout.label
    split = "split by person, as the authors did"
    # More than one recording of a class and no test folder is an original that was not unpacked to its end.
    if not test and len({label(name) for name in train}) == len(train):
        test = [name for name in train if label(name) >= FIRST_TEST_CLASS]
        train = [name for name in train if label(name) < FIRST_TEST_CLASS]
        split = f"split by recording, classes {FIRST_TEST_CLASS} and above for test, so no class is in both splits"
    return (train, test), split
