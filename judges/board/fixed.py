"""The fixed victim sets: the configs board/NAME, and what is known of their victims."""

from __future__ import annotations

from collections.abc import Mapping

import pydantic

from fl_sim.errors import DataError
from judges.board.submission import VictimSet
from judges.plans.reading import board_victims

CLOSE = 1e-4
"""Largest relative difference between norms of equal parameters that floating point explains, with room to spare."""


def fixed_sets() -> Mapping[str, VictimSet]:
    """Return {name: victims} of all fixed sets; a DataError if the file that ships with them is damaged."""
    path = board_victims()
    try:
        found = pydantic.TypeAdapter(tuple[VictimSet, ...]).validate_json(path.read_bytes())
    except (OSError, pydantic.ValidationError) as error:
        raise DataError(f"{path}: expected the fixed victim sets of boards ({error}).") from error
    return {one.set: one for one in found}


def name_of(digest: str) -> str:
    """Return the name of the fixed set with this digest; "" if there is none."""
    return next((name for name, one in fixed_sets().items() if one.digest == digest), "")


def why_not(claimed: VictimSet, sets: Mapping[str, VictimSet]) -> str:
    """Return why victims are not those of the fixed set that they claim to be; "" if they are."""
    if not claimed.set:
        return f"its victims are those of no fixed set (known: {', '.join(sets)})"
    known = sets.get(claimed.set)
    if known is None:
        return f"its fixed set '{claimed.set}' is not known (known: {', '.join(sets)})"
    if claimed.digest != known.digest:
        return f"its victims' hash {claimed.digest[:16]} is not that of {known.set}, {known.digest[:16]}"
    if (claimed.updates, claimed.examples) != (known.updates, known.examples):
        ours, theirs = (f"{one.examples} examples in {one.updates} updates" for one in (known, claimed))
        return f"it has {theirs}, but {known.set} has {ours}"
    pairs = list(zip(claimed.sent, known.sent, strict=False))
    if len(claimed.sent) != len(known.sent) or any(abs(one - other) > CLOSE * other for one, other in pairs):
        return f"the models that its server sent are not those of {known.set}: their norms differ"
    return ""
