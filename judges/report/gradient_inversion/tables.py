"""The tables of the paper, filled with a run's summary: what stands in them, not how it looks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from fl_sim.records import Scalar
from judges.runs.identity import BLACK, NO_OP, Group
from judges.runs.measures import ClassDistances, Spread
from judges.runs.names import attack_name, defence_name, model_name
from judges.summaries.gradient_inversion import CellSummary, Summary
from judges.summaries.published import PUBLISHED_SPIKES, Published, PublishedSpikes

SPIKES_OF_PAPER = "dvs_gesture"
"""The data set of the paper's Tables V and VI."""

PAPER_SHAPE = (20, 2, 128, 128)
PAPER_NORM = 42.5647
"""Norm of the paper's recordings, read off Table V: where tau is 0.75 and more the answer is the empty recording."""

PAPER_SIGMA = 0.1
SAME = 0.01
"""Two distances are called equal where they differ by at most this share of the second."""


@dataclass(frozen=True)
class ImageRow:
    """A line of Table IV: an attack on still images.

    Attributes:
        cell: our figures.
        held_out, chance: the judge's accuracy on examples that it never saw, and that of guessing; None without one.
        no_op: ASR of the attack's initial guess, no step taken; None without a judge.
        published: the paper's row; None where it has none.
    """

    cell: CellSummary
    held_out: float | None
    chance: float | None
    no_op: float | None
    published: Published | None


@dataclass(frozen=True)
class ImageBlock:
    """The lines of Table IV of one attack on one data set, which share a judge."""

    attack: str
    dataset: str
    held_out: float | None
    chance: float | None
    rows: tuple[ImageRow, ...]


@dataclass(frozen=True)
class SpikeRow:
    """A line of Table V: one attack and threshold, with every way of thresholding beside each other.

    Attributes:
        tau: the threshold.
        attack: its name, without its way of thresholding and its threshold.
        cells: {way of thresholding: our figures}.
        guess: the initial guess, thresholded, no step taken; None where it was not scored.
        published: {way of thresholding: the paper's figures}; empty unless the victims are of DVS128 Gesture.
    """

    tau: float
    attack: str
    cells: Mapping[str, CellSummary]
    guess: CellSummary | None
    published: Mapping[str, PublishedSpikes]


@dataclass(frozen=True)
class SpikeTable:
    """Table V for one group of victims.

    Attributes:
        group: what was attacked.
        ways: of thresholding, as columns.
        rows: by tau, then by attack.
        norm: mean l2 norm of a recording, which is its distance to the empty one: of these victims, else of the data
            set; None where neither was measured.
        held_out, chance, ceiling: of the judge, as in `ImageRow`; the last is its accuracy on the true inputs.
    """

    group: Group
    ways: tuple[str, ...]
    rows: tuple[SpikeRow, ...]
    norm: float | None
    held_out: float | None
    chance: float | None
    ceiling: float | None


class Nearness(NamedTuple):
    """How a mean l2 compares with those of answers that need no gradient.

    Attributes:
        guess: it equals that of the thresholded guess, no step taken.
        empty: it equals that of the empty recording.
        closer: it is less than either of those that are known, and equals none; None where none is known.
    """

    guess: bool
    empty: bool
    closer: bool | None


@dataclass(frozen=True)
class DistanceRow:
    """A line of Table VI: "intra-class" or "inter-class" distances of a data set."""

    dataset: str
    kind: str
    spread: Spread


def image_rows(summary: Summary) -> list[ImageRow]:
    """Return Table IV: every attack on victims that no thresholding was tried on.

    They are ordered by attack, data set, initialisation and model, so that networks that start alike stand together.
    """
    events = {cell.group for cell in summary.cells if cell.tau is not None}
    attacks = [cell for cell in summary.cells if not cell.control and cell.group not in events]
    keys = [(attack_name(cell), cell.dataset, defence_name(cell), cell.init, model_name(cell)) for cell in attacks]
    orders = [_order(column) for column in zip(*keys, strict=True)]
    ranks = [[order[name] for order, name in zip(orders, key, strict=True)] for key in keys]
    ranked = [attacks[at] for at in sorted(range(len(attacks)), key=ranks.__getitem__)]
    return [
        ImageRow(cell, *_judge_facts(summary, cell.dataset), _asr(_guess_of(summary, cell)), cell.published)
        for cell in ranked
    ]


def image_blocks(summary: Summary) -> list[ImageBlock]:
    """Return Table IV in blocks."""
    groups = itertools.groupby(image_rows(summary), key=lambda row: (attack_name(row.cell), row.cell.dataset))
    blocks = [(names, tuple(rows)) for names, rows in groups]
    return [ImageBlock(*names, rows[0].held_out, rows[0].chance, rows) for names, rows in blocks]


def nearness(cell: CellSummary, guess: CellSummary | None, norm: float | None) -> Nearness:
    """Return how a cell's mean l2 compares with those of the guess and of the empty recording."""
    ours, start = cell.l2.mean, guess.l2.mean if guess else None
    if ours is None:
        return Nearness(False, False, None if start is None and norm is None else False)
    equal = [other is not None and abs(ours - other) <= SAME * other for other in (start, norm)]
    known = [other for other in (start, norm) if other is not None]
    return Nearness(equal[0], equal[1], ours < min(known) and not any(equal) if known else None)


def thresholded_guess_l2(tau: float, *, sigma: float, voxels: int, norm: float) -> float:
    """Return the root mean square distance of a binary recording to the thresholded guess, no step taken.

    A voxel of the guess |N(0, sigma)| exceeds tau with p = erfc(tau / (sigma sqrt 2)). Of `voxels`, K = norm^2 hold a
    spike: there the two differ with 1 - p, elsewhere with p. So the mean square is voxels p + K (1 - 2 p).
    """
    p = math.erfc(tau / (sigma * math.sqrt(2)))
    return math.sqrt(voxels * p + norm**2 * (1 - 2 * p))


def paper_guess_l2(tau: float) -> float:
    """Return `thresholded_guess_l2` for recordings of the paper's size and norm."""
    return thresholded_guess_l2(tau, sigma=PAPER_SIGMA, voxels=math.prod(PAPER_SHAPE), norm=PAPER_NORM)


def spike_tables(summary: Summary) -> list[SpikeTable]:
    """Return Table V for each group of victims that an attack with thresholding was run on."""
    swept = [cell for cell in summary.cells if not cell.control and cell.tau is not None]
    return [_spike_table(summary, group, swept) for group in dict.fromkeys(cell.group for cell in swept)]


def distance_rows(distances: Mapping[str, ClassDistances]) -> list[DistanceRow]:
    """Return Table VI."""
    return [
        DistanceRow(dataset, kind, spread)
        for dataset, told in distances.items()
        for kind, spread in (("intra-class", told.intra), ("inter-class", told.inter))
    ]


def _spike_table(summary: Summary, group: Group, swept: Sequence[CellSummary]) -> SpikeTable:
    own = [cell for cell in swept if cell.group == group]
    held_out, chance = _judge_facts(summary, group.dataset)
    told = summary.distances.get(group.dataset)
    empty = next((cell.l2.mean for cell in summary.cells if cell.group == group and cell.control == BLACK), None)
    return SpikeTable(
        group,
        tuple(dict.fromkeys(cell.thresholding for cell in own)),
        tuple(_spike_rows(summary, own)),
        told.norm if empty is None and told else empty,
        held_out,
        chance,
        own[0].ceiling,
    )


def _spike_rows(summary: Summary, own: Sequence[CellSummary]) -> Iterator[SpikeRow]:
    for tau in sorted({cell.tau for cell in own if cell.tau is not None}):
        for attack in dict.fromkeys(attack_name(cell) for cell in own):
            cells = {cell.thresholding: cell for cell in own if (cell.tau, attack_name(cell)) == (tau, attack)}
            if not cells:
                continue
            some = next(iter(cells.values()))
            known = (some.dataset, some.defence) == (SPIKES_OF_PAPER, "none") and not some.attack_settings
            sweeps = {way: PUBLISHED_SPIKES.get((some.attack, way), {}) for way in cells if known}
            paper = {way: sweep[tau] for way, sweep in sweeps.items() if tau in sweep}
            yield SpikeRow(tau, attack, cells, _guess_of(summary, some), paper)


def _guess_of(summary: Summary, cell: CellSummary) -> CellSummary | None:
    """Return the no-op control of a cell's victims that starts as the cell does, at its threshold."""
    key = cell.group, cell.guess, cell.tau
    same = (other for other in summary.cells if other.control == NO_OP)
    return next((other for other in same if (other.group, other.guess, other.tau) == key), None)


def _asr(cell: CellSummary | None) -> float | None:
    return cell.asr if cell else None


def _judge_facts(summary: Summary, dataset: str) -> tuple[float | None, float | None]:
    """Return the judge's held-out accuracy and chance; None without a judge."""
    facts: Mapping[str, Scalar] = summary.judges.get(dataset, {})
    held_out, chance = (facts.get(name) for name in ("accuracy", "chance"))
    return (held_out if isinstance(held_out, float) else None), (chance if isinstance(chance, float) else None)


def _order(values: Iterable[str]) -> dict[str, int]:
    return {value: place for place, value in enumerate(dict.fromkeys(values))}
