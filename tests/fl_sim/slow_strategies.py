"""Strategies of Flower, of which two take ten times as long as the others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

_SLOW = {"Bulyan", "QFedAvg"}


def strategies(names: Iterable[str]) -> list[Any]:
    """Return arguments of a test, one for each strategy; those of the slow ones belong to the endurance tests."""
    return [pytest.param(name, marks=pytest.mark.endurance) if name in _SLOW else name for name in names]
