"""Training of a judge: Adam, a cosine schedule, early stopping on a slice of the train split, small shifts.

Nothing here touches a global random stream, so that two judges may be trained in two threads, and training one
shifts no other number of an experiment.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fl_sim.datasets.examples import Examples
from fl_sim.records import InputSpec
from fl_sim.seeding import torch_stream
from fl_sim.training import Parameters, accuracy, load_parameters, parameters_of
from judges.classifiers import JudgeProgress


@dataclass(frozen=True)
class JudgeSettings:
    """How a judge is trained.

    Attributes:
        learning_rate: of Adam at the first step; it falls to 0 along half a cosine.
        batch_size: examples of a step.
        max_epochs: passes over the train split at most.
        max_examples: examples seen at most; it shortens the passes of a large data set, to one at least.
        patience: epochs without a better held-out loss after which training stops.
        holdout: share of the train split that is held out for early stopping.
        shift: pixels that a training image is moved by at most, in each direction.
        clip: largest norm of a step's gradient.
    """

    learning_rate: float = 3e-3
    batch_size: int = 64
    max_epochs: int = 40
    max_examples: int = 540_000
    patience: int = 10
    holdout: float = 0.1
    shift: int = 2
    clip: float = 5.0

    def epochs(self, examples: int) -> int:
        """Return the number of passes over `examples` examples."""
        return max(1, min(self.max_epochs, self.max_examples // examples))


def build(builder: Callable[[InputSpec], nn.Module], spec: InputSpec, *, seed: int) -> nn.Module:
    """Return a fresh model with He-uniform weights and zero biases (He et al. 2015), drawn from `seed` alone."""
    with torch.device("meta"):
        model = builder(spec)
    model.to_empty(device="cpu")
    generator = torch_stream(seed, "judge", "initialisation")
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.kaiming_uniform_(parameter, nonlinearity="relu", generator=generator)
        else:
            nn.init.zeros_(parameter)
    return model


def train(
    model: nn.Module, split: Examples, settings: JudgeSettings, *, seed: int, progress: JudgeProgress | None = None
) -> Parameters:
    """Train a judge in place and return the parameters of its best epoch, which it then holds.

    Args:
        model: maps inputs (N, C, H, W) to logits.
        split: the train split; a slice of it is held out for early stopping.
        settings: of the training.
        seed: of the slice, the order of the examples and the shifts.
        progress: called after each epoch.
    """
    order = torch.randperm(len(split), generator=torch_stream(seed, "judge", "held-out slice"))
    held_out = order[: max(1, round(settings.holdout * len(split)))]
    members = order[len(held_out) :]
    epochs = settings.epochs(len(split))
    steps = epochs * math.ceil(len(members) / settings.batch_size)
    optimiser = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=steps)
    generator = torch_stream(seed, "judge", "order and shifts")
    best, best_loss, waited = parameters_of(model), math.inf, 0
    for epoch in range(epochs):
        shuffled = members[torch.randperm(len(members), generator=generator)]
        for indices in torch.split(shuffled, settings.batch_size):
            inputs, labels = split.batch(indices)
            _step(model, optimiser, shifted(inputs, settings.shift, generator), labels, settings.clip)
            schedule.step()
        loss = _loss(model, split, held_out)
        waited = 0 if loss < best_loss else waited + 1
        if loss < best_loss:
            best, best_loss = parameters_of(model), loss
        if progress is not None:
            progress(epoch + 1, epochs)
        if waited >= settings.patience:
            break
    load_parameters(model, best)
    return best


def measured_accuracy(model: nn.Module, split: Examples) -> float:
    """Return the share of a split that the model names rightly, in [0, 1]."""
    right = 0.0
    for indices in torch.split(torch.arange(len(split)), 1000):
        right += accuracy(model, *split.batch(indices)) * len(indices)
    return right / len(split)


def shifted(inputs: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Return images (N, C, H, W), each moved by up to `most` pixels; the edge is repeated into the gap."""
    if most == 0:
        return inputs
    count, channels, height, width = inputs.shape
    padded = F.pad(inputs, (most, most, most, most), mode="replicate")
    down, right = torch.randint(0, 2 * most + 1, (2, count), generator=generator)
    rows = (down[:, None] + torch.arange(height))[:, None, :, None]
    columns = (right[:, None] + torch.arange(width))[:, None, None, :]
    examples = torch.arange(count)[:, None, None, None]
    return padded[examples, torch.arange(channels)[None, :, None, None], rows, columns]


def _step(model: nn.Module, optimiser: torch.optim.Optimizer, inputs: Tensor, labels: Tensor, clip: float) -> None:
    """Take one step on the mean cross-entropy of a batch."""
    optimiser.zero_grad()
    F.cross_entropy(model(inputs), labels).backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimiser.step()


@torch.no_grad()
def _loss(model: nn.Module, split: Examples, indices: Tensor) -> float:
    """Return the mean cross-entropy of the examples at `indices`."""
    total = 0.0
    for part in torch.split(indices, 1000):
        inputs, labels = split.batch(part)
        total += float(F.cross_entropy(model(inputs), labels, reduction="sum"))
    return total / len(indices)
