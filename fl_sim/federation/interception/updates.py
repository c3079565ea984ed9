"""From the arrays of an exchange to the tensors of a capture."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from fl_sim.federation.messages import NDArray, ReplyError


def as_loaded(sent: Mapping[str, NDArray], received: Mapping[str, NDArray]) -> dict[str, NDArray]:
    """Return the sent values in the client's dtypes, as the client loads them: FedAdam and QFedAvg send float64.

    An array that did not come back has the dtype of the first floating-point array that did.
    """
    floating = next((array.dtype for array in received.values() if np.issubdtype(array.dtype, np.floating)), None)
    loaded = {}
    for name, array in sent.items():
        dtype = floating if floating is not None and np.issubdtype(array.dtype, np.floating) else array.dtype
        loaded[name] = array.astype(received[name].dtype if name in received else dtype)
    return loaded


def delta(sent: NDArray, received: NDArray) -> NDArray:
    """Return received minus sent, computed in float64 and stored in the client's dtype, or in float32 of whole numbers.

    The weights are already rounded to the client's dtype, which limits the precision of the delta far more than
    rounding the difference itself (6e-8 relative in float32); and attacks compute in the client's dtype.

    Raises:
        ReplyError: the difference is not finite.
    """
    dtype = received.dtype if np.issubdtype(received.dtype, np.floating) else np.dtype(np.float32)
    with np.errstate(over="ignore"):
        difference = (received.astype(np.float64) - sent.astype(np.float64)).astype(dtype)
    if not np.isfinite(difference).all():
        raise ReplyError("its weights are too far from those that were sent to it")
    return difference


def tensors(arrays: Mapping[str, NDArray], names: Mapping[str, str]) -> dict[str, Tensor]:
    """Return copies of arrays as tensors under new names; an array without a new name is left out."""
    return {names[name]: torch.from_numpy(np.array(array)) for name, array in arrays.items() if name in names}
