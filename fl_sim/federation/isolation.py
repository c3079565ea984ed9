"""Process-wide state that a federation sets and restores: torch's threads and generator, and Flower's log level."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator

import torch
from flwr.common.logger import FLOWER_LOGGER, console_handler

# Beginnings of warnings about what this testbed does on purpose.
_EXPECTED = (
    "fraction_evaluate is set to 0.0",
    "DEPRECATED FEATURE: The `run_simulation` function",
)


@contextlib.contextmanager
def private_torch() -> Iterator[None]:
    """Run torch on one thread and with a copy of its global CPU generator, and restore both on exit.

    The number of threads changes the bits of a result, and each engine has a different default.
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
    """Show only Flower's warnings, except those about what this testbed does on purpose; or its whole log.

    Args:
        verbose: whether to leave Flower's logging as it is.
    """
    if verbose:
        yield
        return
    before, coloured = FLOWER_LOGGER.level, console_handler.colored
    console_handler.colored = coloured and sys.stderr.isatty()  # no codes for colours in a file
    FLOWER_LOGGER.setLevel(max(before, logging.WARNING))
    FLOWER_LOGGER.addFilter(_unexpected)
    try:
        yield
    finally:
        FLOWER_LOGGER.removeFilter(_unexpected)
        FLOWER_LOGGER.setLevel(before)
        console_handler.colored = coloured


def _unexpected(record: logging.LogRecord) -> bool:
    """Return whether a log record is worth showing."""
    return not record.getMessage().startswith(_EXPECTED)
