"""Any folder of pictures with one subfolder for each class, as torchvision's ImageFolder reads it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fl_sim.datasets.examples import Dataset
from fl_sim.datasets.own.splitting import check_bytes, check_sides, root_of, split_by_name
from fl_sim.datasets.reading.files import PICTURE, decoded, entries, first, in_order, is_junk, opened, pictures
from fl_sim.datasets.reading.images import Labelled, assemble
from fl_sim.datasets.reading.integrity import read_bytes
from fl_sim.datasets.reading.pictures import Pixels
from fl_sim.errors import ConfigError, DataError

TRAIN = ("train", "training")
TESTS = ("test", "val", "valid", "validation", "testing")
_PLACE = "a folder of pictures, one subfolder for each class"
_GREY = ("L", "1", "LA")
_OPAQUE = ("L", "1", "RGB")

Groups = Mapping[str, list[Path]]
"""{class: its pictures}."""


class Form(NamedTuple):
    """What the pictures become: their colours as Pillow names them, and their sides."""

    mode: str
    height: int
    width: int


def load(root: Path | None, size: int, test_fraction: float) -> Dataset:
    """Return the pictures of a folder; the classes are its subfolders, by number or else by name.

    Either `train/<class>/...` and `test/<class>/...` (or val, valid, validation), or `<class>/...`; pictures may lie
    deeper in the folder of their class. Hidden files, those of desktops, and those whose names do not end like a
    picture's are left out. If all pictures are grey they stay grey, otherwise all become RGB, without transparency.

    Args:
        root: the folder.
        size: side in pixels of the square to which the whole picture is resized; 0 for the pictures' common size.
        test_fraction: share of each class that is for test, where the folder does not say; see `split_by_name`.

    Raises:
        ConfigError: there is no root; or no size is set and the pictures have several, or are too small or too many.
        DataError: nothing is there, there are no classes, or a file is no picture.
    """
    where = root_of("folder", root, _PLACE)
    parts, told = _parts(where)
    names = in_order({name for groups in parts.values() for name in groups})
    files = {split: [file for name in names for file in groups.get(name, ())] for split, groups in parts.items()}
    form, said = _form(where, [file for split in files.values() for file in split], size)
    labelled = {}
    for split, groups in parts.items():
        counts = [len(groups.get(name, ())) for name in names]
        labelled[split] = Labelled(_read(files[split], form), np.arange(len(names)).repeat(counts))
    if len(labelled) == 1:
        ((_, (pixels, labels)),) = labelled.items()
        own = [file.relative_to(where).as_posix() for split in files.values() for file in split]
        for_test, told = split_by_name(own, labels, test_fraction)
        train, test = (Labelled(pixels[part], labels[part]) for part in (~for_test, for_test))
    else:
        train, test = labelled.values()
    count = sum(map(len, files.values()))
    source = f"{where}: {count:,} pictures with no hash to verify them by{said}; {told}"
    return assemble("folder", train=train, test=test, class_names=names, source=source)


def _parts(where: Path) -> tuple[dict[str, Groups], str]:
    """Return the pictures of each split by class, and which folders these are, in words."""
    inner = {entry.name: entry for entry in _listed(where) if entry.is_dir()}
    train, test = (next((name for name in names if name in inner), "") for names in (TRAIN, TESTS))
    if train:
        chosen = [name for name in (train, test) if name]
        rest = sorted(set(inner) - set(chosen))
        told = f"its own split ({' and '.join(chosen)})" + (f"; {', '.join(rest)} left out" if rest else "")
        return {name: _classes(inner[name]) for name in chosen}, told
    return {"": _classes(where)}, ""


def _classes(where: Path) -> Groups:
    """Return the pictures of each class of a folder; a DataError if there is no class, or one without pictures."""
    found = _listed(where)
    inner, loose = [entry for entry in found if entry.is_dir()], pictures(found)
    if loose and inner:
        raise _wrong(
            where, f"it holds {len(inner)} subfolders ('{inner[0].name}') and {len(loose)} pictures ('{loose[0].name}')"
        )
    if not inner:
        what = (
            f"it holds {len(loose)} pictures ('{loose[0].name}') without classes" if loose else "it holds no subfolder"
        )
        raise _wrong(where, what + ("" if loose else first(found)))
    groups = {}
    for one in inner:
        nested = sorted(path for path in one.rglob("*") if not any(map(is_junk, path.relative_to(one).parts)))
        groups[one.name] = pictures(nested)
        if not groups[one.name]:
            raise _wrong(where, f"its subfolder '{one.name}' holds no picture{first(_listed(one))}")
    return groups


def _form(where: Path, files: list[Path], size: int) -> tuple[Form, str]:
    """Return what the pictures become, by their headers, and how they are converted, in words."""
    kinds = Counter[tuple[str, int, int]]()
    for file in files:
        with opened(file, read_bytes(file, PICTURE)) as picture:
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
    check_bytes(where, len(files), (height, width, len(mode)))
    said = [f"converted from {' and '.join(sorted(modes - {mode}))} to {mode}"] if modes != {mode} else []
    if not modes <= set(_OPAQUE):
        said.append("without transparency and palettes")
    if sides != {(height, width)}:
        before = "x".join(map(str, min(sides))) if len(sides) == 1 else f"{len(sides):,} sizes"
        said.append(f"resized from {before} to {height}x{width} (height x width)")
    return Form(mode, height, width), "".join(f", {one}" for one in said)


def _read(files: list[Path], form: Form) -> Pixels:
    """Return pictures, uint8 (N, H, W) or (N, H, W, 3), resized one at a time."""
    shape = (form.height, form.width, 3) if form.mode == "RGB" else (form.height, form.width)
    pixels = np.empty((len(files), *shape), dtype=np.uint8)
    for index, file in enumerate(files):
        pixels[index] = decoded(file, form.mode, form.height, form.width)
    return pixels


def _listed(folder: Path) -> list[Path]:
    return entries(folder, lambda found: _wrong(folder, found))


def _wrong(folder: Path, found: str) -> DataError:
    return DataError(
        f"{folder}: expected {_PLACE} (train/<class>/... and test/<class>/..., or <class>/...), but {found}."
    )
