"""Which captures can be attacked side by side, and how many at a time."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

from fl_sim.errors import ConfigError
from fl_sim.records import CapturedUpdate


class Batch(NamedTuple):
    """Captures that can share a batch, by index, and how many of them fit at a time."""

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
        captures: of any models.
        alike: what the captures of a group have in common.
        victim_bytes: an estimate of the memory that one victim takes; the same for all of a group.
        most: slots of a group at most.
        memory_mb: what a group may take.
        advice: what to change where not even one victim fits.

    Raises:
        ConfigError: not even one victim fits.
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
