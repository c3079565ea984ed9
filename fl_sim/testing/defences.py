"""Contract checks of defences; `check_defence` is imported from `fl_sim.testing`, like the other checks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fl_sim.defences import DEFENCES, UPDATE, DefenceEntry, build_entry
from fl_sim.errors import ConfigError, unknown_name
from fl_sim.seeding import torch_stream
from fl_sim.testing.promises import by_name, keep_promises, require

__all__ = ["DEFENCE_PROMISES", "check_defence"]

SHAPES: Mapping[str, tuple[int, ...]] = {"conv.weight": (4, 1, 5, 5), "head.weight": (3, 16), "bias": (3,), "scale": ()}
"""Shapes of a small model's parameters, including a scalar."""
LARGE = 100.0
"""Standard deviation of an update that every sensible setting changes."""
SIZES = (0.0, 1e-8, 1.0, 1e8)
TYPES = (torch.float32, torch.float64)


def check_defence(
    defence: str | DefenceEntry,
    *,
    settings: Mapping[str, Any] | None = None,
    changes: bool = True,
    only: Iterable[str] | None = None,
) -> None:
    """Check the promises of a defence of updates.

    Args:
        defence: a name in the table, or an entry.
        settings: settings for all checks; missing ones have their defaults.
        changes: whether the defence is expected to change a large update (entries from N(0, 100^2)) under these
            settings, or to return it unchanged.
        only: names in `DEFENCE_PROMISES`; None for all.

    Raises:
        AssertionError: a promise is broken; one sentence says which one and how.
        ConfigError: the defence or a promise is not known, or the defence does not work on updates.
    """
    if isinstance(defence, str) and defence not in DEFENCES:
        raise unknown_name("defence", defence, DEFENCES)
    name, entry = (defence, DEFENCES[defence]) if isinstance(defence, str) else ("defence", defence)
    if entry.works_on != UPDATE:
        raise ConfigError(f"defence '{name}': works on the {entry.works_on}, and these promises are on updates.")
    keep_promises(name, _Defence(name, entry, settings or {}, changes), DEFENCE_PROMISES, only)


@dataclass(frozen=True)
class _Defence:
    """A defence under test."""

    name: str
    entry: DefenceEntry
    settings: Mapping[str, Any]
    changes: bool

    def of(self, update: Mapping[str, Tensor], seed: int = 0) -> dict[str, Tensor]:
        """Return the defended `update`, with a random stream of this seed."""
        return build_entry(self.name, self.entry, self.settings)(update, generator=torch_stream(seed, "defence"))


def update_of(size: float = LARGE, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Return an update with entries drawn from N(0, size^2)."""
    stream = torch_stream(0, "update")
    return {name: size * torch.randn(shape, generator=stream, dtype=dtype) for name, shape in SHAPES.items()}


def it_keeps_names_shapes_and_types(defence: _Defence) -> None:
    """This holds for every dtype of the update; the server drops a reply that does not fit its model."""
    for dtype in TYPES:
        update = update_of(dtype=dtype)
        shared = defence.of(update)
        require(list(shared) == list(update), f"expected the names {list(update)}, found {list(shared)}.")
        for name, tensor in update.items():
            found = shared[name]
            require(isinstance(found, Tensor), f"'{name}': expected a tensor, found a {type(found).__name__}.")
            require(
                found.shape == tensor.shape, f"'{name}': expected {tuple(tensor.shape)}, found {tuple(found.shape)}."
            )
            require(found.dtype == dtype, f"'{name}': expected {dtype}, found {found.dtype}.")


def it_answers_with_finite_numbers(defence: _Defence) -> None:
    """This holds for updates of any size, including one of zeros."""
    for size in SIZES:
        for name, tensor in defence.of(update_of(size)).items():
            require(bool(torch.isfinite(tensor).all()), f"'{name}': not finite for an update of size {size:g}.")


def it_leaves_its_argument_as_it_was(defence: _Defence) -> None:
    """The client may go on training, and a second defence may be applied to the same update."""
    update, untouched = update_of(), update_of()
    shared = defence.of(update)
    require(list(update) == list(untouched), "it added names to its argument or removed some from it.")
    for tensor in shared.values():
        tensor.add_(1)
    for name, tensor in untouched.items():
        require(update[name].equal(tensor), f"'{name}': it changed its argument, or shares its memory.")


def the_same_seed_shares_the_same_and_another_seed_other_numbers_where_it_draws(defence: _Defence) -> None:
    """Federations are bit-for-bit reproducible, so a defence must draw from its generator only."""
    first, again, other = (defence.of(update_of(), seed) for seed in (0, 0, 1))
    message = "the same update and seed gave another result: it draws from another generator, or keeps a state."
    require(_equal(first, again), message)
    differs = not _equal(first, other)
    claim = "it draws" if defence.entry.draws else "it draws nothing"
    result = "another result" if differs else "the same result"
    require(differs == defence.entry.draws, f"its entry says that {claim}, but another seed gives {result}.")


def it_changes_a_large_update_as_declared(defence: _Defence) -> None:
    """A defence that does nothing under its defaults is most likely a mistake."""
    differs = not _equal(defence.of(update_of()), update_of())
    expected, found = ("changed", "the same") if defence.changes else ("returned unchanged", "different")
    require(differs == defence.changes, f"expected a large update to be {expected}, but the result is {found}.")


def _equal(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    """Return whether two updates are bit-identical, including NaN and the sign of 0."""
    return list(first) == list(second) and all(
        tensor.numpy().tobytes() == second[name].numpy().tobytes() for name, tensor in first.items()
    )


DEFENCE_PROMISES: Mapping[str, Any] = by_name(
    it_keeps_names_shapes_and_types,
    it_answers_with_finite_numbers,
    it_leaves_its_argument_as_it_was,
    the_same_seed_shares_the_same_and_another_seed_other_numbers_where_it_draws,
    it_changes_a_large_update_as_declared,
)
