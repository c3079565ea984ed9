"""Training of a judge: Adam, a cosine schedule, early stopping on a slice of the train split, augmentation.

No global random state is touched, so that two judges can be trained in two threads, and training a judge changes no
other number of an experiment.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fl_sim.checkpoints import Checkpoint, Keep
from fl_sim.datasets.examples import Examples
from fl_sim.encoders import Encoder
from fl_sim.epochs import EpochLoop, batch_for, device_of, spread_over
from fl_sim.seeding import torch_stream
from judges.classifiers.augmentation import augmented
from judges.classifiers.model import JudgeModel

TRAINED_AT_ONCE = 2**21
EVALUATED_AT_ONCE = 2**18
"""Largest pixels times steps of a batch, which bound the memory whatever the size of an example."""


@dataclass(frozen=True)
class JudgeSettings:
    """How a judge is trained.

    Attributes:
        learning_rate: peak learning rate of Adam, reached after `warmup` and then following the schedule.
        warmup: share of the steps during which the learning rate rises from 0.
        weight_decay: weight decay, decoupled from the gradient (Loshchilov and Hutter 2019).
        batch_size: examples of a step; fewer if they are large, see `TRAINED_AT_ONCE`.
        max_epochs: largest number of epochs.
        max_examples: largest number of examples seen; it reduces the epochs of a large data set, and where it does not
            suffice for one, that many examples are drawn for it.
        patience: epochs without a better held-out loss after which training stops.
        holdout: share of the train split that is held out for early stopping; 0 trains on all of it, for all epochs.
        shift: largest shift of a training input in pixels, in each direction.
        zoom: largest relative change of a training image's size; 0 for recordings of events.
        flip: whether half of the training inputs are mirrored horizontally.
        clip: largest norm of a step's gradient; 0 for no limit.
        schedule: "cosine" lowers the learning rate to 0 along half a cosine, "constant" keeps it.
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
    schedule: Literal["cosine", "constant"] = "cosine"

    def epochs(self, examples: int) -> int:
        """Return the number of epochs over `examples` examples."""
        return max(1, min(self.max_epochs, self.max_examples // examples))

    def rate(self, progress: float) -> float:
        """Return the learning rate after a share `progress` of all steps."""
        rise = min(1.0, progress / self.warmup) if self.warmup else 1.0
        if self.schedule == "constant":
            return self.learning_rate * rise
        return self.learning_rate * rise * 0.5 * (1.0 + math.cos(math.pi * progress))


def train(
    model: JudgeModel,
    split: Examples,
    settings: JudgeSettings,
    *,
    seed: int,
    resume: Checkpoint | None = None,
    keep: Keep | None = None,
) -> Checkpoint:
    """Train a judge in place, load the state of its best epoch, and return the last checkpoint.

    A resumed training gives results identical to those of an uninterrupted one.

    Args:
        model: a judge that reads the inputs of `split`.
        split: the train split; a slice of it is held out for early stopping.
        settings: settings of the training.
        seed: seed of the slice, the order of the examples and their augmentation.
        resume: last argument of `keep` in a training with the same settings, split and seed.
        keep: called after each epoch.
    """
    order = torch.randperm(len(split), generator=torch_stream(seed, "judge", "held-out slice"))
    held_back = max(1, round(settings.holdout * len(split))) if settings.holdout else 0
    held_out, members = order[:held_back], order[held_back:][: settings.max_examples]
    generator = torch_stream(seed, "judge", "order and changes")
    # Batches have about equal sizes, so that none has a single example, whose variance is 0.
    count = math.ceil(len(members) / max(4, min(settings.batch_size, TRAINED_AT_ONCE // _pixels(split))))
    loop = EpochLoop(
        model,
        torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay),
        generator,
        members=members,
        cut=lambda shuffled: shuffled.tensor_split(count),
        loss=lambda indices, *_: _loss(model, split.batch(indices), settings, generator),
        epochs=settings.epochs(len(split)),
        clip=settings.clip,
        rate=settings.rate,
        held_out_loss=(lambda: _held_out_loss(model, split, held_out)) if held_back else None,
        patience=settings.patience,
    )
    end = loop.run(resume=resume, keep=keep)
    model.eval().load_state_dict(end.best_state)
    return end


def evaluation_batches(split: Examples, indices: Tensor) -> tuple[Tensor, ...]:
    """Return `indices` in parts small enough to be evaluated at once, see `EVALUATED_AT_ONCE`."""
    return torch.split(indices, max(1, EVALUATED_AT_ONCE // _pixels(split)))


@torch.no_grad()
def measured_accuracy(model: nn.Module, split: Examples, *, at_most: int = 0) -> float:
    """Return the accuracy of a model on a split, in [0, 1].

    Args:
        model: the model, in evaluation mode.
        split: the examples.
        at_most: number of examples to use, spread evenly over the split; 0 for all.
    """
    indices, right = spread_over(split, at_most), 0
    for part in evaluation_batches(split, indices):
        inputs, labels = batch_for(model, split, part)
        right += int((model(inputs).argmax(dim=1) == labels).sum())
    return right / len(indices)


def _pixels(split: Examples) -> int:
    """Return pixels times steps of one example."""
    shape = split.batch(torch.arange(1))[0].shape
    return math.prod(shape[-2:]) * (shape[0] if len(shape) == 5 else 1)


def _loss(
    model: JudgeModel, batch: tuple[Tensor, Tensor], settings: JudgeSettings, generator: torch.Generator
) -> Tensor:
    """Return the mean loss () of a batch, whose inputs are augmented and coded with fresh draws."""
    inputs, labels = batch
    inputs = augmented(inputs, shift=settings.shift, zoom=settings.zoom, flip=settings.flip, generator=generator)
    for module in model.modules():
        if isinstance(module, Encoder):
            module.seed = int(torch.randint(2**63 - 1, (), generator=generator))
    return model.loss(inputs.to(device_of(model)), labels.to(device_of(model)))


@torch.no_grad()
def _held_out_loss(model: nn.Module, split: Examples, indices: Tensor) -> float:
    """Return the mean cross-entropy of the examples at `indices`, and leave the model in evaluation mode."""
    model.eval()
    total = 0.0
    for part in evaluation_batches(split, indices):
        inputs, labels = batch_for(model, split, part)
        total += float(F.cross_entropy(model(inputs), labels, reduction="sum"))
    return total / len(indices)
