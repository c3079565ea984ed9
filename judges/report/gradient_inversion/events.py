"""What attacks with thresholding found on recordings of events, beside answers that need no gradient."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from judges.report.gradient_inversion.tables import by_group, judge_facts, no_op_of
from judges.runs.identity import BLACK, PROTOCOL, Group
from judges.runs.names import attack_name, settings_name
from judges.summaries.gradient_inversion import CellSummary, Summary
from judges.summaries.published import PUBLISHED_SPIKES, PublishedSpikes

SPIKES_OF_PAPER = "dvs_gesture"  # the data set of the paper's Tables V and VI
PAPER_SHAPE, PAPER_NORM, PAPER_SIGMA = (20, 2, 128, 128), 42.5647, 0.1
"""The norm of the paper's recordings is read off Table V: from tau 0.75 on the answer is the empty recording."""

SAME = 0.01  # two distances are called equal where they differ by at most this share of the second


class SpikeRow(NamedTuple):
    """A line of Table V: one attack and threshold, with the ways of thresholding side by side."""

    tau: float
    attack: str  # without its way of thresholding and its threshold
    cells: Mapping[str, CellSummary]  # {way of thresholding: our numbers}
    guess: CellSummary | None  # the initial guess, thresholded, no step taken; None where it was not scored
    published: Mapping[str, PublishedSpikes]  # {way: the paper's numbers}; empty unless on DVS128 Gesture


class SpikeTable(NamedTuple):
    """Table V for one group of victims.

    The norm is the mean l2 norm of a recording, which is its distance to the empty one: of these victims, or else of
    the data set; None where neither was measured. The judge's accuracies are those of `ImageRow`, and its ceiling.
    """

    group: Group
    ways: tuple[str, ...]
    rows: tuple[SpikeRow, ...]  # by tau, then by attack
    norm: float | None
    held_out: float | None
    chance: float | None
    ceiling: float | None


class Nearness(NamedTuple):
    """How a mean l2 compares with those of answers that need no gradient."""

    guess: bool  # it equals that of the thresholded guess, no step taken
    empty: bool  # it equals that of the empty recording
    closer: bool | None  # it equals none and is less than all that are known; None where none is known

    @property
    def words(self) -> str:
        """Return it in a few words."""
        equal = ["guess"] * self.guess + ["empty"] * self.empty
        other = {True: "closer", False: "no closer", None: ""}[self.closer]
        return f"equals {' and '.join(equal)}" if equal else other


def nearness(cell: CellSummary, guess: CellSummary | None, norm: float | None) -> Nearness:
    """Return how a cell's mean l2 compares with those of the guess and of the empty recording."""
    ours, others = cell.l2.mean, (guess.l2.mean if guess else None, norm)
    known = [other for other in others if other is not None]
    if ours is None:
        return Nearness(False, False, False if known else None)
    equal = [other is not None and abs(ours - other) <= SAME * other for other in others]
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
    """Return Table V for each group of victims on which an attack with thresholding was run.

    Protocols that were tried on the same recordings share a table.
    """
    swept = by_group([cell for cell in summary.cells if not cell.control and cell.tau is not None])
    empty = {cell.group: cell.l2.mean for cell in reversed(summary.cells) if cell.control == BLACK}
    shared: dict[object, list[list[CellSummary]]] = defaultdict(list)
    for group, own in swept.items():
        shared[without_protocol(group), empty.get(group), own[0].ceiling].append(own)
    tables = []
    for blocks in shared.values():
        own = [cell for block in blocks for cell in block]
        first, group = own[0].group, own[0].group if len(blocks) == 1 else without_protocol(own[0].group)
        ways, measured = dict.fromkeys(cell.thresholding for cell in own), summary.distances.get(group.dataset)
        norm = measured.norm if empty.get(first) is None and measured else empty.get(first)
        judge = judge_facts(summary, group.dataset)
        rows = _rows(summary, own, several=len(blocks) > 1)
        tables.append(SpikeTable(group, tuple(ways), tuple(rows), norm, *judge, own[0].ceiling))
    return tables


def without_protocol(group: Group) -> Group:
    """Return a group as it is under other protocols."""
    return replace(group, varied=tuple(pair for pair in group.varied if pair[0] != PROTOCOL))


def _rows(summary: Summary, own: Sequence[CellSummary], *, several: bool) -> Iterator[SpikeRow]:
    """Yield the rows of victims by tau, then by attack, then by protocol if there are several."""

    def name(cell: CellSummary) -> str:
        protocol = {PROTOCOL: cell.varied[PROTOCOL]} if several else {}
        return ", ".join(part for part in (attack_name(cell), settings_name(protocol)) if part)

    order = list(dict.fromkeys(map(attack_name, own)))
    rows: dict[tuple[float, int, str], dict[str, CellSummary]] = defaultdict(dict)
    for cell in own:
        rows[cell.tau or 0.0, order.index(attack_name(cell)), name(cell)][cell.thresholding] = cell
    for (tau, _, attack), cells in sorted(rows.items(), key=lambda item: item[0][:2]):
        first = next(iter(cells.values()))
        known = first.dataset == SPIKES_OF_PAPER and first.defence == "none" and not first.attack_settings
        sweeps = {way: PUBLISHED_SPIKES.get((first.attack, way), {}) for way in cells if known}
        paper = {way: sweep[tau] for way, sweep in sweeps.items() if tau in sweep}
        yield SpikeRow(tau, attack, cells, no_op_of(summary, first), paper)
