"""What a report on gradient inversion calls things, and what its words mean (words.toml). Plain text."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path

from judges.runs.rows import CONTROL_PREFIX, Score
from judges.summaries.gradient_inversion import CellSummary
from judges.summaries.verdicts import CONTROL, PARTLY, RECOVERED, TRACES

_WORDS = tomllib.loads(Path(__file__).with_name("words.toml").read_text(encoding="utf-8"))
THREAT_MODEL: str = _WORDS["threat_model"]
DEFINITIONS: tuple[tuple[str, str], ...] = tuple(_WORDS["definitions"].items())
NOTES: dict[str, str] = _WORDS["notes"]

TONES = {RECOVERED: "yes", PARTLY: "some", TRACES: "some", CONTROL: "control"}
_NO_OP, _EMPTY = f"{CONTROL_PREFIX}no-op", f"{CONTROL_PREFIX}black"
_GUESS = re.compile(r"-guess=([a-z]+)(?=-|$)")
_BETWEEN = " \N{MIDDLE DOT} "


def tone(verdict: str) -> str:
    """Return how loudly a verdict is printed: "yes" for a leak, "some" for part of one, "no" or "control"."""
    return TONES.get(verdict, "no")


def attack_name(cell: CellSummary | Score) -> str:
    """Return the name of a cell's attack with those of its settings that vary, or of its control."""
    return cell.attack


def title(cell: CellSummary) -> str:
    """Return the name of an attack with its way of thresholding and its threshold; of a control without its prefix."""
    return cell.title.removeprefix(CONTROL_PREFIX)


def model_name(cell: CellSummary | Score) -> str:
    """Return the name of a cell's network with those of its settings that vary."""
    return cell.model


def defence_name(cell: CellSummary | Score) -> str:
    """Return the name of a cell's defence; "" where there is none."""
    return "" if cell.defence == "none" else cell.defence


def is_empty(cell: CellSummary) -> bool:
    """Return whether a cell is the control that answers with nothing: the black picture, the empty recording."""
    return cell.attack == _EMPTY


def family(cell: CellSummary) -> str:
    """Return the name of a cell's attack without its settings."""
    return cell.attack.partition("-")[0]


def guess_of(cell: CellSummary) -> str | None:
    """Return the kind of guess that a cell starts from, or, of the control without any step, shows.

    "" where an attack names none, or a control has the only one; None of other controls.
    """
    if not cell.control:
        told = _GUESS.search(cell.attack)
        return told[1] if told else ""
    return cell.attack.removeprefix(_NO_OP).strip(" ()").partition(",")[0] if cell.attack.startswith(_NO_OP) else None


def name_of_group(group: Sequence[str]) -> str:
    """Return (dataset, model, init, defence) in words."""
    dataset, model, init, defence = group
    parts = (dataset, model, init and f"{init} init", "" if defence == "none" else defence)
    return _BETWEEN.join(part for part in parts if part)


def way(thresholding: str) -> str:
    """Return a way of thresholding in words: "post-optimisation"."""
    return thresholding.replace("_", "-")
