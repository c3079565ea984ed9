"""Named random streams, one for each consumer, derived from one root seed.

Each consumer of randomness asks for a stream by name, so that adding a client, a victim or an attack does not change
the numbers of any other. Streams are drawn on the CPU, so that a run does not depend on the device.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch

ATTACKER = "attacker"
"""Name of the seed of attacks, which no consumer of the simulation uses."""


def derive_seed(root: int, *names: str | int) -> int:
    """Return a seed in [0, 2**63) that depends on the root seed, on `names` and on their order."""
    text = "\x1f".join([str(root), *(str(name) for name in names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def attacker_seed(root: int) -> int:
    """Return the seed that attacks get in place of an experiment's root seed, from which it follows one-way.

    No stream of the simulation can be rebuilt from it, such as the one that draws a client's batch. A small root seed
    can be guessed all the same; whoever does so still needs the clients' data set to rebuild a batch.
    """
    return derive_seed(root, ATTACKER)


def torch_stream(root: int, *names: str | int) -> torch.Generator:
    """Return a new CPU generator for the consumer identified by `names`."""
    return torch.Generator().manual_seed(derive_seed(root, *names))


def numpy_stream(root: int, *names: str | int) -> np.random.Generator:
    """Return a new NumPy generator for the consumer identified by `names`."""
    return np.random.default_rng(derive_seed(root, *names))
