"""Landlock: a process forbids itself, for good, to read some files and to write most (Linux, kernel 5.13 and later).

See the kernel's Documentation/userspace-api/landlock.rst. Nothing here imports anything of ours or torch: a process
forbids itself things before it has threads.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
"""System calls, of the same number on all architectures."""

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_ALL = (1 << 13) - 1
"""All rights of the first version: those above, and to remove and make files of any kind."""

_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE
_PATH_BENEATH, _NO_NEW_PRIVILEGES, _VERSION = 1, 38, 1
_PROCESSES, _SHARED_MEMORY = Path("/proc"), Path("/dev/shm")  # noqa: S108 - it is forbidden, not used


class _Ruleset(ctypes.Structure):
    _fields_ = (("handled_access_fs", ctypes.c_uint64),)


class _Beneath(ctypes.Structure):
    _layout_ = "ms"  # the only one that Python packs; from 3.14 on it must be said
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def is_there() -> bool:
    """Return whether the system has Landlock."""
    if platform.system() != "Linux" or sys.maxsize < 2**32:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    version: int = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION))
    return version >= 1


def forbid(hidden: Iterable[Path], *, writable: Iterable[Path]) -> bool:
    """Forbid this process to read what is hidden, and to write anywhere but below some folders.

    Names in folders stay visible. A folder that is created beside a hidden one later cannot be read either. Shared
    memory, and what the system tells of other processes, such as their environment, are hidden in any case.

    Args:
        hidden: files and folders, whether they exist or not.
        writable: folders; what is hidden below them stays so.

    Returns:
        Whether the system allows this.
    """
    if not is_there():
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    rights = _Ruleset(_ALL)
    ruleset = libc.syscall(_CREATE_RULESET, ctypes.byref(rights), ctypes.c_size_t(ctypes.sizeof(rights)), 0)
    if ruleset < 0:
        return False
    try:
        _allow(libc, ruleset, Path("/"), _READ_DIR)
        closed = {path.resolve() for path in (*hidden, *_others(), _SHARED_MEMORY)}
        for path in _beside(closed, Path("/")):
            _allow(libc, ruleset, path, _READ_FILE | _READ_DIR | _EXECUTE)
        for folder in writable:
            is_open = not any(path.is_relative_to(folder) for path in closed)
            for path in [folder] if is_open else _beside(closed, folder):
                _allow(libc, ruleset, path, _ALL)
        if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
            return False
        return bool(libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0)
    finally:
        os.close(ruleset)


def _others() -> Iterator[Path]:
    """Yield the folders of what the system tells of other processes."""
    with contextlib.suppress(OSError):
        yield from (path for path in _PROCESSES.iterdir() if path.name.isdecimal() and int(path.name) != os.getpid())


def _beside(hidden: set[Path], folder: Path) -> Iterator[Path]:
    """Yield the topmost files and folders below a folder that neither are hidden nor hold anything hidden.

    Links are left out: what they lead to is somewhere else.
    """
    holds = {parent for path in hidden for parent in path.parents}
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if path in hidden or path.is_symlink():
                continue
            if path in holds:
                yield from _beside(hidden, path)
            else:
                yield path


def _allow(libc: ctypes.CDLL, ruleset: int, path: Path, rights: int) -> None:
    """Add a rule; a path that cannot be opened stays forbidden."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            allowed = rights if path.is_dir() else rights & _OF_FILES
            rule = _Beneath(allowed, descriptor)
            libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)
        finally:
            os.close(descriptor)
