"""The table `[defence]` of a config: the defence of the clients and its settings. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pydantic

from fl_sim.defences import DEFENCES, GRADIENT, MESSAGE, NO_DEFENCE, POISSON, SHARING
from fl_sim.errors import ConfigError, nearest, unknown_name
from fl_sim.specs import Scalar, Settings
from fl_sim.validation import explain, in_table

Table = Mapping[str, Any]


class DefenceSettings(Settings):
    """The defence that the clients apply to their updates before sharing them, with its settings.

    Every key except `name` is a setting of the defence (see `fl_sim.defences.settings`). Missing keys are filled with
    their defaults, so that equivalent settings compare equal.

    Attributes:
        name: in the table `fl_sim.defences.DEFENCES`, or "none".

    Raises:
        ConfigError: the defence does not have a key or does not accept its value.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="allow", strict=True)
    name: str = NO_DEFENCE

    @pydantic.field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        return in_table(name, [*DEFENCES, NO_DEFENCE])

    @pydantic.model_validator(mode="before")
    @classmethod
    def _fill_in_defaults(cls, raw: Any) -> Any:  # noqa: ANN401 - the raw input of pydantic
        name = raw.get("name", NO_DEFENCE) if isinstance(raw, Mapping) else None
        if not isinstance(name, str) or (name != NO_DEFENCE and name not in DEFENCES):
            return raw  # the other checks reject it next
        settings = {key: value for key, value in raw.items() if key != "name"}
        _check_keys(settings, _own_keys([name]), f" of '{name}'")
        if name == NO_DEFENCE:
            return raw
        own = DEFENCES[name].settings
        try:
            return {"name": name, **own(**settings).model_dump()}
        except pydantic.ValidationError as error:
            raise ConfigError(f"defence.{explain(own, error)}") from error

    @property
    def settings(self) -> dict[str, Scalar]:
        """Return the settings of the defence."""
        return dict(self.model_extra or {})

    @property
    def samples(self) -> bool:
        """Return whether clients draw each example of a batch by itself, so that its size is random."""
        return self.settings.get("sampling") == POISSON

    @property
    def tells_sizes(self) -> bool:
        """Return whether clients tell the server the sizes of such batches."""
        return self.samples and bool(self.settings["tell_sizes"])


def refuse_misfit(defence: str, *, strategy: str, client: Mapping[str, Scalar], spiking: bool) -> None:
    """Raise a ValueError with the path of a key if a defence does not go with the rest of a config.

    Args:
        defence: its name.
        strategy: name of the strategy.
        client: what is set of the clients' training.
        spiking: whether the model is a spiking network.
    """
    needed = {entry.strategy: name for name, entry in DEFENCES.items() if entry.strategy}
    if strategy in needed and defence != needed[strategy]:
        raise ValueError(f'strategy.name: {strategy} needs clients with defence = "{needed[strategy]}"')
    if defence == NO_DEFENCE:
        return
    entry = DEFENCES[defence]
    if entry.strategy not in ("", strategy):
        raise ValueError(f"defence.name: '{defence}' works with strategy = \"{entry.strategy}\" only")
    if entry.works_on == MESSAGE and strategy == "FedSGD":
        raise ValueError(f"defence.name: '{defence}' takes the difference from the weights that were sent, so clients "
                         "must share weights and not a gradient; choose strategy = \"FedAvg\"")  # fmt: skip
    if entry.works_on == SHARING and strategy == "FedSGD":
        raise ValueError(f"defence.name: '{defence}' is about what clients share beside gradients, and under FedSGD "
                         "they share nothing else; choose strategy = \"FedAvg\"")  # fmt: skip
    if entry.works_on == GRADIENT and client:
        raise ValueError(f"defence.name: '{defence}' computes the gradient of the mean cross-entropy itself, for steps "
                         f"of plain SGD; leave out client.{next(iter(client))}")  # fmt: skip
    if entry.static_only and spiking:
        raise ValueError(f"defence.name: '{defence}' is not for spiking networks: {entry.static_only}")


def with_own_settings(combination: Table, raw: Table) -> dict[str, Any]:
    """Return one combination of a grid without the settings that belong to other defences of the same grid.

    Args:
        combination: one combination of the axes of `raw`.
        raw: the config as read, with the names of all defences of the grid.

    Raises:
        ConfigError: a defence is not known, or none of the grid's defences has a key.
    """
    table = combination.get("defence")
    if not isinstance(table, Mapping):
        return dict(combination)
    grid = raw.get("defence")
    names = grid.get("name", NO_DEFENCE) if isinstance(grid, Mapping) else grid
    all_names = [name for name in (names if isinstance(names, list) else [names]) if isinstance(name, str)]
    for name in all_names:
        if name not in (NO_DEFENCE, *DEFENCES):  # said before its settings, which nobody knows then
            raise unknown_name("defence.name", name, [NO_DEFENCE, *DEFENCES], addable=True)
    _check_keys([key for key in table if key != "name"], _own_keys(all_names), "")
    own = _own_keys([table.get("name", NO_DEFENCE)])
    return {**combination, "defence": {key: value for key, value in table.items() if key == "name" or key in own}}


def agreed_settings(tables: Iterable[Mapping[str, Scalar]]) -> dict[str, Scalar]:
    """Return the settings that have the same value in every attack or defence that has them.

    A setting with different defaults in two of them must be left out of a config of both, where one value would apply
    to both.
    """
    values: dict[str, list[Scalar]] = {}
    for table in tables:
        for key, value in table.items():
            values.setdefault(key, []).append(value)
    return {key: found[0] for key, found in values.items() if all(value == found[0] for value in found)}


def default_settings() -> dict[str, Scalar]:
    """Return every setting of this project's defences with its default; settings of the same name share a default."""
    entries = DEFENCES.own.values()
    return {key: value for entry in entries for key, value in entry.settings().model_dump().items()}


def without_defaults(table: Table) -> dict[str, Any]:
    """Return a table `[defence]` without the settings of other defences that have their default value.

    Flower overrides only keys that the run config already has, so that one contains the settings of all defences.
    """
    own, defaults = _own_keys([table.get("name", NO_DEFENCE)]), default_settings()
    return {key: value for key, value in table.items() if key in ("name", *own) or value != defaults.get(key)}


def _own_keys(names: Iterable[Any]) -> list[str]:
    """Return the setting keys of the defences of these names; an unknown name has none."""
    known = [name for name in names if isinstance(name, str) and name in DEFENCES]
    return list(dict.fromkeys(key for name in known for key in DEFENCES[name].settings.model_fields))


def _check_keys(keys: Iterable[str], allowed: Iterable[str], whose: str) -> None:
    """Raise ConfigError for the first key that is not allowed."""
    valid = sorted(allowed)
    for key in keys:
        if key not in valid:
            known = ", ".join(["name", *valid])
            raise ConfigError(f"defence.{key}: unknown key{whose}.{nearest(key, [*valid, 'name'])} Known: {known}.")
