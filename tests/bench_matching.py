"""Speed of the batched attack against the published way: one victim at a time with torch.optim.LBFGS.

Run with `make bench`. Both sides attack the same victims with the same guesses, step rule and machine, in one process;
only ratios are worth comparing between machines. Not part of the tests.
"""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F

from attacks.idlg import IDLG
from attacks.settings import IDLGSettings
from fl_sim.datasets import load_dataset
from fl_sim.models import build_model
from fl_sim.records import CapturedUpdate, InputSpec, ModelSpec, SpikingSpec
from fl_sim.seeding import torch_stream
from fl_sim.training import capture_gradient, load_parameters, parameters_of
from judges.process import prepare_process

SOLVED = 1e-3


@dataclass(frozen=True)
class Cost:
    """What an attack took: user seconds, evaluations of loss and gradient, and how many victims it solved."""

    user_seconds: float
    evaluations: int
    solved: int

    @property
    def per_evaluation(self) -> float:
        """Return user milliseconds a victim-evaluation."""
        return 1e3 * self.user_seconds / self.evaluations

    @property
    def per_solved(self) -> float:
        """Return user seconds a solved victim."""
        return self.user_seconds / self.solved if self.solved else float("nan")


def victims(spec: ModelSpec, count: int) -> tuple[list[CapturedUpdate], Tensor]:
    """Return captures of digits, resized to the spec's input, each by its own untrained model; and the truth."""
    pixels, labels = load_dataset("digits").test.batch(slice(0, count))
    inputs = F.interpolate(pixels, size=(spec.input.height, spec.input.width), mode="bilinear")
    inputs = inputs.expand(-1, spec.input.channels, -1, -1).contiguous()
    captures = [
        capture_gradient(
            spec,
            parameters_of(build_model(spec, seed=index)),
            inputs[index : index + 1],
            labels[index : index + 1],
            capture_id=f"bench/r001-c{index:03d}",
        )
        for index in range(count)
    ]
    return captures, inputs


def user_seconds() -> float:
    """Return the user time of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime


def published_way(captures: Sequence[CapturedUpdate], truth: Tensor, *, outer_steps: int) -> Cost:
    """Return the cost of iDLG as its authors run it, with their stop rule (loss < 1e-6, looked at every tenth step)."""
    started, evaluations, solved = user_seconds(), 0, 0
    for capture, true in zip(captures, truth, strict=True):
        model = build_model(capture.model)
        load_parameters(model, capture.parameters)
        parameters = list(model.parameters())
        targets = [capture.update[name] for name, _ in model.named_parameters()]
        label = capture.update["head.bias"].argmin()[None]
        guess = torch.randn(truth[0].numel(), generator=torch_stream(0, "guess", capture.id, 0))
        candidate = guess.view(1, *true.shape).requires_grad_()
        solver = torch.optim.LBFGS([candidate], lr=1.0)

        def closure() -> Tensor:
            nonlocal evaluations
            evaluations += 1
            solver.zero_grad()  # noqa: B023 - called in this turn of the loop only
            loss = F.cross_entropy(model(candidate), label)  # noqa: B023
            gradients = torch.autograd.grad(loss, parameters, create_graph=True)  # noqa: B023
            pairs = zip(gradients, targets, strict=True)  # noqa: B023
            distance = torch.stack([(ours - theirs).square().sum() for ours, theirs in pairs]).sum()
            distance.backward()  # type: ignore[no-untyped-call]
            return distance

        for step in range(outer_steps):
            loss = solver.step(closure).detach()  # type: ignore[no-untyped-call]
            if step % 10 == 0 and (float(loss) < 1e-6 or not torch.isfinite(loss)):
                break
        solved += int((candidate.detach()[0] - true).square().mean() < SOLVED)
    return Cost(user_seconds() - started, evaluations, solved)


def our_way(captures: Sequence[CapturedUpdate], truth: Tensor, *, outer_steps: int) -> Cost:
    """Return the cost of the batched attack, with its restarts."""
    settings = IDLGSettings(iterations=outer_steps, label_rule="bias", restarts=2)
    started = user_seconds()
    results = IDLG(settings).reconstruct(captures, seed=0)
    spent = user_seconds() - started
    errors = [(result.inputs[0] - true).square().mean() for result, true in zip(results, truth, strict=True)]
    return Cost(spent, sum(r.gradient_evaluations for r in results), sum(bool(e < SOLVED) for e in errors))


CASES = (
    ("LeNet 28x28x1, 10 classes", ModelSpec("lenet", InputSpec(1, 28, 28, 10)), 128, 8, 300),
    ("LeNet 32x32x3, 100 classes", ModelSpec("lenet", InputSpec(3, 32, 32, 100)), 32, 4, 60),
    ("SpikingLeNet 28x28x1, T = 10",
     ModelSpec("spiking_lenet", InputSpec(1, 28, 28, 10), "torch", SpikingSpec()), 32, 3, 5),
)  # fmt: skip


def main() -> None:
    """Print the table."""
    console = Console(width=150)
    for threads in (1, 2):
        prepare_process(threads)
        table = Table(
            "victims",
            "n ours", "n theirs", "ms/eval ours", "ms/eval theirs", "ratio", "s/solved ours", "s/solved theirs",
            "ratio", title=f"iDLG, {threads} thread(s), user time", box=None,
        )  # fmt: skip
        for name, spec, ours_count, theirs_count, outer in CASES:
            captures, truth = victims(spec, ours_count)
            started = time.perf_counter()
            ours = our_way(captures, truth, outer_steps=outer)
            wall = time.perf_counter() - started
            theirs = (
                published_way(captures[:theirs_count], truth[:theirs_count], outer_steps=outer)
                if threads == 1
                else None
            )
            table.add_row(name, str(ours_count), str(theirs_count), *_numbers(ours, theirs))
            console.print(f"{name}: {ours_count} victims in {wall:.0f} s wall, {ours.solved} solved")
        console.print(table)


def _numbers(ours: Cost, theirs: Cost | None) -> list[str]:
    evaluation, solved = (theirs.per_evaluation, theirs.per_solved) if theirs else (math.nan, math.nan)
    cells = []
    for mine, other in ((ours.per_evaluation, evaluation), (ours.per_solved, solved)):
        cells += [_shown(mine), _shown(other), _shown(other / mine, "x")]
    return cells


def _shown(value: float, unit: str = "") -> str:
    return "-" if math.isnan(value) else f"{value:.2f}{unit}"


if __name__ == "__main__":
    main()
