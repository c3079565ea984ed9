"""Files that are either whole or not there: write to a temporary name, flush to the disk, rename."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

from fl_sim.errors import WriteError

_UMASK = os.umask(0o077)
os.umask(_UMASK)  # it can only be read by setting it

_NAMED = 50  # signs of a file's name that its temporary one repeats: a long name and more would be too long


def atomic_write(path: Path, content: bytes | str, *, durable: bool = True) -> Path:
    """Write `content` to `path` so that a crash at any moment leaves the old file, the new one, or none.

    Args:
        path: of the file; its folder is made where there is none.
        content: all of it.
        durable: whether it is forced to the disk. Where it is not, a loss of power may leave part of a file, so its
            reader must be able to tell.

    Raises:
        WriteError: the disk is full or the folder cannot be written; the old file is untouched.
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        _replace(path, data, durable=durable)
    except OSError as error:
        raise WriteError(
            f"{path}: {len(data):,} bytes were to be written and could not be ({error.strerror or error}); what was "
            "there before is untouched."
        ) from error
    return path


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal text."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _replace(path: Path, data: bytes, *, durable: bool) -> None:
    """Write a temporary file beside `path` and give it that name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:_NAMED]}.", suffix=".tmp")
    try:
        try:
            os.fchmod(descriptor, 0o666 & ~_UMASK)  # a temporary file is private; a result is not
            rest = memoryview(data)
            while rest:  # the system may take a part only
                rest = rest[os.write(descriptor, rest) :]
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):  # what went wrong first is what is told
            Path(temporary).unlink(missing_ok=True)
        raise
