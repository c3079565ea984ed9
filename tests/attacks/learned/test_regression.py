"""The regressions on problems whose answer is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from attacks.learned.regression import Prediction, by_kernel, by_network
from attacks.settings import LearnedSettings

COUNT, SIZE, PIXELS = 200, 6, 9


def linear_problem(noise: float = 0.0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return rows (n, q), a wanted row, inputs that are linear in the rows, and the wanted input."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(COUNT + 1, SIZE, generator=generator) / SIZE**0.5
    rows = rows - rows[:-1].mean(0)
    mapping = torch.randn(SIZE, PIXELS, generator=generator)
    inputs = 3.0 + rows @ mapping + noise * torch.randn(COUNT + 1, PIXELS, generator=generator)
    return rows[:-1], rows[-1], inputs[:-1], inputs[-1]


def predicted(kind: str, rows: Tensor, wanted: Tensor, inputs: Tensor) -> Prediction:
    if kind == "mlp":
        return by_network(rows, wanted, inputs, LearnedSettings(hidden=64, epochs=60))
    return by_kernel(rows, wanted, inputs, linear=kind == "ridge")


@pytest.mark.parametrize(("kind", "most"), [("ridge", 1e-4), ("kernel", 0.05), ("mlp", 0.3)])
def test_a_linear_map_is_learned(kind: str, most: float) -> None:
    rows, wanted, inputs, answer = linear_problem()
    found = predicted(kind, rows, wanted, inputs)
    usual = float((inputs.mean(0) - answer).square().mean())
    assert float((found.inputs - answer).square().mean()) < most * usual
    assert min(found.errors) < most


@pytest.mark.parametrize("kind", ["ridge", "kernel", "mlp"])
def test_where_nothing_can_be_learned_the_answer_is_the_mean(kind: str) -> None:
    rows, wanted, inputs, _ = linear_problem()
    unrelated = inputs[torch.randperm(COUNT, generator=torch.Generator().manual_seed(1))]
    found = predicted(kind, rows, wanted, unrelated)
    assert min(found.errors) > 0.8
    spread = float(unrelated.std())
    assert float((found.inputs - unrelated.mean(0)).abs().max()) < 1.0 * spread


def test_the_ridge_grows_with_the_noise() -> None:
    def best(noise: float) -> int:
        rows, wanted, inputs, _ = linear_problem(noise)
        errors = predicted("ridge", rows, wanted, inputs).errors
        return errors.index(min(errors))

    assert best(0.0) < best(3.0)


def test_leave_one_out_errors_are_those_of_fits_without_each_example() -> None:
    rows, wanted, inputs, _ = linear_problem(0.5)
    rows, inputs = rows[:20], inputs[:20] - inputs[:20].mean(0)
    found = predicted("ridge", rows, wanted, inputs)
    ridge = 1e-3 * float((rows @ rows.T).diagonal().mean())
    misses = []
    for left in range(20):
        rest = [at for at in range(20) if at != left]
        fit = torch.linalg.solve(rows[rest].T @ rows[rest] + ridge * torch.eye(SIZE), rows[rest].T @ inputs[rest])
        misses.append((inputs[left] - rows[left] @ fit).square().mean())
    usual = torch.stack(
        [(inputs[i] - inputs[[j for j in range(20) if j != i]].mean(0)).square().mean() for i in range(20)]
    )
    expected = float(torch.stack(misses).mean() / usual.mean())
    assert found.errors[0] == pytest.approx(expected, rel=1e-2)
