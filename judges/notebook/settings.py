"""Overrides as a program gives them, {"attack.iterations": 20}, as the assignments that a command line gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tomli_w

from fl_sim.errors import ConfigError


def assignments_of(overrides: Mapping[str, Any] | None) -> list[str]:
    """Return {"table.key": value} as texts "table.key=value"; a list is an axis, as in a config.

    Raises:
        ConfigError: a key is no text of at most two parts, or a value is none that a config can hold.
    """
    found = []
    for key, value in (overrides or {}).items():
        if not isinstance(key, str) or not key or key.count(".") > 1 or "=" in key:
            raise ConfigError(f"set: expected keys such as 'seed' or 'attack.iterations', got {key!r}.")
        try:
            text = tomli_w.dumps({"value": list(value) if isinstance(value, tuple) else value})
        except (TypeError, ValueError) as error:
            raise ConfigError(f"set: {key}: expected a value that a config can hold, got {value!r:.100}.") from error
        if not text.startswith("value = "):
            raise ConfigError(f"set: {key}: expected a value, got a table; name its keys as '{key}.KEY'.")
        found.append(f"{key}={text.removeprefix('value = ')}")
    return found


def attacks_in(names: str | Sequence[str]) -> str | list[str]:
    """Return the name of an attack, or the names of several, as a config has them.

    Raises:
        ConfigError: there is none, or one is no text.
    """
    if isinstance(names, str):
        return names
    found = list(names) if isinstance(names, Sequence) else []
    if not found or not all(isinstance(name, str) for name in found):
        raise ConfigError(f"attack.name: expected the name of an attack, or a list of names, got {names!r:.100}.")
    return found if len(found) > 1 else found[0]
