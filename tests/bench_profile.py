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

from attacks.grnn import GRNN
from attacks.matching import MatchingProblem
from attacks.matching.lbfgs import BatchedLBFGS, StepRule
from attacks.settings import GRNNSettings, IDLGSettings
from fl_sim.records import CapturedUpdate
from judges.bench.process import prepare_process
from tests import bench_grnn
from tests.bench_matching import CASES, Case, published_way, user_seconds, victims

_PRODUCTS = ("mm", "bmm", "addmm", "baddbmm", "mv", "addmv", "dot", "einsum", "convolution")
_MOVES = ("copy_", "cat", "clone", "im2col", "col2im", "index", "fill_", "zero_", "stack", "select", "slice", "pad")
_REPEATS = 20
_GRNN_VICTIMS, _GRNN_STEPS = 32, 60


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
    return Made(loss, history, *_shares(lambda: [problem.evaluate(points) for _ in range(_REPEATS)]))


def grnn_made_of(captures: list[CapturedUpdate]) -> Made:
    """Return what a step of GRNN is made of, RMSprop included, with all victims side by side."""
    settings = GRNNSettings(steps=_GRNN_STEPS, victims_per_batch=len(captures))

    def attack() -> None:
        GRNN(settings).reconstruct(captures, seed=0)

    attack()  # the library chooses its kernels at the first call
    started = user_seconds()
    attack()
    step = 1e3 * (user_seconds() - started) / (_GRNN_STEPS * len(captures))
    return Made(step, 0.0, *_shares(attack))


def _shares(call: Callable[[], object]) -> list[float]:
    """Return the shares of products, moves and other operators in a call's time inside operators."""
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        call()
    kinds = Counter[str]()
    for event in seen.key_averages():
        kinds[_kind(event.key)] += int(event.self_cpu_time_total)
    return [kinds[kind] / kinds.total() for kind in ("products", "moves", "others")]


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
        _add(table, case.name, made, published_way(captures, truth, outer_steps=4).per_evaluation)
    name, spec = bench_grnn.CASES[0]
    captures, _ = victims(Case(name, spec, "digits", _GRNN_VICTIMS, 1, _GRNN_STEPS), _GRNN_VICTIMS)
    _add(table, f"GRNN's step, {name}", grnn_made_of(captures), bench_grnn.published_way(captures[:4]))
    Console(width=140).print(table)


def _add(table: Table, name: str, made: Made, theirs: float) -> None:
    shares = (f"{100 * share:.0f} %" for share in (made.products, made.moves, made.others))
    limit = theirs / (made.loss * made.products)
    table.add_row(name, f"{made.loss:.2f}", f"{made.history:.2f}", *shares, f"{theirs:.2f}", f"{limit:.1f}x")


if __name__ == "__main__":
    main()
