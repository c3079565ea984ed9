"""Reads a config at one of its scales: the same experiment as a smoke test, on a small machine, at the paper's size."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from fl_sim.config import Raw, override, read_toml
from fl_sim.errors import ConfigError, unknown_name


def read_config(path: Path, assignments: Iterable[str], tables: Sequence[str]) -> Raw:
    """Return the config at `path` with "key=value" assignments applied, and under the scale that it names.

    A config may hold settings for several scales, [scales.NAME]; those of the one that its key `scale` names, or
    "scale=NAME" among the assignments, are put over the rest, and the scale is added to the name of the run.

    Args:
        path: of a TOML file.
        assignments: as they were given.
        tables: keys whose plain value means the table's `name`.

    Raises:
        ConfigError: as `fl_sim.config`, or no such scale.
    """
    raw = read_toml(path)
    raw.setdefault("name", path.stem)
    chosen = [assignment for assignment in assignments if assignment.partition("=")[0].strip() == "scale"]
    rest = [assignment for assignment in assignments if assignment not in chosen]
    return override(_scaled(override(raw, chosen, ())), rest, tables)


def _scaled(raw: Raw) -> Raw:
    """Return a config at the scale that it names: the settings of [scales.NAME] over the others.

    Raises:
        ConfigError: it has no such scale, or its scales are no tables.
    """
    scales, scale = raw.get("scales", {}), raw.get("scale", "")
    if not isinstance(scales, dict) or not all(isinstance(own, dict) for own in scales.values()):
        raise ConfigError("scales: expected tables [scales.NAME].")
    if not scale and not scales:
        return raw
    if not isinstance(scale, str):
        raise ConfigError(f"scale: expected the name of one scale, got {scale!r}.")
    if not isinstance(raw["name"], str):  # "3-smoke" would be a name
        raise ConfigError(f"name: expected a text, got {raw['name']!r}.")
    if scale not in scales:
        raise unknown_name("scale", str(scale), scales) if scales else ConfigError("scale: this config has no scales.")
    result = {key: value for key, value in raw.items() if key != "scales"}
    for key, value in scales[scale].items():
        old = result.get(key, {})
        inner = old if isinstance(old, dict) else {"name": old}
        result[key] = {**inner, **value} if isinstance(value, dict) else value
    return {**result, "name": f"{raw['name']}-{scale}"}
