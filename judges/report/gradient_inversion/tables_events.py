"""The tables of attacks with thresholding on recordings of events, in the layout of the paper's Tables V and VI."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
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
from judges.report.gradient_inversion.wording import NOTES
from judges.report.table import Cell, Column, Drawing, Group, Section, Table
from judges.runs.measures import ClassDistances, Spread
from judges.runs.names import group_name, way_name
from judges.summaries.published import PUBLISHED_DISTANCES

_OF_ARXIV = "of arXiv 2511.21181"


def spike_section(
    tables: Sequence[SpikeTable], shapes: Mapping[str, tuple[int, ...]], observed: Callable[[SpikeTable], Sequence[str]]
) -> Section:
    """Return the section of Table V, a table and a figure for each group of victims.

    Args:
        tables: what stands in them.
        shapes: {data set: (T, P, H, W) of our recordings}, where a picture tells it.
        observed: sentences on a table.
    """
    parts: list[Table[SpikeRow] | Drawing] = []
    for told in tables:
        name, shape = group_name(told.group), _times(shapes.get(told.group.dataset, ()))
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
        shown = [(f"Figure 5, {name}", alt, _sweeps(told))]
        parts.append(Drawing("sweep.html.j2", shown, "Against the threshold", "Figure 5"))
    return Section("table-v", "Events under thresholding", parts, reference=f"layout of Table V {_OF_ARXIV}")


class DistanceRow(NamedTuple):
    """A line of Table VI: distances of a data set, and those of the paper where it has them."""

    name: str
    spread: Spread
    paper: Sequence[float]

    def cell(self, place: int) -> Cell:
        """Return the mean, deviation, least or greatest distance above the paper's."""
        ours = (self.spread.mean, self.spread.std, self.spread.low, self.spread.high)[place]
        under = f"paper {number(self.paper[place])}" if self.paper else ""
        return Cell(DASH if ours is None else number(ours), under=(under,))


def distance_section(distances: Mapping[str, ClassDistances]) -> Section:
    """Return the section of Table VI."""
    rows = [
        DistanceRow(f"{name}, {kind}", spread, PUBLISHED_DISTANCES.get(kind, ()) if name == SPIKES_OF_PAPER else ())
        for name, told in distances.items()
        for kind, spread in (("intra-class", told.intra), ("inter-class", told.inter))
    ]
    under = "paper" if SPIKES_OF_PAPER in distances else ""
    columns: list[Column[DistanceRow]] = [
        Column("l2 between", lambda row: row.name),
        *(
            Column(heading, partial(DistanceRow.cell, place=place), under=under)
            for place, heading in enumerate(("Mean", "Std.", "Min", "Max"))
        ),
        Column("Pairs", lambda row: str(row.spread.pairs)),
    ]
    theirs = f" Paper: Table VI, recordings of {_times(PAPER_SHAPE)} voxels." if under else ""
    return Section(
        "table-vi",
        "Distances between examples",
        [Table("Table VI", columns, [Group(rows)], css="plain narrow")],
        reference=f"layout of Table VI {_OF_ARXIV}",
        note=f"{NOTES['distances']}{theirs}",
    )


def _spike_columns(told: SpikeTable, *, paper: bool) -> Iterator[Column[SpikeRow]]:
    """Yield the columns of Table V."""
    theirs, guess, steps = ", paper" if paper else "", "l2 of the thresholded guess", "zero steps"
    yield Column("tau", lambda row: Cell(f"{row.tau:g}", row.attack), unit="attack", beside="plainly")
    for one in told.ways:
        asr, l2 = partial(_asr, thresholding=one), partial(_l2, thresholding=one, norm=told.norm)
        yield Column("ASR, %", asr, unit="[95 %]", span=way_name(one), beside="in", under=theirs.removeprefix(", "))
        yield Column("l2", l2, unit="mean [95 %]", span=way_name(one), beside="in", under=f"by l2{theirs}")
    yield Column("ours", lambda row: number(row.guess.l2.mean) if row.guess else DASH, span=guess, span_unit=steps)
    if paper:
        size, expected = "the paper\N{RIGHT SINGLE QUOTATION MARK}s size", lambda row: number(paper_guess_l2(row.tau))
        yield Column("expected at", expected, unit=size, span=guess, span_unit=steps, theirs=True)


def _asr(row: SpikeRow, thresholding: str) -> Cell:
    """Return the ASR of one way of thresholding."""
    cell, theirs = row.cells.get(thresholding), row.published.get(thresholding)
    if cell is None:
        return Cell(DASH)
    bounds = None if cell.asr is None else cell.intervals["asr"]
    return Cell(out_of_100(cell.asr), percent_interval(bounds), (f"paper {out_of_100(theirs.asr)}" if theirs else "",))


def _l2(row: SpikeRow, thresholding: str, norm: float | None) -> Cell:
    """Return the mean l2 of one way of thresholding, and what it equals or beats."""
    cell, theirs = row.cells.get(thresholding), row.published.get(thresholding)
    if cell is None:
        return Cell(DASH)
    under = (nearness(cell, row.guess, norm).words, f"paper {number(theirs.l2)}" if theirs else "")
    return Cell(number(cell.l2.mean), interval(cell.intervals["l2"]), under)


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
            key = row.attack, way_name(thresholding)
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
