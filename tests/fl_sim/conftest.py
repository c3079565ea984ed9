"""Shared by the tests of data sets."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Hide the data and the cache of whoever runs the tests."""
    monkeypatch.delenv("SPIKELEAK_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def jelly(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """SpikingJelly's readers by module, without its package, which needs a torchaudio that fits the torch."""
    spec = importlib.util.find_spec("spikingjelly")
    assert spec is not None
    package = types.ModuleType("spikingjelly.datasets")
    package.__path__ = [f"{place}/datasets" for place in spec.submodule_search_locations or ()]
    monkeypatch.setitem(sys.modules, package.__name__, package)
    return lambda name: importlib.import_module(f"spikingjelly.datasets.{name}")
