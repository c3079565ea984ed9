"""Tables [defences.NAME] of an experiment: settings that one defence has for itself, where several share a key.

`clip` and `noise` both have a `clipping_norm`. In a table `[defence]` its values are those of both, and a list is an
axis of both; here each has its own. Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fl_sim.config import Raw, expand
from fl_sim.defences import DEFENCES, NO_DEFENCE
from fl_sim.errors import ConfigError, nearest, unknown_name

TABLE = "defences"


def expand_with_strengths(raw: Raw, tables: Sequence[str]) -> list[Raw]:
    """Return one plain config per combination, as `expand` does; each defence has the settings of its own table.

    Combinations that differ in the defence only stand beside each other.

    Args:
        raw: a config as read.
        tables: keys at which a plain value is the table's `name`.

    Raises:
        ConfigError: as in `expand`; or a table [defences.NAME] is none, is of no known defence, or has a key that its
            defence does not have.
    """
    own = _own_tables(raw)
    plain = {key: value for key, value in raw.items() if key != TABLE}
    if not own:
        return expand(plain, tables)
    said = plain.get("defence", NO_DEFENCE)
    common = said if isinstance(said, dict) else {"name": said}
    names = common.get("name", NO_DEFENCE)
    every = [
        one
        for name in (names if isinstance(names, list) else [names])
        for one in expand({**plain, "defence": {**common, "name": name, **own.get(str(name), {})}}, tables)
    ]
    seats = [repr({key: value for key, value in one.items() if key != "defence"}) for one in every]
    first = {seat: place for place, seat in reversed(list(enumerate(seats)))}
    return [one for _, one in sorted(zip(seats, every, strict=True), key=lambda pair: first[pair[0]])]


def strength_axes(raw: Raw) -> list[str]:
    """Return the paths of the settings that a table [defences.NAME] gives several values: "defence.clipping_norm"."""
    own = _own_tables(raw).values()
    return [f"defence.{key}" for settings in own for key, value in settings.items() if isinstance(value, list)]


def without_said_strengths(raw: Raw, assignments: Iterable[str]) -> Raw:
    """Return a config whose tables [defences.NAME] lack what assignments "defence.KEY=value" set for all defences."""
    if not isinstance(raw.get(TABLE), dict):
        return raw
    said = {path.removeprefix("defence.") for path in _paths(assignments) if path.startswith("defence.")}
    kept = {
        name: {key: value for key, value in own.items() if key not in said} if isinstance(own, dict) else own
        for name, own in raw[TABLE].items()
    }
    return {**raw, TABLE: kept}


def _paths(assignments: Iterable[str]) -> list[str]:
    return [assignment.partition("=")[0].strip() for assignment in assignments]


def _own_tables(raw: Raw) -> dict[str, Raw]:
    """Return {defence: the settings that it has for itself}."""
    found = raw.get(TABLE, {})
    if not isinstance(found, dict) or not all(isinstance(own, dict) for own in found.values()):
        raise ConfigError(f"{TABLE}: expected tables [{TABLE}.NAME], each with settings of the defence NAME.")
    for name, own in found.items():
        if name not in DEFENCES:
            raise unknown_name(f"{TABLE}.{name}", name, DEFENCES, addable=True)
        keys = list(DEFENCES[name].settings.model_fields)
        for key in own:
            if key not in keys:
                told = f" Known: {', '.join(keys)}." if keys else ""
                raise ConfigError(f"{TABLE}.{name}.{key}: unknown key of '{name}'.{nearest(key, keys)}{told}")
    return found
