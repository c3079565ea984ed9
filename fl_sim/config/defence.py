"""The table `[defence]` of a config: which defence the clients apply, and its own settings. No torch here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pydantic

from fl_sim.defences import DEFENCES, NO_DEFENCE
from fl_sim.errors import ConfigError, nearest
from fl_sim.specs import Scalar, Settings
from fl_sim.validation import explain, in_table

Table = Mapping[str, Any]


class DefenceSettings(Settings):
    """What the clients do to their updates before they share them, and its settings.

    Every key but `name` is the defence's own (see `fl_sim.defences.settings`). Those that are not given are filled in,
    so that settings that mean the same are equal.

    Attributes:
        name: in the table `fl_sim.defences.DEFENCES`, or "none".

    Raises:
        ConfigError: a key that the defence does not have, or a value that it does not accept.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="allow", strict=True)
    name: str = NO_DEFENCE

    @pydantic.field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        return in_table(name, [*DEFENCES, NO_DEFENCE])

    @pydantic.model_validator(mode="before")
    @classmethod
    def _filled_by_its_defaults(cls, given: Any) -> Any:  # noqa: ANN401 - pydantic hands over what it was given
        name = given.get("name", NO_DEFENCE) if isinstance(given, Mapping) else None
        if not isinstance(name, str) or (name != NO_DEFENCE and name not in DEFENCES):
            return given  # which the other checks refuse next
        told = {key: value for key, value in given.items() if key != "name"}
        _refuse_others(told, _own_keys([name]), f" of '{name}'")
        if name == NO_DEFENCE:
            return given
        own = DEFENCES[name].settings
        try:
            return {"name": name, **own(**told).model_dump()}
        except pydantic.ValidationError as error:
            raise ConfigError(f"defence.{explain(own, error)}") from error

    @property
    def settings(self) -> dict[str, Scalar]:
        """Return the settings that the defence gets."""
        return dict(self.model_extra or {})


def with_own_settings(combination: Table, raw: Table) -> dict[str, Any]:
    """Return one combination of a grid without the settings that belong to another defence of the same grid.

    Args:
        combination: of the axes of `raw`.
        raw: the config as read, whose defences are told apart by name.

    Raises:
        ConfigError: a key that none of the grid's defences has.
    """
    told = combination.get("defence")
    if not isinstance(told, Mapping):
        return dict(combination)
    grid = raw.get("defence")
    names = grid.get("name", NO_DEFENCE) if isinstance(grid, Mapping) else grid
    everyone = [name for name in (names if isinstance(names, list) else [names]) if isinstance(name, str)]
    _refuse_others([key for key in told if key != "name"], _own_keys(everyone), "")
    own = _own_keys([told.get("name", NO_DEFENCE)])
    return {**combination, "defence": {key: value for key, value in told.items() if key == "name" or key in own}}


def agreed_settings(tables: Iterable[Mapping[str, Scalar]]) -> dict[str, Scalar]:
    """Return the settings of several attacks or defences on which all agree who have them.

    What two have with different defaults must stay untold in a config of both: told once, it would be for both.
    """
    values: dict[str, list[Scalar]] = {}
    for table in tables:
        for key, value in table.items():
            values.setdefault(key, []).append(value)
    return {key: found[0] for key, found in values.items() if all(value == found[0] for value in found)}


def default_settings() -> dict[str, Scalar]:
    """Return every setting of this project's defences with its default; those that share a name share it."""
    entries = DEFENCES.own.values()
    return {key: value for entry in entries for key, value in entry.settings().model_dump().items()}


def without_defaults(told: Table) -> dict[str, Any]:
    """Return a table `[defence]` without what another defence would read and `default_settings` says too.

    Flower sets only keys that its run config names already, so that one names the settings of all defences.
    """
    own, defaults = _own_keys([told.get("name", NO_DEFENCE)]), default_settings()
    return {key: value for key, value in told.items() if key in ("name", *own) or value != defaults.get(key)}


def _own_keys(names: Iterable[Any]) -> list[str]:
    """Return the keys of the settings of the defences of these names; what is no such name has none."""
    known = [name for name in names if isinstance(name, str) and name in DEFENCES]
    return list(dict.fromkeys(key for name in known for key in DEFENCES[name].settings.model_fields))


def _refuse_others(told: Iterable[str], allowed: Iterable[str], whose: str) -> None:
    """Raise ConfigError for the first key that is none of those allowed."""
    valid = sorted(allowed)
    for key in told:
        if key not in valid:
            known = ", ".join(["name", *valid])
            raise ConfigError(f"defence.{key}: unknown key{whose}.{nearest(key, [*valid, 'name'])} Known: {known}.")
