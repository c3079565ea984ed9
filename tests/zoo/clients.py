"""Clients of the zoo: their networks, their examples, and the updates that plain torch computes of them."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn

from fl_sim.client_steps import client_gradient, train_client
from fl_sim.client_training import BCE
from fl_sim.losses import targets_of
from fl_sim.models import MODELS
from fl_sim.plugins import located
from fl_sim.records import CapturedUpdate
from fl_sim.seeding import derive_seed, torch_stream
from fl_sim.tokens import one_hot
from tests.zoo.entries import ZooEntry

LEARNING_RATE = 0.1


@contextlib.contextmanager
def seeded(seed: int, *names: str) -> Iterator[None]:
    """Draw from torch's global random state as from a named stream, and leave that state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, *names))
        yield


@contextlib.contextmanager
def in_table(entry: ZooEntry) -> Iterator[None]:
    """Add an entry to the table of models, so that `build_model` finds it, for as long as this lasts."""
    if entry.name in MODELS:
        yield
        return
    MODELS[entry.name] = entry.model
    try:
        yield
    finally:
        del MODELS[entry.name]


def is_installed(entry: ZooEntry) -> bool:
    """Return whether the package that an entry needs is there."""
    return not entry.needs or importlib.util.find_spec(entry.needs) is not None


def network_of(entry: ZooEntry, seed: int) -> nn.Module:
    """Return the network of an entry with parameters that torch draws from a seed."""
    builder = located(entry.builder, entry.name)
    with seeded(seed, "network"):
        module: nn.Module = builder(entry.spec)
    return module


def examples_of(entry: ZooEntry, seed: int, batch: int) -> tuple[Tensor, Tensor]:
    """Return inputs (N, C, H, W), (T, N, C, H, W) or tokens (N, L), and labels (N,), drawn from a seed."""
    stream, spec = torch_stream(seed, "examples"), entry.input
    if spec.vocabulary:
        inputs = torch.randint(1, spec.vocabulary, (batch, spec.height), generator=stream)
    else:
        steps = (spec.timesteps,) if spec.timesteps else ()
        inputs = torch.rand((*steps, batch, *spec.frame), generator=stream)
        inputs = inputs.round() if steps else spec.low + (spec.high - spec.low) * inputs
    if spec.classes > 1:
        return inputs, torch.randint(spec.classes, (batch,), generator=stream)
    values = torch.rand(batch, generator=stream)
    return inputs, values.round().long() if entry.training.loss == BCE else values


def targets_for(entry: ZooEntry, labels: Tensor) -> Tensor:
    """Return the targets (N, classes) of labels (N,)."""
    return targets_of(entry.training, labels, entry.input.classes)


def update_of(
    entry: ZooEntry, module: nn.Module, inputs: Tensor, labels: Tensor, *, kind: Literal["gradient", "delta"]
) -> dict[str, Tensor]:
    """Return the gradient of a batch, or what one step of SGD on it adds to each tensor of the module's state."""
    batch = (inputs, targets_for(entry, labels))
    if kind == "gradient":
        return client_gradient(module, batch, entry.training)
    before = state_of(module)
    train_client(module, [batch], entry.training, learning_rate=LEARNING_RATE)
    return {name: value - before[name] for name, value in state_of(module).items()}


def state_of(module: nn.Module) -> dict[str, Tensor]:
    """Return a copy of the parameters and buffers that a client and a server exchange."""
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def capture_of(
    entry: ZooEntry,
    seed: int,
    batch: int | None = None,
    *,
    kind: Literal["gradient", "delta"] = "gradient",
    examples: tuple[Tensor, Tensor] | None = None,
) -> tuple[CapturedUpdate, Tensor, Tensor]:
    """Return what a server captures of a client of the zoo, computed by plain torch, and the client's batch.

    Args:
        entry: the network and how its client trains.
        seed: of parameters, examples and dropout.
        batch: number of examples; None for that of the entry.
        kind: "gradient", or "delta" of one step of SGD with learning rate 0.1; a delta holds the changes of buffers
            too, also of those that count.
        examples: inputs and labels; None to draw them.

    Returns:
        The captured update, the inputs in the form of the records, and the labels (N,).
    """
    module = network_of(entry, seed)
    inputs, labels = examples or examples_of(entry, seed, batch or entry.batch)
    parameters = state_of(module)
    with seeded(seed, "client"):
        update = update_of(entry, module, inputs, labels, kind=kind)
    capture = CapturedUpdate(
        id=f"zoo-{entry.name}/r001-c000",
        round=1,
        client=0,
        model=entry.spec,
        parameters=parameters,
        update=update,
        kind=kind,
        learning_rate=LEARNING_RATE if kind == "delta" else None,
        local_steps=1,
        batch_size=len(labels),
        num_examples=len(labels),
        training=entry.training,
    )
    return capture, one_hot(inputs, entry.input) if entry.input.vocabulary else inputs, labels
