"""The control of a federation: an update that a client computed on examples that no candidate is among."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from attacks.contracts import Auxiliary, Observed
from fl_sim.config.federation import FederationSettings
from fl_sim.models import build_model
from fl_sim.records import ModelSpec
from fl_sim.training import load_parameters, local_sgd, parameters_of


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
    with torch.random.fork_rng(devices=[]):
        model = build_model(spec, parameters=parameters)
    load_parameters(model, parameters)
    local_sgd(model, _batches(federation, examples), learning_rate=federation.learning_rate)
    return Observed(name, spec, parameters_of(model), dict(parameters))


def untrained(spec: ModelSpec, *, seed: int) -> dict[str, Tensor]:
    """Return the parameters of a model that has seen nobody, as torch initialises it."""
    return parameters_of(build_model(dataclasses.replace(spec, init="torch"), seed=seed))


def _batches(federation: FederationSettings, examples: Auxiliary) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches of the steps, which begin again where the examples end."""
    axis = 1 if examples.inputs.dim() == 5 else 0
    size = federation.batch_size
    count = federation.local_steps
    if federation.local_epochs:
        count = federation.local_epochs * -(-len(examples.labels) // size)
    parts = list(zip(torch.split(examples.inputs, size, axis), torch.split(examples.labels, size), strict=True))
    yield from itertools.islice(itertools.cycle(parts), count)
