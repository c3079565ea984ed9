"""What the attacks find of clients that take several local steps: the table in configs/RESULTS.md.

    python -m tests.bench_local_steps [MODEL [ITERATIONS [ROWS [LABELS]]]]

Clients train on `digits`, test split, with SGD and learning rate 0.1, each from a model of its own under U(-0.5, 0.5).
The attack replays their steps. With labels known, in the order of the steps, it is iDLG; with labels unknown, DLG; with
labels read off the update of one step, iDLG by its default rule. An answer counts for the original to which it is
assigned. ROWS is how the names of the rows begin, and LABELS those to be measured. Not part of the tests.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from rich.console import Console
from torch import Tensor

from attacks import build_attack
from fl_sim.client_steps import train_client
from fl_sim.client_training import ClientTraining
from fl_sim.datasets import load_dataset
from fl_sim.losses import targets_of
from fl_sim.models import MODELS, build_model
from fl_sim.observed import local_steps
from fl_sim.records import CapturedUpdate, InputSpec, ModelSpec, SpikingSpec
from fl_sim.seeding import torch_stream
from judges.bench.process import prepare_process
from judges.scoring.assignment import assigned
from judges.scoring.image_metrics import ssim

CLIENTS = 4
RATE = 0.1
FOUND = 0.9
"""SSIM above which an image counts as found."""

SEARCH = {"guess": "uniform", "history": 300, "restarts": 1, "tolerance_change": 0.0, "range_weight": 0.01}
"""Settings of all rows."""

ATTACKS = {"known": "idlg", "read": "idlg", "unknown": "dlg"}
"""Attacks by what they know of the labels."""

COLUMNS = ("steps", "momentum", "labels", f"SSIM > {FOUND}", "mean SSIM", "evaluations", "CPU s a client")


@dataclass(frozen=True)
class Case:
    """How a client trains: steps, examples a step, whether the steps use the same example, and momentum."""

    steps: int
    size: int
    same: bool
    momentum: float

    @property
    def name(self) -> str:
        """Return what a step uses."""
        if self.steps == 1:
            return f"1 of {self.size} images"
        if self.same:
            return f"{self.steps} on one image"
        return f"{self.steps} of {self.size} image{'s' * (self.size > 1)} each"

    @property
    def labels(self) -> Sequence[str]:
        """Return what attacks may know of the labels; in one step, an order is nothing to know."""
        return ("read", "unknown") if self.steps == 1 else ("known", "unknown")


CASES = [
    Case(steps, size, same, momentum)
    for steps, size, same in ((2, 1, True), (5, 1, True), (2, 1, False), (5, 1, False), (2, 4, False))
    for momentum in (0.0, 0.9)
] + [Case(1, size, same=False, momentum=0.0) for size in (4, 8)]


def client(model: str, case: Case, number: int) -> tuple[CapturedUpdate, Tensor, Tensor]:
    """Return what the server captures of a client, and its images and labels in the order of their use."""
    spiking = SpikingSpec(timesteps=5) if MODELS[model].spiking else None
    spec = ModelSpec(model, InputSpec(1, 28, 28, 10), "uniform", spiking)
    module, training = build_model(spec, seed=100 + number), ClientTraining(momentum=case.momentum)
    count, data = case.size * (1 if case.same else case.steps), load_dataset("digits").test
    inputs, labels = data.batch(torch.randperm(len(data), generator=torch_stream(number, "images"))[:count])
    sent = {name: value.clone() for name, value in module.state_dict().items()}
    capture = CapturedUpdate(
        f"steps/r001-c{number:03d}", 1, number, spec, sent, {}, "delta", learning_rate=RATE, local_steps=case.steps,
        batch_size=case.size, num_examples=count, training=training,
    )  # fmt: skip
    targets = targets_of(training, labels, spec.input.classes)
    batches = [(inputs[list(step)], targets[list(step)]) for step in local_steps(capture)]
    train_client(module, batches, training, learning_rate=RATE)
    update = {name: value - sent[name] for name, value in module.state_dict().items()}
    return dataclasses.replace(capture, update=update), inputs, labels


def line(model: str, case: Case, iterations: int, labels: str) -> Sequence[str]:
    """Return the row of a case; `labels` is one of `ATTACKS`."""
    clients = [client(model, case, number) for number in range(CLIENTS)]
    captures = [dataclasses.replace(one, labels=own if labels == "known" else None) for one, _, own in clients]
    started = time.process_time()
    attack = build_attack(ATTACKS[labels], {**SEARCH, "iterations": iterations})
    answers = attack.reconstruct(captures, seed=0)
    seconds = (time.process_time() - started) / CLIENTS
    found = []
    for answer, (_, inputs, _) in zip(answers, clients, strict=True):
        found += ssim(answer.inputs[assigned(answer.inputs, inputs)], inputs, low=0.0, high=1.0).tolist()
    effort = sum(answer.gradient_evaluations for answer in answers) / CLIENTS
    return (
        case.name, f"{case.momentum:g}", labels,
        f"{sum(value > FOUND for value in found)} of {len(found)}", f"{sum(found) / len(found):.2f}",
        f"{effort:,.0f}", f"{seconds:.0f}",
    )  # fmt: skip


def main(model: str = "lenet", iterations: str = "150", rows: str = "", labels: str = "") -> None:
    """Print the table."""
    prepare_process(1)
    console = Console(soft_wrap=True, highlight=False, markup=False)
    console.print(f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}")
    for asked in ATTACKS:
        for case in CASES:
            if case.name.startswith(rows) and asked in case.labels and labels in ("", asked):
                console.print(f"| {' | '.join(line(model, case, int(iterations), asked))} |")


if __name__ == "__main__":
    main(*sys.argv[1:])
