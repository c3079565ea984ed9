"""The loss of a client's batch, as a function of the model's outputs and of targets that an attack may optimise.

Targets are real numbers (N, K), one for each class or output, so that unknown labels can be matched by their gradient:
class probabilities for the cross-entropies, a probability for each output for "bce_with_logits", values for "mse".
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fl_sim.client_training import BCE, CROSS_ENTROPY, LOSSES, MSE, NLL, ClientTraining, numbers
from fl_sim.errors import ConfigError


def client_loss(training: ClientTraining, outputs: Any, targets: Tensor) -> Tensor:  # noqa: ANN401 - a model's own
    """Return the loss of a batch, a scalar tensor.

    Args:
        training: how the client trains; what is not known is taken as in `fl_sim.client_training.TAKEN`.
        outputs: of the model, (N, K), (N,) or with further axes of length 1; of several outputs the one of shape (N, K)
            counts.
        targets: (N, K), see the module.

    Raises:
        ConfigError: the shapes do not fit, or the function of a loss of the user's own cannot be imported.
    """
    taken, name = training.taken(), loss_name(training, targets.shape[-1])
    if name in LOSSES:
        outputs = single_output(outputs, tuple(targets.shape))
    if isinstance(outputs, Tensor) and outputs.dtype in (torch.bfloat16, torch.float16):
        outputs = outputs.float()
    if name in (CROSS_ENTROPY, NLL):
        loss = _classified(taken, name, _rows(outputs, targets), targets)
    elif name == BCE:
        loss = F.binary_cross_entropy_with_logits(
            *_one_logit(_rows(outputs, targets, one=True), targets), reduction=taken.reduction or "mean"
        )
    elif name == MSE:
        loss = F.mse_loss(*_one_logit(_rows(outputs, targets, one=True), targets), reduction=taken.reduction or "mean")
    else:
        loss = _own_loss(name)(outputs, targets)
    return loss * (taken.loss_scale or 1.0)


def loss_name(training: ClientTraining, outputs: int) -> str:
    """Return the client's loss; where it is not known, the cross-entropy, or that of a logit if there is one output."""
    return training.loss or (CROSS_ENTROPY if outputs > 1 else BCE)


def targets_of(training: ClientTraining, labels: Tensor, classes: int) -> Tensor:
    """Return the targets (N, classes) of labels (N,), which are class indices, or values for "mse" and one logit."""
    if classes == 1 or (training.loss == MSE and labels.dtype.is_floating_point):
        return labels.reshape(len(labels), -1).float()
    return F.one_hot(labels.long(), classes).float()


def free_targets(training: ClientTraining, unknowns: Tensor) -> Tensor:
    """Return the targets (..., K) that unconstrained unknowns (..., K) stand for, differentiably."""
    loss = loss_name(training, unknowns.shape[-1])
    if loss == MSE:
        return unknowns
    return unknowns.sigmoid() if loss == BCE and unknowns.shape[-1] == 1 else unknowns.softmax(dim=-1)


def labels_of(training: ClientTraining, targets: Tensor) -> Tensor:
    """Return the labels (N,) that targets (N, K) mean: the largest class, or for one output its rounded value."""
    if targets.shape[-1] == 1:
        value = targets[..., 0]
        return value if training.loss == MSE else value.round().long()
    return targets.argmax(-1)


def normalised(training: ClientTraining, inputs: Tensor) -> Tensor:
    """Return (x - mean) / std of inputs (..., C, H, W), as the client's model sees them.

    Raises:
        ConfigError: the mean or standard deviation has another number of channels, or the inputs are tokens.
    """
    taken = training.taken()
    if taken.mean == 0.0 and taken.std == 1.0:
        return inputs
    if inputs.dtype == torch.int64:
        raise ConfigError("mean, std: expected none for a model that reads tokens, which no client normalises.")
    mean, std = (_per_channel(value or 0.0, inputs, name) for name, value in (("mean", taken.mean), ("std", taken.std)))
    return (inputs - mean) / std


def single_output(outputs: Any, shape: tuple[int, ...]) -> Tensor:  # noqa: ANN401 - a model's own
    """Return the output, or the only one of several that has a row of K numbers for each example."""
    if isinstance(outputs, Tensor):
        return outputs
    several = list(outputs.values()) if isinstance(outputs, Mapping) else list(outputs)
    found = [one for one in several if isinstance(one, Tensor) and tuple(one.shape) == shape]
    if len(found) != 1:
        raise ConfigError(
            f"model: it returns {len(several)} outputs, of which {len(found)} have the shape {shape} of one row for "
            'each example. For a loss of several outputs name a function of your own: loss = "module:function".'
        )
    return found[0]


def _classified(taken: ClientTraining, name: str, outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the cross-entropy of logits, or of log-probabilities if the loss is "nll", for soft targets."""
    smoothing = taken.label_smoothing or 0.0
    wanted = targets * (1.0 - smoothing) + smoothing / targets.shape[-1] if smoothing else targets
    logarithms = outputs if name == NLL else F.log_softmax(outputs, dim=-1)
    losses = -(wanted * logarithms).sum(-1)
    return losses.sum() if taken.reduction == "sum" else losses.mean()


def _rows(outputs: Tensor, targets: Tensor, *, one: bool = False) -> Tensor:
    """Return outputs as (N, K); K may be 1 for targets of two classes if `one`."""
    rows = outputs.reshape(len(outputs), -1) if outputs.dim() != 2 and len(outputs) else outputs
    allowed = {targets.shape[-1]} | ({1} if one and targets.shape[-1] == 2 else set())
    if len(rows) != len(targets) or rows.shape[-1] not in allowed:
        raise ConfigError(
            f"model: expected outputs of shape ({len(targets)}, {targets.shape[-1]}), one row for each example and one "
            f"column for each class of the InputSpec, got {tuple(outputs.shape)}. For another loss, such as one for "
            'each pixel, name a function of your own: loss = "module:function".'
        )
    return rows


def _one_logit(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return outputs and targets of the same shape: one logit stands for the second of two classes."""
    return outputs, targets[:, 1:] if outputs.shape[-1] == 1 and targets.shape[-1] == 2 else targets


@functools.lru_cache(maxsize=16)
def _own_loss(place: str) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the user's own loss."""
    module, _, name = place.partition(":")
    try:
        found: Callable[[Tensor, Tensor], Tensor] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"loss: expected a function at '{place}', but {error}.") from error
    return found


def _per_channel(value: float | str, inputs: Tensor, name: str) -> Tensor:
    """Return numbers as a tensor that broadcasts over inputs (..., C, H, W)."""
    found = numbers(value)
    if len(found) not in (1, inputs.shape[-3]):
        raise ConfigError(f"{name}: expected 1 or {inputs.shape[-3]} numbers, one for each channel, got {len(found)}.")
    return torch.tensor(found, dtype=inputs.dtype, device=inputs.device).view(-1, 1, 1)
