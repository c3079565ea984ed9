"""The places where a data set is searched for. Nothing here imports torch."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from fl_sim.datasets.table import DATASETS
from fl_sim.errors import ConfigError, DataError, unknown_name

VARIABLE = "SPIKELEAK_DATA"
HF_PREFIX = "hf:"
"""What stands before the name of a data set of Hugging Face."""

_HF_NAME = re.compile(r"(\w[\w.-]*/)?\w[\w.-]*")


class Place(NamedTuple):
    """A folder that may hold data sets, and the setting from which it comes."""

    origin: str
    folder: Path


class Candidate(NamedTuple):
    """A file or folder that may hold a data set, and whether it exists."""

    origin: str
    path: Path
    found: bool


@dataclass(frozen=True)
class DatasetInfo:
    """What is known of a data set without reading it.

    Attributes:
        name, summary, source, terms, counts, shape, classes, people, own: see `DatasetEntry`.
        candidates: where it is searched for, in order; the first one found is read. Empty if it comes with a library.
    """

    name: str
    summary: str
    source: str
    terms: str
    counts: str
    shape: tuple[int, int, int] | None
    classes: int
    people: bool
    own: bool
    candidates: tuple[Candidate, ...]


def cache_folder() -> Path:
    """Return the folder to which `spikeleak data fetch` downloads; it need not exist."""
    # According to the XDG base directory specification, an empty or relative value is ignored.
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (cache if cache.is_absolute() else Path.home() / ".cache") / "spikeleak" / "data"


def huggingface_folder(root: Path) -> Path:
    """Return the folder of a data set of Hugging Face: that to which it is fetched, or `root` itself.

    Args:
        root: the name of a data set with "hf:" before it, or without where no folder is called so; or a folder.

    Raises:
        ConfigError: what stands after "hf:" is no name.
    """
    name, marked = str(root).removeprefix(HF_PREFIX), str(root).startswith(HF_PREFIX)
    if marked and not _HF_NAME.fullmatch(name):
        raise ConfigError(f"dataset.root: expected a folder, or a name such as hf:OWNER/NAME, found '{root}'.")
    if marked or (_HF_NAME.fullmatch(name) and not root.expanduser().is_dir()):
        return cache_folder() / "huggingface" / name
    return root.expanduser()


def places(root: Path | None) -> tuple[Place, ...]:
    """Return the folders to search, in order: `root`, the variable SPIKELEAK_DATA, the cache of downloads."""
    found = [Place("dataset.root", root.expanduser())] if root else []
    if os.environ.get(VARIABLE):
        found.append(Place(VARIABLE, Path(os.environ[VARIABLE]).expanduser()))
    return (*found, Place("the cache of downloads", cache_folder()))


def candidates(name: str, root: Path | None) -> tuple[Candidate, ...]:
    """Return every file or folder that may hold the data set `name`, in the order of preference."""
    if DATASETS[name].own:  # wherever the user says, and nowhere else
        own = [] if root is None else [huggingface_folder(root) if name == "huggingface" else root.expanduser()]
        return tuple(Candidate("dataset.root", path, path.exists()) for path in own)
    return tuple(
        Candidate(place.origin, path, path.exists())
        for place in places(root)
        for layout in DATASETS[name].layouts
        for path in [_path(place.folder, Path(layout))]
    )


def _path(folder: Path, layout: Path) -> Path:
    """Return where a layout lies in a folder, which may itself be the layout, or the first of its folders."""
    if not (folder / layout).exists():
        for count in range(len(layout.parts), 0, -1):
            inner = folder.joinpath(*layout.parts[count:])
            if folder.parts[-count:] == layout.parts[:count] and inner.exists():
                return inner
    return folder / layout


def locate(name: str, root: Path | None) -> Path:
    """Return the first existing file or folder for the data set `name`. Nothing is ever downloaded here.

    Raises:
        DataError: none exists, or `root` is not a folder.
    """
    found = [candidate.path for candidate in candidates(name, root) if candidate.found]
    if root and not root.expanduser().is_dir() and root.expanduser() not in found:
        # Searching the next place would hide a mistyped path behind another copy of the data.
        raise DataError(f"dataset.root: expected a folder, found none at {root.expanduser()}.")
    if found:
        return found[0]
    expected = " or ".join(f"'{layout}'" for layout in DATASETS[name].layouts)
    looked = ", ".join(f"{place.folder} ({place.origin})" for place in places(root))
    by_hand = DATASETS[name].by_hand
    how = f"Get it from {by_hand}, and" if by_hand else f"Download it with `spikeleak data fetch {name}`, or"
    raise DataError(
        f"The data set '{name}' was not found: expected {expected} under one of {looked}. {how} set {VARIABLE} to the "
        "folder that holds it."
    )


def info(name: str, root: str = "") -> DatasetInfo:
    """Return what is known of the data set `name` and where it is searched for, without reading it.

    Raises:
        ConfigError: the data set is not known.
    """
    if name not in DATASETS:
        raise unknown_name("dataset.name", name, DATASETS, addable=True)
    entry = DATASETS[name]
    return DatasetInfo(
        name=name,
        summary=entry.summary,
        source=entry.source,
        terms=entry.terms,
        counts=entry.counts,
        shape=entry.shape,
        classes=entry.classes,
        people=entry.people,
        own=entry.own,
        candidates=candidates(name, Path(root) if root else None),
    )
