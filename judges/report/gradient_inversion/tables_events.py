"""The tables of attacks with thresholding on recordings of events, in the layout of the paper's Tables V and VI."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from judges.report.curves import Mark, Panel, Sweep, in_percent, lines_figure
from judges.report.figures import Point
from judges.report.formats import DASH, interval, joined, named_shares, number, out_of_100, times
from judges.report.gradient_inversion import NOTES
from judges.report.gradient_inversion.events import (
    PAPER_SHAPE,
    SPIKES_OF_PAPER,
    SpikeRow,
    SpikeTable,
    nearness,
    paper_guess_l2,
)
from judges.report.table import Cell, Column, Drawing, Group, Section, Table, share_cell
from judges.runs.measures import ClassDistances, Spread
from judges.runs.names import group_name, in_words, way_name
from judges.summaries.published import PUBLISHED_DISTANCES

_OF_ARXIV = "of arXiv 2511.21181"


def spike_section(
    tables: Sequence[SpikeTable], shapes: Mapping[str, tuple[int, ...]], observed: Callable[[SpikeTable], Sequence[str]]
) -> Section:
    """Return the section of Table V: a table, with sentences on it, and a figure for each group of victims.

    `shapes` has (T, P, H, W) of our recordings by data set, where a picture shows it.
    """
    parts: list[Table[SpikeRow] | Drawing] = []
    for table in tables:
        name, shape = group_name(table.group), times(shapes.get(table.group.dataset, ()))
        paper = any(row.published for row in table.rows)
        parts.append(
            Table(
                f"Table V, {name}",
                list(_spike_columns(table, paper=paper)),
                [Group(table.rows)],
                name=name,
                lead=_lead(table, shape),
                note=_paper_note(shape) if paper else "",
                remarks=observed(table),
                apart=lambda row: row.tau,
            )
        )
        alt = f"ASR, left, and mean l2, right, against tau, of {name}, with 95 % intervals"
        shown = [(f"Figure 5, {name}", alt, lines_figure(spike_panels(table), width=3.7, height=2.9))]
        parts.append(Drawing("sweep.html.j2", shown, "Against the threshold", "Figure 5"))
    return Section("table-v", "Events under thresholding", parts, reference=f"layout of Table V {_OF_ARXIV}")


def distance_section(distances: Mapping[str, ClassDistances]) -> Section:
    """Return the section of Table VI: our distances above the paper's, where it has them."""
    rows = [
        (name, kind, spread)
        for name, both in distances.items()
        for kind, spread in (("intra-class", both.intra), ("inter-class", both.inter))
    ]
    paper = SPIKES_OF_PAPER in distances

    def distance(row: tuple[str, str, Spread], place: int) -> Cell:
        name, kind, spread = row
        ours = (spread.mean, spread.std, spread.low, spread.high)[place]
        theirs = PUBLISHED_DISTANCES.get(kind) if name == SPIKES_OF_PAPER else None
        return Cell(DASH if ours is None else number(ours), under=(f"paper {number(theirs[place])}" if theirs else "",))

    columns: list[Column[tuple[str, str, Spread]]] = [
        Column("l2 between", lambda row: f"{in_words(row[0])}, {row[1]}", terminal="l2 between"),
        *(
            Column(heading, partial(distance, place=place), under="paper" if paper else "", terminal=heading)
            for place, heading in enumerate(("Mean", "Std.", "Min", "Max"))
        ),
        Column("Pairs", lambda row: str(row[2].pairs), terminal="Pairs"),
    ]
    theirs = f" Paper: Table VI, recordings of {times(PAPER_SHAPE)} voxels." if paper else ""
    table = Table("Table VI", columns, [Group(rows)], css="plain narrow")
    reference, note = f"layout of Table VI {_OF_ARXIV}", f"{NOTES['distances']}{theirs}"
    return Section("table-vi", "Distances between examples", [table], reference=reference, note=note)


def _spike_columns(table: SpikeTable, *, paper: bool) -> Iterator[Column[SpikeRow]]:
    theirs, guess = "paper" if paper else "", "l2 of the thresholded guess, zero steps"
    yield Column("tau", lambda row: Cell(f"{row.tau:g}", row.attack), unit="attack", beside="plainly")
    for way in table.ways:
        asr, l2 = partial(_asr, way=way), partial(_l2, way=way, norm=table.norm)
        span, under = way_name(way), joined("by l2", "last", theirs)
        yield Column("ASR, %", asr, unit="[95 %]", span=span, beside="in", under=theirs)
        yield Column("l2", l2, unit="mean [95 %]", span=span, beside="in", under=under)
    yield Column("ours", lambda row: number(row.guess.l2.mean) if row.guess else DASH, span=guess)
    if paper:
        size, expected = "the paper\N{RIGHT SINGLE QUOTATION MARK}s size", lambda row: number(paper_guess_l2(row.tau))
        yield Column("expected at", expected, unit=size, span=guess, theirs=True)


def _asr(row: SpikeRow, way: str) -> Cell:
    cell, theirs = row.cells.get(way), row.published.get(way)
    under = f"paper {out_of_100(theirs.asr)}" if theirs else ""
    return share_cell(cell.asr, cell.intervals["asr"], under) if cell else Cell(DASH)


def _l2(row: SpikeRow, way: str, norm: float | None) -> Cell:
    """Return the mean l2 of one way of thresholding, what it equals or beats, and that of the last iterates."""
    cell, theirs = row.cells.get(way), row.published.get(way)
    if cell is None:
        return Cell(DASH)
    last = cell.last["l2"]
    under = (
        nearness(cell, row.guess, norm).words,
        "" if last is None else f"last {number(last)}",
        f"paper {number(theirs.l2)}" if theirs else "",
    )
    return Cell(number(cell.l2.mean), interval(cell.intervals["l2"]), under)


def _lead(table: SpikeTable, shape: str) -> str:
    """Return what a reader of a Table V has to know first: the recordings and the judge."""
    judge = {"held-out": table.held_out, "on the true recordings": table.ceiling, "chance": table.chance}
    return joined(
        shape and f"Recordings of {shape} voxels.",
        "" if table.norm is None else f"Mean norm of a recording, its l2 to the empty one: {number(table.norm)}.",
        f"Judge, %: {named_shares(judge)}." if named_shares(judge) else "",
        by=" ",
    )


def _paper_note(shape: str) -> str:
    """Return what the paper's numbers beside ours are of."""
    size = times(PAPER_SHAPE)
    other = f"; ours are of {shape}, so its l2 is on another scale" if shape and shape != size else ""
    return f"Paper: arXiv 2511.21181, Table V, recordings of {size} voxels{other}. {NOTES['events_paper']}"


def spike_panels(table: SpikeTable) -> tuple[Panel, Panel]:
    """Return Figure 5 of a table: success rate and l2 against the threshold."""
    asr, l2 = defaultdict[tuple[str, str], list[Point]](list), defaultdict[tuple[str, str], list[Point]](list)
    for row in table.rows:
        for way, cell in row.cells.items():
            for lines, mean, name in ((asr, cell.asr, "asr"), (l2, cell.l2.mean, "l2")):
                if mean is not None:
                    lines[row.attack, way_name(way)].append(Point(row.tau, mean, cell.intervals[name]))
    guess = {row.tau: row.guess.l2.mean for row in table.rows if row.guess}
    start = Sweep("guess, zero steps", "", [Point(tau, mean, None) for tau, mean in guess.items() if mean is not None])
    rates = [in_percent(Sweep(*key, points)) for key, points in asr.items()]
    distances = [Sweep(*key, points) for key, points in l2.items()]
    chance = [] if table.chance is None else [Mark(100 * table.chance, "chance")]
    empty = [] if table.norm is None else [Mark(table.norm, "empty recording")]
    left = Panel("tau", "ASR, %", rates, marks=chance, ticks=False, ends=(0, None), missing="no judge")
    right = Panel("tau", "mean l2", distances, beneath=start, marks=empty, ticks=False, logarithmic=True)
    return left, right
