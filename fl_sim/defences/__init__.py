"""Defences, which change a client's update before it is shared: a table name -> function, without importing torch.

Other packages add defences by the entry point `spikeleak.defences`; see `fl_sim.plugins`.
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
        """Return the update to share in place of `update`, which is not modified.

        Args:
            update: {parameter name: tensor}, a gradient or the difference of weights.
            generator: a CPU generator, the only source of randomness of the defence.
        """


@dataclass(frozen=True)
class DefenceEntry:
    """A line of the table of defences.

    Attributes:
        defence: a function that takes a named update and, as keywords, the settings and, if `draws`, a `generator`, and
            returns a named update of the same shapes and dtypes; or its import path ("package.module:name").
        settings: class of its settings.
        summary: one line for `spikeleak list defences`.
        draws: whether the function draws random numbers and so takes a generator.
    """

    defence: str | Callable[..., Mapping[str, Tensor]]
    settings: type[Settings]
    summary: str
    draws: bool = False

    def __post_init__(self) -> None:
        """Validate on construction, so that an invalid entry fails where it is defined."""
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
    """Return the defence called `name` with `settings`; missing ones have their defaults.

    Raises:
        ConfigError: the defence is not known, or it does not have or accept a setting.
    """
    if name not in DEFENCES:
        raise unknown_name("defence.name", name, DEFENCES)
    return build_entry(name, DEFENCES[name], settings)


def build_entry(name: str, entry: DefenceEntry, settings: Mapping[str, Any] | None = None) -> Defence:
    """Return the defence of an entry, which need not be in the table.

    Args:
        name: name of the defence in error messages.
        entry: an entry of the table, or any other.
        settings: of the defence; missing ones have their defaults.

    Raises:
        ConfigError: the defence does not have or accept a setting, or its function cannot be imported.
    """
    function = located(entry.defence, f"defence '{name}'")
    try:
        arguments = entry.settings(**(settings or {})).model_dump()
    except pydantic.ValidationError as error:
        raise ConfigError(f"defence '{name}': {explain(entry.settings, error)}") from error

    def defence(update: Mapping[str, Tensor], *, generator: Generator) -> dict[str, Tensor]:
        return dict(function(update, **arguments, **({"generator": generator} if entry.draws else {})))

    return defence
