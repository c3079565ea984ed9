"""What is left of a captured update under noise."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from fl_sim.models import MODELS, ModelEntry
from fl_sim.records import CapturedUpdate, InputSpec, ModelSpec
from judges.scoring.updates.sanity import NOISY, RANDOM, disturbed

SPEC = ModelSpec("counting_net", InputSpec(channels=1, height=2, width=2, classes=3))


def _build(_spec: ModelSpec) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(4), nn.Linear(4, 3))


@pytest.fixture
def capture(monkeypatch: pytest.MonkeyPatch) -> CapturedUpdate:
    """Return the weight difference of a network with batch normalisation, whose state has a counter and means."""
    monkeypatch.setitem(MODELS, "counting_net", ModelEntry(_build, spiking=False, summary="for tests"))
    state = _build(SPEC).state_dict()
    stream = torch.Generator().manual_seed(0)
    update = {name: torch.randn(value.shape, generator=stream).to(value.dtype) for name, value in state.items()}
    update["2.bias"] = torch.zeros(3)
    return CapturedUpdate("f/r001-c000", 1, 0, SPEC, state, update, "delta", labels=torch.tensor([1]))


def test_a_random_update_has_the_norms_of_the_captured_one_and_nothing_else(capture: CapturedUpdate) -> None:
    found = disturbed(capture, RANDOM, seed=3)
    assert found == replace(capture, update=found.update, labels=None)
    for name in ("1.weight", "1.bias", "2.weight"):
        assert found.update[name].norm() == pytest.approx(float(capture.update[name].norm()), rel=1e-5)
        assert not torch.allclose(found.update[name], capture.update[name], atol=0.1)
    assert found.update["2.bias"].tolist() == [0.0, 0.0, 0.0]
    for name in ("1.running_mean", "1.running_var", "1.num_batches_tracked"):
        assert found.update[name].equal(capture.update[name])


def test_a_noisy_update_is_as_far_from_the_captured_one_as_that_is_long(capture: CapturedUpdate) -> None:
    found = disturbed(capture, NOISY, seed=3)
    assert found.labels is capture.labels
    for name in ("1.weight", "1.bias", "2.weight"):
        entries = capture.update[name]
        assert (found.update[name] - entries).norm() == pytest.approx(float(entries.norm()), rel=1e-5)
        assert found.update[name].dtype is entries.dtype
    assert found.update["1.running_mean"].equal(capture.update["1.running_mean"])


def test_noise_is_told_by_seed_kind_and_capture(capture: CapturedUpdate) -> None:
    def noise(one: CapturedUpdate, how: str, seed: int) -> tuple[float, ...]:
        entries = disturbed(one, how, seed=seed).update["2.weight"].double()
        entries = entries - capture.update["2.weight"] if how == NOISY else entries
        return tuple(round(value, 4) for value in entries.flatten().tolist())

    assert noise(capture, RANDOM, 1) == noise(capture, RANDOM, 1)
    others = [(capture, RANDOM, 2), (capture, NOISY, 1), (replace(capture, id="f/r001-c001"), RANDOM, 1)]
    assert len({noise(capture, RANDOM, 1), *(noise(*other) for other in others)}) == 4
