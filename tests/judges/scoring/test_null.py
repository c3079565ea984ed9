"""The control of a membership inference: it has learned, and nothing of the candidates."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from attacks.contracts import Auxiliary
from attacks.membership.queries import rebuilt
from fl_sim.config.federation import FederationSettings
from fl_sim.models import MODELS, ModelEntry
from fl_sim.records import InputSpec, ModelSpec
from judges.scoring.membership.null import null_model, null_update, untrained
from tests.zoo.normalisation import normalised

SPEC = ModelSpec("normalised_net", InputSpec(1, 8, 8, 2))


@pytest.fixture
def examples(monkeypatch: pytest.MonkeyPatch) -> Auxiliary:
    """Return bright and dark pictures far from zero, and add a network with batch normalisation to the table."""
    monkeypatch.setitem(
        MODELS, SPEC.architecture, ModelEntry(lambda spec: normalised(spec, nn.BatchNorm2d), False, "mine")
    )
    labels = torch.arange(80) % 2
    inputs = 5.0 + labels[:, None, None, None] + 0.3 * torch.randn(80, 1, 8, 8, generator=torch.manual_seed(0))
    return Auxiliary("others", inputs, labels)


def right(parameters: dict[str, torch.Tensor], examples: Auxiliary) -> float:
    """Return the accuracy in eval mode, as an attack queries it."""
    with torch.no_grad():
        found = rebuilt(SPEC, parameters, "cpu")(examples.inputs).argmax(1)
    return float((found == examples.labels).float().mean())


def test_a_control_with_normalisations_answers_as_it_was_trained(examples: Auxiliary) -> None:
    first = untrained(SPEC, seed=0)
    federation = FederationSettings(learning_rate=0.1, batch_size=16, local_epochs=20)
    for null in (null_update(federation, SPEC, first, examples, "a"), null_model(SPEC, examples, "b", seed=0)):
        assert "1.running_mean" in null.parameters
        assert right(dict(null.parameters), examples) > 0.95
        parameters = {name: one for name, one in null.parameters.items() if "running" not in name}
        assert right(parameters, examples) < 0.6  # what it would answer without them


def test_a_last_batch_of_one_example_stops_no_normalisation(examples: Auxiliary) -> None:
    few = Auxiliary("others", examples.inputs[:17], examples.labels[:17])
    assert all(bool(one.isfinite().all()) for one in null_model(SPEC, few, "d", seed=0).parameters.values())


def test_the_rate_is_one_by_which_it_learns(examples: Auxiliary) -> None:
    """Inputs a thousand times as large make a step of 0.1 run away."""
    spec = ModelSpec("mlp", InputSpec(1, 8, 8, 2, high=1000.0), hidden=8)
    large = Auxiliary("others", 1000 * (examples.inputs - 5.5), examples.labels)
    null = null_model(spec, large, "c", seed=0)
    assert all(bool(one.isfinite().all()) for one in null.parameters.values())
    with torch.no_grad():
        found = rebuilt(spec, null.parameters, "cpu")(large.inputs).argmax(1)
    assert float((found == large.labels).float().mean()) > 0.9
