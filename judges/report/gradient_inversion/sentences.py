"""What a run found, in sentences. Plain text: each format escapes it."""

from __future__ import annotations

from collections import defaultdict
from functools import singledispatch

from judges.report.formats import between, counted, joined, number, percent, tenths
from judges.report.gradient_inversion import NOTES
from judges.report.gradient_inversion import findings as found
from judges.report.gradient_inversion.events import SpikeTable
from judges.report.ladder import Climb, rung_of
from judges.runs.names import attack_name, group_name, line_name, way_name
from judges.summaries.gradient_inversion import CellSummary, Summary
from judges.summaries.verdicts import RECOVERED

MOST_DETAILED = 8  # up to how many cells are listed with their numbers; those of more are left to the tables
_RELATIONS = {
    "guess": "within 1 % of that of the thresholded guess with zero steps",
    "empty": "within 1 % of that of the empty recording",
    "closer": "less than both by more than 1 %",
}


def findings(summary: Summary) -> list[str]:
    """Return what was found, one sentence each."""
    return [text for finding in found.find(summary) if (text := sentence(finding))]


def observations(table: SpikeTable) -> list[str]:
    """Return what the l2 of each way of thresholding equals or beats, one sentence each."""
    return list(map(sentence, found.observe(table)))


@singledispatch
def sentence(finding: found.Finding) -> str:
    """Return a finding in words; "" where it says nothing."""
    raise NotImplementedError(type(finding))


@sentence.register
def _(scored: found.Scored) -> str:
    if not scored.cells:
        return "No attack was scored in this run."
    what = "scored example" if scored.unattempted else "attacked example"
    parts = [f"{counted(scored.examples, what)} in {counted(scored.cells, 'cell')} of data, model and attack."]
    if scored.unattempted:
        them = "none of them" if scored.unattempted == scored.examples else f"{scored.examples - scored.unattempted}"
        parts.append(f"The attacks looked for {them}; of the others they name labels only.")
    if scored.diverged:
        parts.append(f"{scored.diverged} of {scored.examples} diverged and count as failures.")
    if scored.published:
        kept = f", and the {scored.kept} that diverged are scored like others" if scored.kept else ""
        theirs = counted(scored.published, "cell")
        parts.append(
            f"{theirs} with protocol=published: what the config leaves open is as in arXiv 2511.21181 there{kept}."
        )
    return " ".join(parts)


@sentence.register
def _(verdict: found.OfVerdict) -> str:
    detailed = len(verdict.among) <= MOST_DETAILED
    several = len({cell.init for cell in verdict.among}) > 1
    by_group: dict[str, list[str]] = defaultdict(list)
    for cell in verdict.cells:
        by_group[group_name(cell, init=several)].append(_with_numbers(cell) if detailed else attack_name(cell))
    by_attacks: dict[str, list[str]] = defaultdict(list)
    for group, names in by_group.items():
        by_attacks[", ".join(names)].append(group)
    items = "; ".join(f"{names} on {' and on '.join(groups)}" for names, groups in by_attacks.items())
    share = "" if detailed else f", {len(verdict.cells)} of {len(verdict.among)} cells"
    return f"{verdict.verdict.capitalize().replace(': ', ', ')}{share}: {items}."


def _with_numbers(cell: CellSummary) -> str:
    if not cell.is_attempted:
        return f"{attack_name(cell)} (no input looked for)"
    if cell.token_accuracy is not None:
        places = f"{percent(cell.token_accuracy)} of the tokens in place"
        return f"{attack_name(cell)} ({cell.solved.count} of {cell.n} texts solved, {places})"
    if cell.recognisable is None or cell.ssim is None:
        psnr = tenths(cell.psnr_db.mean if cell.psnr_db else None)
        return f"{attack_name(cell)} ({cell.solved.count} of {cell.n} solved, mean PSNR {psnr} dB)"
    share = f"{cell.recognisable.count} of {cell.n} recognisable"
    return f"{attack_name(cell)} ({share}, mean SSIM {number(cell.ssim.mean)})"


@sentence.register
def _(missed: found.Missed) -> str:
    told = "; ".join(f"{', '.join(names)}: {verdict}" for verdict, names in missed.open)
    text = f"no attack found anything ({told}), and nothing follows about what another would find"
    if not missed.all_open:
        besides = f" ({told})" if told else ""
        text = f"no attack tried here did better than the controls{besides}, which does not mean that none would"
    tried = f" Tried by adversary {', '.join(missed.adversaries)}." if missed.adversaries else ""
    return f"On {' and on '.join(map(group_name, missed.groups))}: {text}.{tried}"


@sentence.register
def _(climb: Climb) -> str:
    first, last = climb.cells[0], climb.cells[-1]
    who = f"On the ladder ({climb.clients}), {climb.attack}"
    if first.verdict != RECOVERED:
        return (
            f"{who} does not recover the examples in its best case either ({first.verdict}), so the ladder cannot tell "
            "what protects these clients: a greater effort or another attack may find what this one did not."
        )
    if not climb.protects:
        return f"{who} recovers the examples on every rung, {rung_of(last)} included: nothing on the way protects them."
    return (
        f"{who} recovers the examples on the rungs below {climb.protects!r}. What that rung adds stops this attack at "
        "this budget; a greater effort or another attack may get further."
    )


@sentence.register
def _(best: found.BestControls) -> str:
    means = between(number(best.low), number(best.high))
    return f"For comparison, the best control ({', '.join(best.names)}) has a mean SSIM of {means} on the same victims."


@sentence.register
def _(one: found.OtherwiseByPsnr) -> str:
    nearer = defaultdict(list)
    for attack, control in one.pairs:
        ours, theirs = (tenths(cell.psnr_db.mean if cell.psnr_db else None) for cell in (attack, control))
        nearer[group_name(attack)].append(f"{attack_name(attack)} {ours}, {line_name(control)} {theirs}")
    told = "; ".join(f"{group}: {joined(*own, by='; ')}" for group, own in nearer.items())
    return f"What is found by SSIM is further from the victims than a control by PSNR (means in dB) on {told}."


@sentence.register
def _(_small: found.SmallPictures) -> str:
    return NOTES["small"]


@sentence.register
def _(one: found.FailedCheck) -> str:
    where = f"{line_name(one.check)} on {group_name(one.check)}"
    return f"Sanity check failed: {where}: that {one.claim} does not hold ({one.numbers})."


@sentence.register
def _(one: found.Thresholded) -> str:
    chance = "" if one.chance is None else f" (chance {percent(one.chance)})"
    closer = (
        "the mean l2 is below those of the thresholded guess with zero steps and of the empty recording, by more than "
        f"1 %, in {one.closer} of {one.compared}"
    )
    asr = "" if one.asr is None else f"ASR {between(*map(percent, one.asr))}{chance}"
    parts = joined(asr, closer if one.compared else "", by="; ")
    return parts and f"With thresholding on {group_name(one.group)}, {counted(one.cells, 'cell')}: {parts}."


@sentence.register
def _(one: found.Observed) -> str:
    parts = []
    for relation, taus in one.taus:
        among = ", ".join(dict.fromkeys(f"{tau:g}" for tau in taus))
        parts.append(f"{_RELATIONS[relation]} in {len(taus)} of {counted(one.rows, 'row')} (tau {among})")
    return f"{way_name(one.thresholding).capitalize()} thresholding, mean l2: {'; '.join(parts)}."
