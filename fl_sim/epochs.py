"""The loop over epochs and batches that trains a model, and the walk over a split that measures one."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from fl_sim.checkpoints import Checkpoint, Keep
from fl_sim.datasets.examples import Examples

TRAIN_MEASURED = 10_000
"""Examples that the accuracy on a train split is measured on at most."""


@dataclasses.dataclass(frozen=True)
class EpochLoop:
    """A training: what is trained, on what, and how.

    Attributes:
        model, optimiser: what is trained, and by what.
        generator: shuffles the examples; the only source of random numbers of an epoch that is not named after it.
        members: (N,), indices of the examples.
        cut: returns the batches of an epoch, given the shuffled members (N,).
        loss: returns the loss () of a batch, given the indices (n,) of its examples, the epochs finished before it, and
            its number in its epoch, from 0.
        epochs: passes at most.
        clip: largest norm of a step's gradient; 0 for any.
        rate: returns the learning rate after a share of all steps; None for the optimiser's own.
        held_out_loss: called after each epoch, returns what the best one is chosen by; None where the last one counts.
        patience: epochs without a smaller held-out loss after which the training stops.
    """

    model: nn.Module
    optimiser: torch.optim.Optimizer
    generator: torch.Generator
    members: Tensor
    cut: Callable[[Tensor], Sequence[Tensor]]
    loss: Callable[[Tensor, int, int], Tensor]
    epochs: int
    clip: float = 0.0
    rate: Callable[[float], float] | None = None
    held_out_loss: Callable[[], float] | None = None
    patience: float = math.inf

    def run(self, *, resume: Checkpoint | None = None, keep: Keep | None = None) -> Checkpoint:
        """Train in place and return where the training ends. A resumed one gives the same bits as one never stopped.

        Args:
            resume: what `keep` was last called with, by a training that is otherwise the same.
            keep: called after each epoch.
        """
        trained = self.model, self.optimiser, self.generator
        now = resume or Checkpoint.at_start(self.model, self.generator)
        now.restore(*trained)
        started = time.perf_counter() - now.seconds
        while now.epoch < self.epochs and now.waited < self.patience:
            self._one_epoch(now.epoch)
            loss = self.held_out_loss() if self.held_out_loss else None
            now = now.after_epoch(*trained, loss=loss, started=started)
            if keep is not None:
                keep(now)
        return now

    def _one_epoch(self, finished: int) -> None:
        self.model.train()
        batches = self.cut(self.members[torch.randperm(len(self.members), generator=self.generator)])
        for number, indices in enumerate(batches):
            if self.rate is not None:
                for group in self.optimiser.param_groups:
                    group["lr"] = self.rate((finished + number / len(batches)) / self.epochs)
            self.optimiser.zero_grad()
            self.loss(indices, finished, number).backward()  # type: ignore[no-untyped-call]
            if self.clip:
                nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
            self.optimiser.step()


def device_of(model: nn.Module) -> torch.device:
    """Return where a model computes."""
    return next(model.parameters()).device


def batch_for(model: nn.Module, split: Examples, indices: Tensor) -> tuple[Tensor, Tensor]:
    """Return inputs and labels (n,) of the examples at `indices` (n,), where the model computes."""
    inputs, labels = split.batch(indices)
    return inputs.to(device_of(model)), labels.to(device_of(model))


def spread_over(split: Examples, at_most: int = 0) -> Tensor:
    """Return the indices of `at_most` examples, spread evenly over a split; of all where it has fewer, and for 0."""
    count = min(at_most or len(split), len(split))
    return torch.arange(count) * len(split) // count
