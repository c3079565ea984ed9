"""Reading files that may not be what their names say: every failure is one paragraph with file, expected and found."""

from __future__ import annotations

import hashlib
import io
import lzma
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fl_sim.errors import DataError

# What reading a damaged zip raises; a damaged header may claim an encryption, a method or a memory that there is not.
DAMAGED_ZIP = (
    zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError, KeyError, MemoryError, NotImplementedError, OSError,
    RuntimeError, ValueError,
)  # fmt: skip

MOST_UNPACKED = 190_000_000
"""Bytes that a member of an archive may unpack to: all images of CIFAR-100 are 184 MB, a recording is far less."""

_SHOWN = 24  # bytes of a file's beginning


def corrupt(path: Path, expected: str, found: str) -> DataError:
    """Return the error for a file or folder that is not what it should be."""
    return DataError(f"{path}: expected {expected}, found {found}. Put the original in its place.")


def describe(content: bytes) -> str:
    """Return what the content of a file looks like, so that a web page saved as an archive is seen at once."""
    return _describe(content[:_SHOWN], len(content))


def describe_file(path: Path) -> str:
    """Return what a file looks like, without reading more than its beginning."""
    try:
        with path.open("rb") as stream:
            return _describe(stream.read(_SHOWN), path.stat().st_size)
    except OSError as error:
        return f"that it cannot be read ({error.strerror})"


def _describe(start: bytes, size: int) -> str:
    if not size:
        return "an empty file"
    text = start.decode("ascii", errors="replace")
    shown = f"'{text}'" if text.isprintable() and text.isascii() else f"the bytes {start[:8].hex(' ')}"
    return f"{size:,} bytes that begin with {shown}"


def subfolders(folder: Path, expected: str) -> list[Path]:
    """Return the folders in a folder, sorted by name; files are left out.

    Raises:
        DataError: it is no folder, or cannot be read.
    """
    try:
        return sorted(entry for entry in folder.iterdir() if entry.is_dir())
    except OSError as error:
        raise corrupt(folder, expected, f"that it cannot be read ({error.strerror})") from error


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """Return the content of a member of an archive, to its end, where zipfile compares the CRC.

    Raises:
        One of `DAMAGED_ZIP`, where it is damaged, not there, or would unpack to more than `MOST_UNPACKED`.
    """
    size = archive.getinfo(name).file_size  # zipfile reads no more than this, whatever follows
    if size > MOST_UNPACKED:
        raise ValueError(f"'{name}' would unpack to {size:,} bytes, and at most {MOST_UNPACKED:,} are expected")
    return archive.read(name)


def read_array(content: bytes) -> npt.NDArray[Any]:
    """Return the array in an .npy file; nothing is unpickled, and no archive is looked into.

    Raises:
        One of `DAMAGED_ZIP`, where it is none.
    """
    array: npt.NDArray[Any] = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    return array


def read_bytes(path: Path, expected: str) -> bytes:
    """Return the content of a file.

    Args:
        path: the file.
        expected: what it should be, for the error.

    Raises:
        DataError: it is missing or cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise corrupt(path, expected, "no such file") from None
    except OSError as error:
        raise corrupt(path, expected, f"that it cannot be read ({error.strerror})") from error


def verify(path: Path, content: bytes, *, algorithm: str, digest: str, kind: str) -> None:
    """Check a file's content against its published hash.

    Args:
        path: the file, for the error.
        content: all of it.
        algorithm: "md5" or "sha256".
        digest: the hash as hexadecimal text.
        kind: what the file should be ("an IDX file"), for the error.

    Raises:
        DataError: the hash differs.
    """
    # md5 is what the publishers give; it is to find damage, not an attack.
    found = hashlib.new(algorithm, content, usedforsecurity=False).hexdigest()
    if found != digest:
        raise corrupt(path, f"{kind} with {algorithm} {digest}", f"{describe(content)}, with {algorithm} {found}")
