"""Errors that a user can act on: one paragraph each, with the exit code that the command ends with."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


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


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return `" Did you mean 'x'?"` for the valid name nearest to `name`, or "" where none is near."""
    found = difflib.get_close_matches(name, list(valid), n=1, cutoff=0.5)
    return f" Did you mean '{found[0]}'?" if found else ""


def unknown_name(path: str, name: str, valid: Iterable[str]) -> ConfigError:
    """Return the error for a name that is in no table.

    Args:
        path: the key's path in the config, or what kind of name it is.
        name: what was given.
        valid: the names that exist.
    """
    names = sorted(valid)
    return ConfigError(f"{path}: '{name}' is not known.{nearest(name, names)} Known: {', '.join(names)}.")
