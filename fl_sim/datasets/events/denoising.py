"""Removal of the events of a recording that no neighbouring pixel confirms."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

NEIGHBOURS = ((-1, 0), (1, 0), (0, -1), (0, 1))


def denoise(events: npt.NDArray[Any], duration: int) -> npt.NDArray[Any]:
    """Return the events that a neighbouring pixel confirms, in their order and regardless of polarity.

    An event is confirmed if, among the four neighbouring pixels, the most recent event before it in the order of the
    stream is less than `duration` earlier. A pixel without an earlier event counts as if it had one at time 0, so any
    neighbour confirms events before `duration`. Pixels beyond the largest x and y of the recording do not count as
    neighbours.

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
    # One number per event that encodes its pixel and its position in the stream, and sorts by them in this order.
    keys = np.sort(pixel * count + order)
    confirmed = np.zeros(count, dtype=bool)
    for right, down in NEIGHBOURS:
        on_sensor = (x + right >= 0) & (x + right < width) & (y + down >= 0) & (y + down < height)
        neighbour = pixel + down * width + right
        place = np.searchsorted(keys, neighbour * count + order) - 1
        latest = keys[place]
        seen = (place >= 0) & (latest // count == neighbour)
        confirmed |= on_sensor & (t - np.where(seen, t[latest % count], 0) < duration)
    return events[confirmed]
