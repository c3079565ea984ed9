"""What a client does to its update before it shares it: a table name -> function. Importing this does not import torch.

Defences of other packages join by the entry point `spikeleak.defences`, see `fl_sim.plugins`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import pydantic

from fl_sim.defences.settings import ClipSettings, NoiseSettings, PruneSettings, QuantiseSettings
from fl_sim.errors import ConfigError, unknown_name
from fl_sim.plugins import Table, located, refuse_class, refuse_place, refuse_switch, refuse_text
from fl_sim.specs import Settings
from fl_sim.validation import explain

if TYPE_CHECKING:
    from torch import Generator, Tensor

NO_DEFENCE = "none"


class Defence(Protocol):
    """A defence with its settings."""

    def __call__(self, update: Mapping[str, Tensor], *, generator: Generator) -> dict[str, Tensor]:
        """Return what is shared instead of `update`, and leave `update` as it is.

        Args:
            update: {parameter name: tensor}, a gradient or the difference of weights.
            generator: of the CPU; what the defence draws comes from it.
        """


@dataclass(frozen=True)
class DefenceEntry:
    """A line of the table of defences.

    Attributes:
        defence: a function of a named update and, by keyword, of its settings and of a `generator` where it draws, that
            returns a named update of the same shapes and types; or where to import it from ("package.module:name").
        settings: its settings.
        summary: one line for `spikeleak list defences`.
        draws: whether it draws anything; else it is given no generator.
    """

    defence: str | Callable[..., Mapping[str, Tensor]]
    settings: type[Settings]
    summary: str
    draws: bool = False

    def __post_init__(self) -> None:
        """Refuse what is no such entry, where it is written and not where it is used."""
        refuse_place(self, "defence")
        refuse_class(self, "settings", Settings)
        refuse_text(self, "summary")
        refuse_switch(self, "draws")


_OWN = {
    "clip": DefenceEntry(
        "fl_sim.defences.functional:clip", ClipSettings, "the update is scaled down to an l2 norm of at most C"
    ),
    "noise": DefenceEntry(
        "fl_sim.defences.functional:noise",
        NoiseSettings,
        "clipped to C, then Gaussian noise of standard deviation sigma C is added to every entry",
        draws=True,
    ),
    "prune": DefenceEntry(
        "fl_sim.defences.functional:prune",
        PruneSettings,
        "the smallest entries of each tensor by magnitude are set to 0",
    ),
    "quantise": DefenceEntry(
        "fl_sim.defences.functional:quantise",
        QuantiseSettings,
        "each tensor is rounded to b bits, uniform and symmetric",
    ),
}
DEFENCES = Table("spikeleak.defences", DefenceEntry, _OWN)


def build_defence(name: str, settings: Mapping[str, Any] | None = None) -> Defence:
    """Return the defence called `name` with `settings` (its defaults for what is not given).

    Raises:
        ConfigError: no such defence, or a setting that it does not have or accept.
    """
    if name not in DEFENCES:
        raise unknown_name("defence.name", name, DEFENCES)
    return build_entry(name, DEFENCES[name], settings)


def build_entry(name: str, entry: DefenceEntry, settings: Mapping[str, Any] | None = None) -> Defence:
    """Return the defence of an entry, whether it is in the table or not.

    Args:
        name: what errors call it.
        entry: of the table, or like one.
        settings: its defaults for what is not given.

    Raises:
        ConfigError: a setting that it does not have or accept, or its function does not import.
    """
    function = located(entry.defence, f"defence '{name}'")
    try:
        told = entry.settings(**(settings or {})).model_dump()
    except pydantic.ValidationError as error:
        raise ConfigError(f"defence '{name}': {explain(entry.settings, error)}") from error

    def defence(update: Mapping[str, Tensor], *, generator: Generator) -> dict[str, Tensor]:
        return dict(function(update, **told, **({"generator": generator} if entry.draws else {})))

    return defence
