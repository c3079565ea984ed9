"""What the attacks find of one example of each network of the zoo, as the table in configs/RESULTS.md.

    python -m tests.bench_models [NAME ...]

Each client shares the gradient of one example: a digit in the size, channels and range of the network's pictures, or a
row of random numbers. What is exact is read off; DLG and iDLG start from U(0.45, 0.55) and may start once more,
Inverting Gradients starts from noise; the answer is that whose update is nearest to the captured one, which never
involves the truth. Networks whose training draws random numbers or needs several examples are trained in eval mode.
Not part of the tests.
"""

from __future__ import annotations

import dataclasses
import math
import sys
import time
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from rich.console import Console
from torch import Tensor
from torch.nn import functional as F

from attacks import build_attack
from attacks.contracts import Reconstruction, StopReason
from attacks.engines.choice import Choice, choose
from attacks.engines.plain import matched
from attacks.engines.truth import mismatch
from attacks.preflight.evaluation import Evaluation, evaluated
from fl_sim.datasets import load_dataset
from fl_sim.errors import SpikeleakError
from fl_sim.records import CapturedUpdate, InputSpec
from judges.scoring.image_metrics import SSIM_WINDOW, has_ssim, ssim
from tests import zoo

SECONDS = 10.0
"""CPU time that an attack on a network may take; its number of steps follows from the cost of an evaluation."""

MOST_STEPS = 150
"""Outer steps of an attack on the cheapest networks, of 20 evaluations each."""

MOST_DESCENTS = 1000
"""Steps of Inverting Gradients on the cheapest networks."""

COLUMNS = (
    "network", "parameters", "engine", "loss at the truth", "ms an evaluation", "attack", "distance", "SSIM", "RMSE",
    "ended", "s",
)  # fmt: skip


@dataclass(frozen=True)
class Found:
    """The best answer of four attacks.

    Attributes:
        attack: which one.
        answer: what it returned.
        distance: of its update from the captured one, relative to its norm.
        rmse: root of the mean squared error, in units of the value range.
        seconds: CPU time of all.
    """

    attack: str
    answer: Reconstruction
    distance: float
    rmse: float
    seconds: float


def example_of(entry: zoo.ZooEntry) -> tuple[Tensor, Tensor]:
    """Return a digit of the network's size, or a row of random numbers or tokens, and its label."""
    spec = entry.input
    inputs, labels = zoo.examples_of(entry, 0, 1)
    if not spec.vocabulary and not spec.timesteps and min(spec.height, spec.width) >= SSIM_WINDOW:
        digit, _ = load_dataset("digits").test.batch(torch.tensor([0]))
        resized = F.interpolate(digit, (spec.height, spec.width), mode="area").expand(1, *spec.frame)
        inputs = spec.low + (spec.high - spec.low) * resized
    return inputs, labels


def client_of(entry: zoo.ZooEntry) -> tuple[CapturedUpdate, Tensor, Tensor]:
    """Return the capture of a client with one example; in eval mode where training draws or needs several."""
    example = example_of(entry)
    try:
        capture, *truth = zoo.capture_of(entry, 0, examples=example)
        quiet = not choose([capture]).draws
    except (ValueError, SpikeleakError):  # a batch normalisation that cannot train on one example
        quiet = False
    if not quiet:
        calm = dataclasses.replace(entry, training=entry.training.model_copy(update={"mode": "eval"}))
        capture, *truth = zoo.capture_of(calm, 0, examples=example)
    return capture, truth[0], truth[1]


def attacked(capture: CapturedUpdate, inputs: Tensor, milliseconds: float) -> Found:
    """Return the answer whose update is nearest to the captured one."""
    spec = capture.model.input
    evaluations = SECONDS / 3 / (milliseconds / 1e3)
    searching = {
        "guess": "uniform",
        "iterations": max(2, min(MOST_STEPS, math.floor(evaluations / 20))),
        "restarts": 1,
        "tolerance_change": 0.0,
        "tolerance_gradient": 0.0,
    }
    descending = {"steps": max(40, min(MOST_DESCENTS, math.floor(evaluations)))}
    answers: dict[str, Reconstruction] = {}
    start = time.process_time()
    settings: dict[str, Any] = {"exact": {}, "dlg": searching, "idlg": searching, "inverting_gradients": descending}
    for name, own in settings.items():
        try:
            (answer,) = build_attack(name, own).reconstruct([capture], seed=0)
        except SpikeleakError:  # no labels are read of a regression, and texts are not for descents
            continue
        if answer.stop_reason != StopReason.NOT_ATTEMPTED:
            answers[name] = answer
    seconds = time.process_time() - start
    distances = {name: mismatch(capture, answer.inputs, answer.labels) for name, answer in answers.items()}
    best = min(answers, key=lambda name: distances[name])
    error = (answers[best].inputs - inputs).square().mean().sqrt() / (spec.high - spec.low)
    return Found(best, answers[best], distances[best], float(error), seconds)


def similarity(answer: Tensor, truth: Tensor, spec: InputSpec) -> str:
    """Return the SSIM of a picture, or nothing where there is none."""
    if spec.timesteps or spec.vocabulary or not has_ssim(truth):
        return ""
    return f"{float(ssim(answer, truth, low=spec.low, high=spec.high)[0]):.2f}"


def line(entry: zoo.ZooEntry) -> str:
    """Return the row of a network."""
    with zoo.in_table(entry):
        capture, inputs, labels = client_of(entry)
        choice: Choice = choose([capture])
        found: Evaluation = evaluated(capture, choice, matched(capture))
        best = attacked(capture, inputs, found.milliseconds)
        at_truth = mismatch(capture, inputs, labels)
    parameters = sum(value.numel() for value in capture.parameters.values())
    mode = capture.training.taken().mode
    cells = [
        f"{entry.name}{' (eval)' if mode == 'eval' else ''}",
        f"{parameters:,}",
        choice.engine,
        f"{at_truth:.0e}",
        f"{found.milliseconds:.1f}",
        best.attack,
        f"{best.distance:.0e}",
        similarity(best.answer.inputs, inputs, capture.model.input),
        f"{best.rmse:.3f}",
        str(best.answer.stop_reason.value),
        f"{best.seconds:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    console = Console(soft_wrap=True, highlight=False, markup=False)
    console.print(f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}")
    for name in sys.argv[1:] or zoo.ZOO:
        if zoo.is_installed(zoo.ZOO[name]):
            console.print(line(zoo.ZOO[name]))


if __name__ == "__main__":
    main()
