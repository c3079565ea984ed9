"""Errors that a user can act on: one paragraph each, with the exit code that the command ends with."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_MOST_SLIPS = 2


class SpikeleakError(Exception):
    """Base of all errors that are the caller's to mend. The message is one paragraph.

    Attributes:
        exit_code: what the command `spikeleak` exits with.
    """

    exit_code = 1


class ConfigError(SpikeleakError):
    """A setting is unknown, of the wrong type, or does not go with another one."""

    exit_code = 2


class DataError(SpikeleakError):
    """A file of data, captures or results is missing, corrupt or not what it says it is."""

    exit_code = 3


class WriteError(SpikeleakError, OSError):
    """A file could not be written; the message names it, and how many bytes it was to have.

    It is an OSError too, for callers that can do without the file.
    """


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return `" Did you mean 'x'?"` for the valid name nearest to `name`, or "" where none is near.

    Nearest is what the fewest slips make of it, up to two; else what shares most letters with it in their order.
    """
    names = list(valid)
    slips = {other: _slips(name, other) for other in names if abs(len(other) - len(name)) <= _MOST_SLIPS}
    # A name of two letters is two slips from every other such name: one letter at least must be right.
    near = [other for other, count in slips.items() if count <= _MOST_SLIPS and count < max(len(name), len(other))]
    alike = difflib.get_close_matches(name, near or names, n=len(names) or 1, cutoff=0.0 if near else 0.5)
    found = min(alike, key=slips.__getitem__) if near else next(iter(alike), None)
    return f" Did you mean '{found}'?" if found else ""


def _slips(first: str, second: str) -> int:
    """Return the optimal string alignment distance: letters inserted, left out, replaced, or swapped with the next."""
    before: list[int] = []
    row = list(range(len(second) + 1))
    for i, letter in enumerate(first, start=1):
        earlier, before, row = before, row, [i]
        for j, other in enumerate(second, start=1):
            cost = min(before[j] + 1, row[-1] + 1, before[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == second[j - 2] and first[i - 2] == other:
                cost = min(cost, earlier[j - 2] + 1)
            row.append(cost)
    return row[-1]


def unknown_name(path: str, name: str, valid: Iterable[str]) -> ConfigError:
    """Return the error for a name that is in no table.

    Args:
        path: the key's path in the config, or what kind of name it is.
        name: what was given.
        valid: the names that exist.
    """
    names = sorted(valid)
    return ConfigError(f"{path}: '{name}' is not known.{nearest(name, names)} Known: {', '.join(names)}.")


_SAID = ("out of memory", "not enough memory", "allocate memory", "bad_alloc", "errno 12]")
"""What torch, C++, NumPy and the system say, in lower case."""

_LONGEST = 200


def lack_of_memory(error: BaseException) -> str:
    """Return one line where an error is a lack of memory; "" where it is of another kind."""
    reason = f"{type(error).__name__}: {error}"
    if isinstance(error, MemoryError) or any(words in reason.lower() for words in _SAID):
        return f"not enough memory ({reason.splitlines()[0][:_LONGEST]})"
    return ""
