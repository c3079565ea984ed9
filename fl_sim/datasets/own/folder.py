"""Any folder of pictures with one subfolder for each class, as torchvision's ImageFolder reads it."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fl_sim.datasets.examples import Dataset
from fl_sim.datasets.own.forms import TRAIN, Stored, chosen_splits, form_of, pixels_in
from fl_sim.datasets.own.splitting import both_splits, root_of
from fl_sim.datasets.reading.files import PICTURE, entries, first, in_order, is_junk, pictures
from fl_sim.datasets.reading.images import Labelled, assemble
from fl_sim.datasets.reading.integrity import read_bytes
from fl_sim.errors import DataError
from fl_sim.specs import OwnData

_PLACE = "a folder of pictures, one subfolder for each class"

Groups = Mapping[str, list[Path]]
"""{class: its pictures}."""


def load(root: Path | None, size: int, own: OwnData) -> Dataset:
    """Return the pictures of a folder; the classes are its subfolders, by number or else by name.

    Either `train/<class>/...` and `test/<class>/...` (or val, valid, validation), or `<class>/...`; pictures may lie
    deeper in the folder of their class. Hidden files, those of desktops, and those whose names do not end like a
    picture's are left out. If all pictures are grey they stay grey, otherwise all become RGB, without transparency.

    Args:
        root: the folder.
        size: side in pixels of the square to which the whole picture is resized; 0 for the pictures' common size.
        own: how much is for test, where the folder does not say; see `split_by_name`.

    Raises:
        ConfigError: there is no root; or no size is set and the pictures have several, or are too small or too many.
        DataError: nothing is there, there are no classes, or a file is no picture.
    """
    where = root_of("folder", root, _PLACE)
    parts, told = _parts(where)
    names = in_order({name for groups in parts.values() for name in groups})
    files = {split: [file for name in names for file in groups.get(name, ())] for split, groups in parts.items()}
    stored = {split: [_stored(file) for file in found] for split, found in files.items()}
    form = form_of(where, [picture for split in stored.values() for picture in split], size)
    labelled = []
    for split, groups in parts.items():
        counts = [len(groups.get(name, ())) for name in names]
        labelled.append(Labelled(pixels_in(form, stored[split]), np.arange(len(names)).repeat(counts)))
    paths = [file.relative_to(where).as_posix() for split in files.values() for file in split]
    train, test, how = both_splits(labelled, paths, own)
    source = f"{where}: {len(paths):,} pictures with no hash to verify them by{form.told}; {how or told}"
    return assemble("folder", train=train, test=test, class_names=names, source=source)


def _parts(where: Path) -> tuple[dict[str, Groups], str]:
    """Return the pictures of each split by class, and which folders these are, in words."""
    inner = {entry.name: entry for entry in _listed(where) if entry.is_dir()}
    chosen = chosen_splits(inner)
    if chosen and chosen[0] in TRAIN:
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


def _stored(file: Path) -> Stored:
    return Stored(file, functools.partial(read_bytes, file, PICTURE))


def _listed(folder: Path) -> list[Path]:
    return entries(folder, lambda found: _wrong(folder, found))


def _wrong(folder: Path, found: str) -> DataError:
    return DataError(
        f"{folder}: expected {_PLACE} (train/<class>/... and test/<class>/..., or <class>/...), but {found}."
    )
