"""What a run found, in sentences. Plain text: each format escapes it."""

from __future__ import annotations

from collections import defaultdict
from functools import singledispatch

from judges.report.formats import between, counted, number, percent
from judges.report.gradient_inversion.events import SpikeTable
from judges.report.gradient_inversion.findings import (
    BestControls,
    Finding,
    Missed,
    Observed,
    OfVerdict,
    Scored,
    Thresholded,
    find,
    observe,
)
from judges.runs.names import attack_name, group_name, way_name
from judges.summaries.gradient_inversion import CellSummary, Summary

MOST_DETAILED = 8
"""Up to so many cells are listed with their numbers; of more, the tables tell them."""

_RELATIONS = {
    "guess": "within 1 % of that of the thresholded guess with zero steps",
    "empty": "within 1 % of that of the empty recording",
    "closer": "less than both by more than 1 %",
}


def findings(summary: Summary) -> list[str]:
    """Return what was found, one sentence each."""
    return [text for one in find(summary) if (text := sentence(one))]


def observations(table: SpikeTable) -> list[str]:
    """Return what the l2 of each way of thresholding equals or beats, one sentence each."""
    return [sentence(one) for one in observe(table)]


@singledispatch
def sentence(finding: Finding) -> str:
    """Return a finding in words; "" where it says nothing."""
    raise NotImplementedError(type(finding))


@sentence.register
def _(told: Scored) -> str:
    if not told.cells:
        return "No attack was scored in this run."
    text = f"{counted(told.examples, 'attacked example')} in {counted(told.cells, 'cell')} of data, model and attack."
    lost = f" {told.diverged} of {told.examples} diverged and count as failures." if told.diverged else ""
    return text + lost


@sentence.register
def _(told: OfVerdict) -> str:
    detailed = len(told.among) <= MOST_DETAILED
    several = len({cell.init for cell in told.among}) > 1
    by_group: dict[str, list[str]] = defaultdict(list)
    for cell in told.cells:
        by_group[group_name(cell, init=several)].append(_with_numbers(cell) if detailed else attack_name(cell))
    by_attacks: dict[str, list[str]] = defaultdict(list)
    for group, names in by_group.items():
        by_attacks[", ".join(names)].append(group)
    items = [f"{names} on {', '.join(groups)}" for names, groups in by_attacks.items()]
    share = "" if detailed else f", {len(told.cells)} of {len(told.among)} cells"
    return f"{told.verdict.capitalize().replace(': ', ', ')}{share}: {'; '.join(items)}."


def _with_numbers(cell: CellSummary) -> str:
    share = f"{cell.recognisable.count} of {cell.n} recognisable"
    return f"{attack_name(cell)} ({share}, mean SSIM {number(cell.ssim.mean)})"


@sentence.register
def _(told: Missed) -> str:
    failed = "; ".join(f"{', '.join(names)}: {verdict}" for verdict, names in told.failed)
    text = f"every attack failed ({failed}), so nothing follows about what the updates give away"
    if not told.all_failed:
        besides = f" ({failed})" if failed else ""
        text = f"no attack tried here did better than the controls{besides}, which does not tell that none would"
    return f"On {', '.join(map(group_name, told.groups))}: {text}."


@sentence.register
def _(told: BestControls) -> str:
    means = between(number(told.low), number(told.high))
    return f"For comparison, the best control ({', '.join(told.names)}) has a mean SSIM of {means} on the same victims."


@sentence.register
def _(told: Thresholded) -> str:
    parts = []
    if told.asr is not None:
        chance = "" if told.chance is None else f" (chance {percent(told.chance)})"
        parts.append(f"ASR {between(*map(percent, told.asr))}{chance}")
    if told.compared:
        parts.append(
            f"the mean l2 is below those of the thresholded guess with zero steps and of the empty recording, by more "
            f"than 1 %, in {told.closer} of {told.compared}"
        )
    start = f"With thresholding on {group_name(told.group)}, {counted(told.cells, 'cell')}"
    return f"{start}: {'; '.join(parts)}." if parts else ""


@sentence.register
def _(told: Observed) -> str:
    parts = []
    for relation, taus in told.taus:
        among = ", ".join(dict.fromkeys(f"{tau:g}" for tau in taus))
        parts.append(f"{_RELATIONS[relation]} in {len(taus)} of {counted(told.rows, 'row')} (tau {among})")
    return f"{way_name(told.thresholding).capitalize()} thresholding, mean l2: {'; '.join(parts)}."
