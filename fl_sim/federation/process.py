"""What a federation sets in its process, and puts back: torch's threads and generator, and how much Flower says."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

import torch
from flwr.common.logger import FLOWER_LOGGER

# Warnings about what this testbed does on purpose, by how they begin.
_EXPECTED = (
    "fraction_evaluate is set to 0.0",
    "DEPRECATED FEATURE: The `run_simulation` function",
)


@contextlib.contextmanager
def private_torch() -> Iterator[None]:
    """Run torch on one thread and on a copy of its global CPU generator, and put both back.

    One and two threads give different bits, and each engine has a default of its own.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def flower_logging(*, verbose: bool) -> Iterator[None]:
    """Show Flower's warnings only, without those about what this testbed does on purpose; or all that it says.

    Args:
        verbose: whether to leave Flower's logging as it is.
    """
    if verbose:
        yield
        return
    before = FLOWER_LOGGER.level
    FLOWER_LOGGER.setLevel(max(before, logging.WARNING))
    FLOWER_LOGGER.addFilter(_unexpected)
    try:
        yield
    finally:
        FLOWER_LOGGER.removeFilter(_unexpected)
        FLOWER_LOGGER.setLevel(before)


def _unexpected(record: logging.LogRecord) -> bool:
    """Return whether a log record is worth showing."""
    return not record.getMessage().startswith(_EXPECTED)
