"""Any .npz file of images and labels: one file, or a folder with one for each split."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fl_sim.datasets.examples import Dataset
from fl_sim.datasets.own.arrays import Classes, classes_of, pixels_of, refuse
from fl_sim.datasets.own.splitting import MOST_BYTES, both_splits, check_bytes, check_sides, root_of
from fl_sim.datasets.reading.images import Labelled, assemble
from fl_sim.datasets.reading.integrity import DAMAGED_ZIP, corrupt, describe_file, read_array, read_member
from fl_sim.datasets.reading.pictures import Pixels, resize
from fl_sim.specs import OwnData

INPUTS = ("images", "x", "data", "pixels")
LABELS = ("labels", "y", "targets", "fine_labels", "label")
NAMES = ("label_names", "names", "class_names", "classes")
TESTS = ("test", "val", "valid", "validation")
SPLITS = ("train", *TESTS)
READ = {
    *NAMES,
    *(
        form
        for name in (*INPUTS, *LABELS)
        for form in (name, *(f"{name}_{split}" for split in SPLITS), *(f"{split}_{name}" for split in SPLITS))
    ),
}
"""Names of the arrays that are read, if they are there; all others may hold anything."""

_FILE = "an .npz file with images (images, x or data) and labels (labels, y, targets or fine_labels)"
_PLACE = "an .npz file, or a folder with train.npz and test.npz"

Arrays = Mapping[str, npt.NDArray[Any]]


class Pair(NamedTuple):
    """The images and labels of a split as stored."""

    images: npt.NDArray[Any]
    labels: npt.NDArray[Any]
    path: Path


def load(root: Path | None, size: int, own: OwnData) -> Dataset:
    """Return the images and labels of an .npz file.

    The arrays are found by their names, in upper or lower case: images, x, data or pixels; labels, y, targets, label or
    fine_labels; and, if there are any, label_names, names, class_names or classes. A file with both splits has them
    with `train` and `test` before or after (x_train, test_images). Images are uint8 (N, H, W), (N, H, W, C), or
    (N, C, H, W) where no other reading is possible, with C of 1 or 3; whole numbers of other types from 0 to 255 are
    taken as they are, and fractions from 0 to 1 are multiplied by 255 and rounded. Labels are whole numbers or texts,
    (N,) or (N, 1), or one-hot (N, classes).

    Args:
        root: the file, or a folder with train.npz and test.npz.
        size: side in pixels of the square to which the whole image is resized; 0 for the size of the images.
        own: how much is for test, where the file does not say; see `split_by_name`.

    Raises:
        ConfigError: there is no root, or the images are too small, or too many for memory.
        DataError: nothing is there, a file is damaged, or its arrays are something else.
    """
    where = root_of("npz", root, _PLACE)
    files = _files(where)
    stored = {split: _arrays(path) for split, path in files.items()}
    pairs, names, told = _pairs(files, stored)
    classes = classes_of([pair.labels for pair in pairs.values()], names, where)
    pixels, said = _pixels(where, pairs, size)
    source = f"{where}: {sum(map(len, classes.labels)):,} images with no hash to verify them by{said}"
    train, test, how = _split(where, pairs, pixels, classes, own)
    return assemble("npz", train=train, test=test, class_names=classes.names, source=f"{source}; {how}{told}")


def _pixels(where: Path, pairs: Mapping[str, Pair], size: int) -> tuple[list[Pixels], str]:
    """Return the pictures of each split, and how they were converted, in words."""
    read = [pixels_of(pair.images, pair.path) for pair in pairs.values()]
    shapes = {one.pixels.shape[1:] for one in read}
    if len(shapes) > 1:
        raise refuse(where, "images of one shape in both splits", " and ".join(map(str, sorted(shapes))))
    height, width = read[0].pixels.shape[1:3]
    check_sides(where, height, width, size)
    check_bytes(where, sum(len(one.pixels) for one in read), (size or height, size or width, read[0].pixels[0, 0].size))
    said = "".join(dict.fromkeys(one.told for one in read))
    return [resize(one.pixels, size or height, size or width) for one in read], said


def _split(
    where: Path, pairs: Mapping[str, Pair], pixels: list[Pixels], classes: Classes, own: OwnData
) -> tuple[Labelled, Labelled, str]:
    """Return both splits, and where they come from, in words."""
    for pair, images, labels in zip(pairs.values(), pixels, classes.labels, strict=True):
        if len(images) != len(labels):
            raise refuse(pair.path, "one label for each image", f"{len(labels):,} labels and {len(images):,} images")
    whole = [Labelled(images, labels) for images, labels in zip(pixels, classes.labels, strict=True)]
    if not len(whole[0].labels):
        raise refuse(where, "images and labels", "none")
    train, test, how = both_splits(whole, [str(index) for index in range(len(whole[0].labels))], own)
    return train, test, how or f"its own split ({' and '.join(pairs)})"


def _files(where: Path) -> dict[str, Path]:
    """Return the files by their split; "" for a file of both, or of none."""
    if not where.is_dir():
        return {"": where}
    found = {split: where / f"{split}.npz" for split in SPLITS if (where / f"{split}.npz").is_file()}
    test = next((split for split in TESTS if split in found), "")
    if "train" in found:
        return {split: path for split, path in found.items() if split in ("train", test)}
    entries = sorted(entry.name for entry in where.iterdir() if entry.suffix == ".npz")
    guess = f"{', '.join(entries[:5])}; name one of them" if entries else "no .npz file"
    raise refuse(where, "a folder with train.npz and test.npz", guess)


def _arrays(path: Path) -> Arrays:
    """Return the arrays of a file that are in `READ`, by their names in lower case."""
    found: dict[str, npt.NDArray[Any]] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member: member.removesuffix(".npy").lower() for member in archive.namelist()}
            for member, name in members.items():
                if name in found:
                    raise refuse(path, "arrays of different names", f"two called '{name}'")
                if name in READ:
                    found[name] = read_array(read_member(archive, member, MOST_BYTES))
    except DAMAGED_ZIP as error:
        reason = " ".join(str(error).split())
        raise corrupt(path, _FILE, f"{describe_file(path)} and cannot be read ({reason})") from error
    if not found:
        raise refuse(path, _FILE, f"only {', '.join([*members.values()][:8]) or 'nothing'}")
    return found


def _pairs(
    files: Mapping[str, Path], stored: Mapping[str, Arrays]
) -> tuple[dict[str, Pair], npt.NDArray[Any] | None, str]:
    """Return images and labels of each split, the names of the classes if there are any, and what was left out."""
    first, last = next(iter(stored)), [*stored][-1]
    names, others = (next((stored[one][key] for key in NAMES if key in stored[one]), None) for one in (first, last))
    if names is not None and others is not None and not np.array_equal(names, others):
        raise refuse(files[last], f"the names of classes of {files[first].name}", "different ones")
    whole = {split: _pair(files[split], arrays, "") for split, arrays in stored.items()}
    if all(whole.values()):
        return {split: pair for split, pair in whole.items() if pair}, names, ""
    split_off = {split: _pair(files[first], stored[first], split) for split in SPLITS} if first == "" else {}
    pairs = {split: pair for split, pair in split_off.items() if pair}
    test = next((split for split in TESTS if split in pairs), "")
    if "train" in pairs:
        unread = [split for split in pairs if split not in ("train", test)]
        told = f"; {' and '.join(unread)} left out" if unread else ""
        return {split: pairs[split] for split in pairs if split in ("train", test)}, names, told
    path = next(files[split] for split, pair in whole.items() if not pair)
    raise refuse(path, _FILE, ", ".join(f"{key} {array.shape}" for key, array in [*stored[first].items()][:8]))


def _pair(path: Path, arrays: Arrays, split: str) -> Pair | None:
    """Return the images and labels of a split, or of all, from the arrays of a file; None if it has none."""

    def one(names: tuple[str, ...]) -> npt.NDArray[Any] | None:
        forms = [form for name in names for form in ((f"{name}_{split}", f"{split}_{name}") if split else (name,))]
        found = [form for form in forms if form in arrays]
        if len(found) > 1:
            raise refuse(path, "one array of images and one of labels", f"both '{found[0]}' and '{found[1]}'")
        return arrays[found[0]] if found else None

    images, labels = one(INPUTS), one(LABELS)
    return Pair(images, labels, path) if images is not None and labels is not None else None
