"""Shared by the tests of attacks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import nn

from fl_sim.models import MODELS, ModelEntry
from fl_sim.records import ModelSpec
from tests.attacks.clients import SMALL, Register


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Register:
    """Return a function that puts a network into the table of models for the test."""

    def put(build: Callable[[], nn.Module]) -> ModelSpec:
        monkeypatch.setitem(MODELS, "own", ModelEntry(lambda _: build(), spiking=False, summary="my own"))
        return ModelSpec("own", SMALL, "torch")

    return put
