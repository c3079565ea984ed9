"""The tables of attacks with thresholding on recordings of events, in the layout of the paper's Tables V and VI."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from judges.report.curves import Sweep, sweep_figure
from judges.report.figures import Point
from judges.report.formats import DASH, interval, named_shares, number, out_of_100, percent_interval
from judges.report.gradient_inversion.events import (
    PAPER_SHAPE,
    SPIKES_OF_PAPER,
    SpikeRow,
    SpikeTable,
    nearness,
    paper_guess_l2,
)
from judges.report.gradient_inversion.wording import NOTES, name_of_group, way
from judges.report.table import Cell, Column, Drawing, Group, Section, Table
from judges.scoring.class_distances import ClassDistances, Spread
from judges.summaries.published import PUBLISHED_DISTANCES

_OF_ARXIV = "of arXiv 2511.21181"


def spike_sections(
    tables: Sequence[SpikeTable], shapes: Mapping[str, tuple[int, ...]], observed: Callable[[SpikeTable], Sequence[str]]
) -> Iterator[Section]:
    """Yield the section of Table V, a table and a figure for each group of victims, where there is any.

    Args:
        tables: what stands in them.
        shapes: {data set: (T, P, H, W) of our recordings}, where a picture tells it.
        observed: sentences on a table.
    """
    parts: list[Table[SpikeRow] | Drawing] = []
    for told in tables:
        name, shape = name_of_group(told.group), _times(shapes.get(told.group[0], ()))
        paper = any(row.published for row in told.rows)
        parts.append(
            Table(
                f"Table V, {name}",
                list(_spike_columns(told, paper=paper)),
                [Group(told.rows)],
                name=name,
                lead=_lead(told, shape),
                note=_paper_note(shape) if paper else "",
                remarks=observed(told),
                apart=lambda row: row.tau,
            )
        )
        alt = f"ASR, left, and mean l2, right, against tau, of {name}, with 95 % intervals"
        facts = {"title": "Against the threshold", "reference": "Figure 5", "label": f"Figure 5, {name}"}
        parts.append(Drawing("sweep.html.j2", {**facts, "figure": _sweeps(told), "alt": alt}))
    if parts:
        yield Section("table-v", "Events under thresholding", parts, reference=f"layout of Table V {_OF_ARXIV}")


def distance_sections(distances: Mapping[str, ClassDistances]) -> Iterator[Section]:
    """Yield the section of Table VI, where distances were measured."""
    rows = [
        DistanceRow(dataset, kind, spread)
        for dataset, told in distances.items()
        for kind, spread in (("intra-class", told.intra), ("inter-class", told.inter))
    ]
    if rows:
        paper = f" Paper: Table VI, recordings of {_times(PAPER_SHAPE)} voxels." if SPIKES_OF_PAPER in distances else ""
        columns: list[Column[DistanceRow]] = [
            Column("l2 between", lambda row: f"{row.dataset}, {row.kind}"),
            *(Column(*told, under="paper" if paper else "") for told in _DISTANCES),
            Column("Pairs", lambda row: str(row.spread.pairs)),
        ]
        table = Table("Table VI", columns, [Group(rows)], css="plain narrow", row_css=lambda _: "")
        layout, note = f"layout of Table VI {_OF_ARXIV}", f"{NOTES['distances']}{paper}"
        yield Section("table-vi", "Distances between examples", [table], reference=layout, note=note)


class DistanceRow(NamedTuple):
    """A line of Table VI: "intra-class" or "inter-class" distances of a data set."""

    dataset: str
    kind: str
    spread: Spread

    def cell(self, place: int) -> Cell:
        """Return the mean, deviation, least or greatest distance above the paper's."""
        ours = (self.spread.mean, self.spread.std, self.spread.low, self.spread.high)[place]
        theirs = PUBLISHED_DISTANCES.get(self.kind, ()) if self.dataset == SPIKES_OF_PAPER else ()
        return Cell(
            DASH if ours is None else number(ours), under=tuple(f"paper {number(theirs[place])}" for _ in theirs[:1])
        )


_DISTANCES: tuple[tuple[str, Callable[[DistanceRow], Cell]], ...] = (
    ("Mean", lambda row: row.cell(0)),
    ("Std.", lambda row: row.cell(1)),
    ("Min", lambda row: row.cell(2)),
    ("Max", lambda row: row.cell(3)),
)


def _spike_columns(told: SpikeTable, *, paper: bool) -> Iterator[Column[SpikeRow]]:
    """Yield the columns of Table V."""
    yield Column("tau", lambda row: Cell(f"{row.tau:g}", row.attack), unit="attack", beside="plainly")
    for thresholding in told.ways:
        over, asr = way(thresholding), _asr_of(thresholding)
        yield Column("ASR, %", asr, unit="[95 %]", span=over, beside="in", under="paper" if paper else "")
        l2 = _l2_of(thresholding, told.norm)
        yield Column("l2", l2, unit="mean [95 %]", span=over, beside="in", under="by l2, paper" if paper else "by l2")
    guess, steps = "l2 of the thresholded guess", "zero steps"
    yield Column("ours", lambda row: number(row.guess.l2.mean) if row.guess else DASH, span=guess, span_unit=steps)
    if paper:
        yield Column(
            "expected at",
            lambda row: number(paper_guess_l2(row.tau)),
            unit="the paper\N{RIGHT SINGLE QUOTATION MARK}s size",
            span=guess,
            span_unit=steps,
            theirs=True,
        )


def _asr_of(thresholding: str) -> Callable[[SpikeRow], Cell]:
    """Return what the column of ASR of one way of thresholding says of a row."""

    def told(row: SpikeRow) -> Cell:
        cell, theirs = row.cells.get(thresholding), row.published.get(thresholding)
        if cell is None:
            return Cell(DASH)
        bounds = None if cell.asr is None else cell.intervals["asr"]
        return Cell(
            out_of_100(cell.asr), percent_interval(bounds), (f"paper {out_of_100(theirs.asr)}" if theirs else "",)
        )

    return told


def _l2_of(thresholding: str, norm: float | None) -> Callable[[SpikeRow], Cell]:
    """Return what the column of l2 of one way of thresholding says of a row."""

    def told(row: SpikeRow) -> Cell:
        cell, theirs = row.cells.get(thresholding), row.published.get(thresholding)
        if cell is None:
            return Cell(DASH)
        under = (nearness(cell, row.guess, norm).words, f"paper {number(theirs.l2)}" if theirs else "")
        return Cell(number(cell.l2.mean), interval(cell.intervals["l2"]), under)

    return told


def _lead(told: SpikeTable, shape: str) -> str:
    """Return what a reader of a Table V knows first: the recordings and the judge."""
    facts = named_shares({"held-out": told.held_out, "on the true recordings": told.ceiling, "chance": told.chance})
    parts = (
        shape and f"Recordings of {shape} voxels.",
        "" if told.norm is None else f"Mean norm of a recording, its l2 to the empty one: {number(told.norm)}.",
        facts and f"Judge, %: {facts}.",
    )
    return " ".join(part for part in parts if part)


def _paper_note(shape: str) -> str:
    """Return what the paper's numbers beside ours are of."""
    size = _times(PAPER_SHAPE)
    other = f"; ours are of {shape}, so its l2 is on another scale" if shape and shape != size else ""
    return f"Paper: arXiv 2511.21181, Table V, recordings of {size} voxels{other}. {NOTES['events_paper']}"


def _times(sides: Sequence[int]) -> str:
    return " \N{MULTIPLICATION SIGN} ".join(map(str, sides))


def _sweeps(table: SpikeTable) -> str:
    """Return Figure 5 of a table as a data URI."""
    asr: dict[tuple[str, str], list[Point]] = defaultdict(list)
    l2: dict[tuple[str, str], list[Point]] = defaultdict(list)
    for row in table.rows:
        for thresholding, cell in row.cells.items():
            key = row.attack, way(thresholding)
            if cell.asr is not None:
                asr[key].append(Point(row.tau, cell.asr, cell.intervals["asr"]))
            if cell.l2.mean is not None:
                l2[key].append(Point(row.tau, cell.l2.mean, cell.intervals["l2"]))
    guess = {row.tau: row.guess.l2.mean for row in table.rows if row.guess}
    return sweep_figure(
        [Sweep(*key, points) for key, points in asr.items()],
        [Sweep(*key, points) for key, points in l2.items()],
        chance=table.chance,
        guess=[Point(tau, mean, None) for tau, mean in guess.items() if mean is not None],
        norm=table.norm,
    )
