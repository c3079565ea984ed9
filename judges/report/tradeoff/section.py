"""The section on utility beside leak: each setting of a defence in a table, and in sentences what it buys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from judges.report.formats import (
    DASH,
    between,
    counted,
    digits,
    grouped,
    interval,
    joined,
    number,
    out_of_100,
)
from judges.report.table import Cell, Column, Group, Section, Table
from judges.report.tradeoff.figure import panel_title, tradeoff_drawing
from judges.report.words import tone
from judges.runs.identity import Attacked
from judges.runs.names import attack_name, defence_name, in_words
from judges.summaries.tradeoff import Leak, Setting, Tradeoff

_TITLE = "What protects, and what it costs"
_UNITS = {"example": "an example", "client": "a client"}


def tradeoff_section(found: Sequence[Tradeoff], rounds: Sequence[int], note: str) -> Section:
    """Return the section.

    Args:
        found: result of `judges.summaries.tradeoff.tradeoffs`.
        rounds: those in which the attacked updates were captured.
        note: how the numbers were measured.
    """
    tables = [
        Table(
            f"{_TITLE}, {panel_title(board)}",
            list(_columns(board)),
            [Group(board.settings)],
            name=panel_title(board),
            css="results layout vitals",
            remarks=list(sentences(board)),
        )
        for board in found
    ]
    which = between(str(min(rounds)), str(max(rounds))) if rounds else DASH
    several = "s" if len(set(rounds)) > 1 else ""
    lead = f"The attacked updates are of round{several} {which}. {note}"
    return Section("tradeoff", _TITLE, [tradeoff_drawing(found), *tables] if found else [], lead=lead)


def sentences(board: Tradeoff) -> Iterator[str]:
    """Yield which setting buys what on one network, in sentences."""
    if (plain := board.undefended) is not None:
        yield f"Without a defence, {_reached(plain)}: {_told(plain)}."
    for name, own in grouped(board.settings, lambda one: one.defence).items():
        if not own[0].undefended:
            words = in_words(name)
            yield f"{words[0].upper()}{words[1:]}: {_of_defence(own, board)}."
    front = "; ".join(f"{_name(one)} ({_reached(one)}, {one.verdict})" for one in board.front)
    yield (
        f"On the Pareto front, from the least accurate to the most accurate: {front}. Settings at which no attack "
        "tried found a picture count as equal in leak, which does not mean that none would."
    )


def _of_defence(own: Sequence[Setting], board: Tradeoff) -> str:
    """Return what the settings of one defence buy."""
    leaky, quiet = ([one for one in own if one.strongest.finds is finds] for finds in (True, False))
    where = "; ".join(f"{_strength(one)}{_against(one, board)} ({one.verdict})" for one in leaky)
    if not quiet:
        return f"pictures leak at all {len(own)}: {where}" if len(own) > 1 else f"pictures leak, {where}"
    best = max(quiet, key=lambda one: one.accuracy)
    count = f"at {len(quiet)} of {counted(len(own), 'setting')}"
    kept = f"{_strength(best)}, {_reached(best)}{_against(best, board)} ({best.verdict})"
    text = f"no attack tried found a picture {count}, of which the most accurate is {kept}{_claim(best)}"
    return f"{text}; pictures leak at {where}" if leaky else text


def _cost(one: Setting, board: Tradeoff) -> float | None:
    """Return the accuracy lost against no defence; None where nothing stands without one."""
    return None if board.undefended is None else board.undefended.accuracy - one.accuracy


def _against(one: Setting, board: Tradeoff) -> str:
    cost = _cost(one, board)
    return "" if cost is None else f", {abs(100 * cost):.1f} points {'less' if cost >= 0 else 'more'} than without"


def _reached(one: Setting) -> str:
    return f"{out_of_100(one.accuracy)}\N{NO-BREAK SPACE}% accuracy after {counted(one.round, 'round')}"


def _told(one: Setting) -> str:
    """Return what was found at a setting, by letter."""
    return ", ".join(
        joined(f"{attack_name(leak.cell)}", leak.adversary and f"adversary {leak.adversary}", by=" by ")
        + f" finds {leak.found.count} of {leak.found.of} ({leak.cell.verdict})"
        for leak in one.leaks
    )


def _strength(one: Setting) -> str:
    return ", ".join(f"{key}={value}" for key, value in one.defence_settings.items()) or "its only setting"


def _name(one: Attacked) -> str:
    return "no defence" if one.defence == "none" else defence_name(one)


def _claim(one: Setting) -> str:
    if one.claim is None:
        return ""
    return f", which claims epsilon {digits(one.claim.epsilon)} at delta {digits(one.claim.delta)}"


def _columns(board: Tradeoff) -> Iterator[Column[Setting]]:
    """Yield the columns: the setting, its claim, its accuracy, and what each letter found."""
    letters = sorted({leak.adversary for one in board.settings for leak in one.leaks})
    yield Column("Defence", lambda one: Cell(_name(one), under=("Pareto front" if one.on_front else "",)))
    yield Column("epsilon", _epsilon, unit="claimed", under="delta, unit")
    yield Column("Accuracy, %", lambda one: _accuracy(one, board), unit="[95 %]", under="lost")
    for letter in letters:
        yield _letter_column(letter, by_ssim=board.by_ssim)


def _epsilon(one: Setting) -> Cell:
    if one.claim is None:
        return Cell(DASH)
    unit = _UNITS.get(one.claim.unit, one.claim.unit)
    return Cell(digits(one.claim.epsilon), under=(f"{digits(one.claim.delta)}, {unit}",))


def _accuracy(one: Setting, board: Tradeoff) -> Cell:
    cost = None if one.undefended else _cost(one, board)
    lost = "" if cost is None else f"lost {number(100 * cost, 1)}"
    return Cell(out_of_100(one.accuracy), interval(one.interval, out_of_100), (lost,))


def _letter_column(letter: str, *, by_ssim: bool) -> Column[Setting]:
    """Return the column of what the strongest attack of a letter found."""
    what = "mean SSIM [95 %]" if by_ssim else "recovered [95 %]"
    title = f"Adversary {letter}" if letter else "Adversary not known"
    return Column(title, lambda one: _leak_cell(_of_letter(one, letter)), unit=what, under="attack, verdict")


def _of_letter(one: Setting, letter: str) -> Leak | None:
    return next((leak for leak in one.leaks if leak.adversary == letter), None)


def _leak_cell(leak: Leak | None) -> Cell:
    if leak is None:
        return Cell(DASH)
    found = f"{leak.found.count} of {leak.found.of}"
    css = f"verdict {tone(leak.cell.verdict)}"
    return Cell(
        number(leak.similarity), interval(leak.interval), (attack_name(leak.cell), f"{leak.cell.verdict}, {found}"), css
    )
