"""One writer a folder: a lock that a process holds while it writes a run, and that its death releases."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from fl_sim.errors import BusyError
from fl_sim.files import atomic_write

LOCK, HOLDER = ".spikeleak.lock", ".spikeleak.lock-holder"
"""Files in the folder while somebody writes there; after a kill they may stay, and say nothing then."""


@contextlib.contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, which is created if it does not exist. A caller that holds it already may ask again.

    Raises:
        BusyError: another process holds it; the message names that process and its machine.
    """
    folder.mkdir(parents=True, exist_ok=True)
    place = folder.resolve()
    lock = FileLock(place / LOCK, is_singleton=True)
    if lock.is_locked:
        yield
        return
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise BusyError(
            f"{folder}: {_holder(place)} is writing in this folder; wait until it has ended, or choose another folder."
        ) from error
    try:
        with contextlib.suppress(OSError):  # the lock holds without it, as on a full disk
            atomic_write(place / HOLDER, f"process {os.getpid()} on {socket.gethostname()}\n", durable=False)
        yield
    finally:
        for name in (HOLDER, LOCK):  # before the release: a waiting process then finds that it must lock a new file
            with contextlib.suppress(OSError):
                (place / name).unlink(missing_ok=True)
        lock.release()


@contextlib.contextmanager
def whole(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder that is only read, so that nobody writes meanwhile.

    Where the folder does not exist or is not ours to write in, nothing is locked.

    Raises:
        BusyError: another process is writing there.
    """
    with contextlib.ExitStack() as stack:
        if folder.is_dir() and os.access(folder, os.W_OK):
            stack.enter_context(sole_writer(folder))
        yield


def _holder(place: Path) -> str:
    """Return who holds the lock of a folder, as it says itself."""
    try:
        return (place / HOLDER).read_text(encoding="utf-8").strip() or "another process"
    except (OSError, UnicodeDecodeError):
        return "another process"
