"""What is common to data of the user's own: where they are, how they are split, how large they may be."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fl_sim.datasets.reading.images import Labelled
from fl_sim.errors import ConfigError, DataError
from fl_sim.specs import OwnData

SMALLEST = 7
"""Smallest side of a picture: the window of SSIM, by which every reconstruction is scored."""

MOST_BYTES = 4_000_000_000
"""Largest size in bytes of the pictures of a data set, which are all in memory at 8 bits a channel."""


class Parts(NamedTuple):
    """Which examples are for test, bool (N,), and how that was decided, in words."""

    for_test: npt.NDArray[np.bool_]
    told: str


def root_of(name: str, root: Path | None, expected: str) -> Path:
    """Return the place of a user's own data.

    Args:
        name: of the data set in the table.
        root: `dataset.root`; None if it is not set.
        expected: what must be there, for the error.

    Raises:
        ConfigError: no root is set.
        DataError: there is nothing.
    """
    if root is None:
        raise ConfigError(f"dataset.root: '{name}' holds data of your own; name {expected}, --set dataset.root=PATH.")
    where = root.expanduser()
    if not where.exists():
        raise DataError(f"dataset.root: expected {expected}, found nothing at {where}.")
    return where


def split_by_name(names: Sequence[str], labels: npt.NDArray[np.integer], own: OwnData) -> Parts:
    """Return a split that depends on nothing but the examples' names, so that it is the same on every machine.

    Within each class, the examples are ordered by the SHA-256 of their names, and the share that comes first is for
    test, rounded, but at least one of two; a class with one example is for training only. Where no class has two, or
    the split is to be random, the examples are taken together as if they were of one class.

    Args:
        names: N different texts.
        labels: (N,).
        own: how much is for test, and of what.
    """
    places = np.array([int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") for name in names])
    order = np.argsort(places, kind="stable")
    kinds, counts = np.unique(labels, return_counts=True)
    single = not (counts > 1).any()
    together = single or own.test_split == "random"
    groups = [order] if together else [order[labels[order] == kind] for kind in kinds[counts > 1]]
    for_test = np.zeros(len(labels), dtype=bool)
    for group in groups:
        wanted = min(max(1, round(len(group) * own.test_fraction)), len(group) - 1)
        for_test[group[:wanted]] = True
    of_all = "of all examples, since no class has two," if single else "of all examples"
    among = of_all if together else "of each class"
    told = f"no split of its own: by their names, {own.test_fraction:g} {among} for test (dataset.test_fraction)"
    return Parts(for_test, told)


def both_splits(labelled: Sequence[Labelled], names: Sequence[str], own: OwnData) -> tuple[Labelled, Labelled, str]:
    """Return the train and the test split of one split or of two, and how one was divided, in words; "" for two.

    Args:
        labelled: one split, or the train and the test split.
        names: of the examples of one split; see `split_by_name`.
        own: how one split is divided.
    """
    if len(labelled) > 1:
        train, test = labelled
        return train, test, ""
    ((pixels, labels),) = labelled
    for_test, told = split_by_name(names, labels, own)
    return Labelled(pixels[~for_test], labels[~for_test]), Labelled(pixels[for_test], labels[for_test]), told


def check_sides(where: Path, height: int, width: int, size: int) -> None:
    """Refuse pictures that no metric could score, where no other size is asked for.

    Raises:
        ConfigError: a side is shorter than `SMALLEST`.
    """
    if not size and min(height, width) < SMALLEST:
        raise ConfigError(
            f"dataset.size: the pictures of {where} are {height}x{width} (height x width), and scores need a side of "
            f"{SMALLEST} or more; set dataset.size to have them enlarged."
        )


def check_bytes(where: Path, count: int, picture: tuple[int, int, int]) -> None:
    """Refuse more pictures than fit into memory.

    Args:
        where: the file or folder.
        count: number of pictures.
        picture: height, width and channels of each.

    Raises:
        ConfigError: they have more than `MOST_BYTES` at 8 bits a channel.
    """
    total = count * int(np.prod(picture))
    if total > MOST_BYTES:
        sides = "x".join(str(side) for side in picture)
        raise ConfigError(
            f"dataset.size: {count:,} pictures of {sides} (height x width x channels) in {where} take {total:,} bytes "
            f"of memory, but at most {MOST_BYTES:,} are read; set a smaller dataset.size, or put aside some of them."
        )
