"""The control: a model, or an update of a client, that was trained on examples that no candidate is among."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from attacks.contracts import Auxiliary, Observed
from fl_sim.config.federation import FederationSettings
from fl_sim.models import build_model
from fl_sim.normalisation import statistics_of
from fl_sim.records import ModelSpec
from fl_sim.training import load_parameters, local_sgd, parameters_of

_BATCH, _PASSES, _RATES = 16, 10, (0.1, 0.03, 0.01, 0.001)
"""Examples of a step, passes and learning rates of a training of which nobody says how it was."""


def null_update(
    federation: FederationSettings, spec: ModelSpec, parameters: Mapping[str, Tensor], examples: Auxiliary, name: str
) -> Observed:
    """Return what is observed of a client of a federation that trains the first model on other examples, by plain SGD.

    Args:
        federation: of the federation, whose learning rate and numbers of steps and examples the client has.
        spec: of the model.
        parameters: of the first model, which has seen nobody.
        examples: of the adversary, none of which is a candidate.
        name: id of the record.
    """
    model = _built(spec, parameters)
    local_sgd(model, _batches(federation, examples), learning_rate=federation.learning_rate)
    return Observed(name, spec, _state_of(model), dict(parameters))


def null_model(spec: ModelSpec, examples: Auxiliary, name: str, *, seed: int) -> Observed:
    """Return a model that was trained on other examples, where nobody says how the model under attack was trained.

    Plain SGD passes over them, with the learning rate by which the loss of the first pass is lowest: a control that has
    learned nothing would say nothing of how members and others differ without any training on the candidates.

    Args:
        spec: of the model.
        examples: of the adversary, none of which is a candidate.
        name: id of the record.
        seed: of the initial parameters, which are torch's.
    """
    one_pass, first, tried = FederationSettings(batch_size=_BATCH, local_epochs=1), untrained(spec, seed=seed), []
    for rate in _RATES:
        model = _built(spec, first)
        loss = local_sgd(model, _batches(one_pass, examples), learning_rate=rate)
        tried.append((loss if math.isfinite(loss) else math.inf, rate, model))
    _, rate, model = min(tried, key=lambda one: one[0])
    rest = one_pass.model_copy(update={"local_epochs": _PASSES - 1})
    local_sgd(model, _batches(rest, examples), learning_rate=rate)
    return Observed(name, spec, _state_of(model))


def untrained(spec: ModelSpec, *, seed: int) -> dict[str, Tensor]:
    """Return the parameters of a model that has seen nobody, as torch initialises it."""
    return parameters_of(build_model(dataclasses.replace(spec, init="torch"), seed=seed))


def _built(spec: ModelSpec, parameters: Mapping[str, Tensor]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        model = build_model(spec, parameters=parameters)
    load_parameters(model, parameters)
    return model


def _state_of(model: nn.Module) -> dict[str, Tensor]:
    """Return parameters and running statistics, without which a model with normalisations answers as another would."""
    return parameters_of(model) | statistics_of(model)


def _batches(federation: FederationSettings, examples: Auxiliary) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches of the steps, which begin again where the examples end."""
    axis = 1 if examples.inputs.dim() == 5 else 0
    size = federation.batch_size
    parts = list(zip(torch.split(examples.inputs, size, axis), torch.split(examples.labels, size), strict=True))
    if size > 1 and len(parts) > 1 and len(parts[-1][1]) == 1:
        parts.pop()  # a batch normalisation has no variance of a single example
    count = federation.local_epochs * len(parts) or federation.local_steps
    yield from itertools.islice(itertools.cycle(parts), count)
