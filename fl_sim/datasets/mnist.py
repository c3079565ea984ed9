"""MNIST, read from the original IDX files, compressed or not, without writing to their folder."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fl_sim.datasets.examples import Dataset
from fl_sim.datasets.locations import locate
from fl_sim.datasets.reading.images import Labelled, assemble
from fl_sim.datasets.reading.integrity import corrupt, describe, read_bytes, verify
from fl_sim.datasets.reading.pictures import resize
from fl_sim.errors import DataError

SIZE = 28


FILES = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
"""{file: SHA-256 of its decompressed content} of the original release."""


def load(root: Path | None, size: int) -> Dataset:
    """Return MNIST, all 60,000 + 10,000 images.

    Args:
        root: the folder in which to look first, or None.
        size: side in pixels; 0 for 28.

    Raises:
        DataError: the data set is not found, or the hash of a file differs from that of the original.

    Source: LeCun, Bottou, Bengio and Haffner, 1998.
    """
    return read(locate("mnist", root), size)


def read(folder: Path, size: int) -> Dataset:
    """Return MNIST from the folder of its four files; see `load`."""
    side = size or SIZE
    train, test = (
        Labelled(
            resize(_idx(folder, f"{split}-images-idx3-ubyte", axes=3), side, side),
            _idx(folder, f"{split}-labels-idx1-ubyte", axes=1),
        )
        for split in ("train", "t10k")
    )
    return assemble(
        "mnist",
        train=train,
        test=test,
        class_names=[str(digit) for digit in range(10)],
        source=f"{folder}: the original release, all of it, verified by its hashes",
    )


def _idx(folder: Path, name: str, *, axes: int) -> npt.NDArray[np.uint8]:
    """Return the array in a verified IDX file: two zero bytes, type 8 (uint8), number of axes, sizes, data."""
    path, content = _content(folder, name)
    start = 4 + 4 * axes
    shape = tuple(int.from_bytes(content[at : at + 4], "big") for at in range(4, start, 4))
    if content[:4] != bytes([0, 0, 8, axes]) or len(content) - start != np.prod(shape):
        raise corrupt(path, f"an IDX file of bytes with {axes} axes", describe(content))
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)


def _content(folder: Path, name: str) -> tuple[Path, bytes]:
    """Return the path of the file `name`, compressed or as unpacked by torchvision, and its decompressed content.

    Where both are there, the one whose content is sound is taken. It may have been compressed anew.
    """
    both = [folder / f"{name}.gz", folder / name]
    refused: DataError | None = None
    for path in [one for one in both if one.exists()] or both[:1]:
        try:
            content = _unpacked(path)
            verify(path, content, algorithm="sha256", digest=FILES[name], kind="an IDX file")
        except DataError as error:
            refused = refused or error
            continue
        return path, content
    assert refused is not None  # noqa: S101 - at least one path was tried
    raise refused


def _unpacked(path: Path) -> bytes:
    """Return the content of a file, decompressed if it is a `.gz` file."""
    if path.suffix != ".gz":
        return read_bytes(path, "an IDX file")
    content = read_bytes(path, "a gzip-compressed IDX file")
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise corrupt(path, "a gzip-compressed IDX file", f"{describe(content)} ({error})") from error
