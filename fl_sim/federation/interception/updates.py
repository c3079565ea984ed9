"""From the arrays of an exchange to the tensors of a capture."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from fl_sim.federation.interception.facts import DELTA, GRADIENT, WEIGHTS
from fl_sim.federation.messages import NDArray, ReplyError


def as_loaded(sent: Mapping[str, NDArray], received: Mapping[str, NDArray]) -> dict[str, NDArray]:
    """Return the sent values in the client's dtypes, as the client loads them: FedAdam and QFedAvg send float64.

    An array that did not come back has the dtype of the first floating-point array that did.
    """
    floating = next((array.dtype for array in received.values() if np.issubdtype(array.dtype, np.floating)), None)
    loaded = {}
    for name, array in sent.items():
        dtype = floating if floating is not None and np.issubdtype(array.dtype, np.floating) else array.dtype
        with np.errstate(over="ignore", invalid="ignore"):
            loaded[name] = array.astype(received[name].dtype if name in received else dtype)
    return loaded


def update_in(share: str, sent: NDArray, received: NDArray) -> NDArray:
    """Return the update in an array of a reply: the gradient, or the weights after training minus those before.

    The difference of weights is computed in float64 and stored in the client's dtype, or in float32 for whole numbers.
    The weights are already rounded to that dtype, which limits the precision of the difference far more than rounding
    the difference itself (6e-8 relative in float32); and attacks compute in the client's dtype.

    Args:
        share: what the reply holds, one of `facts.SHARES`.
        sent: as the client loaded it.
        received: of the same shape.

    Raises:
        ReplyError: the difference is not finite.
    """
    if share in (GRADIENT, DELTA):
        return received
    dtype = received.dtype if np.issubdtype(received.dtype, np.floating) else np.dtype(np.float32)
    with np.errstate(over="ignore"):
        values = received.astype(np.float64)
        difference = (values - sent.astype(np.float64) if share == WEIGHTS else -values).astype(dtype)
    if not np.isfinite(difference).all():
        raise ReplyError("its weights are too far from those that were sent to it")
    return difference


def likeness(sent: Mapping[str, NDArray], received: Mapping[str, NDArray]) -> float:
    """Return the cosine between floating-point arrays as sent and as received; 1 if there are none but zeros.

    It is near 1 for weights after a few steps, and near 0 for changes of weights.
    """
    product = norm = other = 0.0
    for name, array in received.items():
        if np.issubdtype(array.dtype, np.floating):
            ours, theirs = sent[name].astype(np.float64).ravel(), array.astype(np.float64).ravel()
            product += float(ours @ theirs)
            norm += float(ours @ ours)
            other += float(theirs @ theirs)
    return product / math.sqrt(norm * other) if norm * other > 0 else 1.0


def tensors(arrays: Mapping[str, NDArray], names: Mapping[str, str]) -> dict[str, Tensor]:
    """Return copies of arrays as tensors under new names; an array without a new name is left out."""
    return {names[name]: torch.from_numpy(np.array(array)) for name, array in arrays.items() if name in names}
