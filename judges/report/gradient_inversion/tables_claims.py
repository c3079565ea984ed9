"""What the defences claim of differential privacy, beside what was attacked."""

from __future__ import annotations

from collections.abc import Sequence

from judges.report.formats import DASH, digits, joined
from judges.report.gradient_inversion import NOTES
from judges.report.table import Cell, Column, Group, Section, Table
from judges.runs.measures import Claimed
from judges.runs.names import group_name, in_words

_UNITS = {"example": "one example", "client": "all that a client shares"}
_NONE = "none"


def claims_section(claims: Sequence[Claimed]) -> Section:
    """Return the section on what the defences claim."""
    columns: list[Column[Claimed]] = [
        Column("Updates of", group_name),
        Column("Claim of", lambda one: Cell(in_words(one.by), under=(f"against {one.against}",)), under="against"),
        Column("epsilon", lambda one: _NONE if one.epsilon is None else digits(one.epsilon)),
        Column("delta", lambda one: _number(one.delta)),
        Column("Unit", lambda one: _UNITS.get(one.unit, DASH), left=True),
        Column("Releases", _releases, unit="sampling rate", under="sampling rate"),
        Column("Noise multiplier", _noise, unit="accountant", under="accountant"),
        Column("Why", lambda one: one.reason, long=True, left=True),
    ]
    title = "What the defence claims"
    table = Table(title, columns, [Group(claims)], css="results layout vitals", note=NOTES["claims"])
    return Section("claims", title, [table])


def claim_line(one: Claimed) -> str:
    """Return a claim in one line: "DP-SGD against the server: epsilon 1.2 at delta 1e-5 for one example"."""
    who = f"{in_words(one.by)} against {one.against}"
    if one.epsilon is None or one.delta is None:
        return f"{who}: no claim. {one.reason}"
    how = f"{one.accountant.upper()} accountant, {one.releases} releases, sampling rate {one.sampling_rate:g}"
    return joined(
        f"{who}: epsilon {digits(one.epsilon)} at delta {digits(one.delta)} for {_UNITS[one.unit]} ({how})",
        one.reason,
        by=". ",
    )


def _releases(one: Claimed) -> Cell:
    rate = "" if one.sampling_rate is None else f"{one.sampling_rate:g}"
    return Cell(DASH if one.releases is None else str(one.releases), under=(rate,))


def _noise(one: Claimed) -> Cell:
    return Cell(_number(one.noise_multiplier), under=(one.accountant.upper(),))


def _number(value: float | None) -> str:
    return DASH if value is None else digits(value)
