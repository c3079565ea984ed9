"""Reading of files that may be damaged or of another kind; every error message has the file, expected and found."""

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

# Exceptions from reading a damaged zip; a damaged header may require encryption, an unknown method or too much memory.
DAMAGED_ZIP = (
    zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError, KeyError, MemoryError, NotImplementedError, OSError,
    RuntimeError, ValueError,
)  # fmt: skip

MOST_UNPACKED = 190_000_000
"""Maximum unpacked size in bytes of an archive member: all images of CIFAR-100 are 184 MB, a recording is far less."""

_SHOWN = 24  # bytes from the beginning of a file that an error message shows


def corrupt(path: Path, expected: str, found: str) -> DataError:
    """Return the error for a file or folder that is not the expected one."""
    return DataError(f"{path}: expected {expected}, found {found}. Put the original in its place.")


def describe(content: bytes) -> str:
    """Return a description of a file's content, which reveals, for example, a web page saved as an archive."""
    return _describe(content[:_SHOWN], len(content))


def describe_file(path: Path) -> str:
    """Return a description of a file's content, reading only its beginning."""
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
    """Return the folders in a folder, sorted by name; files are ignored.

    Raises:
        DataError: it is not a folder, or cannot be read.
    """
    try:
        return sorted(entry for entry in folder.iterdir() if entry.is_dir())
    except OSError as error:
        raise corrupt(folder, expected, f"that it cannot be read ({error.strerror})") from error


def read_member(archive: zipfile.ZipFile, name: str, most: int = 0) -> bytes:
    """Return the complete content of a member of an archive, whose CRC zipfile checks at the end.

    Args:
        archive: a zip.
        name: of the member.
        most: maximum unpacked size in bytes; 0 for `MOST_UNPACKED`.

    Raises:
        One of `DAMAGED_ZIP`: it is damaged, missing, or would unpack to more than `most` bytes.
    """
    most = most or MOST_UNPACKED
    size = archive.getinfo(name).file_size  # zipfile never reads more than this
    if size > most:
        raise ValueError(f"'{name}' would unpack to {size:,} bytes, but at most {most:,} are expected")
    return archive.read(name)


def read_array(content: bytes) -> npt.NDArray[Any]:
    """Return the array in an .npy file; nothing is unpickled, and archives are not read.

    Raises:
        One of `DAMAGED_ZIP`: it is not an .npy file.
    """
    array: npt.NDArray[Any] = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    return array


def read_bytes(path: Path, expected: str) -> bytes:
    """Return the content of a file.

    Args:
        path: the file.
        expected: description of the expected file, for the error message.

    Raises:
        DataError: the file is missing or cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise corrupt(path, expected, "no such file") from None
    except OSError as error:
        raise corrupt(path, expected, f"that it cannot be read ({error.strerror})") from error


def digest_of(content: bytes, algorithm: str) -> str:
    """Return the hash of a file's content as hexadecimal text."""
    # The publishers give md5, which serves to detect damage and not an attack.
    return hashlib.new(algorithm, content, usedforsecurity=False).hexdigest()


def verify(path: Path, content: bytes, *, algorithm: str, digest: str, kind: str) -> None:
    """Check a file's content against its published hash.

    Args:
        path: the file, for the error message.
        content: the complete content.
        algorithm: "md5" or "sha256".
        digest: the hash as hexadecimal text.
        kind: the expected kind of file ("an IDX file"), for the error message.

    Raises:
        DataError: the hash differs.
    """
    found = digest_of(content, algorithm)
    if found != digest:
        raise corrupt(path, f"{kind} with {algorithm} {digest}", f"{describe(content)}, with {algorithm} {found}")
