"""How often each rule reads all labels of a batch right: the table in attacks/README.md.

Run with `python -m tests.bench_labels`. Batches are of `digits`, test split, 40 for each cell, each with a model of its
own; seeds are fixed. Distinct labels are drawn without replacement, repeated ones from half as many classes as there
are examples. The last number of a cell is of batches whose counts are certain: right ones of all. Not part of the
tests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from attacks.reading.labels import LabelRule, read_labels
from fl_sim.central import central_training
from fl_sim.config.training import TrainingSettings
from fl_sim.datasets import load_dataset
from fl_sim.models import build_model
from fl_sim.records import InputSpec, ModelSpec, SpikingSpec
from fl_sim.seeding import torch_stream
from fl_sim.training import capture_gradient, parameters_of
from judges.bench.process import prepare_process

BATCHES = 40
SIZES = (1, 2, 4, 8, 16, 32)
RULES: tuple[LabelRule, ...] = ("weights", "bias", "counts")
SHAPE = InputSpec(1, 28, 28, 10)
TRAINING = TrainingSettings(epochs=30, batch_size=50, learning_rate=1e-3)


def model_of(name: str, init: str) -> ModelSpec:
    """Return a LeNet, its twin with T = 5, or a network with one hidden layer of 300 units."""
    return ModelSpec(name, SHAPE, init, SpikingSpec(timesteps=5) if name == "spiking_lenet" else None, hidden=300)


def batches(count: int, *, distinct: bool) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Yield the seed, the inputs (N, C, H, W) and the labels (N,) of each batch."""
    test = load_dataset("digits").test
    for seed in range(BATCHES):
        stream = torch_stream(seed, "labels", count, distinct)
        classes = torch.randperm(SHAPE.classes, generator=stream)
        drawn = torch.randint(max(1, min(SHAPE.classes, count // 2)), (count,), generator=stream)
        labels = classes[:count] if distinct else classes[drawn]
        rows = []
        for label in labels.tolist():
            same = (test.labels == label).nonzero().flatten()
            rows.append(same[torch.randint(len(same), (1,), generator=stream)])
        yield seed, *test.batch(torch.cat(rows))


def right(model: ModelSpec, count: int, *, distinct: bool, trained: Mapping[str, Tensor] | None) -> str:
    """Return for each rule the number of batches of which all labels are right, and that of certain counts of all."""
    found, certain, certain_right = [0] * len(RULES), 0, 0
    for seed, inputs, labels in batches(count, distinct=distinct):
        capture = capture_gradient(model, trained or parameters_of(build_model(model, seed=seed)), inputs, labels)
        for place, rule in enumerate(RULES):
            read = read_labels(capture, rule=rule)
            is_right = read.labels.equal(labels.sort().values)
            found[place] += is_right
            if rule == "counts":
                certain, certain_right = certain + read.certain, certain_right + (is_right and read.certain)
    return " / ".join([*map(str, found), f"{certain_right} of {certain}"])


def main() -> None:
    """Print the table."""
    prepare_process(1)
    table = Table("model", "labels", *(f"N = {count}" for count in SIZES), box=None)
    cases: list[tuple[str, ModelSpec, Mapping[str, Tensor] | None]] = [
        (f"{name}, {init}", model_of(name, init), None)
        for name in ("lenet", "spiking_lenet", "mlp")
        for init in ("uniform", "torch")
    ]
    for name in ("lenet", "spiking_lenet"):
        model = model_of(name, "torch")
        done = central_training(model, load_dataset("digits"), TRAINING, seed=1).model
        cases.append((f"{name}, trained to {100 * done.test_accuracy:.0f} %", model, done.parameters))
    for title, model, trained in cases:
        for distinct in (True, False):
            sizes = [count for count in SIZES if (count <= SHAPE.classes if distinct else count > 1)]
            shares = {count: right(model, count, distinct=distinct, trained=trained) for count in sizes}
            cells = (shares.get(count, "") for count in SIZES)
            table.add_row(title, "distinct" if distinct else "repeated", *cells)
    Console(width=180).print(table)


if __name__ == "__main__":
    main()
