"""Clients of any training, whose updates plain torch computes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from fl_sim.client_steps import client_gradient, train_client
from fl_sim.client_training import ClientTraining
from fl_sim.losses import targets_of
from fl_sim.models import build_model
from fl_sim.observed import local_steps
from fl_sim.records import CapturedUpdate, InputSpec, ModelSpec

SMALL = InputSpec(channels=1, height=8, width=8, classes=4)
LENET = ModelSpec("lenet", SMALL)
Truth = tuple[Tensor, Tensor]
Register = Callable[[Callable[[], nn.Module]], ModelSpec]
"""The fixture `register`: puts a network into the table of models."""


def client(
    training: ClientTraining | None = None,
    *,
    model: ModelSpec = LENET,
    kind: str = "delta",
    seed: int = 0,
    **facts: Any,
) -> tuple[CapturedUpdate, Truth]:
    """Return what the server captures of a client, and the client's examples in the order of its steps."""
    own: dict[str, Any] = {"learning_rate": 0.1, "local_steps": 2, "batch_size": 1, "num_examples": 2}
    module, training = build_model(model, seed=seed), training or ClientTraining()
    sent = {name: value.clone() for name, value in module.state_dict().items()}
    capture = CapturedUpdate(
        f"test/r001-c{seed:03d}", 1, seed, model, sent, {}, "delta" if kind == "delta" else "gradient",
        training=training, **{**own, **facts},
    )  # fmt: skip
    steps, stream = local_steps(capture), torch.Generator().manual_seed(seed)
    count, spec = max(map(max, steps)) + 1, model.input
    inputs = spec.low + (spec.high - spec.low) * torch.rand(count, *spec.frame, generator=stream)
    labels = torch.randint(max(2, spec.classes), (count,), generator=stream)
    batches = [(inputs[list(step)], targets_of(training, labels[list(step)], spec.classes)) for step in steps]
    if kind == "gradient":
        update = client_gradient(module, batches[0], training)
    else:
        train_client(module, batches, training, learning_rate=capture.learning_rate or 1.0)
        update = {name: value - sent[name] for name, value in module.state_dict().items()}
    return dataclasses.replace(capture, update=update), (inputs, labels)
