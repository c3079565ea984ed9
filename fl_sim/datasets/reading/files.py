"""Pictures as files in folders: which entries are pictures, and their headers, with errors that name the file."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from fl_sim.datasets.reading.integrity import describe
from fl_sim.datasets.reading.pictures import DAMAGED, Pixels, reason, resize
from fl_sim.errors import DataError

PICTURE = "a picture that Pillow reads"
RUNS_A_PROGRAM = "EPS"  # Pillow hands these files to Ghostscript
JUNK = ("__MACOSX", "Thumbs.db", "desktop.ini")
"""What desktops leave in folders and archives besides hidden files."""

_DEEP = ("I", "F")
"""How Pillow's names of colours with more than 8 bits begin."""

Refuse = Callable[[str], DataError]
"""The error for a folder that is not the expected one, from what was found."""


def is_junk(name: str) -> bool:
    """Return whether a file or folder of this name is a desktop's own, or hidden."""
    return name.startswith(".") or name in JUNK


def entries(folder: Path, refuse: Refuse) -> list[Path]:
    """Return what is in a folder, sorted by name, without hidden entries and those of desktops."""
    try:
        return sorted(entry for entry in folder.iterdir() if not is_junk(entry.name))
    except FileNotFoundError:
        raise refuse("there is no such folder") from None
    except OSError as error:
        raise refuse(f"it cannot be read ({error.strerror})") from error


def pictures(found: Iterable[Path]) -> list[Path]:
    """Return the files whose names end like those of pictures."""
    Image.init()
    endings = {end for end, kind in Image.EXTENSION.items() if kind in Image.OPEN and kind != RUNS_A_PROGRAM}
    return [entry for entry in found if entry.is_file() and entry.suffix.lower() in endings]


def opened(path: Path, content: bytes) -> Image.Image:
    """Return a picture whose header was read.

    Raises:
        DataError: it is no picture, or one of more than 8 bits a channel.
    """
    kinds = [kind for kind in Image.OPEN if kind != RUNS_A_PROGRAM]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(content), formats=kinds)
    except DAMAGED as error:
        raise DataError(_unreadable(path, content, error)) from error
    if picture.mode.startswith(_DEEP):
        raise DataError(
            f"{path}: expected a picture of 8 bits a channel, found Pillow's mode {picture.mode}; convert it."
        )
    return picture


def decoded(path: Path, content: bytes, mode: str, height: int, width: int) -> Pixels:
    """Return a picture, uint8 (height, width) or (height, width, 3), the whole of it resized.

    Args:
        path: the file, for errors.
        content: of the file.
        mode: "L" or "RGB".
        height, width: in pixels.

    Raises:
        DataError: it is damaged, or no picture.
    """
    with opened(path, content) as picture:
        try:
            pixels = np.array(picture.convert(mode), dtype=np.uint8)
        except DAMAGED as error:
            raise DataError(_unreadable(path, content, error)) from error
    (resized,) = resize(pixels[None], height, width)
    return np.asarray(resized, dtype=np.uint8)


def _unreadable(path: Path, content: bytes, error: BaseException) -> str:
    return (
        f"{path}: expected {PICTURE}, found {describe(content)} and cannot be decoded ({reason(error)}). Replace or "
        "remove it."
    )


def first(found: Sequence[Path]) -> str:
    """Return the first entry of a folder in words."""
    return f" (its first entry is '{found[0].name}')" if found else ", it is empty"


def in_order(names: Iterable[str]) -> list[str]:
    """Return names of classes in their order: by number where all are whole numbers, otherwise as texts."""
    listed = sorted(names)
    if all(name.isdecimal() and name.isascii() for name in listed):
        return sorted(listed, key=int)
    return listed
