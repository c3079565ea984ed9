"""Sign: of each entry only its sign is shared, and of each tensor its mean magnitude."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


def sign(update: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the sign of each entry times the mean magnitude of its tensor.

    Args:
        update: of any norm; an entry of 0 stays 0.

    Source: Bernstein et al., "signSGD", ICML 2018, with the scale |x|_1 / d of Karimireddy et al., "Error Feedback
    Fixes SignSGD", ICML 2019, section 4, so that a mean of such updates is again an update. No error feedback.
    """
    return {name: tensor.sign() * _magnitude(tensor) for name, tensor in update.items()}


def _magnitude(tensor: Tensor) -> Tensor:
    """Return the mean magnitude, taken in float64 and in the dtype of the tensor."""
    return tensor.double().abs().sum().div(max(1, tensor.numel())).to(tensor.dtype)
