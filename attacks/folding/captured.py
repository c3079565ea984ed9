"""The captured gradients in the form that a matching loss uses.

The gradient of a linear layer's weights is delta^T h, with one row of delta and of h per example (and time step). Such
a target is stored as two factors, and its distance to delta^T h is computed from inner products, so that a layer with
5,749 classes costs some thousand multiplications instead of some ten million. A target that is not such a product,
because of noise, pruning or several local steps, is detected when it is factorised, and stored as a matrix.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

# Rounding the product of float32 factors to float32 leaves a residual of 6e-8; any relevant noise exceeds this limit.
_RESIDUAL = 1e-6


class Factors:
    """V matrices of low rank, G = left^T right.

    In float64, since the inner products cancel to the matching loss, which is smaller by eight or more digits.

    Attributes:
        left, right: (V, rank, out) and (V, rank, in).
    """

    def __init__(self, left: Tensor, right: Tensor) -> None:
        self.left, self.right = left, right
        self._square = self._squares()

    def keep(self, rows: Tensor) -> None:
        """Drop all victims but those at indices `rows`."""
        self.left, self.right, self._square = self.left[rows], self.right[rows], self._square[rows]

    def replace(self, row: int, left: Tensor, right: Tensor) -> None:
        """Replace the matrix at index `row`."""
        self.left[row], self.right[row] = left, right
        self._square = self._squares()

    def dense(self) -> Tensor:
        """Return the matrices (V, out, in)."""
        return torch.bmm(self.left.transpose(1, 2), self.right)

    def distance(self, delta: Tensor, source: Tensor) -> Tensor:
        """Return (V,), |delta^T source - G|^2 for delta (V, rows, out) and source (V, rows, in)."""
        d, h = delta.double(), source.double()
        own = torch.bmm(d, d.transpose(1, 2)) * torch.bmm(h, h.transpose(1, 2))
        mixed = torch.bmm(d, self.left.transpose(1, 2)) * torch.bmm(h, self.right.transpose(1, 2))
        return (own.sum((1, 2)) - 2.0 * mixed.sum((1, 2)) + self._square).clamp(min=0.0).to(delta)

    def _squares(self) -> Tensor:
        grams = (torch.bmm(part, part.transpose(1, 2)) for part in (self.left, self.right))
        return torch.mul(*grams).sum((1, 2))


def factorise(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor] | None:
    """Return left (rank, out) and right (rank, in), float64, with left^T right = matrix (out, in), or None.

    Uses a randomised range finder with one power iteration (Halko, Martinsson and Tropp 2011, SIAM Review 53,
    algorithm 4.4), which is exact for a matrix of that rank.
    """
    exact = matrix.double()
    start = torch.randn(matrix.shape[1], rank, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for_columns, _ = torch.linalg.qr(exact.T @ (exact @ start.to(exact.device)))
    basis, _ = torch.linalg.qr(exact @ for_columns)
    right = basis.T @ exact
    if not float((exact - basis @ right).norm()) <= _RESIDUAL * float(exact.norm()):
        return None
    return basis.T, right


def product_distance(delta: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """Return (V,), |delta^T source - target|^2 for delta (V, rows, out), source (V, rows, in), target (V, out, in)."""
    result: Tensor = _ProductDistance.apply(delta, source, target)
    return result


class _ProductDistance(Function):
    """Differentiable once. Both derivatives are computed in the forward pass, to avoid storing the large difference."""

    @staticmethod
    def forward(ctx: Any, delta: Tensor, source: Tensor, target: Tensor) -> Tensor:  # noqa: ANN401
        difference = torch.baddbmm(target, delta.transpose(1, 2), source, beta=-1)
        ctx.save_for_backward(torch.bmm(source, difference.transpose(1, 2)), torch.bmm(delta, difference))
        squared: Tensor = torch.linalg.vector_norm(difference, dim=(1, 2)).square()
        return squared

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:  # noqa: ANN401
        for_delta, for_source = ctx.saved_tensors
        factor = 2.0 * gradients[0][:, None, None]
        return factor * for_delta, factor * for_source, None


class Targets:
    """The captured gradients of V victims by parameter name.

    Args:
        gradients: {name: tensor} of each victim.
        ranks: for parameters that may be stored as factors, the rank of their unmodified gradients.
        device: where to compute.
        dtype: dtype of the targets that are stored as tensors.

    Attributes:
        dense: {name: (V, ...)}, the targets stored as tensors.
        factored: {name: factors} of the other targets.
    """

    def __init__(
        self,
        gradients: Sequence[Mapping[str, Tensor]],
        ranks: Mapping[str, int],
        *,
        device: str,
        dtype: torch.dtype,
    ) -> None:
        self.dense: dict[str, Tensor] = {}
        self.factored: dict[str, Factors] = {}
        for name in gradients[0]:
            pairs = [factorise(gradient[name].to(device), ranks[name]) for gradient in gradients if name in ranks]
            found = [pair for pair in pairs if pair is not None]
            if found and len(found) == len(gradients):
                left, right = (torch.stack(parts) for parts in zip(*found, strict=True))
                self.factored[name] = Factors(left, right)
            else:
                stacked = torch.stack([gradient[name] for gradient in gradients])
                self.dense[name] = stacked.to(device=device, dtype=dtype)
        self._ranks, self._device, self._dtype = ranks, device, dtype

    def keep(self, rows: Tensor) -> None:
        """Drop all victims but those at indices `rows`."""
        self.dense = {name: target[rows] for name, target in self.dense.items()}
        for factors in self.factored.values():
            factors.keep(rows)

    def replace(self, row: int, gradient: Mapping[str, Tensor]) -> None:
        """Replace the gradient at index `row` by that of another victim."""
        for name in list(self.factored):
            pair = factorise(gradient[name].to(self._device), self._ranks[name])
            if pair is None:
                self.dense[name] = self.factored.pop(name).dense().to(self._dtype)
            else:
                self.factored[name].replace(row, *pair)
        for name, target in self.dense.items():
            target[row] = gradient[name]
