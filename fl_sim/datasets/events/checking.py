"""The one place where columns of numbers become events: whatever no event can be is refused, with its row."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fl_sim.datasets.events import EVENT, Events
from fl_sim.datasets.reading.integrity import corrupt, describe
from fl_sim.errors import DataError

FIELDS = ("x", "y", "t", "p")
LONGEST = 86_400_000_000
"""Longest recording in microseconds, a day: a damaged time would be cut into more windows than anybody waits for."""

_EXACT = 2**53  # up to here every whole number has a float64 of its own

Columns = Mapping[str, npt.NDArray[Any]]


class Sensor(NamedTuple):
    """Width and height of a sensor in pixels."""

    width: int
    height: int


def checked(columns: Columns, path: Path, sensor: Sensor, kind: str, content: bytes) -> Events:
    """Return events in the order in which they are stored.

    Args:
        columns: x and y in pixels, t in microseconds, of which fractions are cut off, and p, 0 or 1; each (N,).
        path: the file, for the error.
        sensor: its size.
        kind: what the file must be, for the error.
        content: of the file, for the error: it reveals, for example, a web page saved as a recording.

    Raises:
        DataError: there are no events; the columns differ in length; a coordinate or polarity is none; a time is
            negative, not finite, before the one above it, or more than a day after the first.
    """
    expected = f"{kind}: x below {sensor.width}, y below {sensor.height}, polarity 0 or 1, times that do not go back"

    def refuse(found: str) -> DataError:
        return corrupt(path, expected, f"{describe(content)}, with {found}")

    arrays = {field: np.asarray(columns[field]) for field in FIELDS}
    shapes = {array.shape for array in arrays.values()}
    if len(shapes) > 1 or any(array.ndim != 1 or array.dtype.kind not in "biuf" for array in arrays.values()):
        found = ", ".join(f"{field} {array.dtype} {array.shape}" for field, array in arrays.items())
        raise refuse(found)
    if not len(arrays["t"]):
        raise refuse("no event")
    for field, limit in (("x", sensor.width), ("y", sensor.height), ("p", 2), ("t", _EXACT)):
        values = arrays[field]
        good = (values >= 0) & (values < limit)  # false for NaN, too
        if field != "t" and values.dtype.kind == "f":
            good &= values == np.floor(values)
        if not good.all():
            row = int(np.flatnonzero(~good)[0])
            raise refuse(f"{_NAMED[field]} {values[row]:g} in row {row:,} (the first is row 0)")
    times = arrays["t"].astype(np.int64)
    back = np.flatnonzero(times[1:] < times[:-1])
    if len(back):
        row = int(back[0]) + 1
        raise refuse(f"time {times[row]} after {times[row - 1]} in row {row:,} (the first is row 0)")
    if times[-1] - times[0] > LONGEST:
        row = int(np.flatnonzero(times - times[0] > LONGEST)[0])
        raise refuse(f"time {times[row]} in row {row:,}, more than a day after the first")
    events = np.empty(len(times), dtype=EVENT)
    for field in ("x", "y", "p"):
        events[field] = arrays[field]
    events["t"] = times
    return events


_NAMED = {"x": "x", "y": "y", "p": "polarity", "t": "time"}
