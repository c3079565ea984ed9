"""What an evaluation of the batched attack is made of: products of matrices, other operators, the dispatcher, L-BFGS.

Run with `python -m tests.bench_profile`. It bounds what faster code could bring: beside the time of the published way
for the same victims stands the ratio that would remain if all but the products of matrices cost nothing. Not part of
the tests.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.table import Table
from torch.profiler import ProfilerActivity, profile

from attacks.matching import MatchingProblem
from attacks.matching.lbfgs import BatchedLBFGS, StepRule
from attacks.settings import IDLGSettings
from judges.bench.process import prepare_process
from tests.bench_matching import CASES, Case, published_way, user_seconds, victims

_PRODUCTS = ("mm", "bmm", "addmm", "baddbmm", "mv", "addmv", "dot", "einsum", "convolution")
_MOVES = ("copy_", "cat", "clone", "im2col", "col2im", "index", "fill_", "zero_", "stack", "select", "slice", "pad")
_REPEATS = 20


@dataclass(frozen=True)
class Made:
    """Milliseconds of a victim's evaluation.

    Attributes:
        loss: of the matching loss and its gradient.
        history: of L-BFGS with a full history.
        products, moves, others: of the loss's operators, as shares of its time inside operators.
    """

    loss: float
    history: float
    products: float
    moves: float
    others: float


def made_of(case: Case) -> Made:
    """Return what an evaluation of a full batch is made of."""
    settings = IDLGSettings()
    captures, _ = victims(case, min(case.ours, settings.victims_per_batch))
    labels = [capture.update["head.bias"].argmin()[None] for capture in captures]
    problem = MatchingProblem(captures, labels, precision=torch.float32, device="cpu")
    points = torch.rand(len(captures), problem.unknowns)
    loss = _milliseconds(lambda: problem.evaluate(points)) / len(captures)
    solver = BatchedLBFGS(points, StepRule())

    def bowl(at: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return at.square().sum(1), at + torch.randn_like(at)

    for _ in range(solver.rule.history):
        solver.advance(bowl)
    history = _milliseconds(lambda: solver.advance(bowl)) / len(captures)
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        for _ in range(_REPEATS):
            problem.evaluate(points)
    kinds = Counter[str]()
    for event in seen.key_averages():
        kinds[_kind(event.key)] += int(event.self_cpu_time_total)
    total = kinds.total()
    return Made(loss, history, *(kinds[kind] / total for kind in ("products", "moves", "others")))


def _kind(operator: str) -> str:
    name = operator.removeprefix("aten::").removeprefix("autograd::engine::evaluate_function: ")
    if any(name == one or (one == "convolution" and one in name) for one in _PRODUCTS):
        return "products"
    return "moves" if any(name.startswith(one) for one in _MOVES) else "others"


def _milliseconds(call: Callable[[], object]) -> float:
    call()
    started = user_seconds()
    for _ in range(_REPEATS):
        call()
    return 1e3 * (user_seconds() - started) / _REPEATS


def main() -> None:
    """Print a row for each case of `make bench`."""
    prepare_process(1)
    table = Table(
        "victims", "matching loss", "L-BFGS", "products", "moves", "others", "published way", "limit",
        title="milliseconds of user time a victim's evaluation, one thread", title_justify="left", box=None,
    )  # fmt: skip
    for case in CASES:
        made = made_of(case)
        captures, truth = victims(case, 2)
        theirs = published_way(captures, truth, outer_steps=4).per_evaluation
        products = made.loss * made.products
        table.add_row(
            case.name, f"{made.loss:.2f}", f"{made.history:.2f}", *(f"{100 * share:.0f} %" for share in
            (made.products, made.moves, made.others)), f"{theirs:.2f}", f"{theirs / products:.1f}x",
        )  # fmt: skip
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
