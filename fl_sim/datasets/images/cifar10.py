"""CIFAR-10, and the reading of the original files of both CIFAR releases, as unpacked by torchvision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fl_sim.datasets.examples import Dataset
from fl_sim.datasets.locations import locate
from fl_sim.datasets.reading.images import Labelled, assemble
from fl_sim.datasets.reading.integrity import read_bytes, verify
from fl_sim.datasets.reading.pictures import resize
from fl_sim.errors import DataError

SIZE = 32


def load(root: Path | None, size: int) -> Dataset:
    """Return CIFAR-10, all 50,000 + 10,000 images.

    Args:
        root: the folder in which to look first, or None.
        size: side in pixels; 0 for 32.

    Raises:
        DataError: the data set is not found, or the hash of a file differs from that of the original.

    Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
    """
    return read(locate("cifar10", root), size)


def read(folder: Path, size: int) -> Dataset:
    """Return CIFAR-10 from the folder of its files; see `load`."""
    from torchvision.datasets import CIFAR10

    return of_originals("cifar10", CIFAR10, folder, size)


def of_originals(name: str, kind: Any, folder: Path, size: int) -> Dataset:  # noqa: ANN401 - torchvision has no types
    """Return a CIFAR release from its original files.

    Args:
        name: of the data set in the table.
        kind: torchvision's class for it, which knows the files and their hashes.
        folder: the folder of the files, called as torchvision calls it.
        size: side in pixels; 0 for 32.

    Raises:
        DataError: a file is missing, or its hash is another.
    """
    # The originals are pickles, which can run arbitrary code: their hashes are checked before they are opened, and
    # torchvision, which opens them, checks them again.
    hashes = [*kind.train_list, *kind.test_list, [kind.meta["filename"], kind.meta["md5"]]]
    title = f"a file of the original {name.replace('cifar', 'CIFAR-')}"
    for file, md5 in hashes:
        verify(folder / file, read_bytes(folder / file, title), algorithm="md5", digest=md5, kind=title)
    try:
        parts = [kind(str(folder.parent), train=train) for train in (True, False)]
    except (OSError, RuntimeError) as error:
        raise DataError(f"{folder}: torchvision could not read {title[len('a file of ') :]}: {error}.") from error
    side = size or SIZE
    train, test = (Labelled(resize(part.data, side, side), np.array(part.targets)) for part in parts)
    source = f"{folder}: the original release, all of it, verified by its hashes"
    return assemble(name, train=train, test=test, class_names=list(parts[0].classes), source=source)
