"""CIFAR10-DVS: pictures of CIFAR-10 moved before an event camera; the original, or as SpikingJelly converts it."""

from __future__ import annotations

import re
from pathlib import Path

from fl_sim.datasets.events import Events, assemble_events, plan_frames
from fl_sim.datasets.events.checking import Sensor, checked
from fl_sim.datasets.events.files import EventFiles, Layout, event_files, splits_of_files
from fl_sim.datasets.events.formats import AEDAT_2, AEDAT_4, NPZ, aedat2_columns, aedat4_columns, is_aedat4, npz_columns
from fl_sim.datasets.examples import Dataset
from fl_sim.datasets.locations import locate
from fl_sim.specs import Framing

SENSOR = 128
BINS = 10
CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
TRAIN_SHARE = 0.9
INSIDE = ("airplane", "airplane.zip", "events_np")
"""What lies in the folder of the data set, whatever that is called."""

_SIDES = Sensor(SENSOR, SENSOR)
_CLASSES = "|".join(CLASS_NAMES)


def _events(content: bytes, path: Path) -> Events:
    """Return the events of an AEDAT 2 file of a DVS128, turned as SpikingJelly turns them: upright, 1 for on.

    Those of an AEDAT 4 file, as tonic's copy has them, are taken as they are, as tonic takes them.
    """
    if is_aedat4(content):
        return checked(aedat4_columns(content, path), path, _SIDES, AEDAT_4, content)
    columns = aedat2_columns(content, path)
    address = columns["address"]
    upright = {"x": 127 - (address >> 8 & 0x7F), "y": 127 - (address >> 1 & 0x7F), "p": 1 - (address & 1)}
    return checked({**upright, "t": columns["t"]}, path, _SIDES, AEDAT_2, content)


def _converted(content: bytes, path: Path) -> Events:
    return checked(npz_columns(content, path), path, _SIDES, NPZ, content)


LAYOUTS = (
    Layout(
        CLASS_NAMES,
        re.compile(rf"({_CLASSES})/\w+\.aedat4?"),
        "airplane/cifar10_airplane_0.aedat",
        lambda name: CLASS_NAMES.index(name.split("/")[0]),
        _events,
    ),
    Layout(
        tuple(f"events_np/{name}" for name in CLASS_NAMES),
        re.compile(rf"events_np/({_CLASSES})/\w+\.npz"),
        "events_np/airplane/cifar10_airplane_0.npz",
        lambda name: CLASS_NAMES.index(name.split("/")[1]),
        _converted,
    ),
)
"""As the authors ship it or tonic does, in a folder or a zip for each class, and as SpikingJelly converts it."""


def load(root: Path | None, size: int, framing: Framing) -> Dataset:
    """Return CIFAR10-DVS, or the part that is found, as frames.

    The original has no split. As usual, the first nine tenths of each class by number are for training.

    Args:
        root: the folder in which to look first, or None.
        size: side of the frames in pixels; 0 for 128.
        framing: how events become frames; T is 10 by default.

    Raises:
        ConfigError: the recordings do not allow the size, window, bin or number of classes.
        DataError: the data set is not found, or a file is damaged.

    Source: Li, Liu, Ji, Li and Shi, "CIFAR10-DVS: An Event-Stream Dataset for Object Classification", 2017.
    """
    where = locate("cifar10_dvs", root)
    return read(where.parent if where.name in INSIDE else where, size, framing)


def read(where: Path, size: int, framing: Framing | None = None) -> Dataset:
    """Return CIFAR10-DVS from the folder or the zip of its recordings; see `load`."""
    plan = plan_frames(framing or Framing(), sensor=SENSOR, size=size, bins=BINS, classes=len(CLASS_NAMES))
    with event_files(where, LAYOUTS) as files:
        train, test = _split(files)
        splits = splits_of_files("cifar10_dvs", files, (train, test), plan)
    told = f"{len(train):,} train and {len(test):,} test recordings, no hash to verify them by"
    split = f"no split of its own: the first {TRAIN_SHARE:.0%} of each class by number are for training"
    return assemble_events(
        "cifar10_dvs",
        train=splits.train,
        test=splits.test,
        classes=CLASS_NAMES,
        source=f"{where}: {told}; {split}",
    )


def _split(files: EventFiles) -> tuple[list[str], list[str]]:
    """Return the names of the recordings for training and for test."""
    train: list[str] = []
    test: list[str] = []
    for label in range(len(CLASS_NAMES)):
        names = [name for name in files.names if files.layout.label(name) == label]
        count = min(round(TRAIN_SHARE * len(names)), max(1, len(names) - 1))
        train += names[:count]
        test += names[count:]
    return train, test
