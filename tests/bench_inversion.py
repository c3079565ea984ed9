"""Speed of the batched model inversions against the published way: one class, and one sample, at a time.

Run with `python -m tests.bench_inversion`. Both sides attack the same briefly trained networks of 3000 hidden units in
one process, so that ratios may be compared between machines. Faces are stood in for by digits of their size, whose
pixels are MNIST's where SPIKELEAK_DATA has it and the embedded digits' otherwise. Not part of the tests.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F

from attacks.brainleaks import BrainLeaksV2
from attacks.contracts import Inversion
from attacks.inversion_settings import BrainLeaksV2Settings, MIFaceSettings
from attacks.mi_face import MIFace
from fl_sim.datasets import load_dataset
from fl_sim.errors import DataError
from fl_sim.models import build_model
from fl_sim.models.spiking_mlp import BRAINLEAKS_NEURONS
from fl_sim.records import InputSpec, ModelSpec, TrainedModel
from fl_sim.training import parameters_of
from judges.process import prepare_process
from tests.attacks.inversion_helpers import fire

DIGITS = ModelSpec("spiking_mlp", InputSpec(1, 28, 28, 10), "torch", BRAINLEAKS_NEURONS)
FACES = ModelSpec("mlp", InputSpec(1, 112, 92, 40), "torch")


@dataclass(frozen=True)
class Result:
    """What an attack took, in seconds, and the mean confidence that it reached."""

    seconds: float
    confidence: float


def pixels(count: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return digits (N, 1, height, width) and their labels (N,)."""
    try:
        data = load_dataset("mnist")
    except DataError:
        data = load_dataset("digits")
    inputs, labels = data.train.batch(slice(0, count))
    return F.interpolate(inputs, size=(height, width), mode="bilinear").clamp(0.0, 1.0), labels


def spiking_target(steps: int = 40) -> TrainedModel:
    """Return 784-3000-10 after so many steps of Adam on the sum over time of the cross-entropy, batches of 100."""
    inputs, labels = pixels(1000, 28, 28)
    model = build_model(DIGITS, seed=0)
    solver = torch.optim.Adam(model.parameters(), lr=2e-4)
    for step in range(steps):
        rows = torch.arange(100) + 100 * (step % 10)
        model.encoder.seed = step  # type: ignore[union-attr, assignment]
        said = model.sequence(inputs[rows])  # type: ignore[operator]
        loss = F.cross_entropy(said.flatten(0, 1), labels[rows].repeat(len(said))) * len(said)
        solver.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        solver.step()
    return TrainedModel(DIGITS, parameters_of(model), 0.0, 1, 0)


def ann_target(steps: int = 60) -> TrainedModel:
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


class PublishedNet(nn.Module):
    """The spiking target as the authors run it: every step of time is a product of its own."""

    def __init__(self, model: TrainedModel) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(784, 3000), nn.Linear(3000, 10)
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


def published_v2(model: TrainedModel, classes: int, settings: BrainLeaksV2Settings) -> Result:
    """Return the cost of BrainLeaks-v2 with the constants of MNIST, one class and one sample at a time."""
    net, generator = PublishedNet(model), torch.Generator().manual_seed(0)
    reached = []
    started = time.perf_counter()
    for label in range(classes):
        x, velocity, squares = (torch.zeros(25, 1, 784) for _ in range(3))
        samples = [x] * settings.population
        for _ in range(settings.iterations):
            costs, slopes = [], []
            for sample in samples:
                point = sample.detach().requires_grad_()
                cost = 1.0 - net(point).softmax(-1)[..., label].mean() + settings.xi * point.mean()
                cost.backward()  # type: ignore[no-untyped-call]
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
    return Result(time.perf_counter() - started, sum(reached) / len(reached))


def solo(invert: Callable[[list[int]], Inversion], classes: int) -> Result:
    """Return the cost of one call for each class."""
    results = [invert([label]) for label in range(classes)]
    return Result(sum(r.seconds for r in results), sum(float(r.confidence.mean()) for r in results) / classes)


def main() -> None:
    """Print the table."""
    console = Console(width=120)
    prepare_process(2)
    table = Table("attack", "batched, s", "one at a time, s", "ratio", "confidence", "theirs", box=None)
    target, faces = spiking_target(), ann_target()
    console.print("targets trained")
    v2 = BrainLeaksV2()
    ours, theirs = v2.invert(target, range(10), seed=0), published_v2(target, 10, v2.settings)
    _add(table, "BrainLeaks-v2, 10 classes x 7 samples, 784-3000-10, T = 25", ours, theirs)
    face = MIFace(MIFaceSettings(preset="att_faces"))
    _add(table, "MI-Face, accumulating, 40 classes, 10304-3000-40", face.invert(faces, range(40), seed=0),
         solo(lambda classes: face.invert(faces, classes, seed=0), 40))  # fmt: skip
    console.print(table)


def _add(table: Table, name: str, ours: Inversion, theirs: Result) -> None:
    confidence = float(ours.confidence.mean())
    table.add_row(name, f"{ours.seconds:.1f}", f"{theirs.seconds:.1f}", f"{theirs.seconds / ours.seconds:.1f}x",
                  f"{confidence:.3f}", f"{theirs.confidence:.3f}")  # fmt: skip


if __name__ == "__main__":
    main()
