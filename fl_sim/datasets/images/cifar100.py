"""CIFAR-100: the original release as unpacked by torchvision, or a subset in two `.npz` files."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np

from fl_sim.datasets.examples import Dataset
from fl_sim.datasets.images.cifar10 import SIZE, of_originals
from fl_sim.datasets.locations import locate
from fl_sim.datasets.reading.images import Labelled, assemble
from fl_sim.datasets.reading.integrity import (
    DAMAGED_ZIP,
    corrupt,
    describe,
    read_array,
    read_bytes,
    read_member,
    verify,
)
from fl_sim.datasets.reading.pictures import resize
from fl_sim.errors import DataError

CLASSES = 100

# The only subset of known origin: a class-balanced tenth without the known duplicates of CIFAR-100.
KNOWN_PART = {
    "train": "be6f824f0319832abcaaa52f703ae6707dbe5bf09057cfe1702c477128a2397d",
    "test": "036fc9949b297d4196e227b012c06db3dcfec2bc636e9bb0031b061f032715f0",
}


def load(root: Path | None, size: int) -> Dataset:
    """Return CIFAR-100 with its 100 fine classes, or the subset that is found.

    Args:
        root: the folder in which to look first, or None.
        size: side in pixels; 0 for 32.

    Raises:
        DataError: the data set is not found, or a file is damaged or of another shape.

    Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
    """
    return read(locate("cifar100", root), size)


def read(folder: Path, size: int) -> Dataset:
    """Return CIFAR-100 from the folder of its files; see `load`."""
    if folder.name == "cifar-100-python":
        from torchvision.datasets import CIFAR100

        return of_originals("cifar100", CIFAR100, folder, size)
    train, test, names, source = _part(folder)
    side = size or SIZE
    return assemble(
        "cifar100",
        train=Labelled(resize(train.pixels, side, side), train.labels),
        test=Labelled(resize(test.pixels, side, side), test.labels),
        class_names=names,
        source=source,
    )


def _part(folder: Path) -> tuple[Labelled, Labelled, list[str], str]:
    contents = {}
    known = True
    for split, digest in KNOWN_PART.items():
        path = folder / f"cifar100_{split}.npz"
        contents[split] = read_bytes(path, _NPZ)
        try:
            verify(path, contents[split], algorithm="sha256", digest=digest, kind="the known part")
        except DataError:
            known = False  # the user's own subset: checked by shape, dtype and the zip's CRC
    train, names = _read_npz(folder / "cifar100_train.npz", contents["train"])
    test, test_names = _read_npz(folder / "cifar100_test.npz", contents["test"])
    if names != test_names:
        raise corrupt(folder / "cifar100_test.npz", "the label_names of cifar100_train.npz", "different ones")
    counts = f"{len(train.labels):,} train and {len(test.labels):,} test images"
    origin = (
        "a class-balanced tenth of CIFAR-100, verified by its hashes; its split is not the official one"
        if known
        else "a part of unknown origin, with no hash to verify it by"
    )
    return train, test, names, f"{folder}: {counts}, {origin}"


_NPZ = "an .npz file with images uint8 (N, 32, 32, 3), fine_labels (N,) and label_names (100,)"


def _read_npz(path: Path, content: bytes) -> tuple[Labelled, list[str]]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = (read_member(archive, f"{key}.npy") for key in ("images", "fine_labels", "label_names"))
            images, labels, names = map(read_array, members)
    except DAMAGED_ZIP as error:
        reason = " ".join(str(error).split())
        raise corrupt(path, _NPZ, f"{describe(content)} and cannot be read ({reason})") from error
    shapes_fit = images.shape == (len(labels), SIZE, SIZE, 3) and labels.ndim == 1 and names.shape == (CLASSES,)
    if not shapes_fit or images.dtype != np.uint8 or labels.dtype.kind not in "iu" or names.dtype.kind != "U":
        found = f"{images.dtype} {images.shape}, {labels.dtype} {labels.shape} and {names.dtype} {names.shape}"
        raise corrupt(path, _NPZ, found)
    return Labelled(images, labels), [str(name) for name in names]
