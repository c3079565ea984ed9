"""Speed of the batched attack against the published way: one victim at a time with torch.optim.LBFGS.

Run with `make bench`. Both sides attack the same victims with the same guesses, step rule and machine, in one process;
only ratios are worth comparing between machines. Images are those of the data sets where SPIKELEAK_DATA has them, and
digits elsewhere. Not part of the tests.
"""

from __future__ import annotations

import math
import multiprocessing
import resource
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F

from attacks.idlg import IDLG
from attacks.matching import MatchingProblem
from attacks.matching.lbfgs import BatchedLBFGS, StepRule
from attacks.settings import IDLGSettings
from fl_sim.datasets import load_dataset
from fl_sim.errors import DataError
from fl_sim.models import build_model
from fl_sim.records import CapturedUpdate, InputSpec, ModelSpec, SpikingSpec
from fl_sim.seeding import torch_stream
from fl_sim.training import capture_gradient, load_parameters, parameters_of
from judges.bench.process import prepare_process

SOLVED = 1e-3


@dataclass(frozen=True)
class Case:
    """A row of the table.

    Attributes:
        name: of the row.
        spec: the victims' model.
        images: data set, or digits where it is not at hand.
        ours, theirs: how many victims each side attacks; theirs are the first of ours.
        outer_steps: budget of both.
        solve: whether the budget is enough to speak of solved victims.
    """

    name: str
    spec: ModelSpec
    images: str
    ours: int
    theirs: int
    outer_steps: int
    solve: bool = True


CASES = (
    Case("LeNet 28x28x1, 10 classes", ModelSpec("lenet", InputSpec(1, 28, 28, 10)), "mnist", 128, 16, 300),
    Case("LeNet 32x32x3, 100 classes", ModelSpec("lenet", InputSpec(3, 32, 32, 100)), "cifar100", 32, 5, 300),
    Case("LeNet 32x32x3, 5749 classes", ModelSpec("lenet", InputSpec(3, 32, 32, 5749)), "lfw", 8, 2, 4, solve=False),
    Case(
        "SpikingLeNet 28x28x1, T = 10",
        ModelSpec("spiking_lenet", InputSpec(1, 28, 28, 10), "torch", SpikingSpec()),
        "mnist", 64, 4, 5, solve=False,
    ),
)  # fmt: skip


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
        return self.user_seconds / self.solved if self.solved else math.nan


def victims(case: Case, count: int) -> tuple[list[CapturedUpdate], Tensor]:
    """Return captures of images, each by its own untrained model; and the truth.

    Labels are spread over the classes of the spec where the data set has fewer.
    """
    spec = case.spec
    try:
        data = load_dataset(case.images, size=spec.input.height)
    except DataError:
        data = load_dataset("digits")
    pixels, labels = data.test.batch(slice(0, count))
    inputs = F.interpolate(pixels, size=(spec.input.height, spec.input.width), mode="bilinear")
    inputs = inputs.expand(-1, spec.input.channels, -1, -1).contiguous()
    inputs, labels = (part.repeat(math.ceil(count / len(part)), *[1] * (part.dim() - 1)) for part in (inputs, labels))
    labels = labels * (spec.input.classes // (int(labels.max()) + 1))
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
    return captures, inputs[:count]


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


def parts(captures: Sequence[CapturedUpdate]) -> str:
    """Return what a victim-evaluation of a full batch is made of: the matching loss, L-BFGS with a full history."""
    batch = captures[: IDLGSettings().victims_per_batch]
    labels = [capture.update["head.bias"].argmin()[None] for capture in batch]
    problem = MatchingProblem(batch, labels, precision=torch.float32, device="cpu")
    points = torch.rand(len(batch), problem.unknowns)
    closure = _milliseconds(lambda: problem.evaluate(points), repeat=10)
    solver = BatchedLBFGS(points, StepRule())

    def bowl(at: Tensor) -> tuple[Tensor, Tensor]:
        return at.square().sum(1), at + torch.randn_like(at)

    for _ in range(solver.rule.history):
        solver.advance(bowl)
    step = _milliseconds(lambda: solver.advance(bowl), repeat=10)
    return f"matching loss {closure / len(batch):.2f} ms, L-BFGS {step / len(batch):.2f} ms a victim-evaluation"


def _milliseconds(call: Callable[[], object], *, repeat: int) -> float:
    call()
    started = user_seconds()
    for _ in range(repeat):
        call()
    return 1e3 * (user_seconds() - started) / repeat


def memory(count: int) -> tuple[float, float]:
    """Return the process's peak memory in MB before and after a short attack on `count` victims of the first case.

    The victims hold digits: reading a large data set would raise the peak above all that the attack takes.
    """
    prepare_process(1)
    captures, truth = victims(replace(CASES[0], images="digits"), count)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    our_way(captures, truth, outer_steps=3)
    return before / 2**10, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def main() -> None:
    """Print each row as soon as it is measured, then memory, then the first case on two threads."""
    console = Console(width=150)
    for case in CASES:
        prepare_process(1)
        captures, truth = victims(case, case.ours)
        ours = our_way(captures, truth, outer_steps=case.outer_steps)
        theirs = published_way(captures[: case.theirs], truth[: case.theirs], outer_steps=case.outer_steps)
        table = Table(
            "n ours", "n theirs", "ms/eval ours", "theirs", "ratio", "solved ours", "theirs", "s/solved ours",
            "theirs", "ratio", title=f"{case.name}: iDLG, user time, one thread", title_justify="left", box=None,
        )  # fmt: skip
        table.add_row(*_numbers(case, ours, theirs))
        console.print(table)
        console.print(f"{parts(captures)}; {ours.evaluations / case.ours:.0f} evaluations a victim\n")
    for count in (100, 1000):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            before, after = pool.apply(memory, (count,))
        console.print(f"{count} victims: {before:.0f} MB with their captures, the attack adds {after - before:.0f} MB")
    prepare_process(2)
    captures, _ = victims(CASES[0], CASES[0].ours)
    console.print(f"{CASES[0].name}, two threads (on an idle machine only): {parts(captures)}")


def _numbers(case: Case, ours: Cost, theirs: Cost) -> list[str]:
    cells = [str(case.ours), str(case.theirs)]
    cells += [_shown(cost.per_evaluation) for cost in (ours, theirs)]
    cells.append(_shown(theirs.per_evaluation / ours.per_evaluation, "x"))
    if not case.solve:
        return cells + ["-"] * 5
    cells += [f"{ours.solved} of {case.ours}", f"{theirs.solved} of {case.theirs}"]
    return [
        *cells,
        *map(_shown, (ours.per_solved, theirs.per_solved)),
        _shown(theirs.per_solved / ours.per_solved, "x"),
    ]


def _shown(value: float, unit: str = "") -> str:
    return "-" if math.isnan(value) else f"{value:.2f}{unit}"


if __name__ == "__main__":
    main()
