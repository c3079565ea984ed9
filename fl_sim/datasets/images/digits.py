"""The handwritten digits that come with scikit-learn, so no data file or download is needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from fl_sim.datasets.examples import Dataset
from fl_sim.datasets.reading.images import Labelled, assemble
from fl_sim.datasets.reading.pictures import Pixels, resize
from fl_sim.seeding import numpy_stream

SIZE = 28
TEST_PER_CLASS = 50


def load(root: Path | None, size: int) -> Dataset:  # noqa: ARG001  the loaders' common signature
    """Return the 1,797 digits, originally 8x8 with values 0 to 16, scaled to 0 to 255 and resized.

    The original has no split: 50 examples of each class, drawn once with a fixed seed, are for test, the other 1,297
    for training.

    Args:
        root: ignored, since the data come with the library.
        size: side in pixels; 0 for 28.

    Source: Alpaydin and Kaynak, UCI Optical Recognition of Handwritten Digits, 1998 (its test set).
    """
    pictures, labels, for_test = originals()
    pixels = resize(pictures, size or SIZE, size or SIZE)
    return assemble(
        "digits",
        train=Labelled(pixels[~for_test], labels[~for_test]),
        test=Labelled(pixels[for_test], labels[for_test]),
        class_names=[str(digit) for digit in range(10)],
        source=f"scikit-learn's load_digits: all 1,797 images, 8x8 resized to {size or SIZE}x{size or SIZE}",
    )


def originals() -> tuple[Pixels, npt.NDArray[np.integer], npt.NDArray[np.bool_]]:
    """Return the digits, uint8 (N, 8, 8), their labels (N,), and which are for test, drawn once by a fixed seed."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    stream = numpy_stream(0, "datasets", "digits", "split")
    for_test = np.zeros(len(bunch.target), dtype=bool)
    for digit in range(10):
        for_test[stream.choice(np.flatnonzero(bunch.target == digit), TEST_PER_CLASS, replace=False)] = True
    return np.rint(bunch.images * (255 / 16)).astype(np.uint8), bunch.target, for_test
