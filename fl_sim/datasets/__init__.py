"""The private data of the clients: a table name -> loader. Importing this does not import torch.

Other packages add data sets by the entry point `spikeleak.datasets`; see `fl_sim.plugins`.
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
    """Return a data set, read once per process. This function never downloads anything.

    Args:
        name: in `DATASETS`.
        root: the folder in which to look first; "" for the variable SPIKELEAK_DATA, then the cache of downloads.
        size: side of the square to which images are resized; 0 for the data set's default.
        framing: how recordings of events become frames; None for the defaults.

    Raises:
        ConfigError: the data set is not known, the size is negative, a framing is set for a data set of images, or the
            loader cannot be imported.
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
    """Download a data set into the cache of downloads, complete and verified, or leave nothing there.

    Args:
        name: in `DATASETS`.
        progress: whether the downloading library may show its progress on standard error.

    Returns:
        The file or folder that holds the data set; a valid copy that is already there is not downloaded again.

    Raises:
        ConfigError: the data set is not known.
        DataError: the network, the disk or the download failed.
    """
    from fl_sim.datasets.fetching import fetch as download  # imports torch, which importing this package must not do

    return download(name, progress=progress)


@functools.lru_cache(maxsize=4)
def _load(
    name: str,
    root: Path | None,
    size: int,
    framing: Framing,
    searched: tuple[Place, ...],  # noqa: ARG001  part of the cache key: the variable may change within a process
) -> Dataset:
    loader = located(DATASETS[name].loader, f"data set '{name}'")
    data: Dataset = loader(root, size, framing) if DATASETS[name].events else loader(root, size)
    return data
