"""Settings of the process that attacks run in."""

from __future__ import annotations

import ctypes
import platform

import torch

from fl_sim.errors import ConfigError

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def check_device(device: str) -> None:
    """Refuse a device that is not there.

    Raises:
        ConfigError: it is not.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device: 'cuda' was asked for, but torch finds no such device here; use 'cpu'.")


def prepare_process(threads: int) -> None:
    """Set torch's threads, and keep freed memory instead of handing it back to the system.

    Each step of an attack allocates and frees the same tensors of some megabytes; by default the C library returns
    them to the system and page faults then take up to half of the time.
    """
    torch.set_num_threads(threads)
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        for option in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
            libc.mallopt(option, 2**31 - 1)
