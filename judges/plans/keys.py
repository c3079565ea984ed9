"""The keys of a config, collected from settings classes and the "Attributes:" sections of their docstrings."""

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
    """A reader of settings: a kind of experiment, or a command.

    Attributes:
        name: name in one or two words.
        what: description in one line of Markdown.
        settings: class that validates its config.
        names: {key: allowed names}, for keys whose class only says "text".
        owners: {table: {name: settings}}, for tables whose further keys belong to the entry that `name` selects.
        unread: keys of the class that the user cannot set.
        axis: whether a list for a key is an axis of its grid; None if it has no grid.
        defaults: {key: default in Markdown} where it differs from that of the class.
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
    """A key as read in one place.

    Attributes:
        place: name of the place.
        owner: the attack, defence or strategy to which the setting belongs; "" for none.
        default: default in Markdown.
        axis: as in `Place`.
    """

    place: str
    owner: str
    default: str
    axis: bool | None = None


@dataclass(frozen=True)
class Entry:
    """A key and its meaning; a key with several meanings has several entries.

    Attributes:
        key: dotted path.
        values: type, bounds or allowed values, in Markdown.
        sentence: description; "" if the docstring has none.
        uses: where it is read.
    """

    key: str
    values: str
    sentence: str
    uses: tuple[Use, ...]

    @property
    def table(self) -> str:
        """Return the table of the key; "" for the top level."""
        return self.key.rpartition(".")[0]

    @property
    def places(self) -> list[str]:
        """Return the places that read it."""
        return list(dict.fromkeys(use.place for use in self.uses))

    @property
    def owners(self) -> list[str]:
        """Return the attacks, defences or strategies to which the setting belongs."""
        return list(dict.fromkeys(use.owner for use in self.uses if use.owner))

    @property
    def default(self) -> str:
        """Return its default, followed by the exceptions: "`64` (grnn: `32`)"."""
        groups: dict[str, list[str]] = {}
        for use in self.uses:
            groups.setdefault(use.default, []).append(use.owner or use.place)
        first, *others = groups
        exceptions = "; ".join(f"{', '.join(dict.fromkeys(groups[default]))}: {default}" for default in others)
        return f"{first} ({exceptions})" if exceptions else first

    @property
    def axis(self) -> str:
        """Return where a list of it is an axis: "yes" in every grid, "no" in none, or the names of the places."""
        places = [use.place for use in self.uses if use.axis]
        grids = [use.place for use in self.uses if use.axis is not None]
        return "no" if not places else "yes" if places == grids else ", ".join(dict.fromkeys(places))


def entries_of(places: Iterable[Place]) -> list[Entry]:
    """Return every key of the places in the order of `ordered`; a key with the same meaning in several is one entry."""
    uses: dict[tuple[str, str, str], list[Use]] = {}
    for place in places:
        for key, values, sentence, use in _keys(place, place.settings):
            uses.setdefault((key, values, sentence), []).append(use)
    return ordered(Entry(*meaning, tuple(used)) for meaning, used in uses.items())


def ordered(entries: Iterable[Entry]) -> list[Entry]:
    """Return entries by table, in the order in which the tables first occur.

    In each table, `name` comes first, and settings of an attack, a defence or a strategy come last.
    """
    every = list(entries)
    tables = list(dict.fromkeys(["", *(entry.table for entry in every)]))
    return sorted(
        every,
        key=lambda entry: (tables.index(entry.table), bool(entry.owners), entry.key != f"{entry.table}.name"),
    )


def tables_of(kind: type[Settings]) -> dict[str, type[Settings]]:
    """Return {name: settings} of the tables of a config, including optional ones."""
    return {
        name: one
        for name, info in kind.model_fields.items()
        for one in (info.annotation, *get_args(info.annotation))
        if isinstance(one, type) and issubclass(one, Settings)
    }


def descriptions(kind: type) -> dict[str, str]:
    """Return {attribute: description} of a class and its base classes.

    They are in a section "Attributes:" of lines "name: description" or "name, name: description", indented by four; a
    line with more indentation continues the description.
    """
    described: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        names: list[str] = []
        for line in _section(inspect.cleandoc(base.__doc__ or "")):
            head = _HEAD.fullmatch(line)
            if head:
                names = head[1].split(", ")
                described |= dict.fromkeys(names, head[2])
            else:
                described |= {name: f"{described[name]} {line.strip()}" for name in names}
    return described


def first_sentence(text: str) -> str:
    """Return the first sentence of a description, with its full stop."""
    return f"{_SENTENCE.split(text, maxsplit=1)[0].removesuffix('.')}." if text else ""


def summary_of(kind: type) -> str:
    """Return the first paragraph of a docstring as one line."""
    return " ".join(inspect.cleandoc(kind.__doc__ or "").partition("\n\n")[0].split())


def literal(value: object) -> str:
    """Return a value as written in a config, in Markdown; numbers with many digits are rounded."""
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
    place: Place, kind: type[Settings], table: str = "", owner: str = "", default: Settings | None = None
) -> Iterator[tuple[str, str, str, Use]]:
    """Yield (key, values, sentence, use) of the fields of a settings class and of its tables.

    `default` is the default of the whole table, if it has one.
    """
    described, tables = descriptions(kind), tables_of(kind)
    for name, info in kind.model_fields.items():
        if name in tables:
            own = info.default if isinstance(info.default, Settings) else None
            yield from _keys(place, tables[name], name, default=own)
            for other, settings in place.owners.get(name, {}).items():
                yield from _keys(place, settings, name, other)
            continue
        key = f"{table}.{name}".removeprefix(".")
        if key in place.unread:
            continue
        plain = getattr(default, name) if default else info.default
        text = place.defaults.get(key) or ("to be given" if info.is_required() else literal(plain))
        use = Use(place.name, owner, text, place.axis(key) if place.axis else None)
        yield key, _values(info, _names(place, kind, key)), first_sentence(described.get(name, "")), use


def _names(place: Place, kind: type[Settings], key: str) -> Sequence[str]:
    """Return the names that a key may have; () if its value is not a name."""
    if key.endswith(".preset") and issubclass(kind, PresetSettings):
        return list(kind.PRESETS)
    return place.names.get(key, ())


def _values(info: FieldInfo, names: Sequence[Any]) -> str:
    """Return what a field accepts: the given names, else its choices, else its type and bounds."""
    union = () if get_origin(info.annotation) is Literal else get_args(info.annotation)
    kind: Any = next((one for one in union if one is not type(None)), info.annotation)
    choices = names or (get_args(kind) if get_origin(kind) is Literal else ())
    if choices:
        return ", ".join(map(literal, choices))
    bounds, lengths = (
        [text.format(f"{getattr(item, name):g}") for item in info.metadata for name, text in signs.items()
         if getattr(item, name, None) is not None] for signs in (_BOUNDS, _LENGTHS)
    )  # fmt: skip
    words = [_TYPES.get(kind, str(kind)), *([", ".join(bounds)] if bounds else [])]
    return " ".join(words) + (f" of {' and '.join(lengths)} characters" if lengths else "")
