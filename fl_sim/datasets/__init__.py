"""The private data of the clients: a table name -> loader. Importing this does not import torch.

Other packages add data sets by the entry point `spikeleak.datasets`; see `fl_sim.plugins`.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fl_sim.datasets.entry import DatasetEntry
from fl_sim.datasets.locations import Candidate, DatasetInfo, Place, info, places
from fl_sim.datasets.table import DATASETS
from fl_sim.errors import ConfigError, unknown_name
from fl_sim.plugins import located
from fl_sim.specs import Framing, OwnData, Settings

if TYPE_CHECKING:
    from fl_sim.datasets.examples import Dataset

__all__ = ["DATASETS", "Candidate", "DatasetEntry", "DatasetInfo", "fetch", "info", "load_dataset", "read"]


def load_dataset(
    name: str,
    *,
    root: str = "",
    size: int = 0,
    channels: int = 0,
    framing: Framing | None = None,
    own: OwnData | None = None,
) -> Dataset:
    """Return a data set, read once per process. This function never downloads anything.

    Args:
        name: in `DATASETS`.
        root: the folder in which to look first; "" for the variable SPIKELEAK_DATA, then the cache of downloads. For
            data of the user's own, their file or folder.
        size: side of the square to which images are resized; 0 for the data set's default.
        channels: 3 repeats the channel of grey images; 0 for those that the images have.
        framing: how recordings of events become frames; None for the defaults.
        own: what data of the user's own do not say themselves; None for the defaults.

    Raises:
        ConfigError: the data set is not known, the size is negative, the images have another number of channels, a
            setting is made that this data set does not read, or the loader cannot be imported.
        DataError: its files are missing or corrupt.
    """
    if name not in DATASETS:
        raise unknown_name("dataset.name", name, DATASETS, addable=True)
    if size < 0:
        raise ConfigError(f"dataset.size: expected a side in pixels, or 0 for the default, found {size}.")
    folder = Path(root) if root else None
    framing, own = framing or Framing(), own or OwnData()
    if not DATASETS[name].events:
        _refuse_changes(framing, f"is for recordings of events; '{name}' holds images.")
    if not DATASETS[name].own:
        _refuse_changes(own, f"is for data of your own; what '{name}' holds is known.")
    data = _load(name, folder, size, framing, own, places(folder))
    if not channels:
        return data
    from fl_sim.datasets.channels import with_channels  # imports torch, as the loaders do

    return with_channels(data, channels)


def read(entry: DatasetEntry, name: str, root: Path | None, size: int, framing: Framing, own: OwnData) -> Dataset:
    """Return what the loader of an entry returns for these settings; see `load_dataset`."""
    loader = located(entry.loader, f"data set '{name}'")
    more = (*((framing,) if entry.events else ()), *((own,) if entry.own else ()))
    data: Dataset = loader(root, size, *more)
    people = own.people if entry.own else entry.people
    return data if data.people == people else replace(data, people=people)


def fetch(name: str, *, progress: bool = True) -> Path:
    """Download a data set into the cache of downloads, complete and verified, or leave nothing there.

    Args:
        name: in `DATASETS`, or that of a data set of Hugging Face with "hf:" before it.
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
    own: OwnData,
    searched: tuple[Place, ...],  # noqa: ARG001  part of the cache key: the variable may change within a process
) -> Dataset:
    return read(DATASETS[name], name, root, size, framing, own)


def _refuse_changes(settings: Settings, reason: str) -> None:
    """Raise a ConfigError if a setting that a data set does not read is not at its default."""
    for key, value in settings:
        if value != type(settings).model_fields[key].default:
            raise ConfigError(f"dataset.{key}: {reason}")
