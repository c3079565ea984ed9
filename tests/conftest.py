"""Shared by all tests: one thread, so that results repeat and two test processes do not slow each other down."""

from __future__ import annotations

import os

for switch in ("FLWR_TELEMETRY_ENABLED", "RAY_USAGE_STATS_ENABLED"):
    os.environ[switch] = "0"
os.environ["FLWR_DISABLE_UPDATE_CHECK"] = "1"

import torch  # noqa: E402
from hypothesis import settings  # noqa: E402

torch.set_num_threads(1)
settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")
