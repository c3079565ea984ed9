"""The private data of the clients: a table name -> loader. Importing this does not import torch."""

from __future__ import annotations

import functools
import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from fl_sim.datasets.places import Candidate, DatasetInfo, Place, info, places
from fl_sim.datasets.table import DATASETS, DatasetEntry, Loader
from fl_sim.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from fl_sim.datasets.images import ImageDataset

__all__ = ["DATASETS", "Candidate", "DatasetEntry", "DatasetInfo", "fetch", "info", "load_dataset"]


def load_dataset(name: str, *, root: str = "", size: int = 0) -> ImageDataset:
    """Return a data set, read once a process. Nothing is ever downloaded here.

    Args:
        name: in `DATASETS`.
        root: the folder to look in first; "" for the variable SPIKELEAK_DATA, then the cache of downloads.
        size: side of the square that images are resized to; 0 for the data set's own default.

    Raises:
        ConfigError: no such data set, or a negative size.
        DataError: its files are missing or corrupt.
    """
    if name not in DATASETS:
        raise unknown_name("dataset.name", name, DATASETS)
    if size < 0:
        raise ConfigError(f"dataset.size: expected a side in pixels, or 0 for the default, found {size}.")
    folder = Path(root) if root else None
    return _load(DATASETS[name].loader, folder, size, places(folder))


def fetch(name: str, *, progress: bool = True) -> Path:
    """Download a data set into the cache of downloads, whole and checked, or leave nothing there.

    Args:
        name: in `DATASETS`.
        progress: whether the downloading library may show its progress on standard error.

    Returns:
        The file or folder that now holds it; no download where a good copy was there already.

    Raises:
        ConfigError: no such data set.
        DataError: the network, the disk or the download failed.
    """
    from fl_sim.datasets.fetching import fetch as download  # imports torch, which this package must not

    return download(name, progress=progress)


@functools.lru_cache(maxsize=4)
def _load(
    loader: str | Loader,
    root: Path | None,
    size: int,
    looked_in: tuple[Place, ...],  # noqa: ARG001  part of the key: the variable may change within a process
) -> ImageDataset:
    if isinstance(loader, str):
        module, _, function = loader.partition(":")
        imported: Loader = getattr(importlib.import_module(module), function)
        return imported(root, size)
    return loader(root, size)
