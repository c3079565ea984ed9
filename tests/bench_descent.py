"""Cost of an evaluation of the stronger attacks beside DLG's, with many victims at once, as ratios of one process.

Run with `make bench`. DLG differentiates twice through the model, frozen-delta matching once, since its deltas are held
fixed; Inverting Gradients twice. Not part of the tests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from attacks import build_attack
from fl_sim.records import CapturedUpdate
from fl_sim.specs import Scalar
from judges.bench.process import prepare_process
from tests.bench_matching import CASES, user_seconds, victims

ATTACKS: Mapping[str, Mapping[str, Scalar]] = {
    "dlg": {"iterations": 4, "restarts": 1, "guess": "uniform"},
    "frozen_delta": {"steps": 60},
    "inverting_gradients": {"steps": 60},
}
"""{attack: a short budget}; the first one is the measure of the others."""

VICTIMS = 32
LEAST = 8
"""Victims of models with thousands of classes, whose gradients fill the memory."""


def cost(name: str, captures: Sequence[CapturedUpdate]) -> float:
    """Return user milliseconds a victim-evaluation."""
    attack = build_attack(name, ATTACKS[name])
    started = user_seconds()
    answers = attack.reconstruct(captures, seed=0)
    return 1e3 * (user_seconds() - started) / sum(answer.gradient_evaluations for answer in answers)


def main() -> None:
    """Print one row for each kind of victim."""
    prepare_process(1)
    first, *others = ATTACKS
    table = Table("victims", "n", f"{first}, ms/eval", *(f"{name}, ratio" for name in others), box=None)
    for case in CASES:
        captures, _ = victims(case, LEAST if case.spec.input.classes > 1000 else VICTIMS)
        costs = {name: cost(name, captures) for name in ATTACKS}
        ratios = [f"{costs[name] / costs[first]:.2f}x" for name in others]
        table.add_row(case.name, str(len(captures)), f"{costs[first]:.2f}", *ratios)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
