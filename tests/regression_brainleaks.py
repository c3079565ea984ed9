"""Our answers beside those that the authors of BrainLeaks published as tensors: how dense they are, and where in time.

Run with `python -m tests.regression_brainleaks RUN`, where RUN is the folder of a run of configs/brainleaks.toml with
MNIST in it. Not part of the tests: it takes targets that were trained on all of MNIST. Theirs are read off one attack
on one target each; ours are means and ranges over all attacks of the run.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from attacks.contracts import Inversion
from fl_sim.records import load_record

Measure = Callable[[Inversion], Tensor]

SNN, ANN, FACES = "mnist-spiking_mlp", "mnist-mlp", "att_faces_8_9-mlp"
V1_STEPS = ".395 .148 .116 | ~.10-.11 until t = 10 | ~.20 at t = 19 | .017 at t = 24"
V2_STEPS = (
    ".36 .32 .32 .33 .32 .30 .28 .25 .21 .14 .11 .09 .08 .08 .09 .10 .10 .11 .13 .14 .14 .12 .06 .008 .000"
)  # fmt: skip


def parameters(answer: Inversion) -> Tensor:
    """Return Bernoulli parameters or spikes (T, K, C, H, W), or images as (1, K, C, H, W)."""
    values = answer.inputs if answer.probabilities is None else answer.probabilities
    return values if values.dim() == 5 else values[None]


def by_class(answer: Inversion) -> Tensor:
    """Return the mean of each class, (K,)."""
    return parameters(answer).mean((0, 2, 3, 4))


def by_step(answer: Inversion) -> Tensor:
    """Return the mean of each time step, (T,)."""
    return parameters(answer).mean((1, 2, 3, 4))


def zeros(answer: Inversion) -> Tensor:
    """Return the share of exact zeros of each class, (K,)."""
    return (parameters(answer) == 0).float().mean((0, 2, 3, 4))


def ones(answer: Inversion) -> Tensor:
    """Return how many elements of each class are exactly 1, (K,)."""
    return (parameters(answer) == 1).sum((0, 2, 3, 4)).float()


def never(answer: Inversion) -> Tensor:
    """Return the share of pixels that never spike, (1,)."""
    return (answer.inputs.sum(0) == 0).float().mean()[None]


def most(answer: Inversion) -> Tensor:
    """Return the largest number of spikes of a pixel in each class, (K,)."""
    return answer.inputs.sum(0).flatten(1).amax(1)


def quantiles(answer: Inversion) -> Tensor:
    """Return the 5, 25, 50, 75 and 95 % quantiles of what is not 0, (5,)."""
    values = parameters(answer)
    return torch.quantile(values[values > 0], torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95]))


def largest(answer: Inversion) -> Tensor:
    """Return the largest pixel of each class, (K,)."""
    return answer.inputs.flatten(1).amax(1)


def smallest(answer: Inversion) -> Tensor:
    """Return the smallest pixel, (1,)."""
    return answer.inputs.min()[None]


def overall(answer: Inversion) -> Tensor:
    """Return the mean of all of it, (1,)."""
    return parameters(answer).mean()[None]


TARGETS: tuple[tuple[str, str, str, Measure, str], ...] = (
    (SNN, "brainleaks_v1", "density", overall, ".141"),
    (SNN, "brainleaks_v1", "density by class", by_class, ".155 .123 .141 .139 .142 .142 .129 .134 .177 .128"),
    (SNN, "brainleaks_v1", "density by time step", by_step, V1_STEPS),
    (SNN, "brainleaks_v1", "most spikes of a pixel", most, "23 to 25 of 25"),
    (SNN, "brainleaks_v1", "pixels that never spike", never, ".35"),
    (SNN, "brainleaks_v2", "mean by class", by_class, ".195 .077 .223 .137 .199 .164 .222 .185 .185 .085"),
    (SNN, "brainleaks_v2", "mean by time step", by_step, V2_STEPS),
    (SNN, "brainleaks_v2", "elements equal to 1", ones, "1 in every class"),
    (SNN, "brainleaks_v2", "exact zeros", zeros, ".61 to .78"),
    (SNN, "brainleaks_v2", "quantiles of the rest", quantiles, ".08 .34 .56 .73 .89"),
    (ANN, "mi_face", "largest pixel", largest, ".43 .25 .25 .26 .30 .11 .23 .12 .51 .37"),
    (ANN, "mi_face", "exact zeros", zeros, ".41 to .62"),
    (FACES, "mi_face", "smallest pixel", smallest, "-.445"),
    (FACES, "mi_face", "largest pixel", largest, ".645 at most"),
    (FACES, "mi_face", "mean", overall, "about 0"),
)  # fmt: skip
"""(target, attack, what, how, theirs)."""


def answers(run: Path, target: str, attack: str) -> Iterator[Inversion]:
    """Yield the answers of an attack on the targets of one kind, whatever their seeds."""
    for path in sorted((run / "inversions").glob(f"{target}-torch-*/{attack}-*.safetensors")):
        yield load_record(Inversion, path)


def told(values: list[Tensor]) -> str:
    """Return means over answers; of one number or of many alike, their range."""
    mean = torch.stack(values).mean(0)
    text = " ".join(f"{value:.3f}".lstrip("0") if abs(value) < 10 else f"{value:.0f}" for value in mean.tolist())
    if len(values) == 1:
        return text
    low, high = torch.cat(values).aminmax()
    return f"{text}   (all: {low:.3g} to {high:.3g})"


def main(run: Path) -> None:
    """Print every quantity, ours and theirs."""
    table = Table("target", "attack", "quantity", "theirs", "ours, mean over attacks", "attacks", show_lines=True)
    for target, attack, name, measure, theirs in TARGETS:
        values = [measure(answer) for answer in answers(run, target, attack)]
        table.add_row(target, attack, name, theirs, told(values) if values else "not in this run", str(len(values)))
    Console(width=150).print(table)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
