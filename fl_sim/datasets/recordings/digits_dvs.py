"""scikit-learn's digits recorded by a simulated event camera: event recordings without a data file or download.

The camera makes three saccades along a triangle, like that of N-MNIST (Orchard et al. 2015). Each pixel stores a log
brightness and reports an event whenever the log brightness has changed from it by a threshold (the ideal pixel of
Rebecq, Gehrig and Scaramuzza, "ESIM: an Open Event Camera Simulator", 2018, without noise). Everything is computed in
integers, so that the events, and with them the digest, are the same on every machine.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fl_sim.datasets.events import EVENT, Recording, assemble_events, plan_frames
from fl_sim.datasets.events.cache import cached_splits
from fl_sim.datasets.examples import Dataset
from fl_sim.datasets.images.digits import originals
from fl_sim.datasets.reading.pictures import Pixels, resize
from fl_sim.errors import ConfigError
from fl_sim.specs import Framing

SIZE = 28
BINS = 10
SMALLEST = 7
CLASS_NAMES = tuple(str(digit) for digit in range(10))

# For a sensor SIZE pixels wide; other sizes scale these values.
DIGIT = 20
CORNERS = ((0.0, 0.0), (2.5, 5.0), (5.0, 0.0), (0.0, 0.0))  # x, y of the camera in pixels: N-MNIST's path, scaled down

STEPS = 20  # steps of a saccade; the image does not move within a step
STEP_US = 5_000
DURATION_US = (len(CORNERS) - 1) * STEPS * STEP_US

FRACTION = 256  # parts of a pixel
LEVELS = 16  # parts of a grey level
UNIT = 4096  # parts of a natural logarithm
DARK = 20  # grey levels added to every pixel, since the logarithm of 0 is infinite
THRESHOLD = round(0.3 * UNIT)
CHUNK = 128  # number of digits that are simulated at once

Integers = npt.NDArray[np.int32]

_LOGARITHM = np.array(
    [round(UNIT * math.log((level / LEVELS + DARK) / DARK)) for level in range(255 * LEVELS + 1)], dtype=np.int32
)


def load(root: Path | None, size: int, framing: Framing) -> Dataset:  # noqa: ARG001  the loaders' common signature
    """Return the 1,797 digits as frames of events, with the split of `digits`; a recording lasts 0.3 s.

    Args:
        root: ignored, since the data come with the library.
        size: side of the simulated sensor in pixels, at least 7; 0 for 28.
        framing: how events become frames; T is 10 by default.

    Raises:
        ConfigError: the recordings do not allow the size, window, bin or number of classes.

    Source: Alpaydin and Kaynak, UCI Optical Recognition of Handwritten Digits, 1998 (its test set).
    """
    side = size or SIZE
    if side < SMALLEST:
        raise ConfigError(f"dataset.size: expected at least {SMALLEST}, found {side}.")
    plan = plan_frames(framing, sensor=side, size=side, bins=BINS, classes=len(CLASS_NAMES))
    pixels, targets, for_test = originals()
    labels = targets.astype("<i8")
    parts = [part & (labels < plan.classes) for part in (~for_test, for_test)]
    train, test = cached_splits(
        "digits_dvs",
        plan,
        hashlib.sha256(pixels.tobytes() + labels.tobytes() + for_test.tobytes()).hexdigest(),
        parts,
        lambda part: simulate(pixels[part], labels[part], side),
    )
    return assemble_events(
        "digits_dvs",
        train=train,
        test=test,
        classes=CLASS_NAMES,
        source=f"scikit-learn's load_digits: all 1,797 images, seen by a simulated {side}x{side} event camera",
    )


def simulate(pixels: Pixels, labels: npt.NDArray[np.integer], side: int) -> Iterator[Recording]:
    """Yield a recording of each image.

    Args:
        pixels: uint8 (N, h, w), white on black.
        labels: (N,).
        side: side of the sensor in pixels.
    """
    for start in range(0, len(labels), CHUNK):
        part = slice(start, start + CHUNK)
        yield from _record(resize(pixels[part], *[round(side * DIGIT / SIZE)] * 2), labels[part], side)


def _record(digits: Pixels, labels: npt.NDArray[np.integer], side: int) -> Iterator[Recording]:
    """Yield the recordings of digits (n, h, w), in the size at which the sensor sees them."""
    offsets = _path(side)
    canvas = _canvas(digits, side, offsets)
    remembered = _brightness(canvas, *offsets[0], side)
    fields: list[tuple[npt.NDArray[np.int64], ...]] = []
    for step, offset in enumerate(offsets[1:]):
        change = _brightness(canvas, *offset, side) - remembered
        count = np.abs(change) // THRESHOLD
        remembered += np.sign(change) * count * THRESHOLD
        which = np.nonzero(count)
        repeats = count[which]
        example, y, x, polarity = (np.repeat(values, repeats) for values in (*which, change[which] > 0))
        # The events of a pixel within a step are spread evenly over its duration, without its ends.
        order = np.arange(len(x)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
        time = step * STEP_US + STEP_US * (order + 1) // (np.repeat(repeats, repeats) + 1)
        fields.append((time, example, y, x, polarity))
    time, example, y, x, polarity = (np.concatenate(values) for values in zip(*fields, strict=True))
    order = np.lexsort((time, example))
    events = np.empty(len(order), dtype=EVENT)
    events["x"], events["y"], events["t"], events["p"] = x[order], y[order], time[order], polarity[order]
    ends = np.searchsorted(example[order], np.arange(1, len(labels)))
    for label, own in zip(labels, np.split(events, ends), strict=True):
        yield Recording(int(label), own, 0, DURATION_US)


def _path(side: int) -> list[tuple[int, int]]:
    """Return the position of the camera before each step and after the last: x and y in parts of a pixel."""
    corners = [[round(at * FRACTION * side / SIZE) for at in corner] for corner in CORNERS]
    legs = itertools.pairwise(corners)
    inner = [
        (x0 + (x1 - x0) * step // STEPS, y0 + (y1 - y0) * step // STEPS)
        for (x0, y0), (x1, y1) in legs
        for step in range(STEPS)
    ]
    return [*inner, (corners[-1][0], corners[-1][1])]


def _canvas(digits: Pixels, side: int, offsets: list[tuple[int, int]]) -> Integers:
    """Return the digits on black, int32 (n, h, w), centred for a camera in the middle of its path."""
    reach = [max(offset[axis] for offset in offsets) // FRACTION for axis in (0, 1)]
    width, height = (side + 1 + far for far in reach)
    left, top = ((full - digits.shape[-1]) // 2 for full in (width, height))
    canvas = np.zeros((len(digits), height, width), dtype=np.int32)
    canvas[:, top : top + digits.shape[1], left : left + digits.shape[2]] = digits
    return canvas


def _brightness(canvas: Integers, x: int, y: int, side: int) -> Integers:
    """Return the log brightness on the sensor at (x, y), bilinear between pixels: int32 (n, side, side)."""
    column, right = divmod(x, FRACTION)
    row, down = divmod(y, FRACTION)
    light = np.zeros((len(canvas), side, side), dtype=np.int32)
    for dy, part_y in ((0, FRACTION - down), (1, down)):
        for dx, part_x in ((0, FRACTION - right), (1, right)):
            seen = canvas[:, row + dy : row + dy + side, column + dx : column + dx + side]
            light += seen * (part_x * part_y)
    logarithm: Integers = _LOGARITHM[light * LEVELS // FRACTION**2]
    return logarithm
