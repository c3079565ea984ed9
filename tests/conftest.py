"""Shared by all tests: one thread, so that results repeat and two test processes do not slow each other down."""

from __future__ import annotations

import functools
import os

for switch in ("FLWR_TELEMETRY_ENABLED", "RAY_USAGE_STATS_ENABLED"):
    os.environ[switch] = "0"
os.environ["FLWR_DISABLE_UPDATE_CHECK"] = "1"

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


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the tests of a file, which share fixtures, stay in one process, and all those that start a Ray in another.

    A Ray that is started takes the place of the one before, for all of the machine.
    """
    for item in items:
        group = "ray" if item.get_closest_marker("ray") else item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group(group))
