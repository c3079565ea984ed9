"""Small victims for the attacks' tests: those that every attack is checked on."""

from __future__ import annotations

from attacks.testing.victims import LENET, SMALL, SPIKING_LENET, captures_of, truth, with_noise

__all__ = ["LENET", "SMALL", "SPIKING_LENET", "captures_of", "truth", "with_noise"]
