"""Where a judge's training stands after an epoch, so that one that was stopped goes on from there."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from fl_sim.errors import DataError
from fl_sim.records import load_record, record_bytes
from judges.classifiers.model import State, state_of


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """Where a training stands after an epoch.

    Attributes:
        model: {name: tensor}, parameters and buffers.
        best: those of the best epoch, where that is not this one; else empty.
        optimiser: {"INDEX.name": tensor} of the parameter with that index.
        generator: state of the random stream, uint8.
        epoch: how many are finished.
        best_loss: held-out loss of the best epoch.
        waited: epochs since then.
        seconds: wall time so far.
        digest: SHA-256 over all of it; "" while it is not on disk.
    """

    model: Mapping[str, Tensor]
    best: Mapping[str, Tensor]
    optimiser: Mapping[str, Tensor]
    generator: Tensor
    epoch: int = 0
    best_loss: float = math.inf
    waited: int = 0
    seconds: float = 0.0
    digest: str = ""

    @classmethod
    def at_start(cls, model: nn.Module, generator: torch.Generator) -> Checkpoint:
        """Return where a training stands before its first epoch."""
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
        loss: float,
        started: float,
    ) -> Checkpoint:
        """Return where the training stands after one more epoch.

        Args:
            model, optimiser, generator: as they are now.
            loss: on the held-out slice.
            started: `time.perf_counter()` when the training would have started, had it not been interrupted.
        """
        better = loss < self.best_loss
        return Checkpoint(
            model=state_of(model),
            best={} if better else self.best_state,
            optimiser=_tensors_of(optimiser),
            generator=generator.get_state(),
            epoch=self.epoch + 1,
            best_loss=loss if better else self.best_loss,
            waited=0 if better else self.waited + 1,
            seconds=time.perf_counter() - started,
        )

    def restore(self, model: nn.Module, optimiser: torch.optim.Optimizer, generator: torch.Generator) -> None:
        """Put model, optimiser and generator where they stood."""
        model.load_state_dict(dict(self.model))
        state: dict[int, dict[str, Tensor]] = {}
        for key, tensor in self.optimiser.items():
            index, _, name = key.partition(".")
            state.setdefault(int(index), {})[name] = tensor.clone()
        optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
        generator.set_state(self.generator)


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint, whole or not at all.

    It is not forced to the disk: that takes seconds for a large model, and after a loss of power the digest tells.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(record_bytes(dataclasses.replace(checkpoint, digest=_digest(checkpoint))))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load_checkpoint(path: Path, model: nn.Module) -> Checkpoint | None:
    """Return the checkpoint at `path`, or None where there is none that is sound and of this model."""
    try:
        checkpoint = load_record(Checkpoint, path)
    except DataError:
        return None
    sound = checkpoint.digest == _digest(checkpoint) and fits(checkpoint.model, model)
    return checkpoint if sound else None


def fits(state: Mapping[str, Tensor], model: nn.Module) -> bool:
    """Return whether the model has exactly these parameters and buffers, by name and shape."""
    return {name: tensor.shape for name, tensor in state.items()} == {
        name: tensor.shape for name, tensor in model.state_dict().items()
    }


def digest_of(facts: object, *groups: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 over plain facts, and over names and values of tensors."""
    digest = hashlib.sha256(repr(facts).encode())
    for group in groups:
        for name, tensor in sorted(group.items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _digest(checkpoint: Checkpoint) -> str:
    facts = (checkpoint.epoch, checkpoint.best_loss, checkpoint.waited, checkpoint.seconds)
    own = {"generator": checkpoint.generator}
    return digest_of(facts, checkpoint.model, checkpoint.best, checkpoint.optimiser, own)


def _tensors_of(optimiser: torch.optim.Optimizer) -> State:
    """Return a copy of what an optimiser remembers of each parameter."""
    return {
        f"{index}.{name}": tensor.detach().clone()
        for index, own in optimiser.state_dict()["state"].items()
        for name, tensor in own.items()
    }
