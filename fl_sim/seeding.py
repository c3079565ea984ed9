"""A named random stream for every consumer, from one root seed.

Whoever needs randomness asks for a stream by name, so that adding a client, a victim or an attack shifts nobody
else's numbers. Streams are drawn on the CPU, so that a run does not depend on the device.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch


def derive_seed(root: int, *names: str | int) -> int:
    """Return a seed in [0, 2**63) that depends on the root seed and on each of `names`, in order."""
    text = "\x1f".join([str(root), *(str(name) for name in names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def torch_stream(root: int, *names: str | int) -> torch.Generator:
    """Return a fresh CPU generator for the consumer called `names`."""
    return torch.Generator().manual_seed(derive_seed(root, *names))


def numpy_stream(root: int, *names: str | int) -> np.random.Generator:
    """Return a fresh NumPy generator for the consumer called `names`."""
    return np.random.default_rng(derive_seed(root, *names))
