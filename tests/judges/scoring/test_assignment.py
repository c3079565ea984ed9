from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from judges.scoring.assignment import assign
from judges.scoring.image_metrics import mse


@given(st.permutations(range(5)), st.integers(0, 99))
def test_a_shuffled_batch_is_put_in_order(order: list[int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    truth = torch.rand(5, 1, 4, 4, generator=generator)
    ours = (truth + 0.05 * torch.randn(truth.shape, generator=generator))[torch.tensor(order)]
    found = assign(ours, truth)
    assert [order[index] for index in found.tolist()] == [0, 1, 2, 3, 4]


def test_least_total_not_the_nearest_of_each() -> None:
    """Both answers are nearest to the first original; the least total gives it to the second answer."""
    truth = torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1)
    ours = torch.tensor([0.4, 0.1]).reshape(2, 1, 1, 1)
    assert assign(ours, truth).tolist() == [1, 0]


def test_equals_the_best_of_all_permutations() -> None:
    generator = torch.Generator().manual_seed(3)
    truth, ours = torch.rand(2, 4, 1, 3, 3, generator=generator)
    totals = {order: mse(ours[list(order)], truth).sum().item() for order in itertools.permutations(range(4))}
    assert tuple(assign(ours, truth).tolist()) == min(totals, key=lambda order: totals[order])


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_bad_reconstruction_takes_what_is_left(bad: float) -> None:
    truth = torch.tensor([0.0, 0.5, 1.0]).reshape(3, 1, 1, 1)
    ours = torch.tensor([1.0, bad, 0.0]).reshape(3, 1, 1, 1)
    assert assign(ours, truth).tolist() == [2, 1, 0]


def test_refuses_other_shapes() -> None:
    with pytest.raises(ValueError, match="same shape"):
        assign(torch.zeros(1, 1, 2, 2), torch.zeros(2, 1, 2, 2))
