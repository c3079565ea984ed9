"""The line of the table of data sets. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from fl_sim.plugins import refuse_place, refuse_switch, refuse_text

if TYPE_CHECKING:
    from fl_sim.datasets.examples import Dataset
    from fl_sim.specs import Framing, OwnData

Loader: TypeAlias = "Callable[[Path | None, int], Dataset]"
EventLoader: TypeAlias = "Callable[[Path | None, int, Framing], Dataset]"
OwnLoader: TypeAlias = "Callable[[Path | None, int, OwnData], Dataset]"


@dataclass(frozen=True)
class DatasetEntry:
    """A line of the table of data sets.

    Attributes:
        loader: a callable `(root, size) -> Dataset`, with a `Framing` as third argument for recordings of events and
            an `OwnData` for a user's own data, or its import path ("package.module:name"). `root`
            is the folder in which to look first or None, `size` the side to which images are resized or 0.
        summary: one line for `spikeleak list datasets`.
        terms: the authors' terms as far as known, and the publication to cite.
        events: whether it holds recordings of an event camera.
        own: whether it is whatever the user has at `dataset.root`; `dataset.people` then says whether it shows people.
        people: whether it shows real people; reports then show pictures only on request.
        source: where `spikeleak data fetch` downloads it from, and how that differs from the authors' publication.
        by_hand: who has it, if `spikeleak data fetch` cannot get it.
        counts: number of examples in each split, described in words if it depends on the files found.
        shape: (C, H, W) of one input at the default size; None if unknown.
        classes: number of labels; 0 if it depends on the files found.
        layouts: files or folders under a root that may hold the data set, the preferred one first; empty if it comes
            with a library.
        constants: name of the data set whose published constants apply to it; "" for its own.
    """

    loader: str | Loader | EventLoader | OwnLoader
    summary: str
    terms: str
    events: bool = False
    own: bool = False
    people: bool = False
    source: str = ""
    by_hand: str = ""
    counts: str = ""
    shape: tuple[int, int, int] | None = None
    classes: int = 0
    layouts: tuple[str, ...] = ()
    constants: str = ""

    def __post_init__(self) -> None:
        """Validate on construction, so that an invalid entry fails where it is defined."""
        refuse_place(self, "loader")
        refuse_text(self, "summary", "terms")
        refuse_switch(self, "events", "own", "people")
