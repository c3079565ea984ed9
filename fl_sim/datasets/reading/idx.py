"""IDX files, the format of MNIST, compressed or not, checked by published hashes."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fl_sim.datasets.reading.integrity import corrupt, describe, digest_of, read_bytes, verify
from fl_sim.errors import DataError


class Published(NamedTuple):
    """A published hash of a file.

    Attributes:
        algorithm: "md5" or "sha256".
        digest: as hexadecimal text.
        packed: whether it is of the compressed file, so that an unpacked one, or one that was compressed anew, cannot
            be verified by it.
    """

    algorithm: str
    digest: str
    packed: bool = False


class Idx(NamedTuple):
    """The array in an IDX file, uint8, and whether a published hash confirms it."""

    array: npt.NDArray[np.uint8]
    verified: bool


def read_idx(folder: Path, name: str, shape: tuple[int, ...], published: Published) -> Idx:
    """Return the array in an IDX file of bytes: two zero bytes, type 8 (uint8), number of axes, sizes, data.

    Args:
        folder: the folder that holds the file, as `name` or as `name`.gz; the first that is sound is taken.
        name: of the unpacked file.
        shape: the expected one; 0 for an axis of any size.
        published: the hash of the file. A hash of the content must fit.

    Raises:
        DataError: it is missing, damaged, of another shape, or its content has another hash.
    """
    both = [folder / f"{name}.gz", folder / name]
    refused: DataError | None = None
    for path in [one for one in both if one.exists()] or both[:1]:
        try:
            return _read(path, shape, published)
        except DataError as error:
            refused = refused or error
    assert refused is not None  # noqa: S101 - at least one path was tried
    raise refused


def _read(path: Path, shape: tuple[int, ...], published: Published) -> Idx:
    stored, content = _unpacked(path)
    verified = True
    if published.packed:
        verified = digest_of(stored, published.algorithm) == published.digest
    else:
        verify(path, content, algorithm=published.algorithm, digest=published.digest, kind="an IDX file")
    axes = len(shape)
    start = 4 + 4 * axes
    sizes = tuple(int.from_bytes(content[at : at + 4], "big") for at in range(4, start, 4))
    if content[:4] != bytes([0, 0, 8, axes]) or len(content) - start != np.prod(sizes):
        raise corrupt(path, f"an IDX file of bytes with {axes} axes", describe(content))
    if any(wanted not in (0, size) for wanted, size in zip(shape, sizes, strict=True)):
        raise corrupt(path, f"an IDX file of the sizes {shape}", f"the sizes {sizes}")
    return Idx(np.frombuffer(content, dtype=np.uint8, offset=start).reshape(sizes), verified)


def _unpacked(path: Path) -> tuple[bytes, bytes]:
    """Return a file as it is stored, and its content, decompressed if it is a `.gz` file."""
    if path.suffix != ".gz":
        content = read_bytes(path, "an IDX file")
        return content, content
    stored = read_bytes(path, "a gzip-compressed IDX file")
    try:
        return stored, gzip.decompress(stored)
    except (OSError, EOFError, zlib.error) as error:
        raise corrupt(path, "a gzip-compressed IDX file", f"{describe(stored)} ({error})") from error
