"""Training of a judge: Adam, a cosine schedule, early stopping on a slice of the train split, small changes of inputs.

Nothing here touches a global random stream, so that two judges may be trained in two threads, and training one
shifts no other number of an experiment.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fl_sim.datasets.examples import Examples
from fl_sim.seeding import torch_stream
from judges.classifiers.augmentation import augmented
from judges.classifiers.checkpoints import Checkpoint
from judges.classifiers.model import JudgeModel, State, device_of

Keep = Callable[[Checkpoint], None]
"""Called with the state of the training after each epoch."""

TRAINED_AT_ONCE = 2**21
EVALUATED_AT_ONCE = 2**18
"""Pixels times steps of a batch at most: they bound the memory whatever the size of an example."""


@dataclass(frozen=True)
class JudgeSettings:
    """How a judge is trained.

    Attributes:
        learning_rate: of Adam at its peak; it rises for `warmup` of the steps and falls to 0 along half a cosine.
        warmup: share of the steps during which the learning rate rises from 0.
        weight_decay: decoupled from the gradient (Loshchilov and Hutter 2019).
        batch_size: examples of a step; fewer of large ones, see `TRAINED_AT_ONCE`.
        max_epochs: passes over the train split at most.
        max_examples: examples seen at most; it shortens the passes of a large data set, to one at least.
        patience: epochs without a better held-out loss after which training stops.
        holdout: share of the train split that is held out for early stopping.
        shift: pixels that a training input is moved by at most, in each direction.
        zoom: share of its size by which a training image grows or shrinks at most; 0 for recordings of events.
        flip: whether half of the training inputs are mirrored, left and right.
        clip: largest norm of a step's gradient.
    """

    learning_rate: float = 3e-3
    warmup: float = 0.0
    weight_decay: float = 0.0
    batch_size: int = 64
    max_epochs: int = 40
    max_examples: int = 540_000
    patience: int = 10
    holdout: float = 0.1
    shift: int = 2
    zoom: float = 0.0
    flip: bool = False
    clip: float = 5.0

    def epochs(self, examples: int) -> int:
        """Return the number of passes over `examples` examples."""
        return max(1, min(self.max_epochs, self.max_examples // examples))

    def rate(self, progress: float) -> float:
        """Return the learning rate after the share `progress` of all steps."""
        rise = min(1.0, progress / self.warmup) if self.warmup else 1.0
        return self.learning_rate * rise * 0.5 * (1.0 + math.cos(math.pi * progress))


@dataclass(frozen=True)
class Trained:
    """The outcome of a training.

    Attributes:
        state: {name: tensor}, parameters and buffers of the best epoch; the model holds them too.
        epochs: passes over the train split, those after the best one included.
        seconds: wall time, that of interrupted runs included up to their last finished epoch.
    """

    state: State
    epochs: int
    seconds: float


def train(
    model: JudgeModel,
    split: Examples,
    settings: JudgeSettings,
    *,
    seed: int,
    resume: Checkpoint | None = None,
    keep: Keep | None = None,
) -> Trained:
    """Train a judge in place and return its best epoch. A resumed training gives the same bits as one never stopped.

    Args:
        model: reads what `split` holds.
        split: the train split; a slice of it is held out for early stopping.
        settings: of the training.
        seed: of the slice, the order of the examples and their changes.
        resume: what `keep` was last called with, by a training with the same settings, split and seed.
        keep: called after each epoch.
    """
    order = torch.randperm(len(split), generator=torch_stream(seed, "judge", "held-out slice"))
    held_out, members = order.tensor_split([max(1, round(settings.holdout * len(split)))])
    epochs = settings.epochs(len(split))
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    generator = torch_stream(seed, "judge", "order and changes")
    now = resume or Checkpoint.at_start(model, generator)
    now.restore(model, optimiser, generator)
    started = time.perf_counter() - now.seconds
    while now.epoch < epochs and now.waited < settings.patience:
        model.train()
        batches = _batches(split, members, settings.batch_size, generator)
        for step, indices in enumerate(batches):
            rate = settings.rate((now.epoch + step / len(batches)) / epochs)
            _step(model, optimiser, split.batch(indices), settings, rate=rate, generator=generator)
        loss = _held_out_loss(model, split, held_out)
        now = now.after_epoch(model, optimiser, generator, loss=loss, started=started)
        if keep is not None:
            keep(now)
    model.eval().load_state_dict(now.best_state)
    return Trained(now.best_state, now.epoch, now.seconds)


def evaluation_batches(split: Examples, indices: Tensor) -> tuple[Tensor, ...]:
    """Return `indices` in parts that are small enough to be evaluated at once, see `EVALUATED_AT_ONCE`."""
    return torch.split(indices, max(1, EVALUATED_AT_ONCE // _pixels(split)))


@torch.no_grad()
def measured_accuracy(model: nn.Module, split: Examples, *, at_most: int = 0) -> float:
    """Return the share of a split that the model names rightly, in [0, 1].

    Args:
        model: in evaluation mode.
        split: what it reads.
        at_most: examples to measure on, spread evenly over the split; 0 for all of them.
    """
    indices = torch.arange(len(split))
    if 0 < at_most < len(split):
        indices = indices[torch.arange(at_most) * len(split) // at_most]
    right = 0
    for part in evaluation_batches(split, indices):
        inputs, labels = (tensor.to(device_of(model)) for tensor in split.batch(part))
        right += int((model(inputs).argmax(dim=1) == labels).sum())
    return right / len(indices)


def _pixels(split: Examples) -> int:
    """Return pixels times steps of one example."""
    shape = split.batch(torch.arange(1))[0].shape
    return math.prod(shape[-2:]) * (shape[0] if len(shape) == 5 else 1)


def _batches(split: Examples, members: Tensor, batch_size: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    """Return `members`, shuffled, in batches of about equal size: none is left with one example and no variance."""
    shuffled = members[torch.randperm(len(members), generator=generator)]
    size = max(4, min(batch_size, TRAINED_AT_ONCE // _pixels(split)))
    return shuffled.tensor_split(math.ceil(len(members) / size))


def _step(
    model: JudgeModel,
    optimiser: torch.optim.Optimizer,
    batch: tuple[Tensor, Tensor],
    settings: JudgeSettings,
    *,
    rate: float,
    generator: torch.Generator,
) -> None:
    """Take one step on the mean loss of a batch."""
    inputs, labels = batch
    inputs = augmented(inputs, shift=settings.shift, zoom=settings.zoom, flip=settings.flip, generator=generator)
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.zero_grad()
    device = device_of(model)
    model.loss(inputs.to(device), labels.to(device)).backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
    optimiser.step()


@torch.no_grad()
def _held_out_loss(model: nn.Module, split: Examples, indices: Tensor) -> float:
    """Return the mean cross-entropy of the examples at `indices`; leaves the model in evaluation mode."""
    model.eval()
    total = 0.0
    for part in evaluation_batches(split, indices):
        inputs, labels = (tensor.to(device_of(model)) for tensor in split.batch(part))
        total += float(F.cross_entropy(model(inputs), labels, reduction="sum"))
    return total / len(indices)
