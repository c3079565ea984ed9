"""Products of V large matrices with few vectors each, as fast as memory hands the matrices over.

The library reads the rows of a matrix at full speed when each is multiplied with a vector (25 GB/s where this was
measured) and at half of it when rows are added up, as the adjoint does. So a large matrix is kept in both orders.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

# Below this many numbers a matrix stays in the processor's cache and the order does not matter.
LARGE = 2**20


def product(vectors: Tensor, matrix: Tensor, transposed: Tensor) -> Tensor:
    """Return (V, rows, out), each row of vectors (V, rows, in) multiplied with its matrix; differentiable any times.

    Args:
        vectors: (V, rows, in).
        matrix: (V, out, in); no gradient goes there.
        transposed: (V, in, out), the same numbers, contiguous.
    """
    result: Tensor = _Product.apply(vectors, matrix, transposed)
    return result


class _Product(Function):
    """A: inputs -> outputs; its derivative is A^T, the same function with the two orders swapped."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, matrix: Tensor, transposed: Tensor) -> Tensor:  # noqa: ANN401
        ctx.matrix, ctx.transposed = matrix, transposed
        # With one row its stride is arbitrary, and by the stride the library picks a kernel seven times slower.
        rows = vectors.clone(memory_format=torch.contiguous_format)
        return torch.bmm(matrix, rows.transpose(1, 2)).transpose(1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:  # noqa: ANN401
        return product(gradients[0], ctx.transposed, ctx.matrix), None, None
