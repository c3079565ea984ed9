"""Everything that knows Flower: its apps, its wrappers and its engines.

Importing this package comes before any import of `flwr` in this project, so the switches that keep Flower and Ray off
the network are set here. Whoever wants another setting puts it in the environment beforehand.
"""

from __future__ import annotations

import os

OFFLINE = {
    "FLWR_TELEMETRY_ENABLED": "0",  # read once, at the import of flwr
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}

for _name, _value in OFFLINE.items():
    os.environ.setdefault(_name, _value)
