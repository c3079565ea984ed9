"""The update of a client that trains on given images, as plain torch computes it, in a folder for an audit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fl_sim.captures import CaptureStore, capture_id
from fl_sim.client_steps import client_gradient, train_client, trainable
from fl_sim.client_training import ClientTraining
from fl_sim.config import validate
from fl_sim.defences import NO_DEFENCE, build_defence
from fl_sim.errors import ConfigError
from fl_sim.losses import targets_of
from fl_sim.observed import local_steps
from fl_sim.records import CapturedUpdate
from fl_sim.seeding import derive_seed, torch_stream
from fl_sim.specs import InputSpec
from judges.notebook.own_models import Model, built, classes_of
from judges.plans.audit import Assumptions
from judges.scoring.audit.client import keep

NAME = "client"
"""Name of the federation of the clients that are made here."""


@dataclass(frozen=True)
class Batch:
    """What one client trains on: inputs (N, C, H, W), or (T, N, C, H, W) for events, and labels (N,)."""

    inputs: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Clients:
    """Clients of one model, whose updates are not computed yet.

    Attributes:
        model: as the caller gives it.
        spec: of the inputs.
        batches: of each client.
        facts: how they train, see `judges.plans.audit.Assumptions`.
        defence: name of their defence, or its settings with `name`.
        seed: of the parameters of a model of the table, and of all that the clients draw.
    """

    model: Model
    spec: InputSpec
    batches: tuple[Batch, ...]
    facts: Assumptions
    defence: str | Mapping[str, Any]
    seed: int

    @property
    def defence_name(self) -> str:
        """Return the name of their defence, or "none"."""
        return self.defence if isinstance(self.defence, str) else str(self.defence.get("name", NO_DEFENCE))

    def write(self, folder: Path) -> tuple[str, ...]:
        """Compute the clients' updates, write them and what they were computed from, and return their ids.

        Raises:
            ConfigError: the model or the defence cannot be built, nothing of the model is trained, or the folder holds
                captures of other clients.
        """
        names = tuple(capture_id(NAME, 1, number) for number in range(len(self.batches)))
        others = [name for name in CaptureStore(folder / "captures").ids() if name not in names]
        if others:
            raise ConfigError(f"folder: {folder} holds the update of another client, {others[0]}; name a new folder.")
        for number, (name, batch) in enumerate(zip(names, self.batches, strict=True)):
            capture = self._defended(self._capture(name, number, batch))
            keep(folder, capture, batch.inputs, batch.labels, defence=self.defence_name)
        return names

    def _capture(self, name: str, number: int, batch: Batch) -> CapturedUpdate:
        """Return what the server sees of one client."""
        spec, module = built(self.model, self.spec, seed=self.seed)
        facts, count = self.facts, len(batch.labels)
        training = ClientTraining(**facts.model_dump(include=set(ClientTraining.model_fields), exclude_none=True))
        if not trainable(module, training.taken()):
            raise ConfigError("model: none of its parameters is trained, so its client shares nothing.")
        is_delta = facts.learning_rate is not None
        sent = _state_of(module)
        capture = CapturedUpdate(
            id=name,
            round=1,
            client=number,
            model=spec,
            parameters=sent,
            update={},
            kind="delta" if is_delta else "gradient",
            learning_rate=facts.learning_rate,
            local_steps=facts.local_steps if is_delta else 1,
            epochs=facts.epochs or (1 if is_delta and facts.local_steps is None else None),
            batch_size=min(facts.batch_size or count, count) if is_delta else count,
            num_examples=count,
            training=training,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(self.seed, "client", number))
            return replace(capture, update=_update(module, capture, batch))

    def _defended(self, capture: CapturedUpdate) -> CapturedUpdate:
        """Return the update as the defence leaves it."""
        if self.defence_name == NO_DEFENCE:
            return capture
        settings = {} if isinstance(self.defence, str) else {k: v for k, v in self.defence.items() if k != "name"}
        defence = build_defence(self.defence_name, settings)
        stream = torch_stream(self.seed, "defence", capture.id)
        return replace(capture, update=defence(capture.update, generator=stream))


def clients_of(
    model: Model,
    inputs: Tensor,
    labels: Tensor | Sequence[int],
    *,
    count: int,
    classes: int,
    limits: tuple[float, float],
    defence: str | Mapping[str, Any],
    seed: int,
    training: Mapping[str, Any],
) -> Clients:
    """Return the clients among whom images are divided, in their order.

    Raises:
        ConfigError: images or labels are not such as a model takes, they cannot be divided, or a fact of the training
            is not known or wrong.
    """
    pictures, truth = _checked(inputs, labels, limits)
    axis = 1 if pictures.dim() == 5 else 0
    total = len(truth)
    if not 1 <= count <= total or total % count:
        raise ConfigError(f"clients: expected a number that divides the {total} images, got {count}.")
    facts = _facts(training, total // count)
    channels, height, width = pictures.shape[-3:]
    spec = InputSpec(
        channels,
        height,
        width,
        classes_of(model, pictures, truth, classes),
        *limits,
        timesteps=pictures.shape[0] if axis else 0,
    )
    parts = zip(torch.split(pictures, total // count, axis), torch.split(truth, total // count), strict=True)
    return Clients(model, spec, tuple(Batch(*part) for part in parts), facts, defence, seed)


def _facts(training: Mapping[str, Any], examples: int) -> Assumptions:
    """Return how clients train that have so many examples each."""
    facts = validate(Assumptions, {key: value for key, value in training.items() if value is not None})
    if facts.num_examples not in (None, examples):
        raise ConfigError(f"num_examples: the images say that each client has {examples}; leave it out.")
    trains = [facts.learning_rate, facts.local_steps, facts.epochs]
    if any(value is not None for value in trains) and facts.learning_rate is None:
        raise ConfigError("learning_rate: a client of local steps or epochs needs one, such as learning_rate=0.1.")
    if facts.learning_rate is None and facts.batch_size not in (None, examples):
        raise ConfigError(
            "batch_size: a client that shares the gradient of one batch has no other batches; say learning_rate=..., "
            "and local_steps=... or epochs=..., for one that trains and shares weights."
        )
    return facts


def _checked(inputs: Any, labels: Any, limits: tuple[float, float]) -> tuple[Tensor, Tensor]:  # noqa: ANN401
    """Return images and labels as tensors on the CPU."""
    try:
        pictures, truth = (torch.as_tensor(one).detach().cpu() for one in (inputs, labels))
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"images, labels: expected tensors, or what torch.as_tensor takes ({error}).") from error
    truth = truth.reshape(-1)
    if pictures.dim() not in (4, 5) or not len(truth) or pictures.shape[-4] != len(truth):
        raise ConfigError(
            "images: expected a tensor (N, C, H, W), or (T, N, C, H, W) for events, and N labels; got "
            f"{tuple(pictures.shape)} and {tuple(truth.shape)}."
        )
    pictures = pictures.float()
    low, high = limits
    least, most = float(pictures.min()), float(pictures.max())
    if pictures.dim() == 4 and not low <= least <= most <= high:
        raise ConfigError(
            f"low, high: expected images from {low:g} to {high:g}, got {least:g} to {most:g}; divide them, or say "
            "low=... and high=..., the values of black and white."
        )
    return pictures, truth.long()


def _update(module: nn.Module, capture: CapturedUpdate, batch: Batch) -> dict[str, Tensor]:
    """Return the client's gradient, or what its steps add to the state of the module."""
    targets = targets_of(capture.training, batch.labels, capture.model.input.classes)
    axis = 1 if batch.inputs.dim() == 5 else 0
    steps = [(batch.inputs.narrow(axis, step.start, len(step)), targets[step.start : step.stop])
             for step in local_steps(capture)]  # fmt: skip
    if capture.kind == "gradient":
        return client_gradient(module, steps[0], capture.training)
    assert capture.learning_rate is not None  # noqa: S101 - the caller asks
    train_client(module, steps, capture.training, learning_rate=capture.learning_rate)
    return {name: value - capture.parameters[name] for name, value in _state_of(module).items()}


def _state_of(module: nn.Module) -> dict[str, Tensor]:
    """Return a copy of the parameters and buffers that a client and a server exchange."""
    return {name: value.detach().clone() for name, value in module.state_dict().items()}
