"""Everything that depends on Flower: apps, wrappers and engines.

This package is imported before `flwr` everywhere in this project, so it sets the environment variables that keep Flower
and Ray off the network. Variables that are already set are left as they are.
"""

from __future__ import annotations

import os

OFFLINE = {
    "FLWR_TELEMETRY_ENABLED": "0",  # read once, when flwr is imported
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}

for _name, _value in OFFLINE.items():
    os.environ.setdefault(_name, _value)
