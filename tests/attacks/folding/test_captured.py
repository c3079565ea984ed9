"""Captured gradients as factors: the same distances and derivatives as the matrices themselves."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from attacks.folding.captured import Targets, factorise, product_distance

VICTIMS, OUT, IN = 3, 40, 30


def products(rank: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return delta (V, rank, out) and source (V, rank, in)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(VICTIMS, rank, OUT, generator=generator), torch.rand(VICTIMS, rank, IN, generator=generator)


def gradients(rank: int, *, seed: int = 0) -> list[dict[str, Tensor]]:
    delta, source = products(rank, seed=seed)
    return [{"weight": d.T @ s} for d, s in zip(delta, source, strict=True)]


def targets(captured: list[dict[str, Tensor]], rank: int) -> Targets:
    return Targets(captured, {"weight": rank}, device="cpu", dtype=torch.float32)


@pytest.mark.parametrize("rank", [1, 3])
def test_distances_to_factors_and_their_derivatives_are_those_to_the_matrix(rank: int) -> None:
    captured = gradients(rank)
    delta, source = (part.requires_grad_() for part in products(rank, seed=1))
    matrices = torch.stack([gradient["weight"] for gradient in captured])
    expected = (torch.bmm(delta.transpose(1, 2), source) - matrices).square().sum((1, 2))
    derivatives = torch.autograd.grad(expected.sum(), (delta, source))
    for found in (
        targets(captured, rank).factored["weight"].distance(delta, source),
        product_distance(delta, source, matrices),
    ):
        torch.testing.assert_close(found, expected)
        for ours, theirs in zip(torch.autograd.grad(found.sum(), (delta, source)), derivatives, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_near_the_solution_the_distance_keeps_its_digits() -> None:
    """Plain inner products in float32 would lose anything below 1e-7 of the square of the gradient."""
    delta, source = products(1)
    near = delta + 1e-5 * torch.randn(delta.shape, generator=torch.Generator().manual_seed(2))
    difference = torch.bmm((near.double() - delta.double()).transpose(1, 2), source.double())
    found = targets(gradients(1), 1).factored["weight"].distance(near, source)
    torch.testing.assert_close(found.double(), difference.square().sum((1, 2)), rtol=0.02, atol=0)


@pytest.mark.parametrize("change", ["noise", "pruning", "rank"])
def test_a_gradient_that_is_no_such_product_is_kept_as_it_is(change: str) -> None:
    captured = gradients(2 if change == "rank" else 1)
    weight = captured[1]["weight"]
    if change == "noise":
        weight += 1e-4 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(3))
    elif change == "pruning":
        weight[weight.abs() < 0.2] = 0.0
    kept = targets(captured, 1)
    assert not kept.factored
    assert kept.dense["weight"][1].equal(weight)


def test_a_gradient_of_zeros_has_factors() -> None:
    pair = factorise(torch.zeros(OUT, IN), 1)
    assert pair is not None
    assert not (pair[0].T @ pair[1]).any()


def test_victims_come_and_go() -> None:
    captured, others = gradients(1), gradients(1, seed=5)
    kept = targets(captured, 1)
    kept.replace(1, others[0])
    kept.keep(torch.tensor([1, 2]))
    delta, source = products(1, seed=5)
    first = kept.factored["weight"].distance(delta[[0, 1]], source[[0, 1]])
    assert float(first[0]) < 1e-9 < float(first[1])


def test_one_defended_victim_that_enters_turns_the_factors_into_matrices() -> None:
    captured, noisy = gradients(1), gradients(2)[0]
    kept = targets(captured, 1)
    kept.replace(1, noisy)
    assert not kept.factored
    expected = torch.stack([captured[0]["weight"], noisy["weight"], captured[2]["weight"]])
    torch.testing.assert_close(kept.dense["weight"], expected)
