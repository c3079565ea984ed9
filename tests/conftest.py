"""Shared by all tests: one thread and process each, so that results repeat and tests do not slow each other down."""

from __future__ import annotations

import fcntl
import functools
import os
import tempfile
from collections.abc import Generator
from pathlib import Path

for switch in ("FLWR_TELEMETRY_ENABLED", "RAY_USAGE_STATS_ENABLED"):
    os.environ[switch] = "0"
os.environ["FLWR_DISABLE_UPDATE_CHECK"] = "1"
os.environ["SPIKELEAK_WORKERS"] = "1"  # by default, two where two cores are free: the tests shall not depend on that

import pytest  # noqa: E402
import torch  # noqa: E402
from hypothesis import settings  # noqa: E402
from matplotlib import textpath  # noqa: E402

torch.set_num_threads(1)
# A parser of labels remembers them, but each figure has its own, and half of a figure's time goes into reading labels
# anew that stood in the hundred figures before.
textpath.MathTextParser = functools.cache(textpath.MathTextParser)  # type: ignore[attr-defined, assignment]
settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the files that hold slow tests come first, so that no long file is left to one process at the end."""
    slow = {item.path for item in items if any(map(item.get_closest_marker, ("slow", "endurance")))}
    items.sort(key=lambda item: item.path not in slow)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Run tests that start a Ray one at a time: the Ray of one takes the place of the other's, on all the machine."""
    if item.get_closest_marker("ray") is None:
        return (yield)
    with (Path(tempfile.gettempdir()) / "spikeleak-tests-ray.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return (yield)
