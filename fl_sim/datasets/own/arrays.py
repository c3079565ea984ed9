"""Arrays of images and labels as people store them, made into pixels and classes or refused with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fl_sim.datasets.reading.pictures import Pixels
from fl_sim.errors import DataError

CHANNELS = (1, 3)
"""Numbers of channels of grey and of colour pictures."""

_CHUNK = 1024  # pictures that are converted at once, so that fractions do not take eight times the memory of all
_SHAPES = "images (N, H, W), (N, H, W, C) or (N, C, H, W) with C of 1 or 3"
_VALUES = "images of 8 bits (0 to 255), or fractions from 0 to 1"


class Converted(NamedTuple):
    """Pictures, uint8 (N, H, W) or (N, H, W, 3), and what was done to them, in words that follow a comma."""

    pixels: Pixels
    told: str


class Classes(NamedTuple):
    """The labels of each split, int64 (N,), counted from 0, and the names of the classes."""

    labels: list[npt.NDArray[np.int64]]
    names: list[str]


def refuse(where: Path, expected: str, found: str) -> DataError:
    """Return the error for a user's own data that cannot be taken."""
    return DataError(f"{where}: expected {expected}, found {found}.")


def pixels_of(images: npt.NDArray[Any], path: Path) -> Converted:
    """Return an array of images as pictures.

    Raises:
        DataError: of its shape it is not certain which axis holds the channels, or its values are no pictures.
    """
    ordered, told = _channels_last(images, path)
    if ordered.dtype == np.uint8:
        return Converted(ordered, told)
    if ordered.dtype.kind not in "iuf" or not ordered.size:
        raise refuse(path, _VALUES, f"{ordered.dtype} {images.shape}")
    least, most = ordered.min(), ordered.max()
    if not 0 <= least <= most <= 255:  # written so that NaN, for which every comparison is false, is refused
        raise refuse(
            path, _VALUES, f"{ordered.dtype} from {least:g} to {most:g}; undo its normalisation and save it anew"
        )
    pixels = np.empty(ordered.shape, dtype=np.uint8)
    unit = ordered.dtype.kind == "f" and most <= 1
    for start in range(0, len(ordered), _CHUNK):
        part = ordered[start : start + _CHUNK]
        if not unit and (part != np.floor(part)).any():
            raise refuse(path, _VALUES, f"{ordered.dtype} from {least:g} to {most:g} that are not whole numbers")
        pixels[start : start + _CHUNK] = np.rint(part.astype(np.float64) * 255) if unit else part
    if unit:
        return Converted(pixels, f"{told}, {ordered.dtype} from {least:g} to {most:g} times 255, rounded to 8 bits")
    return Converted(pixels, f"{told}, stored as {ordered.dtype}")


def _channels_last(images: npt.NDArray[Any], path: Path) -> tuple[npt.NDArray[Any], str]:
    """Return images as (N, H, W) or (N, H, W, 3), and what was done to them, in words."""
    shape = images.shape
    if images.ndim == 3:
        return images, ""
    if images.ndim != 4:
        flat = "; save it in the shape of pictures" if images.ndim == 2 else ""
        raise refuse(path, _SHAPES, f"{images.dtype} {shape}{flat}")
    first, last = shape[1] in CHANNELS, shape[3] in CHANNELS
    if first and last:
        raise refuse(path, _SHAPES, f"{shape}, in which both the second and the last axis may be the channels")
    if not first and not last:
        raise refuse(path, _SHAPES, f"{shape}, in which neither the second nor the last axis has 1 or 3 channels")
    ordered = images if last else images.transpose(0, 2, 3, 1)
    told = "" if last else ", stored with the channels first"
    return (ordered[..., 0] if ordered.shape[3] == 1 else ordered), told


def classes_of(labels: Sequence[npt.NDArray[Any]], names: npt.NDArray[Any] | None, where: Path) -> Classes:
    """Return the labels of all splits as numbers of classes.

    With names, a label is an index into them, or one of them. Without, the classes are the different labels that occur,
    in their order, and are called like them.

    Raises:
        DataError: the labels are neither whole numbers nor texts, or are not those of the names.
    """
    flat = [_flat(one, where) for one in labels]
    if len({one.dtype.kind == "U" for one in flat}) > 1:
        raise refuse(where, "labels of one kind in both splits", "numbers and texts")
    if names is None:
        values, places = np.unique(np.concatenate(flat), return_inverse=True)
        ends = np.cumsum([len(one) for one in flat])[:-1]
        return Classes(np.split(places.reshape(-1).astype(np.int64), ends), [str(value) for value in values])
    called = [str(name) for name in _texts(names, where)]
    if len(set(called)) != len(called):
        raise refuse(where, "different names of classes", f"{len(called) - len(set(called))} that occur twice")
    numbers = [_numbered(one, called, where) if one.dtype.kind == "U" else one for one in flat]
    for one in numbers:
        if len(one) and not 0 <= one.min() <= one.max() < len(called):
            found = f"{one.min()} to {one.max()}"
            raise refuse(where, f"labels from 0 to {len(called) - 1}, since there are {len(called)} names", found)
    return Classes([one.astype(np.int64) for one in numbers], called)


def _flat(labels: npt.NDArray[Any], where: Path) -> npt.NDArray[Any]:
    """Return labels as int64 or text (N,)."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2 and labels.dtype.kind in "iufb" and len(labels):
        if not (np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all()):
            raise refuse(
                where, "labels (N,), or one-hot (N, classes)", f"{labels.dtype} {labels.shape} of other values"
            )
        labels = labels.argmax(axis=1)
    expected = "labels (N,) that are whole numbers or texts"
    if labels.ndim != 1 or labels.dtype.kind not in "iufUS":
        raise refuse(where, expected, f"{labels.dtype} {labels.shape}")
    if labels.dtype.kind in "US":
        return _texts(labels, where)
    if labels.dtype.kind == "f" and not (labels == np.floor(labels)).all():
        raise refuse(where, expected, f"{labels.dtype} with fractions")
    if len(labels) and not -(2**53) < labels.min() <= labels.max() < 2**53:
        raise refuse(where, expected, f"{labels.min():g} to {labels.max():g}")
    return labels.astype(np.int64)


def _texts(texts: npt.NDArray[Any], where: Path) -> npt.NDArray[Any]:
    """Return an array of texts or bytes as texts (N,)."""
    try:
        found = np.char.decode(texts, "utf-8") if texts.dtype.kind == "S" else texts
    except UnicodeDecodeError:
        raise refuse(where, "names in UTF-8", "other bytes") from None
    if found.dtype.kind != "U" or found.ndim != 1:
        raise refuse(where, "names as an array of texts", f"{texts.dtype} {texts.shape}")
    return np.asarray(found)


def _numbered(labels: npt.NDArray[Any], names: list[str], where: Path) -> npt.NDArray[np.int64]:
    """Return the places of labels among names."""
    unknown = sorted(set(labels.tolist()) - set(names))
    if unknown:
        raise refuse(where, "labels that are among the names of the classes", f"'{unknown[0]}'")
    places = {name: place for place, name in enumerate(names)}
    return np.array([places[label] for label in labels.tolist()], dtype=np.int64)
