"""Leaving out the events of a recording that no neighbouring pixel confirms."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

NEIGHBOURS = ((-1, 0), (1, 0), (0, -1), (0, 1))


def denoise(events: npt.NDArray[Any], duration: int) -> npt.NDArray[Any]:
    """Return the events that a neighbouring pixel confirms, in their order; whatever their polarity.

    An event is confirmed where the last event before it, in the order of the stream, of one of the four pixels beside
    its own came less than `duration` before it. A pixel without an event before it counts as if it had one at time 0,
    so what happens before `duration` is confirmed by any neighbour. Pixels beyond the largest x and y of the recording
    are no neighbours.

    Args:
        events: (N,) with the fields x and y, in pixels, and t, in microseconds.
        duration: in microseconds.

    Source: the rule of tonic's `denoise_numpy` (1.7), event for event.
    """
    if not len(events):
        return events
    x, y, t = (events[field].astype(np.int64) for field in ("x", "y", "t"))
    width, height = int(x.max()) + 1, int(y.max()) + 1
    count, order = len(events), np.arange(len(events))
    pixel = y * width + x
    # One number for each event that sorts by pixel, then by place in the stream, and tells both.
    keys = np.sort(pixel * count + order)
    confirmed = np.zeros(count, dtype=bool)
    for right, down in NEIGHBOURS:
        on_sensor = (x + right >= 0) & (x + right < width) & (y + down >= 0) & (y + down < height)
        beside = pixel + down * width + right
        place = np.searchsorted(keys, beside * count + order) - 1
        latest = keys[place]
        seen = (place >= 0) & (latest // count == beside)
        confirmed |= on_sensor & (t - np.where(seen, t[latest % count], 0) < duration)
    return events[confirmed]
