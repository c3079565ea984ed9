"""What takes long to make is made once, and found again by a hash of everything that it depends on.

A kept file is never trusted: whoever reads it says whether it is sound, and what is not is made anew.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

Value = TypeVar("Value")
Progress = Callable[[int, int], None]
"""Called with (epochs finished, epochs at most) while a model is trained that is to be kept."""


def key_of(facts: Mapping[str, object]) -> str:
    """Return the SHA-256 over facts, plain values or dataclasses of them, in whatever order: 64 hexadecimal digits."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=dataclasses.asdict).encode()).hexdigest()


def path_of(folder: Path, key: str, prefix: str = "") -> Path:
    """Return the file in a folder that what has this key is kept in."""
    return folder / f"{prefix}{key[:32]}.safetensors"


def cached(
    path: Path,
    *,
    load: Callable[[Path], Value | None],
    make: Callable[[], Value],
    save: Callable[[Value, Path], object],
) -> Value:
    """Return what is kept at a path; where that is nothing, make it now and keep it there.

    Args:
        path: of the file.
        load: reads it; None where it is not there, or is not sound.
        make: called only where nothing is kept.
        save: writes what was made, whole or not at all.
    """
    kept = load(path)
    if kept is None:
        kept = make()
        save(kept, path)
    return kept


def cache_root() -> Path:
    """Return the folder of what is trained once and kept: SPIKELEAK_CACHE, else one in the user's cache folder."""
    own = os.environ.get("SPIKELEAK_CACHE")
    if own:
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "spikeleak"
