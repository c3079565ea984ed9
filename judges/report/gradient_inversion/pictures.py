"""The pictures of a run in the order of a reader: by data set, and networks that were attacked alike side by side."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fl_sim.records import load_record
from judges.report.figures import loss_figure, picture_uri
from judges.report.formats import number
from judges.report.words import tone
from judges.runs.identity import Group
from judges.runs.names import attack_name, defence_name, group_name, model_name, way_name
from judges.runs.pictures import Gallery
from judges.runs.rows import DIVERGED
from judges.summaries.gradient_inversion import CellSummary, Summary

STILL_SIDE, EVENT_SIDE = 60, 96
EVENT_ROLES = ("best", "median", "worst", DIVERGED)
"""What is shown of events: there are many cells, and most answers look the same."""


@dataclass(frozen=True)
class Pair:
    """One victim of a gallery: truth above, reconstruction below, and what stands under them."""

    role: str
    capture_id: str
    label: int
    truth: str
    reconstruction: str
    caption: str
    diverged: bool


@dataclass(frozen=True)
class Panel:
    """The pictures and the loss curves of one cell. `pairs` is empty where the pictures are hidden.

    Attributes:
        title: what sets the cell apart from those beside it.
        name: of the whole cell.
        cell: its line in the summary; None where it has none.
        pairs: best first.
        loss: data URI of the figure of its matching losses.
        curves: how many that figure shows.
    """

    title: str
    name: str
    cell: CellSummary | None
    pairs: tuple[Pair, ...]
    loss: str
    curves: int

    @property
    def tone(self) -> str:
        """Return how loudly its verdict is printed."""
        return tone(self.cell.verdict) if self.cell else ""


@dataclass(frozen=True)
class PanelRow:
    """Cells that differ in the network, or in the way of thresholding, only."""

    name: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class PanelBlock:
    """The rows of one data set; `timesteps` frames of events are summed in a picture, 0 are of still images."""

    dataset: str
    timesteps: int
    hidden: bool
    rows: tuple[PanelRow, ...]


def load_galleries(folder: Path, summary: Summary) -> list[Gallery]:
    """Return the galleries of a folder in the order of the summary's cells; those of no cell are of an earlier call."""
    keys = [(cell.group, cell.cell) for cell in summary.cells]
    galleries = [load_record(Gallery, path) for path in sorted(folder.glob("*.safetensors"))]
    return sorted((item for item in galleries if item.key in keys), key=lambda item: keys.index(item.key))


def panel_blocks(galleries: Sequence[Gallery], summary: Summary, shown: Callable[[str], bool]) -> list[PanelBlock]:
    """Return the pictures by data set.

    Args:
        galleries: of a run.
        summary: of the same run.
        shown: whether the pictures of a data set may be shown.
    """
    cells = {(cell.group, cell.cell): cell for cell in summary.cells}
    return [
        PanelBlock(dataset, timesteps, not shown(dataset), tuple(_rows(own, cells, shown(dataset))))
        for (dataset, timesteps), own in _together(galleries, lambda item: (item.dataset, item.timesteps))
    ]


def sizes(galleries: Iterable[Gallery]) -> dict[str, tuple[int, ...]]:
    """Return {data set: (T, P, H, W)} of those of events."""
    return {item.dataset: (item.timesteps, *item.truth.shape[1:]) for item in galleries if item.timesteps}


def _rows(
    galleries: Sequence[Gallery], cells: Mapping[tuple[Group, str], CellSummary], shown: bool
) -> Iterator[PanelRow]:
    """Yield the rows of a data set."""

    def alike(item: Gallery) -> tuple[str, str, str, float]:
        return attack_name(item), defence_name(item), item.init, -1.0 if item.tau is None else item.tau

    for (attack, defence, init, tau), own in _together(galleries, alike):
        parts = [attack, f"{init} init" if init else "", f"tau {tau:g}" if tau >= 0 else ""]
        name = " \N{MIDDLE DOT} ".join(part for part in (*parts, "" if defence == "none" else defence) if part)
        yield PanelRow(name, tuple(_panel(item, cells.get(item.key), shown) for item in own))


def _panel(gallery: Gallery, cell: CellSummary | None, shown: bool) -> Panel:
    """Return the pictures of a gallery, or the panel that stands for them."""
    way = "" if gallery.tau is None else f" \N{MIDDLE DOT} {way_name(gallery.thresholding)}"
    return Panel(
        title=f"{model_name(gallery)}{way}",
        name=f"{attack_name(gallery)} on {group_name(gallery)}",
        cell=cell,
        pairs=tuple(_pairs(gallery)) if shown else (),
        loss=loss_figure(gallery.loss_curves, gallery.curve_recognisable),
        curves=len(gallery.loss_curves),
    )


def _pairs(gallery: Gallery) -> Iterator[Pair]:
    """Yield the pictures of a gallery in its order."""
    side = EVENT_SIDE if gallery.timesteps else STILL_SIDE
    for index, role in enumerate(gallery.roles):
        if gallery.timesteps and role not in EVENT_ROLES:
            continue
        truth, ours = (
            picture_uri(pictures[index], low=gallery.low, high=gallery.high, side=side)
            for pictures in (gallery.truth, gallery.reconstructions)
        )
        still = f"{number(gallery.ssim[index])} \N{MIDDLE DOT} {number(gallery.psnr_db[index], 1)}"
        yield Pair(
            role=role,
            capture_id=gallery.capture_ids[index],
            label=gallery.labels[index],
            truth=truth,
            reconstruction=ours,
            caption=f"l2 {number(gallery.l2[index])}" if gallery.timesteps else still,
            diverged=gallery.stop_reasons[index] == DIVERGED,
        )


def _together(items: Iterable[Gallery], key: Callable[[Gallery], Any]) -> Iterator[tuple[Any, list[Gallery]]]:
    """Yield items of the same key together, in the order in which each key comes first."""
    ordered = list(items)
    places = {value: place for place, value in enumerate(dict.fromkeys(key(item) for item in ordered))}
    for value, own in itertools.groupby(sorted(ordered, key=lambda item: places[key(item)]), key=key):
        yield value, list(own)
