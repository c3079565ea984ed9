"""Errors that a user can act on: a message of one paragraph and the exit code of the command."""

from __future__ import annotations

import difflib
import linecache
import sysconfig
import traceback
from collections.abc import Iterable
from pathlib import Path

_MAX_EDITS = 2


class SpikeleakError(Exception):
    """Base of all errors that the caller can fix. The message is one paragraph.

    Attributes:
        exit_code: exit code of the command `spikeleak`.
    """

    exit_code = 1


class ConfigError(SpikeleakError):
    """A setting is unknown, of the wrong type, or incompatible with another one."""

    exit_code = 2


class DataError(SpikeleakError):
    """A file of data, captures or results is missing, corrupt, or not what its name or header claims."""

    exit_code = 3


class IncompleteError(SpikeleakError):
    """A part of the work came out incomplete, such as a federation of which a client did not answer; see the message.

    The other parts can be done, and the same command tries this one again.
    """

    exit_code = 4


class BusyError(SpikeleakError):
    """Another process is at work in the same folder; the message names it."""


class WriteError(SpikeleakError, OSError):
    """A file could not be written; the message names the file and the number of bytes.

    Also an OSError, for callers that can do without the file.
    """


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return `" Did you mean 'x'?"` for the valid name nearest to `name`, or "" if none is near.

    The nearest name is at the smallest edit distance, up to two; otherwise the most similar by `difflib`'s measure.
    """
    names = list(valid)
    edits = {other: _edit_distance(name, other) for other in names if abs(len(other) - len(name)) <= _MAX_EDITS}
    # Two edits turn any name of two letters into any other, so at least one letter must match.
    near = [other for other, count in edits.items() if count <= _MAX_EDITS and count < max(len(name), len(other))]
    alike = difflib.get_close_matches(name, near or names, n=len(names) or 1, cutoff=0.0 if near else 0.5)
    found = min(alike, key=edits.__getitem__) if near else next(iter(alike), None)
    return f" Did you mean '{found}'?" if found else ""


def _edit_distance(first: str, second: str) -> int:
    """Return the optimal string alignment distance: insertions, deletions, substitutions and swaps of neighbours."""
    previous: list[int] = []
    row = list(range(len(second) + 1))
    for i, letter in enumerate(first, start=1):
        earlier, previous, row = previous, row, [i]
        for j, other in enumerate(second, start=1):
            cost = min(previous[j] + 1, row[-1] + 1, previous[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == second[j - 2] and first[i - 2] == other:
                cost = min(cost, earlier[j - 2] + 1)
            row.append(cost)
    return row[-1]


_MOST_NAMES = 60
"""Of more names, an error lists only those of the same table of a config."""


def unknown_name(path: str, name: str, valid: Iterable[str], *, addable: bool = False) -> ConfigError:
    """Return the error for an unknown name.

    Args:
        path: the key's path in the config, or the kind of name.
        name: the unknown name.
        valid: the known names.
        addable: whether users add names of their own, by a module that must be imported first.
    """
    names, own = sorted(valid), " Of your own? Name the module that adds it: --import MODULE." if addable else ""
    near = names if len(names) <= _MOST_NAMES else [one for one in names if _table(one) == _table(name)]
    of = "" if near == names else f" in '{_table(name)}'"
    known = f" Known{of}: {', '.join(near)}." if near else f" There are {len(names)} names."
    return ConfigError(f"{path}: '{name}' is not known.{nearest(name, names)}{known}{own}")


def _table(key: str) -> str:
    return key.partition(".")[0]


_OUT_OF_MEMORY = ("out of memory", "not enough memory", "allocate memory", "bad_alloc", "errno 12]")
"""Phrases in the error messages of torch, C++, NumPy and the operating system, in lower case."""

_LONGEST = 200


def lack_of_memory(error: BaseException) -> str:
    """Return one line if an error is a lack of memory; "" for any other error."""
    reason = f"{type(error).__name__}: {error}"
    if isinstance(error, MemoryError) or any(phrase in reason.lower() for phrase in _OUT_OF_MEMORY):
        return f"not enough memory ({reason.splitlines()[0][:_LONGEST]})"
    return ""


_OURS = tuple(Path(__file__).parents[1] / package for package in ("fl_sim", "attacks", "judges"))
_STANDARD = tuple(Path(sysconfig.get_path(key)) for key in ("stdlib", "platstdlib"))
_USERS, _INSTALLED, _OTHERS = range(3)


def own_line(error: BaseException) -> str:
    """Return " (file, line N: code)" of the user's own line that an error comes from, the innermost of several.

    Where no line is the user's it is one of an installed package other than torch; where there is none either, "".
    """
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    last = min(reversed(frames), key=lambda frame: _strangeness(Path(frame.filename)), default=None)
    if last is None or _strangeness(Path(last.filename)) > _INSTALLED:
        return ""
    path, here = Path(last.filename), Path.cwd()
    name = path.relative_to(here) if path.is_relative_to(here) else path
    return f" ({name}, line {last.lineno}: {linecache.getline(last.filename, last.lineno or 0).strip()})"


def _strangeness(path: Path) -> int:
    """Return whose file it is: `_USERS`, `_INSTALLED`, or `_OTHERS`: ours, torch's or Python's."""
    if any(part in ("site-packages", "dist-packages") for part in path.parts):
        return _OTHERS if "torch" in path.parts or _is_ours(path) else _INSTALLED
    return _OTHERS if _is_ours(path) or any(path.is_relative_to(folder) for folder in _STANDARD) else _USERS


def _is_ours(path: Path) -> bool:
    return any(path.is_relative_to(folder) for folder in _OURS)
