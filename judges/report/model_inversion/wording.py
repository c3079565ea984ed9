"""What a report on model inversion calls things, and what its words mean (words.toml). Plain text."""

from __future__ import annotations

import tomllib
from pathlib import Path

from judges.summaries.class_verdicts import CONTROL, PARTLY, RECOVERED, TRACES
from judges.summaries.model_inversion import InversionSummary

_WORDS = tomllib.loads(Path(__file__).with_name("words.toml").read_text(encoding="utf-8"))
THREAT_MODEL: str = _WORDS["threat_model"]
DEFINITIONS: tuple[tuple[str, str], ...] = tuple(_WORDS["definitions"].items())
NOTES: dict[str, str] = _WORDS["notes"]

TONES = {RECOVERED: "yes", PARTLY: "some", TRACES: "some", CONTROL: "control"}


def tone(verdict: str) -> str:
    """Return how loudly a verdict is printed: "yes" for a leak, "some" for part of one, "no" or "control"."""
    return TONES.get(verdict, "no")


def count_of(cell: InversionSummary) -> str:
    """Return targets x attacks on each x classes."""
    return " \N{MULTIPLICATION SIGN} ".join(str(part) for part in (cell.targets, cell.repeats, cell.classes))


def over(cell: InversionSummary) -> str:
    """Return what a cell's means and deviations are over."""
    count = cell.scores.count
    return "one attack" if count == 1 else f"mean \N{PLUS-MINUS SIGN} over {count} attacks"
