"""The keys of a config, read off settings classes and the "Attributes:" sections of their docstrings. No torch here."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from fl_sim.specs import PresetSettings, Settings

_HEAD = re.compile(r"(\w+(?:, \w+)*): (.*)")
_SENTENCE = re.compile(r"(?<!\beq)(?<!\bal)(?<!\bsec)(?<!e\.g)(?<!i\.e)\.\s+(?=[A-Z0-9`\"(])")
_TYPES = {bool: "true or false", int: "integer", float: "number", str: "text"}
_BOUNDS = {"gt": "> {}", "ge": ">= {}", "lt": "< {}", "le": "<= {}"}
_LENGTHS = {"min_length": "at least {}", "max_length": "at most {}"}


@dataclass(frozen=True)
class Place:
    """What reads settings: a kind of experiment, or a command.

    Attributes:
        name: in one or two words.
        what: it is, in one line of Markdown.
        settings: class that its config is validated by.
        names: {key: the names that it may have}, of keys whose class says "text" only.
        owners: {table: {name: settings}}, of tables whose further keys belong to what their `name` names.
        unread: keys of the class that its user cannot set.
        axis: whether a list of a key is an axis of its grid; None where it has no grid.
        defaults: {key: its default in Markdown} where that is not the class's.
    """

    name: str
    what: str
    settings: type[Settings]
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    owners: Mapping[str, Mapping[str, type[Settings]]] = field(default_factory=dict)
    unread: Iterable[str] = ()
    axis: Callable[[str], bool] | None = None
    defaults: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Use:
    """A key where it is read.

    Attributes:
        place: name of the place.
        owner: the attack, defence or strategy whose setting it is; "" for none.
        default: in Markdown.
        axis: as in `Place`.
    """

    place: str
    owner: str
    default: str
    axis: bool | None = None


@dataclass(frozen=True)
class Entry:
    """A key with what it means; a key that means several things has several entries.

    Attributes:
        key: its dotted path.
        values: its type, bounds or allowed values, in Markdown.
        sentence: what it is; "" where the docstring is silent.
        uses: where it is read.
    """

    key: str
    values: str
    sentence: str
    uses: tuple[Use, ...]

    @property
    def table(self) -> str:
        """Return the table that the key is in; "" for the top level."""
        return self.key.rpartition(".")[0]

    @property
    def places(self) -> list[str]:
        """Return the places that read it."""
        return list(dict.fromkeys(use.place for use in self.uses))

    @property
    def owners(self) -> list[str]:
        """Return the attacks, defences or strategies whose setting it is."""
        return list(dict.fromkeys(use.owner for use in self.uses if use.owner))

    @property
    def default(self) -> str:
        """Return its default, and for whom it is another one: "`64` (grnn: `32`)"."""
        groups: dict[str, list[str]] = {}
        for use in self.uses:
            groups.setdefault(use.default, []).append(use.owner or use.place)
        first, *others = groups
        told = "; ".join(f"{', '.join(dict.fromkeys(groups[default]))}: {default}" for default in others)
        return f"{first} ({told})" if told else first

    @property
    def axis(self) -> str:
        """Return where a list of it is an axis: "yes" wherever there is a grid, "no", or the names of the places."""
        places = [use.place for use in self.uses if use.axis]
        grids = [use.place for use in self.uses if use.axis is not None]
        return "no" if not places else "yes" if places == grids else ", ".join(dict.fromkeys(places))


def entries_of(places: Iterable[Place]) -> list[Entry]:
    """Return every key of some places, in the order of `ordered`; what means the same in several places is one."""
    found: dict[tuple[str, str, str], list[Use]] = {}
    for place in places:
        for key, values, sentence, use in _keys(place, place.settings):
            found.setdefault((key, values, sentence), []).append(use)
    return ordered(Entry(*told, tuple(uses)) for told, uses in found.items())


def ordered(entries: Iterable[Entry]) -> list[Entry]:
    """Return entries by table, in the order in which these first occur.

    In each, `name` is first and what belongs to an attack, a defence or a strategy last.
    """
    every = list(entries)
    tables = list(dict.fromkeys(["", *(entry.table for entry in every)]))
    return sorted(
        every,
        key=lambda entry: (tables.index(entry.table), bool(entry.owners), entry.key != f"{entry.table}.name"),
    )


def tables_of(kind: type[Settings]) -> dict[str, type[Settings]]:
    """Return {name: settings} of the tables of a config, of those too that need not be there."""
    return {
        name: one
        for name, told in kind.model_fields.items()
        for one in (told.annotation, *get_args(told.annotation))
        if isinstance(one, type) and issubclass(one, Settings)
    }


def descriptions(kind: type) -> dict[str, str]:
    """Return {attribute: description} of a class and the classes that it is derived from.

    The convention is a section "Attributes:" of lines "name: description" or "name, name: description", indented by
    four; a line that is indented by more goes on with the description before.
    """
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        names: list[str] = []
        for line in _section(inspect.cleandoc(base.__doc__ or "")):
            head = _HEAD.fullmatch(line)
            if head:
                names = head[1].split(", ")
                found |= dict.fromkeys(names, head[2])
            else:
                found |= {name: f"{found[name]} {line.strip()}" for name in names}
    return found


def first_sentence(text: str) -> str:
    """Return the first sentence of a description, with its full stop."""
    return f"{_SENTENCE.split(text, maxsplit=1)[0].removesuffix('.')}." if text else ""


def summary_of(kind: type) -> str:
    """Return the first paragraph of a docstring as one line."""
    return " ".join(inspect.cleandoc(kind.__doc__ or "").partition("\n\n")[0].split())


def literal(value: object) -> str:
    """Return a value as a config tells it, in Markdown; of a number with endless digits the first."""
    if value is None:
        return "not set"
    if isinstance(value, float) and len(repr(value)) > 12:
        return f"about `{value:.4g}`"
    return f"`{json.dumps(value, default=str)}`"


def _section(text: str) -> Iterator[str]:
    """Yield the lines of the section "Attributes:" without its indentation."""
    for line in text.partition("\nAttributes:\n")[2].splitlines():
        if line.strip():
            if not line.startswith("    "):
                return
            yield line[4:]


def _keys(
    place: Place, kind: type[Settings], table: str = "", owner: str = "", given: Settings | None = None
) -> Iterator[tuple[str, str, str, Use]]:
    """Yield (key, values, sentence, use) of the fields of a settings class, and of the tables that it has.

    `given` is what a table is by default, where that is told.
    """
    described, tables = descriptions(kind), tables_of(kind)
    for name, told in kind.model_fields.items():
        if name in tables:
            own = told.default if isinstance(told.default, Settings) else None
            yield from _keys(place, tables[name], name, given=own)
            for other, settings in place.owners.get(name, {}).items():
                yield from _keys(place, settings, name, other)
            continue
        key = f"{table}.{name}".removeprefix(".")
        if key in place.unread:
            continue
        plain = getattr(given, name) if given else told.default
        default = place.defaults.get(key) or ("to be given" if told.is_required() else literal(plain))
        use = Use(place.name, owner, default, place.axis(key) if place.axis else None)
        yield key, _values(told, _names(place, kind, key)), first_sentence(described.get(name, "")), use


def _names(place: Place, kind: type[Settings], key: str) -> Sequence[str]:
    """Return the names that a key may have; none where it is no name."""
    if key.endswith(".preset") and issubclass(kind, PresetSettings):
        return list(kind.PRESETS)
    return place.names.get(key, ())


def _values(told: FieldInfo, names: Sequence[Any]) -> str:
    """Return what a field accepts: its names where it has some, else its choices, else its type and bounds."""
    kind: Any = next((one for one in get_args(told.annotation) if isinstance(one, type)), told.annotation)
    choices = names or (get_args(kind) if get_origin(kind) is Literal else ())
    if choices:
        return ", ".join(map(literal, choices))
    bounds, lengths = (
        [text.format(f"{getattr(item, name):g}") for item in told.metadata for name, text in signs.items()
         if getattr(item, name, None) is not None] for signs in (_BOUNDS, _LENGTHS)
    )  # fmt: skip
    words = [_TYPES.get(kind, str(kind)), *([", ".join(bounds)] if bounds else [])]
    return " ".join(words) + (f" of {' and '.join(lengths)} characters" if lengths else "")
