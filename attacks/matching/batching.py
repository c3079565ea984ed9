"""Groups of captures that can be attacked together, and the number that fits into memory."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

from fl_sim.errors import ConfigError
from fl_sim.records import CapturedUpdate


class Batch(NamedTuple):
    """Indices of captures that can share a batch, and the number of them that fit at a time."""

    indices: list[int]
    slots: int


def shared_batches(
    captures: Sequence[CapturedUpdate],
    *,
    alike: Callable[[CapturedUpdate], Hashable],
    victim_bytes: Callable[[CapturedUpdate], int],
    most: int,
    memory_mb: int,
    advice: str,
) -> list[Batch]:
    """Return the captures in groups, each with as many slots as the memory allows.

    Args:
        captures: captured updates of any models.
        alike: returns the key by which captures are grouped.
        victim_bytes: returns an estimate of the memory of one victim, the same for all captures of a group.
        most: maximum number of slots of a group.
        memory_mb: memory limit of a group.
        advice: what to change if a single victim does not fit, for the error message.

    Raises:
        ConfigError: a single victim does not fit.
    """
    groups: dict[Hashable, list[int]] = {}
    for index, capture in enumerate(captures):
        groups.setdefault(alike(capture), []).append(index)
    result = []
    for indices in groups.values():
        first = captures[indices[0]]
        needed = victim_bytes(first)
        fitting = memory_mb * 2**20 // needed
        if fitting == 0:
            raise ConfigError(
                f"attack.memory_mb: one victim like {first.id} takes about {needed // 2**20} MB, the limit is "
                f"{memory_mb}; {advice}."
            )
        result.append(Batch(indices, min(most, fitting, len(indices))))
    return result
