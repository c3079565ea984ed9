"""What came of the attacks: in a sentence, what an update tells for certain, and each adversary's results."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from judges.intervals import Rate, rate
from judges.report.formats import DASH, between, counted, grouped, joined, number, percent, rate_interval
from judges.report.gradient_inversion.answer import labels_read
from judges.report.gradient_inversion.tables_reads import histogram_line
from judges.report.statements import NO_EVIDENCE, Fact, Part
from judges.report.table import Cell, Column, Group, Table
from judges.runs.measures import Readable
from judges.runs.names import attack_name, group_name
from judges.runs.rows import Score
from judges.summaries.comparison import above_controls, units_of
from judges.summaries.gradient_inversion import CellSummary, Summary
from judges.summaries.verdicts import LABELS, NOT_ATTEMPTED, TRACES, VERDICTS

EXACT = 1e-3
"""Largest relative error at which a closed form counts as the input itself: what rounding leaves."""

UNTRIED = "Nothing follows about what an attack that does look for them would find."

_READ = (
    "Read without a search; any server has it for nothing. Of clients that take several steps it holds as far as what "
    "is known and assumed of their training does."
)
_SEEN = {"input": "the input itself", "time mean": "its mean over time", "direction": "its direction only"}
_MOST_ROWS = 8


class Outcome(NamedTuple):
    """A line of the table: the cells of an adversary's attack, those of one group or of all."""

    letter: str
    attack: str
    where: str
    cells: Sequence[CellSummary]


def headline(summary: Summary, scores: Sequence[Score]) -> str:
    """Return the result in a sentence or two, without a claim beyond it."""
    found = recovered(scores)
    exact = sum(one.inputs.get("input", 0) for one in summary.reads if _is_exact(one))
    updates = sum(one.updates for one in summary.reads)
    contain = "contains" if updates == 1 else "contain"
    read = f"{exact} of {counted(updates, 'update')} {contain} the input itself, by division and without a search."
    read = read if exact else ""
    if found is None:
        return joined(
            read,
            "No answer could be scored, since no sealed truth belongs to an attacked update: nothing follows about "
            "what the attacks found.",
            by=" ",
        )
    share = f"{found.count} of {counted(found.of, 'scored example')} ({percent(found.share)}, 95 % interval"
    bounds = f"{share} {rate_interval(found)})"
    if found.count:
        return joined(
            read, f"At least one attack recovered {bounds} from the update, better than every control.", by=" "
        )
    if not tried(scores):
        held = len({row.victim[:4] for row in scores if not row.is_control})
        behind = "the one scored update" if held == 1 else f"each of {held} scored updates"
        untried = f"No attack looked for examples here, for there are too many of them behind {behind}."
        return joined(read, untried, "What can be read without a search is below.", UNTRIED, by=" ")
    verdicts = {cell.verdict for cell in summary.cells}
    some = [
        *(["some answers have traces of the example"] if TRACES in verdicts else []),
        *(["labels were read off"] if LABELS in verdicts else []),
    ]
    beside = f", though {' and '.join(some)}" if some else ""
    return joined(read, f"No attack tried here recovered an example: {bounds}{beside}. {NO_EVIDENCE}", by=" ")


def tried(scores: Sequence[Score]) -> bool:
    """Return whether an attack looked for any of the scored inputs."""
    return any(row.stop_reason != NOT_ATTEMPTED for row in scores if not row.is_control)


def unattempted(scores: Sequence[Score]) -> set[tuple[tuple[object, ...], int]]:
    """Return the scored examples, by update and place, that no attack looked for."""
    rows = [row for row in scores if not row.is_control]
    sought = {(row.victim[:4], row.example) for row in rows if row.stop_reason != NOT_ATTEMPTED}
    return {(row.victim[:4], row.example) for row in rows} - sought


def recovered(scores: Sequence[Score]) -> Rate | None:
    """Return how many scored examples at least one attack recovered, recognisable and above their best control.

    None where none was scored. An example without a control counts by what is recognisable alone.
    """
    found = above_controls(scores)
    by_victim: dict[object, list[bool]] = defaultdict(list)
    rows: dict[object, Score] = {}
    for row, is_above in found:
        by_victim[row.victim].append(row.success and is_above is not False)
        rows.setdefault(row.victim, row)
    if not by_victim:
        return None
    units = units_of([rows[victim] for victim in by_victim])
    return rate([any(flags) for flags in by_victim.values()], units, seed=0, stream="statement")


def _is_exact(one: Readable) -> bool:
    return bool(one.inputs) and one.input_error is not None and one.input_error <= EXACT


def reads_parts(summary: Summary) -> Iterator[Part]:
    """Yield the parts on what the updates tell without a search and without the truth: certain, and estimated."""
    reads = summary.reads
    updates = sum(one.updates for one in reads)
    if not updates:
        yield Part("What the updates tell for certain", [Fact("Reads", "not examined in this run")])
        return
    labels = round(sum(one.certain * one.updates for one in reads))
    told = sum(one.how.get("told", 0) for one in reads)
    heads = round(sum(one.residual * one.updates for one in reads))
    modified = round(sum((1.0 - one.unmodified) * one.updates for one in reads))
    are = "is" if updates == 1 else "are"
    bounds = [value for one in reads for value in (one.fewest, one.most) if value is not None]
    all_updates, give = counted(updates, "update"), "gives" if updates == 1 else "give"
    counts = _histogram(reads)
    facts = [
        Fact("Labels", joined(f"certain in {labels} of {all_updates}", f"{told} told by the clients" * bool(told))),
        *([Fact("Classes", f"examples of each: {counts}")] if counts and labels == updates else []),
        Fact("Inputs", _inputs(reads, updates)),
        Fact("Features", f"{heads} of {all_updates} {give} the last layer's features and residual of one example"),
        Fact(
            "Examples",
            joined(
                f"at least {between(str(min(bounds)), str(max(bounds)))} behind an update" if bounds else "",
                f"{modified} of {all_updates} {are} modified, as by noise" if modified else "",
            )
            or DASH,
        ),
    ]
    yield Part("What the updates tell for certain", facts, note=_READ)
    if counts and labels < updates:
        sure = f"certain in {labels} of {all_updates}, estimated in the others" if labels else "certain in no update"
        yield Part("What the updates suggest", [Fact("Classes", f"estimated examples of each: {counts} ({sure})")])


def _histogram(reads: Sequence[Readable]) -> str:
    """Return how many examples each class has behind all updates, certain or estimated; "" if that is not known."""
    counts: Counter[str] = Counter()
    for one in reads:
        counts.update(one.histogram)
    return histogram_line(counts) if counts else ""


def _inputs(reads: Sequence[Readable], updates: int) -> str:
    """Return how many updates give their input, or something of it, in closed form."""
    exact: dict[str, int] = defaultdict(int)
    for one in filter(_is_exact, reads):
        for seen, count in one.inputs.items():
            exact[seen] += count
    inexact = sum(sum(one.inputs.values()) for one in reads if not _is_exact(one))
    of = f"of {counted(updates, 'update')} {'gives' if updates == 1 else 'give'} it in closed form"
    parts = [f"{count} {of} ({_SEEN.get(seen, seen)})" for seen, count in exact.items()]
    them = "gives it with an error, so it is" if inexact == 1 else "give it with an error, so they are"
    parts += [f"{inexact} {them} no gradient of one example alone"] if inexact else []
    return "; ".join(parts) or f"none {of}"


def attacks_part(summary: Summary) -> Part:
    """Return the part on the attacks: budget and result of each, by the adversary's letter."""
    rows = list(_outcomes(summary))
    several = len({row.where for row in rows}) > 1
    columns: list[Column[Outcome]] = [
        Column("Letter", lambda row: row.letter or DASH, left=True),
        Column("Attack", lambda row: row.attack, left=True),
        *([Column[Outcome]("On", lambda row: row.where, left=True)] if several else []),
        Column("Evaluations a victim", lambda row: _medians(row, "gradient_evaluations", "{:.0f}")),
        Column("Seconds", lambda row: _medians(row, "seconds", "{:.2g}")),
        Column("Recovered, 95 %", _recovered),
        Column("Mean SSIM", _similarity),
        Column("Labels", _labels),
        Column("Verdict", lambda row: _verdicts(row.cells), left=True),
    ]
    note = (
        "Recovered: recognisable (SSIM above 0.5; where that is not defined, solved) and above the victim's best "
        "control; its interval counts updates, or federations where there are several, not examples. Budgets are "
        "medians. Labels: share that the attack names rightly."
    )
    if not rows:
        return Part("Attacks and results", [Fact("Attacks", "none was scored")])
    return Part("Attacks and results", table=Table("Results", columns, [Group(rows)]), note=note)


def _outcomes(summary: Summary) -> Iterator[Outcome]:
    """Yield the lines: a cell each, or of many cells the groups of an attack together."""
    cells = sorted((cell for cell in summary.cells if not cell.is_control), key=lambda cell: cell.adversary)
    if len(cells) <= _MOST_ROWS:
        yield from (Outcome(cell.adversary, _attack(cell), group_name(cell), [cell]) for cell in cells)
        return
    ways = grouped(cells, lambda cell: (cell.adversary, cell.attack))
    for (letter, attack), own in list(ways.items())[:_MOST_ROWS]:
        places = {cell.group for cell in own}
        yield Outcome(letter, attack, f"{counted(len(places), 'group')}, {counted(len(own), 'cell')}", own)


def _attack(cell: CellSummary) -> str:
    return joined(attack_name(cell), "" if cell.tau is None else f"tau {cell.tau:g}")


def _medians(row: Outcome, name: str, form: str) -> str:
    values = [getattr(cell, name) for cell in row.cells]
    return between(form.format(min(values)), form.format(max(values)))


def _recovered(row: Outcome) -> Cell:
    found = [_success_of(cell) for cell in row.cells if cell.is_attempted]
    count, of = sum(one.count for one in found), sum(one.of for one in found)
    sure = f"{rate_interval(found[0])} %" if len(found) == 1 else ""
    return Cell(f"{count} of {of}", sure) if found else Cell(DASH)


def _success_of(cell: CellSummary) -> Rate:
    return cell.comparison.succeeded if cell.comparison else cell.recognisable or cell.solved


def _similarity(row: Outcome) -> str:
    tried_ones = [cell for cell in row.cells if cell.is_attempted]
    values = [cell.ssim.mean for cell in tried_ones if cell.ssim is not None and cell.ssim.mean is not None]
    return between(number(min(values)), number(max(values))) if values else DASH


def _labels(row: Outcome) -> str:
    if len(row.cells) == 1 and row.cells[0].label_accuracy is not None:
        return labels_read(row.cells[0])
    shares = [cell.label_accuracy for cell in row.cells if cell.label_accuracy is not None]
    return between(percent(min(shares)), percent(max(shares))) if shares else DASH


def _verdicts(cells: Sequence[CellSummary]) -> str:
    """Return the verdict of a cell, or how many cells of several have each."""
    if len(cells) == 1:
        return cells[0].verdict
    order = {name: place for place, name in enumerate(VERDICTS)}
    counts = grouped((cell.verdict for cell in cells), str)
    named = sorted(counts, key=lambda name: order.get(name, len(order)))
    return "; ".join(f"{name} {len(counts[name])}" for name in named)
