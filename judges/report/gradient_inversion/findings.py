"""What a run found, in sentences made from its numbers alone. Plain text: the templates escape it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from judges.report.gradient_inversion.tables import Nearness, SpikeRow, SpikeTable, nearness, spike_tables
from judges.report.gradient_inversion.wording import number, percent
from judges.runs.identity import Group
from judges.runs.names import attack_name, group_name, line_name, way_name
from judges.summaries.gradient_inversion import CellSummary, Line, Summary, line_of
from judges.summaries.verdicts import FAILED, NO_BETTER, VERDICTS

MOST_DETAILED = 8
"""Up to so many cells are listed with their numbers; of more, the tables tell them."""


def findings(summary: Summary) -> list[str]:
    """Return what was found, one sentence each."""
    attacks = [cell for cell in summary.cells if not cell.control]
    if not attacks:
        return ["No attack was scored in this run."]
    total, lost = sum(cell.n for cell in attacks), sum(cell.diverged for cell in attacks)
    text = f"{_count(total, 'attacked example')} in {_count(len(attacks), 'cell')} of data, model and attack."
    if lost:
        text += f" {lost} of {total} diverged and count as failures."
    plain = [cell for cell in attacks if cell.tau is None]
    known = {name: place for place, name in enumerate(VERDICTS)}  # a summary of an older version may have others
    verdicts = sorted({cell.verdict for cell in plain}, key=lambda name: (known.get(name, len(known)), name))
    of_verdicts = [_of_verdict(name, plain) for name in verdicts]
    of_spikes = [sentence for table in spike_tables(summary) for sentence in _of_table(table)]
    return [text, *of_verdicts, *_of_misses(plain), *_of_controls(summary), *of_spikes]


def observations(table: SpikeTable) -> list[str]:
    """Return what the l2 of each way of thresholding equals or beats, for how many lines of Table V; no line, none."""
    sentences = []
    for name in table.ways:
        rows = [row for row in table.rows if name in row.cells]
        near = [nearness(row.cells[name], row.guess, table.norm) for row in rows]
        parts = list(_clauses(rows, near))
        if parts:
            sentences.append(f"{way_name(name).capitalize()} thresholding, mean l2: {'; '.join(parts)}.")
    return sentences


def closeness(cell: CellSummary, guess: CellSummary | None, norm: float | None) -> str:
    """Return how a cell's mean l2 compares with answers that need no gradient, in a few words."""
    near = nearness(cell, guess, norm)
    equal = [name for name, same in (("guess", near.guess), ("empty", near.empty)) if same]
    if equal:
        return f"equals {' and '.join(equal)}"
    if near.closer is None:
        return ""
    return "closer" if near.closer else "no closer"


def spike_verdicts(summary: Summary) -> dict[Line, tuple[str, str]]:
    """Return {line of the summary: (closeness, reason)} of all cells with thresholding."""
    told: dict[Line, tuple[str, str]] = {}
    for table in spike_tables(summary):
        for row in table.rows:
            for cell in row.cells.values():
                beside = {"thresholded guess": row.guess.l2.mean if row.guess else None, "empty recording": table.norm}
                known = [f"{name} {number(value)}" for name, value in beside.items() if value is not None]
                reason = f"mean l2 {number(cell.l2.mean)}" + (f" ({', '.join(known)})" if known else "")
                told[line_of(cell)] = closeness(cell, row.guess, table.norm), reason
    return told


def _clauses(rows: Sequence[SpikeRow], near: Sequence[Nearness]) -> Iterator[str]:
    """Yield "equals ... in 3 of 12 rows (tau 0.1)" for what holds of any."""
    told = (
        ("within 1 % of that of the thresholded guess with zero steps", [item.guess for item in near]),
        ("within 1 % of that of the empty recording", [item.empty for item in near]),
        ("less than both by more than 1 %", [item.closer is True for item in near]),
    )
    for words, flags in told:
        if any(flags):
            taus = dict.fromkeys(f"{row.tau:g}" for row, flag in zip(rows, flags, strict=True) if flag)
            yield f"{words} in {sum(flags)} of {_count(len(flags), 'row')} (tau {', '.join(taus)})"


def _of_table(table: SpikeTable) -> Iterator[str]:
    """Yield the sentence on a group of victims that attacks with thresholding were run on."""
    pairs = [(cell, row.guess) for row in table.rows for cell in row.cells.values()]
    text = f"With thresholding on {group_name(table.group)}, {_count(len(pairs), 'cell')}:"
    parts = []
    shares = [cell.asr for cell, _ in pairs if cell.asr is not None]
    if shares:
        chance = "" if table.chance is None else f" (chance {percent(table.chance)})"
        parts.append(f"ASR {_span(percent(min(shares)), percent(max(shares)))}{chance}")
    near = [nearness(cell, guess, table.norm).closer for cell, guess in pairs]
    compared = [flag for flag in near if flag is not None]
    if compared:
        parts.append(
            f"the mean l2 is below those of the thresholded guess with zero steps and of the empty recording, by more "
            f"than 1 %, in {sum(compared)} of {len(compared)}"
        )
    if parts:
        yield f"{text} {'; '.join(parts)}."


def _of_verdict(verdict: str, attacks: Sequence[CellSummary]) -> str:
    """Return the sentence that lists the cells of one verdict, by what was attacked."""
    inits = {cell.init for cell in attacks}
    detailed = len(attacks) <= MOST_DETAILED
    by_group: dict[str, list[str]] = defaultdict(list)
    own = [cell for cell in attacks if cell.verdict == verdict]
    for cell in own:
        group = group_name(cell, init=len(inits) > 1)
        share = f" ({cell.recognisable.count} of {cell.n} recognisable, mean SSIM {number(cell.ssim.mean)})"
        by_group[group].append(f"{attack_name(cell)}{share if detailed else ''}")
    by_attacks: dict[str, list[str]] = defaultdict(list)
    for group, names in by_group.items():
        by_attacks[", ".join(names)].append(group)
    items = [f"{names} on {', '.join(groups)}" for names, groups in by_attacks.items()]
    share = "" if detailed else f", {len(own)} of {len(attacks)} cells"
    return f"{verdict.capitalize().replace(': ', ', ')}{share}: {'; '.join(items)}."


def _of_misses(attacks: Sequence[CellSummary]) -> Iterator[str]:
    """Yield what follows where no attack on a group found anything: little, and nothing where all failed.

    Groups without controls are left out: nothing was there to be better than.
    """
    by_group: dict[Group, list[CellSummary]] = defaultdict(list)
    for cell in attacks:
        by_group[cell.group].append(cell)
    groups: dict[str, list[str]] = defaultdict(list)
    for group, cells in by_group.items():
        verdicts = {cell.verdict for cell in cells}
        if not verdicts <= {NO_BETTER, *FAILED}:
            continue
        named = {verdict: [attack_name(cell) for cell in cells if cell.verdict == verdict] for verdict in FAILED}
        failed = "; ".join(f"{', '.join(names)}: {verdict}" for verdict, names in named.items() if names)
        text = f"every attack failed ({failed}), so nothing follows about what the updates give away"
        if NO_BETTER in verdicts:
            besides = f" ({failed})" if failed else ""
            text = f"no attack tried here did better than the controls{besides}, which does not tell that none would"
        groups[text].append(group_name(group))
    for text, names in groups.items():
        yield f"On {', '.join(names)}: {text}."


def _of_controls(summary: Summary) -> list[str]:
    """Return the sentence on the best control of each group without thresholding, where there are controls."""
    events = {cell.group for cell in summary.cells if cell.tau is not None}
    best: dict[Group, tuple[float, str]] = {}
    for cell in summary.cells:
        if cell.control and cell.group not in events:
            entry = (cell.ssim.mean or 0.0, line_name(cell))
            best[cell.group] = max(entry, best.get(cell.group, entry))
    if not best:
        return []
    low, high = min(best.values())[0], max(best.values())[0]
    names = ", ".join(dict.fromkeys(name for _, name in best.values()))
    span = _span(number(low), number(high))
    return [f"For comparison, the best control ({names}) has a mean SSIM of {span} on the same victims."]


def _span(low: str, high: str) -> str:
    """Return "3 to 5", or "3" where both are the same."""
    return low if low == high else f"{low} to {high}"


def _count(number_of: int, noun: str) -> str:
    """Return "1 cell" or "3 cells"."""
    return f"{number_of} {noun}{'' if number_of == 1 else 's'}"
