"""What pictures of any sizes and colours become together, and the splits that people name in different ways."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fl_sim.datasets.own.splitting import check_bytes, check_sides
from fl_sim.datasets.reading.files import decoded, opened
from fl_sim.datasets.reading.pictures import Pixels
from fl_sim.errors import ConfigError

TRAIN = ("train", "training")
TESTS = ("test", "val", "valid", "validation", "testing")
_GREY = ("L", "1", "LA")
_OPAQUE = ("L", "1", "RGB")


class Stored(NamedTuple):
    """A picture that is not decoded yet: its place, for errors, and how to read its bytes."""

    path: Path
    read: Callable[[], bytes]


class Form(NamedTuple):
    """What pictures become: their colours as Pillow names them, and their sides; and how, in words."""

    mode: str
    height: int
    width: int
    told: str


def chosen_splits(names: Iterable[str]) -> list[str]:
    """Return the names of the train split and of the test split, as far as they are there, among names of splits."""
    known = set(names)
    found = (next((name for name in usual if name in known), "") for usual in (TRAIN, TESTS))
    return [name for name in found if name]


def form_of(where: Path, pictures: Sequence[Stored], size: int) -> Form:
    """Return what pictures become, by their headers: grey if all are grey, otherwise RGB without transparency.

    Args:
        where: the folder or file that holds them, for errors.
        pictures: all of them.
        size: side in pixels of the square to which each is resized; 0 for their common size.

    Raises:
        ConfigError: no size is set and they have several, or are too small or too many.
        DataError: one is no picture.
    """
    kinds = Counter[tuple[str, int, int]]()
    for path, read in pictures:
        with opened(path, read()) as picture:
            kinds[picture.mode, picture.height, picture.width] += 1
    modes, sides = {mode for mode, _, _ in kinds}, {(height, width) for _, height, width in kinds}
    if not size and len(sides) > 1:
        (height, width), (other_height, other_width) = min(sides), max(sides)
        raise ConfigError(
            f"dataset.size: the pictures of {where} have {len(sides):,} sizes, from {height}x{width} to {other_height}x"
            f"{other_width} (height x width); set the side to which all are resized, such as dataset.size=32."
        )
    height, width = (size, size) if size else min(sides)
    check_sides(where, height, width, size)
    mode = "L" if modes <= set(_GREY) else "RGB"
    check_bytes(where, len(pictures), (height, width, len(mode)))
    said = [f"converted from {' and '.join(sorted(modes - {mode}))} to {mode}"] if modes != {mode} else []
    if not modes <= set(_OPAQUE):
        said.append("without transparency and palettes")
    if sides != {(height, width)}:
        before = "x".join(map(str, min(sides))) if len(sides) == 1 else f"{len(sides):,} sizes"
        said.append(f"resized from {before} to {height}x{width} (height x width)")
    return Form(mode, height, width, "".join(f", {one}" for one in said))


def pixels_in(form: Form, pictures: Sequence[Stored]) -> Pixels:
    """Return pictures, uint8 (N, H, W) or (N, H, W, 3), decoded and resized one at a time.

    Raises:
        DataError: one cannot be decoded.
    """
    shape = (form.height, form.width, 3) if form.mode == "RGB" else (form.height, form.width)
    pixels = np.empty((len(pictures), *shape), dtype=np.uint8)
    for index, (path, read) in enumerate(pictures):
        pixels[index] = decoded(path, read(), form.mode, form.height, form.width)
    return pixels
