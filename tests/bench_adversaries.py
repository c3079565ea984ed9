"""What the stronger adversaries find of single examples of untrained clients: the table in configs/RESULTS.md.

    python -m tests.bench_adversaries [NAME ...]

Each client has a model of its own and shares the gradient of one example of the test split; letter D has 2,000 examples
of the train split (1,000 of LFW, 500 of N-MNIST). The settings were chosen on victims of other seeds. Needs the data
sets. Not part of the tests.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from rich.console import Console
from torch import Tensor

from attacks import build_attack
from attacks.contracts import Auxiliary, UsesAuxiliary
from fl_sim.datasets import load_dataset
from fl_sim.datasets.examples import Dataset
from fl_sim.models import build_model
from fl_sim.records import CapturedUpdate, ModelSpec, SpikingSpec
from fl_sim.seeding import torch_stream
from fl_sim.specs import Framing, Scalar
from fl_sim.training import capture_gradient, parameters_of
from judges.bench.process import prepare_process
from judges.intervals import bootstrap_mean
from judges.scoring.controls import mean_inputs
from judges.scoring.image_metrics import psnr_db, ssim

SEED = 2025
VICTIMS = 32
AUXILIARY = {"lfw": 1000, "nmnist": 500}
EVENTS = ("nmnist", "dvs_gesture")
WINDOWS = Framing(time_bins=10, window_ms=100.0)
DARK = {"dark_background": 0.05}

COLUMNS = ("data", "model", "init", "attack", "settings", "letter", "SSIM, or l2", "PSNR dB", "SSIM > 0.8", "CPU s")


@dataclass(frozen=True)
class Case:
    """Victims and an attack on them."""

    data: str
    model: str
    init: str
    attack: str
    letter: str = "B"
    settings: Mapping[str, Scalar] = field(default_factory=dict)


CASES = {
    "mnist-torch": [
        Case("mnist", "spiking_lenet", "torch", "frozen_delta"),
        Case("mnist", "spiking_lenet", "torch", "frozen_delta", settings=DARK),
        Case("mnist", "lenet", "torch", "inverting_gradients"),
    ],
    "mnist-uniform": [
        Case("mnist", "spiking_lenet", "uniform", "feature_kalman"),
        Case("mnist", "spiking_lenet", "uniform", "feature_kalman", "D"),
        Case("mnist", "spiking_lenet", "uniform", "feature_kalman", "D", {"dark_background": 0.1}),
        Case("mnist", "lenet", "uniform", "inverting_gradients"),
    ],
    "colour": [
        Case("cifar100", "spiking_lenet", "torch", "frozen_delta"),
        Case("cifar100", "spiking_lenet", "torch", "learned", "D"),
        Case("lfw", "spiking_lenet", "torch", "learned", "D"),
    ],
    "events": [
        Case("nmnist", "spiking_lenet", "torch", "frozen_delta"),
        Case("nmnist", "spiking_lenet", "torch", "learned", "D"),
        Case("dvs_gesture", "spiking_lenet", "torch", "frozen_delta"),
        Case("dvs_gesture", "spiking_lenet", "torch", "learned", "D"),
    ],
}


def victims(case: Case, dataset: Dataset) -> tuple[list[CapturedUpdate], list[Tensor], list[int]]:
    """Return captures, their inputs (1, C, H, W), or (T, 1, C, H, W) for events, and their labels."""
    spiking = SpikingSpec(timesteps=dataset.spec.timesteps or 10) if case.model == "spiking_lenet" else None
    spec = ModelSpec(case.model, dataset.spec, spiking=spiking, init=case.init)
    rows = torch.randperm(len(dataset.test), generator=torch_stream(SEED, "victims", case.data))[:VICTIMS]
    captures, inputs, labels = [], [], []
    for number, row in enumerate(rows):
        picture, label = dataset.test.batch(row[None])
        parameters = parameters_of(build_model(spec, seed=1000 * SEED + number))
        capture = capture_gradient(spec, parameters, picture, label)
        captures.append(dataclasses.replace(capture, id=f"bench/r001-c{number:03d}"))
        inputs.append(picture)
        labels.append(int(label))
    return captures, inputs, labels


def others(case: Case, dataset: Dataset) -> Auxiliary:
    """Return the auxiliary examples of letter D."""
    count = AUXILIARY.get(case.data, 2000)
    rows = torch.randperm(len(dataset.train), generator=torch_stream(SEED, "auxiliary", case.data))[:count]
    return Auxiliary(f"{case.data} train {count}", *dataset.train.batch(rows))


def interval(values: Tensor) -> str:
    """Return a mean with its 95 % bootstrap interval."""
    found = bootstrap_mean(values.double().tolist(), range(len(values)), seed=SEED, stream="bench")
    between = "" if found is None else f" [{found[0]:.2f}, {found[1]:.2f}]"
    return f"{float(values.mean()):.2f}{between}"


def line(case: Case) -> str:
    """Return the row of a case."""
    events = case.data in EVENTS
    dataset = load_dataset(case.data, size=32 if events else 0, framing=WINDOWS if events else None)
    captures, inputs, labels = victims(case, dataset)
    attack = build_attack(case.attack, case.settings)
    if case.letter == "D":
        assert isinstance(attack, UsesAuxiliary)
        attack = attack.informed(others(case, dataset))
    start = time.process_time()
    answers = [answer.inputs for answer in attack.reconstruct(captures, seed=SEED)]
    seconds = (time.process_time() - start) / len(captures)
    told = " ".join(f"{key}={value}" for key, value in case.settings.items())
    cells = [
        case.data,
        case.model,
        case.init,
        case.attack,
        told,
        case.letter,
        *scores(answers, inputs, labels, dataset),
    ]
    return f"| {' | '.join(cells)} | {seconds:.1f} |"


def scores(
    answers: Sequence[Tensor], inputs: Sequence[Tensor], labels: Sequence[int], dataset: Dataset
) -> tuple[str, str, str]:
    """Return similarity, PSNR and successes of images; l2 and its paired gains over two controls for events."""
    low, high = dataset.spec.low, dataset.spec.high
    if not dataset.spec.timesteps:
        pairs = list(zip(answers, inputs, strict=True))
        similar = torch.cat([ssim(*pair, low=low, high=high) for pair in pairs])
        decibels = torch.cat([psnr_db(*pair, low=low, high=high) for pair in pairs])
        return interval(similar), interval(decibels), f"{int((similar > 0.8).sum())} of {len(pairs)}"
    means = mean_inputs(dataset.train)
    of_class = [means.of(label).unsqueeze(-4) for label in labels]
    ours, empty, mean = (
        torch.stack([(one - truth).norm() for one, truth in zip(some, inputs, strict=True)])
        for some in (answers, [torch.zeros_like(truth) for truth in inputs], of_class)
    )
    gains = f"nearer than the empty recording by {interval(empty - ours)}, than the class mean by"
    return interval(ours), f"{gains} {interval(mean - ours)}", ""


def main() -> None:
    """Print the table."""
    prepare_process(1)
    console = Console(soft_wrap=True, highlight=False, markup=False)
    console.print(f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}")
    for name in sys.argv[1:] or CASES:
        for case in CASES[name]:
            console.print(line(case))


if __name__ == "__main__":
    main()
