"""The tables of this project, which other packages extend by entry points.

An installed package declares its entries in the groups `spikeleak.attacks`, `spikeleak.model_inversions`,
`spikeleak.models`, `spikeleak.datasets` and `spikeleak.defences`. The name of the entry point is the name in the table;
its value loads to an entry of that table. A broken plugin is left out and reported, never fatal. Nothing here imports
torch.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.metadata
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from fl_sim.errors import ConfigError
from fl_sim.guarded_imports import ImportRefusedError, guarded_import, one_line

OURS = "spikeleak"
BY_HAND = "added by hand"
"""Origin of an entry that a program added to a table at run time."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
"""Pattern of valid names, which become parts of file names and of config keys."""

RESERVED = ("none",)
"""Names that stand for the absence of an attack, defence or judge in configs."""

PLACE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
_PACKAGES = ("fl_sim", "attacks", "judges")

Entry = TypeVar("Entry")


@dataclass(frozen=True)
class LeftOut:
    """An entry point that was not added to its table.

    Attributes:
        group: group of the entry point, such as "spikeleak.attacks".
        name: name of the entry point.
        distribution: name and version of the package that declares it.
        reason: why it was left out, in one sentence.
    """

    group: str
    name: str
    distribution: str
    reason: str


class Table(MutableMapping[str, Entry], Generic[Entry]):
    """Entries by name: this project's first, then those of other packages, sorted by package and name.

    Entry points are loaded when the table is first read, not when it is constructed: the modules of a plugin import
    this project's, and neither could use the other while it is only half imported.

    Args:
        group: group of the entry points.
        kind: class of the entries.
        own: the entries of this project.

    Attributes:
        own: the entries of this project, independent of installed plugins.
    """

    def __init__(self, group: str, kind: type[Entry], own: Mapping[str, Entry]) -> None:
        self.own: Mapping[str, Entry] = dict(own)
        self._group, self._kind = group, kind
        self._entries: dict[str, Entry] = dict(own)
        self._origins: dict[str, str] = dict.fromkeys(own, OURS)
        self._packages: dict[str, str] = {}
        self._left_out: list[LeftOut] = []
        self._joined = False
        self._lock = threading.RLock()  # a second thread may read the table while the first is loading it

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """Return the entry points that were left out, with the reasons."""
        self._join()
        return tuple(self._left_out)

    def origin(self, name: str) -> str:
        """Return the origin of an entry: "spikeleak", "DISTRIBUTION VERSION", or "added by hand"."""
        self._join()
        return self._origins.get(name, BY_HAND)

    @property
    def packages(self) -> Mapping[str, str]:
        """Return {package: version} of the packages whose entries joined."""
        self._join()
        return self._packages

    def __getitem__(self, name: str) -> Entry:
        """Return the entry called `name`."""
        self._join()
        return self._entries[name]

    def __setitem__(self, name: str, entry: Entry) -> None:
        """Add an entry to the table of this process; one of this project that is put back is its own again."""
        self._join()
        self._origins.pop(name, None)
        if entry is self.own.get(name):
            self._origins[name] = OURS
        self._entries[name] = entry

    def __delitem__(self, name: str) -> None:
        """Remove an entry from the table of this process."""
        self._join()
        del self._entries[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        self._join()
        return iter(self._entries)

    def __len__(self) -> int:
        """Return the number of entries."""
        self._join()
        return len(self._entries)

    def _join(self) -> None:
        """Add the entries of other packages, once."""
        with self._lock:
            if self._joined:
                return
            self._joined = True  # set first, since a plugin may read this table while it is imported
            points = _select()(group=self._group)
            for point in sorted(points, key=lambda point: (_distribution(point), point.name)):
                try:
                    entry = self._load_entry(point)
                except _RefusedError as refusal:
                    left_out = LeftOut(self._group, point.name, _distribution(point), str(refusal))
                    self._left_out.append(left_out)
                else:
                    self._entries[point.name] = entry
                    self._origins[point.name] = _distribution(point)
                    if point.dist:
                        self._packages[point.dist.name] = point.dist.version

    def _load_entry(self, point: importlib.metadata.EntryPoint) -> Entry:
        """Return the entry to which an entry point loads."""
        if not NAME.fullmatch(point.name) or point.name in RESERVED:
            raise _RefusedError("the name is not valid: use up to 40 letters, digits, '_' and '-'")
        if point.name in self._entries:
            raise _RefusedError(f"the name is taken by {self._origins.get(point.name, BY_HAND)}")
        try:
            with guarded_import():
                entry = point.load()
        except ImportRefusedError as error:
            raise _RefusedError(f"'{point.value}' could not be imported: {error}") from error
        if not isinstance(entry, self._kind):
            found = f"the class {entry.__name__}" if isinstance(entry, type) else f"a {type(entry).__name__}"
            raise _RefusedError(f"expected '{point.value}' to be an instance of {self._kind.__name__}, found {found}")
        return entry


class _RefusedError(Exception):
    """The reason why an entry point is left out."""


@functools.cache
def _select() -> Callable[..., importlib.metadata.EntryPoints]:
    """Return the function that selects from all installed entry points, which are searched for only once."""
    return importlib.metadata.entry_points().select


def _distribution(point: importlib.metadata.EntryPoint) -> str:
    """Return the name and version of the package that declares an entry point."""
    parts = (point.dist.metadata["Name"], point.dist.metadata["Version"]) if point.dist else ()
    return " ".join(part for part in parts if part) or "an unknown package"


def located(place: Any, what: str) -> Any:  # noqa: ANN401 - a class or function, or its import path
    """Return a class or function as it is, or import the one at "package.module:name".

    Args:
        place: a class or function, or its import path.
        what: the entry to which it belongs, for the error message.

    Raises:
        ConfigError: the module or the name does not exist, or the module cannot be imported.
    """
    if not isinstance(place, str):
        return place
    module, _, name = place.partition(":")
    known = module.partition(".")[0] in _PACKAGES or module in sys.modules
    try:
        with contextlib.nullcontext() if known else guarded_import():
            return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{what}: '{place}' could not be imported: {one_line(error)}.") from error
    except ImportRefusedError as error:
        raise ConfigError(f"{what}: '{place}' could not be imported: {error}.") from error


def refuse_place(entry: object, field: str) -> None:
    """Raise TypeError if a field of an entry is neither a callable nor "package.module:name"."""
    place = getattr(entry, field)
    if not (PLACE.fullmatch(place) if isinstance(place, str) else callable(place)):
        raise TypeError(f"{_field(entry, field)}: expected a callable or 'package.module:name', found {place!r}.")


def refuse_text(entry: object, *fields: str) -> None:
    """Raise TypeError if a field of an entry is not a non-empty text."""
    for field in fields:
        text = getattr(entry, field)
        if not isinstance(text, str) or not text.strip():
            raise TypeError(f"{_field(entry, field)}: expected a text of one line, found {text!r}.")


def refuse_switch(entry: object, *fields: str) -> None:
    """Raise TypeError if a field of an entry is neither True nor False."""
    for field in fields:
        if not isinstance(getattr(entry, field), bool):
            raise TypeError(f"{_field(entry, field)}: expected True or False, found {getattr(entry, field)!r}.")


def refuse_class(entry: object, field: str, base: type) -> None:
    """Raise TypeError if a field of an entry is not a class derived from `base`."""
    kind = getattr(entry, field)
    if not (isinstance(kind, type) and issubclass(kind, base)):
        raise TypeError(
            f"{_field(entry, field)}: expected a class derived from {base.__module__}.{base.__name__}, found {kind!r}."
        )


def _field(entry: object, field: str) -> str:
    return f"{type(entry).__name__}.{field}"
