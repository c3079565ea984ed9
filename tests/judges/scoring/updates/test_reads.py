"""What can be read off the updates of a group."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from attacks.testing.victims import MLP
from fl_sim.models import MODELS, ModelEntry
from fl_sim.records import ModelSpec
from judges.runs.identity import Attacked
from judges.scoring.updates.reads import readable
from tests.attacks.helpers import LENET, captures_of, truth, with_noise

ATTACKED = Attacked(dataset="toy", model="mlp", family="mlp", init="torch")


def test_single_examples_of_a_linear_network_are_read_whole() -> None:
    inputs, _ = truth(3, MLP.input)
    found = readable(ATTACKED, captures_of(MLP, inputs, torch.tensor([[2], [0], [2]])))
    assert found.group == ATTACKED.group
    assert (found.updates, found.examples, found.how, found.certain) == (3, 3, {"bias": 3}, 1.0)
    assert found.histogram == {"0": 1, "2": 2}
    assert (found.residual, found.active, found.inputs) == (1.0, 1.0, {"input": 3})
    assert found.residual_error == pytest.approx(0.0, abs=1e-5)
    assert found.input_error == pytest.approx(0.0, abs=1e-5)
    assert (found.fewest, found.most, found.unmodified) == (1, 1, 1.0)


def test_batches_of_a_convolution_give_a_histogram_and_a_number_of_examples() -> None:
    inputs, _ = truth(3)
    labels = torch.tensor([[3], [1], [3]])
    found = readable(ATTACKED, captures_of(LENET, inputs[None, :, 0], labels[None, :, 0]))
    assert (found.updates, found.examples, found.how) == (1, 3, {"counts": 1})
    assert found.histogram == {"1": 1, "3": 2}
    assert (found.residual, found.residual_error, found.active, found.inputs) == (0.0, None, None, {})
    assert found.input_error is None
    assert (found.fewest, found.most, found.unmodified) == (3, 3, 1.0)


def test_noise_is_seen_in_errors_and_ranks() -> None:
    inputs, labels = truth(2, MLP.input)
    single = readable(ATTACKED, with_noise(captures_of(MLP, inputs, labels), 0.5))
    assert single.certain == 0.0
    assert min(single.residual_error or 0.0, single.input_error or 0.0) > 1e-2
    batch = readable(ATTACKED, with_noise(captures_of(MLP, inputs[None, :, 0], labels[None, :, 0]), 0.5))
    assert (batch.fewest, batch.most, batch.unmodified) == (None, None, 0.0)


class Alone(nn.Module):
    """A network that reads one example only."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        read: Tensor = self.layer(inputs.view(1, 64))
        return read


def test_a_network_whose_code_fails_on_other_inputs_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "own", ModelEntry(lambda _: Alone(), spiking=False, summary="my own"))
    inputs, labels = truth(1)
    (capture,) = captures_of(ModelSpec("own", LENET.input, "torch"), inputs, labels)
    found = readable(ATTACKED, [capture, replace(capture, kind="delta")])
    assert (found.updates, found.how, found.certain, found.histogram) == (2, {"": 2}, 0.0, {})
    assert (found.fewest, found.unmodified) == (None, 0.0)
    assert not math.isnan(found.residual)
