"""Settings of the process in which attacks run.

Importing this does not import torch, so that a worker notices the end of its parent from its first moments on.
"""

from __future__ import annotations

import ctypes
import importlib
import multiprocessing
import os
import platform
import sys
import threading
from collections.abc import Iterable
from pathlib import Path

from fl_sim.errors import ConfigError, own_line

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def check_device(device: str) -> None:
    """Raise a ConfigError if this is no device, or none that torch finds here."""
    import torch

    from judges.plans.base import device_of

    try:
        kind, _, number = device_of(device).partition(":")
    except ValueError as error:
        raise ConfigError(f"device: {error}") from error
    count = {"cpu": 1, "mps": int(torch.backends.mps.is_available()), "cuda": torch.cuda.device_count()}[kind]
    if int(number or 0) >= count:
        raise ConfigError(f"device: '{device}' was asked for, but torch finds no such device here; use 'cpu'.")


def prepare_process(threads: int) -> None:
    """Set the number of torch's threads, and keep freed memory in the process.

    Each step of an attack allocates and frees the same tensors of some megabytes; by default the C library returns
    them to the system, and page faults then take up to half of the time.
    """
    import torch

    torch.set_num_threads(threads)
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        for option in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
            libc.mallopt(option, 2**31 - 1)


def import_modules(names: Iterable[str], option: str = "--import ") -> None:
    """Import modules from the current folder or the environment, such as one that adds a model to `MODELS`.

    Args:
        names: of the modules.
        option: what stands before a name on the command line.

    Raises:
        ConfigError: a module cannot be imported.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    for name in names:
        try:
            importlib.import_module(name)
        except (Exception, SystemExit, GeneratorExit) as error:
            raise ConfigError(
                f"{option}{name}: cannot be imported ({type(error).__name__}: {error}){own_line(error)}; modules are "
                "looked for in the folder that you call from."
            ) from error


def end_with_parent() -> None:
    """Let this process end as soon as the one that started it has, however that ended; not on Ray, which sees to it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent,), name="end with parent", daemon=True).start()


def _end_after(parent: multiprocessing.process.BaseProcess) -> None:
    """Wait for the end of another process, then end this one at once, in the middle of whatever it does."""
    parent.join()
    os._exit(1)


def prepare_worker(threads: int, folder: str, imports: Iterable[str]) -> None:
    """Set up a process that does jobs for another process.

    Args:
        threads: number of torch's threads.
        folder: working directory of the command, in which modules are searched.
        imports: names of the modules that the other process has imported.
    """
    end_with_parent()
    prepare_process(threads)
    importlib.import_module("judges.bench.jobs")  # while the other process still checks: it takes seconds
    if folder not in sys.path:
        sys.path.insert(0, folder)
    for name in imports:
        importlib.import_module(name)
