"""Small victims for tests of attacks: captures of untrained models, and models whose outputs differ between classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from attacks.contracts import Auxiliary
from fl_sim.models import build_model
from fl_sim.records import CapturedUpdate, InputSpec, ModelSpec, SpikingSpec, TrainedModel
from fl_sim.specs import BRAINLEAKS_NEURONS
from fl_sim.training import capture_gradient, parameters_of

SMALL = InputSpec(channels=1, height=8, width=8, classes=4)
LENET = ModelSpec("lenet", SMALL)
SPIKING_LENET = ModelSpec("spiking_lenet", SMALL, "torch", SpikingSpec(timesteps=4))
"""The model that gradient inversions attack, like `LENET`."""

TINY = InputSpec(channels=1, height=4, width=5, classes=4)
EVENTS = InputSpec(channels=2, height=3, width=3, classes=3, timesteps=6)
NEURONS = BRAINLEAKS_NEURONS.model_copy(update={"timesteps": 7})
MLP = ModelSpec("mlp", TINY, "torch", hidden=12)
SPIKING_MLP = ModelSpec("spiking_mlp", TINY, "torch", NEURONS, hidden=12)
TINY_SPIKING_LENET = ModelSpec("spiking_lenet", TINY, "torch", SpikingSpec(timesteps=5))
EVENT_MLP = ModelSpec("spiking_mlp", EVENTS, "torch", NEURONS, hidden=12)
TARGETS = {
    True: {"mlp": SPIKING_MLP, "lenet": TINY_SPIKING_LENET, "events": EVENT_MLP},
    False: {"mlp": MLP},
}
"""{whether the models are spiking: {name: model that model inversions attack}}."""


def truth(count: int, spec: InputSpec = SMALL, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return inputs (V, 1, C, H, W) in [0, 1], or binary (V, T, 1, C, H, W) for events, and labels (V, 1)."""
    generator = torch.Generator().manual_seed(seed)
    steps = (spec.timesteps,) if spec.timesteps else ()
    inputs = torch.rand(count, *steps, 1, *spec.frame, generator=generator)
    labels = torch.randint(spec.classes, (count, 1), generator=generator)
    return (inputs.round() if spec.timesteps else inputs), labels


def auxiliary_for(spec: InputSpec, count: int = 48) -> Auxiliary:
    """Return auxiliary examples of the same distribution as `truth`, and none of them."""
    inputs, labels = truth(count, spec, seed=1)
    return Auxiliary("random", inputs.squeeze(2).transpose(0, 1) if spec.timesteps else inputs[:, 0], labels[:, 0])


def captures_of(model: ModelSpec, inputs: Tensor, labels: Tensor, *, seed: int = 0) -> list[CapturedUpdate]:
    """Return one captured gradient per victim, each with its own untrained model."""
    return [
        capture_gradient(
            model,
            parameters_of(build_model(model, seed=seed + victim)),
            inputs[victim],
            labels[victim],
            capture_id=f"test/r001-c{victim:03d}",
        )
        for victim in range(len(inputs))
    ]


def with_noise(captures: Sequence[CapturedUpdate], scale: float) -> list[CapturedUpdate]:
    """Return captures whose updates have Gaussian noise added, with a norm of `scale` times their own."""
    noisy = []
    for index, capture in enumerate(captures):
        generator = torch.Generator().manual_seed(index)
        noise = {name: torch.randn(g.shape, generator=generator) for name, g in capture.update.items()}
        norms = [torch.cat([t.flatten() for t in tensors.values()]).norm() for tensors in (capture.update, noise)]
        factor = scale * norms[0] / norms[1]
        noisy.append(replace(capture, update={name: g + factor * noise[name] for name, g in capture.update.items()}))
    return noisy


def shuffled(captures: Sequence[CapturedUpdate]) -> list[CapturedUpdate]:
    """Return captures with the same numbers in a random order, which have the right norm but random directions."""
    return [replace(capture, update=_shuffled(capture)) for capture in captures]


def _shuffled(capture: CapturedUpdate) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(7)
    return {
        key: g.flatten()[torch.randperm(g.numel(), generator=generator)].view_as(g) for key, g in capture.update.items()
    }


def trained(spec: ModelSpec, *, seed: int = 0, scale: float = 3.0) -> TrainedModel:
    """Return a model whose weights are large enough for neurons to fire and for the outputs of classes to differ."""
    parameters = {name: scale * value for name, value in parameters_of(build_model(spec, seed=seed)).items()}
    return TrainedModel(model=spec, parameters=parameters, test_accuracy=0.5, round=3, seed=seed)
