"""N-CARS: cars and what is none, cut out of recordings of an event camera on a road, as Prophesee ships them."""

from __future__ import annotations

import re
from pathlib import Path

from fl_sim.datasets.events import Events, assemble_events, plan_frames
from fl_sim.datasets.events.checking import Sensor, checked
from fl_sim.datasets.events.files import Layout, event_files, splits_of_files
from fl_sim.datasets.events.formats import DAT, dat_columns
from fl_sim.datasets.examples import Dataset
from fl_sim.datasets.locations import locate
from fl_sim.specs import Framing

SENSOR = 120
HEIGHT = 100
BINS = 10
CLASS_NAMES = ("background", "cars")
INSIDE = ("n-cars_train", "n-cars_train.zip")
"""What lies in the folder of the data set, whatever that is called."""


def _events(content: bytes, path: Path) -> Events:
    return checked(dat_columns(content, path), path, Sensor(SENSOR, HEIGHT), DAT, content)


LAYOUT = Layout(
    ("n-cars_train", "n-cars_test"),
    re.compile(r"n-cars_(train|test)/(cars|background)/\w+\.dat"),
    "n-cars_train/cars/obj_000000_td.dat",
    lambda name: CLASS_NAMES.index(name.split("/")[1]),
    _events,
)


def load(root: Path | None, size: int, framing: Framing) -> Dataset:
    """Return N-CARS, or the part that is found, as frames.

    A recording lasts 0.1 s and is at most 120 wide and 100 high, of any smaller size; it lies in the upper left corner
    of a square of 120 pixels.

    Args:
        root: the folder in which to look first, or None.
        size: side of the frames in pixels; 0 for 120.
        framing: how events become frames; T is 10 by default.

    Raises:
        ConfigError: the recordings do not allow the size, window, bin or number of classes.
        DataError: the data set is not found, or a file is damaged.

    Source: Sironi, Brambilla, Bourdis, Lagorce and Benosman, "HATS: Histograms of Averaged Time Surfaces for Robust
    Event-Based Object Classification", 2018.
    """
    where = locate("ncars", root)
    return read(where.parent if where.name in INSIDE else where, size, framing)


def read(where: Path, size: int, framing: Framing | None = None) -> Dataset:
    """Return N-CARS from the folder or the zip of its recordings; see `load`."""
    plan = plan_frames(framing or Framing(), sensor=SENSOR, size=size, bins=BINS, classes=len(CLASS_NAMES))
    with event_files(where, [LAYOUT]) as files:
        parts = [[name for name in files.names if name.startswith(folder)] for folder in LAYOUT.folders]
        train, test = splits_of_files("ncars", files, parts, plan)
        counts = f"{len(parts[0]):,} train and {len(parts[1]):,} test recordings"
    source = f"{where}: {counts}, no hash to verify them by; the authors' split"
    return assemble_events("ncars", train=train, test=test, classes=CLASS_NAMES, source=source)
