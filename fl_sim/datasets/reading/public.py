"""A folder of public pictures, converted to what a model takes: what anybody may know of how its inputs look."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fl_sim.datasets.reading.files import PICTURE, decoded, entries, first, opened, pictures
from fl_sim.datasets.reading.images import Split
from fl_sim.datasets.reading.integrity import read_bytes
from fl_sim.errors import ConfigError, DataError
from fl_sim.specs import InputSpec

_MODES = {1: "L", 3: "RGB"}
_NAMES = {"L": "grey", "RGB": "RGB"}
_NAMED = 5


@dataclass(frozen=True)
class PublicPictures:
    """The pictures of a folder in the input space of one model; files are decoded when a batch is asked for.

    Attributes:
        files: their paths, by class and name.
        labels: int64 (N,); all 0 without classes.
        classes: names of the classes, in the order of the labels; () for a folder without classes.
        spec: what the model takes.
        told: what was done to the pictures, in words.
        digest: SHA-256 over names and contents of the files, hexadecimal.
    """

    files: tuple[Path, ...]
    labels: Tensor
    classes: tuple[str, ...]
    spec: InputSpec
    told: str
    digest: str

    def __len__(self) -> int:
        return len(self.files)

    def batch(self, indices: Tensor | slice = slice(None)) -> tuple[Tensor, Tensor]:
        """Return inputs, float32 (n, C, H, W) in [low, high], and labels (n,) at `indices`.

        Raises:
            DataError: a file cannot be decoded, or has changed into another kind of file.
        """
        spec, chosen = self.spec, torch.arange(len(self))[indices].tolist()
        mode, height, width = _MODES[spec.channels], spec.height, spec.width
        files = [self.files[index] for index in chosen]
        resized = [decoded(file, read_bytes(file, PICTURE), mode, height, width) for file in files]
        pixels = np.stack(resized).reshape(-1, height, width, spec.channels)
        unit, labels = Split(torch.from_numpy(pixels).permute(0, 3, 1, 2), self.labels[indices]).batch()
        return spec.low + (spec.high - spec.low) * unit, labels


def read_public(folder: Path, spec: InputSpec) -> PublicPictures:
    """Return the pictures of a folder, whose headers are read and checked, converted to what a model takes.

    Pictures in one subfolder for each class have labels: the names of the subfolders where these are whole numbers,
    otherwise their place in the sorted names. Pictures in the folder itself have no classes. Hidden files, and those
    whose names do not end like a picture's, are left out.

    Each picture becomes grey or RGB, is resized to the whole of (height, width), and 0 to 255 is mapped to [low, high].

    Raises:
        ConfigError: no picture can be an input of the model.
        DataError: the folder is missing or empty, has another number of classes, or holds what is no picture.
    """
    _check_takes_pictures(spec)
    found = _listed(folder)
    inner = [entry for entry in found if entry.is_dir()]
    loose = pictures(found)
    if inner and loose:
        raise _wrong(
            folder,
            f"it holds {len(inner)} subfolders ('{inner[0].name}') and {len(loose)} pictures ('{loose[0].name}')",
        )
    if not inner and not loose:
        raise _wrong(folder, f"it holds no picture{first(found)}")
    groups = [_of_class(one, folder) for one in _in_order(folder, inner, spec.classes)] if inner else [loose]
    files = tuple(file for group in groups for file in group)
    sizes = torch.tensor([len(group) for group in groups])
    digest, kinds = hashlib.sha256(), Counter[tuple[str, int, int]]()
    for file in files:
        content = read_bytes(file, PICTURE)
        digest.update(f"{file.relative_to(folder)} {hashlib.sha256(content).hexdigest()}\n".encode())
        with opened(file, content) as picture:
            kinds[picture.mode, picture.height, picture.width] += 1
    return PublicPictures(
        files=files,
        labels=torch.arange(len(groups)).repeat_interleave(sizes),
        classes=tuple(group[0].parent.name for group in groups) if inner else (),
        spec=spec,
        told=_told(kinds, spec),
        digest=digest.hexdigest(),
    )


def _check_takes_pictures(spec: InputSpec) -> None:
    if spec.timesteps:
        raise ConfigError(
            f"public: the captures' model takes recordings of events ({spec.timesteps} frames), which pictures are "
            "not. Name the clients' data set instead, --set dataset=NAME, if it is in the table."
        )
    if spec.channels not in _MODES:
        raise ConfigError(
            f"public: the captures' model takes inputs of {spec.channels} channels, and a picture has 1 (grey) or 3 "
            "(RGB). Leave out --public; the audit then goes without the controls that need public data."
        )


def _of_class(folder: Path, parent: Path) -> list[Path]:
    """Return the pictures of a class; a DataError if there are none."""
    listed = _listed(folder)
    found = pictures(listed)
    if found:
        return found
    deeper = any(entry.is_dir() for entry in listed)
    guess = f" Did you mean '{folder}'?" if deeper else ""
    raise _wrong(parent, f"its subfolder '{folder.name}' holds no picture{first(listed)}.{guess}".removesuffix("."))


def _in_order(folder: Path, classes: Sequence[Path], count: int) -> list[Path]:
    """Return the folders of the classes by label; a DataError unless there is one for each."""
    names = [one.name for one in classes]
    shown = ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
    if len(classes) != count:
        raise _wrong(folder, f"the model has {count} classes and the folder {len(classes)} subfolders ({shown})")
    if not all(name.isdecimal() and name.isascii() for name in names):
        return list(classes)
    ordered = sorted(classes, key=lambda one: int(one.name))
    if [int(one.name) for one in ordered] != list(range(count)):
        raise _wrong(folder, f"its subfolders are whole numbers, but not the labels 0 to {count - 1} ({shown})")
    return ordered


def _told(kinds: Mapping[tuple[str, int, int], int], spec: InputSpec) -> str:
    """Return what is done to pictures, of which so many have these modes, heights and widths."""
    parts = []
    mode = _MODES[spec.channels]
    others = sorted({_NAMES.get(kind, kind) for kind, _, _ in kinds if kind != mode})
    if others:
        parts.append(f"converted from {' and '.join(others)} to {_NAMES[mode]}")
    sizes = {(height, width) for _, height, width in kinds} - {(spec.height, spec.width)}
    if sizes:
        (height, width), more = min(sizes), len(sizes) - 1
        rest = f" and {more} other sizes" if more > 1 else " and another size" if more else ""
        parts.append(f"resized from {height}x{width}{rest} to {spec.height}x{spec.width} (height x width)")
    parts.append(f"0 to 255 mapped to [{spec.low:g}, {spec.high:g}]")
    return ", ".join(parts)


def _listed(folder: Path) -> list[Path]:
    return entries(folder, lambda found: _wrong(folder, found))


def _wrong(folder: Path, found: str) -> DataError:
    return DataError(
        f"public: {folder}: expected a folder of public pictures, either one subfolder for each class or pictures "
        f"without classes, but {found}."
    )
