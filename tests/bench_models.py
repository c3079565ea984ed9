"""What the attacks find of one example of each network of the zoo, as a table in Markdown.

    python -m tests.bench_models [NAME ...]

Each client shares the gradient of one example of random numbers, on which no prior helps: an answer is right or it is
not. DLG and iDLG start from U(0.45, 0.55) and may start twice more; the better of both, by their own loss and never by
the truth, is the answer. Networks that drop out are trained in eval mode, since no server knows their masks.
"""

from __future__ import annotations

import dataclasses
import math
import sys
import time
import warnings
from dataclasses import dataclass

import torch
from rich.console import Console

from attacks import build_attack
from attacks.contracts import Reconstruction
from attacks.engines.choice import Choice, choose
from attacks.engines.plain import matched
from attacks.engines.truth import mismatch
from attacks.preflight.evaluation import Evaluation, evaluated
from fl_sim.errors import SpikeleakError
from fl_sim.records import CapturedUpdate
from tests import zoo

SECONDS = 60.0
"""CPU time that an attack on a network may take; its number of steps follows from the cost of an evaluation."""

MOST_STEPS = 150
"""Outer steps of an attack on the cheapest networks, of 20 evaluations each."""


COLUMNS = (
    "network", "parameters", "engine", "loss at the truth", "ms an evaluation", "attack", "its loss", "SSIM", "RMSE",
    "ended", "s",
)  # fmt: skip


@dataclass(frozen=True)
class Found:
    """The better answer of two attacks.

    Attributes:
        attack: which one.
        answer: what it returned.
        rmse: root of the mean squared error, in units of the value range.
        seconds: CPU time of both.
    """

    attack: str
    answer: Reconstruction
    rmse: float
    seconds: float


def client_of(entry: zoo.ZooEntry) -> tuple[CapturedUpdate, torch.Tensor, torch.Tensor]:
    """Return the capture of a client with one example; in eval mode where training draws or needs several."""
    try:
        capture, *truth = zoo.capture_of(entry, 0, 1)
        quiet = not choose([capture]).draws
    except (ValueError, SpikeleakError):  # a batch normalisation that cannot train on one example
        quiet = False
    if not quiet:
        calm = dataclasses.replace(entry, training=entry.training.model_copy(update={"mode": "eval"}))
        capture, *truth = zoo.capture_of(calm, 0, 1)
    return capture, truth[0], truth[1]


def attacked(capture: CapturedUpdate, inputs: torch.Tensor, milliseconds: float) -> Found:
    """Return the better answer of DLG and iDLG by their matching loss."""
    spec = capture.model.input
    steps = max(2, min(MOST_STEPS, math.floor(SECONDS / 2 / (20 * milliseconds / 1e3))))
    settings = {"guess": "uniform", "iterations": steps, "restarts": 2}
    answers: dict[str, Reconstruction] = {}
    start = time.process_time()
    for name in ("dlg", "idlg"):
        try:
            (answers[name],) = build_attack(name, settings).reconstruct([capture], seed=0)
        except SpikeleakError:  # iDLG reads no labels of a regression
            continue
    seconds = time.process_time() - start
    best = min(answers, key=lambda name: answers[name].matching_loss)
    error = (answers[best].inputs - inputs).square().mean().sqrt() / (spec.high - spec.low)
    return Found(best, answers[best], float(error), seconds)


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
        f"{best.answer.matching_loss:.0e}",
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
