"""Small trained models for the model inversions' tests, and their forward pass written out in plain torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from fl_sim.models import build_model
from fl_sim.records import InputSpec, ModelSpec, SpikingSpec, TrainedModel
from fl_sim.specs import BRAINLEAKS_NEURONS
from fl_sim.training import parameters_of

SMALL = InputSpec(channels=1, height=4, width=5, classes=4)
EVENTS = InputSpec(channels=2, height=3, width=3, classes=3, timesteps=6)
NEURONS = BRAINLEAKS_NEURONS.model_copy(update={"timesteps": 7})
MLP = ModelSpec("mlp", SMALL, "torch", hidden=12)
SPIKING_MLP = ModelSpec("spiking_mlp", SMALL, "torch", NEURONS, hidden=12)
SPIKING_LENET = ModelSpec("spiking_lenet", SMALL, "torch", SpikingSpec(timesteps=5))
EVENT_MLP = ModelSpec("spiking_mlp", EVENTS, "torch", NEURONS, hidden=12)


def after_decay(spec: ModelSpec) -> ModelSpec:
    assert spec.spiking is not None
    return replace(spec, spiking=spec.spiking.model_copy(update={"reset_order": "after_decay"}))


def trained(spec: ModelSpec, *, seed: int = 0, scale: float = 3.0) -> TrainedModel:
    """Return a model whose weights are large enough for neurons to fire and for classes to differ."""
    parameters = {name: scale * value for name, value in parameters_of(build_model(spec, seed=seed)).items()}
    return TrainedModel(model=spec, parameters=parameters, test_accuracy=0.5, round=3, seed=seed)


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
