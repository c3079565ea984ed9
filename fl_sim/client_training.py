"""How a client trains, as far as the server knows: loss, optimiser, mode. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

import pydantic
from pydantic import Field

from fl_sim.plugins import PLACE
from fl_sim.specs import Scalar, Settings

CROSS_ENTROPY, NLL, BCE, MSE = "cross_entropy", "nll", "bce_with_logits", "mse"
LOSSES = (CROSS_ENTROPY, NLL, BCE, MSE)
"""Losses by name; any other is the place of a function of the user's own, "module:name"."""


class ClientTraining(Settings):
    """How a client computes one step of its training. None means that the server does not know.

    What an attack takes an unknown field to be is `TAKEN`: what a plain script does.

    Attributes:
        loss: "cross_entropy" of logits, "nll" of log-probabilities, "bce_with_logits" of logits (one for each output,
            or one logit for two classes), "mse" of outputs; or "module:name", a function (outputs, targets) -> scalar
            whose targets are class probabilities (N, classes).
        reduction: "mean" over the examples of a batch (for "mse" and "bce_with_logits", over outputs too, as in torch),
            or "sum".
        loss_scale: a constant by which the loss is multiplied.
        label_smoothing: of the cross-entropy, in [0, 1).
        optimiser: "sgd" or "adam".
        momentum, dampening, nesterov: of SGD.
        weight_decay: coefficient of the L2 penalty, added to the gradient as in torch.
        beta_1, beta_2, epsilon: of Adam.
        proximal_mu: weight of FedProx's term mu/2 |w - w_server|^2.
        clip_norm: maximum l2 norm of the gradient of a step; 0 for no clipping.
        mode: whether the model is in "train" or "eval" mode, which matters for dropout and batch normalisation.
        frozen: names of parameters that are not trained, with * as in file names, separated by spaces.
        mean, std: the model sees (x - mean) / std of an input x in the range of its InputSpec; one number, or one for
            each channel, separated by spaces.
        precision: "float32", or "bfloat16" or "float16" where the client trains in mixed precision (autocast).
        drop_last: whether the last batch of an epoch is dropped if it is smaller than the others.
    """

    loss: str | None = None
    reduction: Literal["mean", "sum"] | None = None
    loss_scale: float | None = Field(default=None, gt=0)
    label_smoothing: float | None = Field(default=None, ge=0, lt=1)
    optimiser: Literal["sgd", "adam"] | None = None
    momentum: float | None = Field(default=None, ge=0, lt=1)
    dampening: float | None = Field(default=None, ge=0, le=1)
    nesterov: bool | None = None
    weight_decay: float | None = Field(default=None, ge=0)
    beta_1: float | None = Field(default=None, ge=0, lt=1)
    beta_2: float | None = Field(default=None, ge=0, lt=1)
    epsilon: float | None = Field(default=None, gt=0)
    proximal_mu: float | None = Field(default=None, ge=0)
    clip_norm: float | None = Field(default=None, ge=0)
    mode: Literal["train", "eval"] | None = None
    frozen: str | None = None
    mean: float | str | None = None
    std: float | str | None = None
    precision: Literal["float32", "bfloat16", "float16"] | None = None
    drop_last: bool | None = None

    @pydantic.field_validator("loss")
    @classmethod
    def _is_loss(cls, loss: str | None) -> str | None:
        if loss is not None and loss not in LOSSES and not PLACE.fullmatch(loss):
            raise ValueError(f"'{loss}' is not a loss; use {', '.join(LOSSES)}, or module:name of a function")
        return loss

    @pydantic.field_validator("mean", "std")
    @classmethod
    def _is_numbers(cls, value: float | str | None, info: pydantic.ValidationInfo) -> float | str | None:
        if value is None:
            return value
        found = numbers(value)
        if not found or (info.field_name == "std" and min(found) <= 0):
            raise ValueError(f"expected one number, or one for each channel separated by spaces, got {value!r}")
        return value

    @pydantic.model_validator(mode="after")
    def _possible(self) -> Self:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov: needs a momentum above 0")
        return self

    def known(self) -> dict[str, Scalar]:
        """Return the fields that are known, by name."""
        return self.model_dump(exclude_none=True)

    def taken(self) -> Self:
        """Return this training with `TAKEN` in place of what is not known."""
        if all(getattr(self, name) is not None for name in TAKEN):  # called in every step of a search
            return self
        return type(self).model_validate({**TAKEN, **self.known()})

    def filled(self, assumed: Mapping[str, Any]) -> Self:
        """Return this training with assumed values in place of what is not known."""
        return type(self).model_validate({**assumed, **self.known()})


TAKEN: Mapping[str, Scalar] = {
    "loss": CROSS_ENTROPY,
    "reduction": "mean",
    "loss_scale": 1.0,
    "label_smoothing": 0.0,
    "optimiser": "sgd",
    "momentum": 0.0,
    "dampening": 0.0,
    "nesterov": False,
    "weight_decay": 0.0,
    "beta_1": 0.9,
    "beta_2": 0.999,
    "epsilon": 1e-8,
    "proximal_mu": 0.0,
    "clip_norm": 0.0,
    "mode": "train",
    "frozen": "",
    "mean": 0.0,
    "std": 1.0,
    "precision": "float32",
    "drop_last": False,
}
"""What an attack takes a field of `ClientTraining` to be where it is not known."""


def numbers(value: float | str) -> tuple[float, ...]:
    """Return the numbers in a field such as `ClientTraining.mean`; () if they are not numbers."""
    if not isinstance(value, str):
        return (float(value),)
    try:
        return tuple(float(part) for part in value.replace(",", " ").split())
    except ValueError:
        return ()
