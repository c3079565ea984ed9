"""A truth is not held against a client whose rounding has grown over many steps, and is where it has not."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from attacks.engines.truth import mismatches, rounded
from fl_sim.client_steps import train_client
from fl_sim.client_training import ClientTraining
from fl_sim.losses import targets_of
from fl_sim.models import MODELS, ModelEntry, build_model
from fl_sim.observed import local_steps
from fl_sim.records import CapturedUpdate, ModelSpec, SealedBatch
from judges.runs.rows import LARGEST_MISMATCH
from judges.scoring.audit.checks import measured, others_truth, rounding_grew
from tests.attacks.clients import SMALL

MOMENTUM = ClientTraining(momentum=0.9)


class Waves(nn.Module):
    """A network whose training at large learning rates is chaotic, as that of networks of ReLU over many steps."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 4)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        return 3.0 * torch.sin(3.0 * self.linear(inputs.flatten(1)))


@pytest.fixture
def spec(monkeypatch: pytest.MonkeyPatch) -> ModelSpec:
    """Return the spec of `Waves`, which is in the table for the test."""
    monkeypatch.setitem(MODELS, "waves", ModelEntry(lambda _: Waves(), spiking=False, summary="of waves"))
    return ModelSpec("waves", SMALL, "torch")


def captured(
    spec: ModelSpec, number: int, *, rate: float, steps: int = 30, dtype: torch.dtype = torch.float64
) -> tuple[CapturedUpdate, SealedBatch]:
    """Return the update of a client that computes in another precision than a replay, and its truth."""
    stream = torch.Generator().manual_seed(number)
    count = 4 * steps
    inputs, labels = torch.rand(count, 1, 8, 8, generator=stream), torch.randint(4, (count,), generator=stream)
    module = build_model(spec, seed=0)
    sent = {name: value.clone() for name, value in module.state_dict().items()}
    name = f"mine/r001-c{number:03d}"
    capture = CapturedUpdate(
        name, 1, number, spec, sent, {}, "delta", learning_rate=rate, epochs=1, batch_size=4, num_examples=count,
        training=MOMENTUM,
    )  # fmt: skip
    module.to(dtype)
    batches = [
        (inputs[list(step)].to(dtype), targets_of(MOMENTUM, labels[list(step)], 4).to(dtype))
        for step in local_steps(capture)
    ]
    train_client(module, batches, MOMENTUM, learning_rate=rate)
    update = {name: (value - sent[name].to(dtype)).float() for name, value in module.state_dict().items()}
    return dataclasses.replace(capture, update=update), SealedBatch(name, inputs, labels)


def compared(*pairs: tuple[CapturedUpdate, SealedBatch]) -> tuple[dict[str, float], dict[str, str], list[str]]:
    """Return the mismatches of truths, which are held against their clients, and what is said of rounding."""
    captures = [capture for capture, _ in pairs]
    sealed = {capture.id: dataclasses.replace(truth, capture_id=capture.id) for capture, truth in pairs}
    found, _, rounding = measured(captures, sealed, sealed)
    return found, others_truth(captures, found), rounding_grew(rounding)


def test_a_client_that_rounds_in_another_way_is_believed(spec: ModelSpec) -> None:
    pairs = [captured(spec, number, rate=0.02) for number in range(2)]
    usual = [mismatches([capture], [(truth.inputs, truth.labels)])[0] for capture, truth in pairs]
    assert min(usual) > LARGEST_MISMATCH  # as an attack computes it, no truth explains its update
    found, accused, (told,) = compared(*pairs)
    assert max(found.values()) < 1e-5
    assert accused == {}
    assert "For 2, one replay is the captured update: the truth is its own" in told


def test_a_client_in_plain_torch_is_believed_where_all_replays_agree_otherwise(
    spec: ModelSpec,
) -> None:
    capture, truth = captured(spec, 0, rate=0.1, dtype=torch.float32)
    inputs, labels = truth.inputs, truth.labels
    found = rounded(capture, inputs, labels)
    assert found.nearest < 1e-6 < LARGEST_MISMATCH < found.usual
    assert compared((capture, truth))[:2] == ({capture.id: found.nearest}, {})


def test_a_single_step_that_hardly_moves_the_weights_is_believed(spec: ModelSpec) -> None:
    """As of a client of a trained model that has nothing left to learn: its change is as small as the last digit."""
    tiny = captured(spec, 0, rate=3e-9, steps=1, dtype=torch.float32)
    (distance,) = mismatches([tiny[0]], [(tiny[1].inputs, tiny[1].labels)])
    assert distance > LARGEST_MISMATCH
    found, accused, (told,) = compared(tiny)
    assert (list(found), accused) == ([tiny[0].id], {})
    assert max(found.values()) < 1e-3
    assert "or is as large as they are" in told


def test_it_is_said_where_rounding_leaves_open_whose_truth_it_is(spec: ModelSpec) -> None:
    pair = captured(spec, 0, rate=0.1)
    found, accused, (told,) = compared(pair)
    assert (found, accused) == ({}, {})
    assert "For 1, none is: whether the truth is its own cannot be told" in told


@pytest.mark.parametrize("rate", [0.001, 0.02])
def test_the_truth_of_another_client_is_found_all_the_same(spec: ModelSpec, rate: float) -> None:
    (right, truth), (capture, _), (_, wrong) = (captured(spec, number, rate=rate) for number in (0, 1, 51))
    found, accused, _ = compared((right, truth), (capture, wrong))
    assert found[right.id] < 1e-5
    assert list(accused) == [capture.id]
