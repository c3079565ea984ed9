"""Speed of the batched model inversions against the published way: one class, and one sample, at a time.

Run with `python -m tests.bench_inversion`. Both sides attack the same networks of 3000 hidden units, briefly trained
but for the spiking one that reads faces, in one process on one thread; times are processor time, and only ratios are
worth comparing between machines. Faces are stood in for by digits of their size, MNIST's where SPIKELEAK_DATA has them
and the embedded ones otherwise. Not part of the tests.
"""

from __future__ import annotations

import math
import time
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F

from attacks.brainleaks import BrainLeaksV2
from attacks.contracts import ModelInversion
from attacks.inversion_settings import BrainLeaksV2Settings, MIFaceSettings
from attacks.mi_face import MIFace
from fl_sim.datasets import load_dataset
from fl_sim.errors import DataError
from fl_sim.models import build_model
from fl_sim.records import InputSpec, ModelSpec, TrainedModel
from fl_sim.specs import BRAINLEAKS_NEURONS
from fl_sim.training import parameters_of
from judges.bench.process import prepare_process
from tests.attacks.inversion_helpers import fire

DIGITS = ModelSpec("spiking_mlp", InputSpec(1, 28, 28, 10), "torch", BRAINLEAKS_NEURONS)
FACES = ModelSpec("mlp", InputSpec(1, 112, 92, 40), "torch")
SPIKING_FACES = ModelSpec("spiking_mlp", InputSpec(1, 112, 92, 40), "torch", BRAINLEAKS_NEURONS)


class Cost(NamedTuple):
    """What an attack took, processor seconds a class, and the mean confidence that it reached if it was whole."""

    seconds: float
    confidence: float | None


def pixels(count: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return digits (N, 1, height, width) and their labels (N,)."""
    try:
        data = load_dataset("mnist")
    except DataError:
        data = load_dataset("digits")
    inputs, labels = data.train.batch(slice(0, count))
    return F.interpolate(inputs, size=(height, width), mode="bilinear").clamp(0.0, 1.0), labels


def spiking_target(steps: int = 15) -> TrainedModel:
    """Return 784-3000-10 after so many steps of Adam on the sum over time of the cross-entropy, batches of 100."""
    inputs, labels = pixels(1000, 28, 28)
    model = build_model(DIGITS, seed=0)
    solver = torch.optim.Adam(model.parameters(), lr=2e-4)
    for step in range(steps):
        rows = torch.arange(100) + 100 * (step % 10)
        model.encoder.seed = step  # type: ignore[union-attr]
        said = model.sequence(inputs[rows])  # type: ignore[operator]
        loss = F.cross_entropy(said.flatten(0, 1), labels[rows].repeat(len(said))) * len(said)
        solver.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        solver.step()
    return TrainedModel(DIGITS, parameters_of(model), 0.0, 1, 0)


def ann_target(steps: int = 40) -> TrainedModel:
    """Return 10304-3000-40, trained to tell 40 pictures apart under noise."""
    inputs, labels = pixels(40, 112, 92)[0], torch.arange(40)
    generator = torch.Generator().manual_seed(0)
    model = build_model(FACES, seed=0)
    solver = torch.optim.Adam(model.parameters(), lr=2e-4)
    for _ in range(steps):
        loss = F.cross_entropy(model(inputs + 0.1 * torch.randn(inputs.shape, generator=generator)), labels)
        solver.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        solver.step()
    return TrainedModel(FACES, parameters_of(model), 0.0, 1, 0)


def untrained(spec: ModelSpec) -> TrainedModel:
    """Return a model as it is drawn: the steps of BrainLeaks take as long on it as on any other."""
    return TrainedModel(spec, parameters_of(build_model(spec, seed=0)), 0.0, 0, 0)


class PublishedNet(nn.Module):
    """The spiking target as the authors run it: every step of time is a product of its own."""

    def __init__(self, model: TrainedModel) -> None:
        super().__init__()
        spec = model.model
        self.first = nn.Linear(math.prod(spec.input.frame), spec.hidden)
        self.second = nn.Linear(spec.hidden, spec.input.classes)
        self.load_state_dict(dict(zip(self.state_dict(), model.parameters.values(), strict=True)))

    def forward(self, spikes: Tensor) -> Tensor:
        """Return potentials (T, N, classes) of spikes (T, N, pixels)."""
        states: list[Tensor] = [torch.zeros(1), torch.zeros(1)]
        potentials = []
        for frame in spikes:
            signal = frame
            for index, layer in enumerate((self.first, self.second)):
                reset = (states[index] > 1.0).float().detach()
                states[index] = 0.7 * (states[index] - reset) + layer(signal)
                signal = fire(states[index] - 1.0)
            potentials.append(states[1])
        return torch.stack(potentials)


def published_v2(model: TrainedModel, classes: int, settings: BrainLeaksV2Settings, *, taken: int) -> Cost:
    """Return the cost of BrainLeaks-v2 with the constants of MNIST, one class and one sample at a time.

    Args:
        model: the target.
        classes: how many, from 0 on.
        settings: of the attack.
        taken: iterations that are measured; the cost is that of `settings.iterations`, all of which take as long.
    """
    net, generator = PublishedNet(model), torch.Generator().manual_seed(0)
    reached = []
    started = time.process_time()
    for label in range(classes):
        x, velocity, squares = (torch.zeros(25, 1, math.prod(model.model.input.frame)) for _ in range(3))
        samples = [x] * settings.population
        for _ in range(taken):
            costs, slopes = [], []
            for sample in samples:
                point = sample.detach().requires_grad_()
                cost = 1.0 - net(point).softmax(-1)[..., label].mean() + settings.xi * point.mean()
                cost.backward()
                costs.append(cost.detach())
                assert point.grad is not None
                slopes.append(point.grad)
            total = torch.stack(costs).sum()
            g = torch.stack([cost / total * slope for cost, slope in zip(costs, slopes, strict=True)]).sum(0)
            squares = squares + settings.rho * squares + (1.0 - settings.rho) * g**2
            velocity = settings.momentum * velocity + g
            x = (x - settings.learning_rate / (squares.sqrt() + settings.epsilon) * velocity).clamp(min=0.0)
            x = x / x.max().clamp(min=1.0)
            samples = [torch.bernoulli(x, generator=generator) for _ in samples]
        with torch.no_grad():
            reached.append(float(net(samples[0]).softmax(-1)[..., label].mean()))
    seconds, whole = (time.process_time() - started) / classes, taken == settings.iterations
    return Cost(seconds * settings.iterations / taken, sum(reached) / classes if whole else None)


def batched(attack: ModelInversion, model: TrainedModel, classes: int) -> Cost:
    """Return the cost of one call for all classes."""
    started = time.process_time()
    result = attack.invert(model, range(classes), seed=0)
    return Cost((time.process_time() - started) / classes, float(result.confidence.mean()))


def solo(attack: ModelInversion, model: TrainedModel, classes: int) -> Cost:
    """Return the cost of one call for each class."""
    started = time.process_time()
    reached = [float(attack.invert(model, [label], seed=0).confidence.mean()) for label in range(classes)]
    return Cost((time.process_time() - started) / classes, sum(reached) / classes)


def main() -> None:
    """Print the table."""
    console = Console(width=120)
    prepare_process(1)
    table = Table("attack", "all, s", "a class, s", "alone, s", "ratio", "confidence", "alone", box=None)
    target, faces, large = spiking_target(), ann_target(), untrained(SPIKING_FACES)
    console.print("targets trained")
    v2, face = BrainLeaksV2(), MIFace(MIFaceSettings(preset="att_faces", iterations=500))
    rows = (
        (
            "BrainLeaks-v2, 784-3000-10, T = 25",
            10, batched(v2, target, 10), published_v2(target, 2, v2.settings, taken=10),
        ),
        (
            "BrainLeaks-v2, 10304-3000-40, T = 25, untrained; alone: 2 of the 10 iterations on 1 class, times 5",
            40, batched(v2, large, 40), published_v2(large, 1, v2.settings, taken=2),
        ),
        ("MI-Face, 10304-3000-40", 40, batched(face, faces, 40), solo(face, faces, 4)),
    )  # fmt: skip
    for name, classes, ours, theirs in rows:
        seconds = f"{classes * ours.seconds:.1f}", f"{ours.seconds:.3f}", f"{theirs.seconds:.3f}"
        reached = ("-" if value is None else f"{value:.3f}" for value in (ours.confidence, theirs.confidence))
        table.add_row(name, *seconds, f"{theirs.seconds / ours.seconds:.1f}x", *reached)
    console.print(table)


if __name__ == "__main__":
    main()
