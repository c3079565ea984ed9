"""Checkpoints, from which a training can be resumed, and a cache of trained models. Used for targets and judge models.

A file that fails its check counts as missing: the training starts from the beginning.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from fl_sim.cache import Progress, cached
from fl_sim.errors import DataError
from fl_sim.files import atomic_write
from fl_sim.records import load_record, record_bytes, save_record
from fl_sim.specs import Scalar

State = dict[str, Tensor]
"""{name: tensor} of a model's parameters and buffers, such as the running means of batch normalisation."""


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """The state of a training after an epoch.

    Attributes:
        model: {name: tensor}, parameters and buffers.
        best: parameters and buffers of the best epoch if that is an earlier one; otherwise empty.
        optimiser: {"INDEX.name": tensor}, the optimiser's state for the parameter with that index.
        generator: state of the random stream, uint8.
        epoch: number of finished epochs.
        best_loss: held-out loss of the best epoch; infinite if the last epoch is always kept.
        waited: epochs since the best one.
        seconds: wall time so far.
    """

    model: Mapping[str, Tensor]
    best: Mapping[str, Tensor]
    optimiser: Mapping[str, Tensor]
    generator: Tensor
    epoch: int = 0
    best_loss: float = math.inf
    waited: int = 0
    seconds: float = 0.0

    @classmethod
    def at_start(cls, model: nn.Module, generator: torch.Generator) -> Checkpoint:
        """Return the state of a training before its first epoch."""
        return cls(state_of(model), {}, {}, generator.get_state())

    @property
    def best_state(self) -> State:
        """Return parameters and buffers of the best epoch so far."""
        return dict(self.best if self.waited else self.model)

    def after_epoch(
        self,
        model: nn.Module,
        optimiser: torch.optim.Optimizer,
        generator: torch.Generator,
        *,
        loss: float | None,
        started: float,
    ) -> Checkpoint:
        """Return the state of the training after one more epoch.

        Args:
            model, optimiser, generator: in their current state.
            loss: on the held-out slice; None if the last epoch is always kept.
            started: the value of `time.perf_counter()` at the start, had the training never been interrupted.
        """
        better = loss is None or loss < self.best_loss
        return Checkpoint(
            model=state_of(model),
            best={} if better else self.best_state,
            optimiser=_tensors_of(optimiser),
            generator=generator.get_state(),
            epoch=self.epoch + 1,
            best_loss=loss if better and loss is not None else self.best_loss,
            waited=0 if better else self.waited + 1,
            seconds=time.perf_counter() - started,
        )

    def restore(self, model: nn.Module, optimiser: torch.optim.Optimizer, generator: torch.Generator) -> None:
        """Restore model, optimiser and generator to this state."""
        model.load_state_dict(dict(self.model))
        state: dict[int, dict[str, Tensor]] = {}
        for key, tensor in self.optimiser.items():
            index, _, name = key.partition(".")
            state.setdefault(int(index), {})[name] = tensor.clone()
        optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
        generator.set_state(self.generator)


Keep = Callable[[Checkpoint], None]
"""Called with the state of the training after each epoch."""


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint, either completely or not at all.

    The file is not synced to the disk, which takes seconds for a large model; after a power failure, the record's
    checksum shows whether it is complete.

    Raises:
        WriteError: the disk is full or the folder cannot be written.
    """
    atomic_write(path, record_bytes(checkpoint), durable=False)


def load_checkpoint(path: Path, model: nn.Module) -> Checkpoint | None:
    """Return the checkpoint at `path`, or None if it is missing, corrupt, or of another model."""
    try:
        checkpoint = load_record(Checkpoint, path)
    except DataError:
        return None
    return checkpoint if fits(checkpoint.model, model) else None


def checkpoint_path(path: Path) -> Path:
    """Return the path of the checkpoint of an unfinished training whose model will be stored at `path`."""
    return path.with_suffix(".checkpoint")


@dataclasses.dataclass(frozen=True)
class Stored:
    """A trained model as stored in a cache. There is one subclass per kind of model.

    Attributes:
        state: {name: tensor}, parameters and buffers.
        facts: plain values that describe the model or its training.
    """

    state: Mapping[str, Tensor]
    facts: Mapping[str, Scalar]


Kind = TypeVar("Kind", bound=Stored)


def load_stored(kind: type[Kind], path: Path, model: nn.Module | None = None) -> Kind | None:
    """Return what is stored at `path`, or None where that is nothing, or not sound, or not of a model that is given."""
    try:
        stored = load_record(kind, path)
    except DataError:
        return None
    return stored if model is None or fits(stored.state, model) else None


def trained_once(
    kind: type[Kind],
    path: Path,
    model: nn.Module,
    train: Callable[[Checkpoint | None, Keep], tuple[State, Mapping[str, Scalar]]],
    *,
    epochs: int,
    progress: Progress | None = None,
) -> Kind:
    """Return the sound model of this kind and these shapes that is kept at a path; else train it now and keep it.

    Args:
        kind: of what is kept.
        path: where.
        model: what `train` trains in place; it is left as it is where a sound one is kept.
        train: goes on from the checkpoint, calls what keeps one after each epoch, and returns state and facts.
        epochs: passes at most.
        progress: called after each epoch; not called where a sound one is kept.
    """
    checkpoint = checkpoint_path(path)

    def keep(now: Checkpoint) -> None:
        save_checkpoint(now, checkpoint)
        if progress is not None:
            progress(now.epoch, epochs)

    def save(stored: Kind, path: Path) -> None:
        save_record(stored, path)
        checkpoint.unlink(missing_ok=True)

    return cached(
        path,
        load=lambda path: load_stored(kind, path, model),
        make=lambda: kind(*train(load_checkpoint(checkpoint, model), keep)),
        save=save,
    )


def fits(state: Mapping[str, Tensor], model: nn.Module) -> bool:
    """Return whether names and shapes in `state` are exactly those of the model's parameters and buffers."""
    return {name: tensor.shape for name, tensor in state.items()} == {
        name: tensor.shape for name, tensor in model.state_dict().items()
    }


def state_of(model: nn.Module) -> State:
    """Return a detached copy of the model's parameters and buffers by name."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def _tensors_of(optimiser: torch.optim.Optimizer) -> State:
    """Return a copy of an optimiser's state for each parameter."""
    return {
        f"{index}.{name}": tensor.detach().clone()
        for index, own in optimiser.state_dict()["state"].items()
        for name, tensor in own.items()
    }
