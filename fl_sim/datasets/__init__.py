"""The private data of the clients: a table name -> loader. Importing this does not import torch.

Data sets of other packages join by the entry point `spikeleak.datasets`, see `fl_sim.plugins`.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from fl_sim.datasets.locations import Candidate, DatasetInfo, Place, info, places
from fl_sim.datasets.table import DATASETS, DatasetEntry
from fl_sim.errors import ConfigError, unknown_name
from fl_sim.plugins import located
from fl_sim.specs import Framing

if TYPE_CHECKING:
    from fl_sim.datasets.examples import Dataset

__all__ = ["DATASETS", "Candidate", "DatasetEntry", "DatasetInfo", "fetch", "info", "load_dataset"]


def load_dataset(name: str, *, root: str = "", size: int = 0, framing: Framing | None = None) -> Dataset:
    """Return a data set, read once a process. Nothing is ever downloaded here.

    Args:
        name: in `DATASETS`.
        root: the folder to look in first; "" for the variable SPIKELEAK_DATA, then the cache of downloads.
        size: side of the square that images are resized to; 0 for the data set's own default.
        framing: how recordings of events become frames; None for the defaults.

    Raises:
        ConfigError: no such data set, a negative size, a framing other than the default for images, or a loader that
            does not import.
        DataError: its files are missing or corrupt.
    """
    if name not in DATASETS:
        raise unknown_name("dataset.name", name, DATASETS)
    if size < 0:
        raise ConfigError(f"dataset.size: expected a side in pixels, or 0 for the default, found {size}.")
    folder = Path(root) if root else None
    framing = framing or Framing()
    if not DATASETS[name].events and framing != Framing():
        changed = [key for key, value in framing if value != getattr(Framing(), key)]
        raise ConfigError(f"dataset.{changed[0]}: is for recordings of events; '{name}' holds images.")
    return _load(name, folder, size, framing, places(folder))


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
    name: str,
    root: Path | None,
    size: int,
    framing: Framing,
    looked_in: tuple[Place, ...],  # noqa: ARG001  part of the key: the variable may change within a process
) -> Dataset:
    loader = located(DATASETS[name].loader, f"data set '{name}'")
    data: Dataset = loader(root, size, framing) if DATASETS[name].events else loader(root, size)
    return data
