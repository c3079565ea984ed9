"""Atomic writes: a file is complete or absent. Write to a temporary name, sync to the disk, rename."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

from fl_sim.errors import WriteError

_UMASK = os.umask(0o077)
os.umask(_UMASK)  # the mask can only be read by setting it

_PREFIX_LENGTH = 50  # characters of the file's name kept in the temporary name, which must not become too long


def atomic_write(path: Path, content: bytes | str, *, durable: bool = True, private: int = 0) -> Path:
    """Write `content` to `path` so that a crash at any moment leaves the old file, the new one, or none.

    Args:
        path: the file; its folder is created if it does not exist.
        content: the complete content.
        durable: whether to sync the file to the disk. If not, a power failure may leave an incomplete file, so its
            reader must be able to detect that.
        private: for a file that its owner alone may read: the number of folders above it that nobody else may enter.
            A folder that exists keeps its mode. 0 for a file like any other.

    Raises:
        WriteError: the disk is full or the folder cannot be written; the old file is untouched.
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        _make_folders(path, private)
        _replace(path, data, durable=durable, mode=0o600 if private else 0o666)
    except OSError as error:
        raise WriteError(
            f"{path}: could not write {len(data):,} bytes ({error.strerror or error}); a file of that name from before "
            "is unchanged."
        ) from error
    return path


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal text."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _make_folders(path: Path, private: int) -> None:
    """Make the folders above a file, the innermost of them private."""
    for folder in reversed(list(path.parents)[:private]):
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)


def _replace(path: Path, data: bytes, *, durable: bool, mode: int) -> None:
    """Write a temporary file in the folder of `path`, then rename it to `path`."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:_PREFIX_LENGTH]}.", suffix=".tmp")
    try:
        try:
            os.fchmod(descriptor, mode & ~_UMASK)  # a temporary file is private; most results are not
            rest = memoryview(data)
            while rest:  # the system may write only a part
                rest = rest[os.write(descriptor, rest) :]
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):  # report the first error, not one of the clean-up
            Path(temporary).unlink(missing_ok=True)
        raise
