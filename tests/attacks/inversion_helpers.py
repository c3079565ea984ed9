"""Small trained models for the model inversions' tests, and their forward pass written out in plain torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from attacks.testing.victims import EVENT_MLP, EVENTS, MLP, NEURONS, SPIKING_MLP, trained
from attacks.testing.victims import TINY as SMALL
from attacks.testing.victims import TINY_SPIKING_LENET as SPIKING_LENET
from fl_sim.records import ModelSpec, TrainedModel

__all__ = ["EVENTS", "EVENT_MLP", "MLP", "NEURONS", "SMALL", "SPIKING_LENET", "SPIKING_MLP", "trained"]


def after_decay(spec: ModelSpec) -> ModelSpec:
    assert spec.spiking is not None
    return replace(spec, spiking=spec.spiking.model_copy(update={"reset_order": "after_decay"}))


def weights(model: TrainedModel) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return weights and biases of both layers of an MLP, in float64."""
    names = ("body.0.1.weight", "body.0.1.bias", "head.weight", "head.bias")
    first, first_bias, second, second_bias = (model.parameters[name].double() for name in names)
    return first, first_bias, second, second_bias


class Fire(Function):
    """1 where u >= 0, with the derivative 1 / (1 + 40 |u|)^2."""

    @staticmethod
    def forward(ctx: Any, u: Tensor) -> Tensor:
        ctx.save_for_backward(u)
        return (u >= 0).to(u)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (u,) = ctx.saved_tensors
        slope: Tensor = gradients[0] / (1.0 + 40.0 * u.abs()) ** 2
        return slope


def fire(u: Tensor) -> Tensor:
    spikes: Tensor = Fire.apply(u)
    return spikes


def plain_potentials(model: TrainedModel, spikes: Tensor, *, order: str = "before_decay") -> tuple[Tensor, Tensor]:
    """Return potentials and spikes (T, classes) of the output neurons for one recording (T, pixels), step by step.

    Decay 0.7, threshold 1, detached soft reset: U = 0.7 (U - S) + I, or U = 0.7 U + I - S.
    """
    first, first_bias, second, second_bias = weights(model)
    state = [torch.zeros(len(first_bias)).double(), torch.zeros(len(second_bias)).double()]
    fired = [torch.zeros_like(u) for u in state]
    potentials, outputs = [], []
    for frame in spikes:
        signal = frame
        for layer, (weight, bias) in enumerate(((first, first_bias), (second, second_bias))):
            current, reset = weight @ signal + bias, fired[layer].detach()
            kept = 0.7 * (state[layer] - reset) if order == "before_decay" else 0.7 * state[layer] - reset
            state[layer] = kept + current
            signal = fired[layer] = fire(state[layer] - 1.0)
        potentials.append(state[1])
        outputs.append(signal)
    return torch.stack(potentials), torch.stack(outputs)


def settings_of(name: str, **settings: Any) -> Mapping[str, Any]:
    """Return those of `settings` that the model inversion has."""
    from attacks import MODEL_INVERSIONS

    known = MODEL_INVERSIONS[name].settings.model_fields
    return {key: value for key, value in settings.items() if key in known}
