from __future__ import annotations

from tests.judges.cli.conftest import spikeleak

__all__ = ["spikeleak"]
