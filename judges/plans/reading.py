"""Finds and reads configs: those of the project by name, and each at one of its scales.

A scale is the same experiment as a smoke test, for a small machine, or at full size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attacks import ATTACKS, MEMBERSHIP_INFERENCES, MODEL_INVERSIONS
from fl_sim.config import Raw, override, read_toml
from fl_sim.config.strengths import without_said_strengths
from fl_sim.defences import DEFENCES
from fl_sim.errors import ConfigError, nearest, unknown_name
from judges.plans.protocol import without_said
from judges.runs.manifest import THREATS

_ATTACKS = (ATTACKS, MODEL_INVERSIONS, MEMBERSHIP_INFERENCES)
_TABLES_OF = {"defence": (DEFENCES,)}
"""{table of a config: what may be named there}, where that is not an attack."""

_INSTALLED = Path(__file__).parents[1] / "configs"
_IN_THE_REPOSITORY = Path(__file__).parents[2] / "configs"


def shipped_configs() -> Mapping[str, Path]:
    """Return {name: path} of the configs that come with the project, in the order of their names."""
    folder = _INSTALLED if _INSTALLED.is_dir() else _IN_THE_REPOSITORY
    found = sorted(folder.rglob("*.toml"), key=lambda path: (len(path.parts), path))
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in found}


def board_victims() -> Path:
    """Return the path of what is known of the victims of the configs board/NAME, see `judges.board.fixed`."""
    return (_INSTALLED if _INSTALLED.is_dir() else _IN_THE_REPOSITORY) / "board" / "victims.json"


def find_config(path: Path) -> Path:
    """Return the path of a config: of the file at `path`, or else of the config of the project with that name.

    Args:
        path: path of a file, or a name such as "demo", "demo.toml" or "board/digits_lenet".

    Raises:
        ConfigError: there is neither.
    """
    if _is_there(path):
        return path
    name, shipped = path.as_posix().removesuffix(".toml"), shipped_configs()
    if name in shipped:
        return shipped[name]
    if len(path.parts) != 1 and not name.startswith("board/"):
        return path
    raise ConfigError(
        f"{path}: expected a file, or the name of a config of spikeleak, found neither.{nearest(name, shipped)} "
        f"Known: {', '.join(shipped)}."
    )


def _is_there(path: Path) -> bool:
    try:
        return path.exists() and not path.is_dir()
    except OSError:  # a name that is too long
        return False


def read_config(
    path: Path, assignments: Iterable[str], tables: Sequence[str], tell: Callable[[str], None] | None = None
) -> Raw:
    """Return the config at `path` with "key=value" assignments applied, at the scale that it names.

    A config may hold settings for several scales in tables [scales.NAME]. Those of the scale that its key `scale` or an
    assignment "scale=NAME" selects override the others, and the scale is added to the name of the run. Where an
    assignment names other attacks or defences than the config, the settings of those no longer named are left out.

    Args:
        path: path of a TOML file.
        assignments: texts "key=value".
        tables: keys whose plain value means the table's `name`.
        tell: called with a note on settings that were left out.

    Raises:
        ConfigError: as in `fl_sim.config`, or the scale is not known.
    """
    raw = read_toml(path)
    raw.setdefault("name", path.stem)
    chosen = [assignment for assignment in assignments if assignment.partition("=")[0].strip() == "scale"]
    rest = [assignment for assignment in assignments if assignment not in chosen]
    scaled = without_said_strengths(without_said(_scaled(override(raw, chosen, ())), rest, tables), rest)
    whole = override(scaled, rest, tables)
    kept, left_out = whole, list[str]()
    for table in ("attack", "defence", *THREATS):
        shorter = _without_others(scaled, kept, rest, table)
        left_out += [f"{table}.{key}" for key in kept[table] if key not in shorter[table]] if shorter != kept else []
        kept = shorter
    if left_out and tell is not None:
        tell(f"{', '.join(left_out)} of {path.name} left out: settings of attacks or defences that are not chosen.")
    return kept


def _without_others(before: Raw, after: Raw, assignments: Iterable[str], name: str) -> Raw:
    """Return a config without settings that only attacks or defences had which assignments replaced by others.

    Args:
        before, after: the config without and with the assignments.
        assignments: texts "key=value".
        name: of the table of attacks or of defences.
    """
    table = after.get(name)
    named, known = (_settings_of(raw.get(name, ""), _TABLES_OF.get(name, _ATTACKS)) for raw in (after, before))
    if not isinstance(table, dict) or named >= known:
        return after
    said = {assignment.partition("=")[0].strip() for assignment in assignments}
    kept = {key: value for key, value in table.items() if key not in known - named or f"{name}.{key}" in said}
    return {**after, name: kept}


def _settings_of(table: object, known: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return the names of all settings of the entries that a table of a config names, as far as these are known."""
    names = table.get("name", "") if isinstance(table, dict) else table
    entries = [
        one[name]
        for name in (names if isinstance(names, list) else [names])
        for one in known
        if isinstance(name, str) and name in one
    ]
    return {key for entry in entries for key in entry.settings.model_fields}


def _scaled(raw: Raw) -> Raw:
    """Return a config with the settings of the scale that it names, [scales.NAME], in place of the others."""
    scales, scale = raw.get("scales", {}), raw.get("scale", "")
    if not isinstance(scales, dict) or not all(isinstance(own, dict) for own in scales.values()):
        raise ConfigError("scales: expected tables [scales.NAME].")
    if not scale and not scales:
        return raw
    if not isinstance(scale, str):
        raise ConfigError(f"scale: expected the name of one scale, got {scale!r}.")
    if not isinstance(raw["name"], str):  # else 3 would become the valid name "3-smoke"
        raise ConfigError(f"name: expected a text, got {raw['name']!r}.")
    if scale not in scales:
        raise unknown_name("scale", str(scale), scales) if scales else ConfigError("scale: this config has no scales.")
    result = {key: value for key, value in raw.items() if key != "scales"}
    for key, value in scales[scale].items():
        old = result.get(key, {})
        inner = old if isinstance(old, dict) else {"name": old}
        result[key] = {**inner, **value} if isinstance(value, dict) else value
    return {**result, "name": f"{raw['name']}-{scale}"}
