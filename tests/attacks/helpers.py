"""Small victims for the attacks' tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from fl_sim.models import build_model
from fl_sim.records import CapturedUpdate, InputSpec, ModelSpec, SpikingSpec
from fl_sim.training import capture_gradient, parameters_of

SMALL = InputSpec(channels=1, height=8, width=8, classes=4)
LENET = ModelSpec("lenet", SMALL)
SPIKING_LENET = ModelSpec("spiking_lenet", SMALL, "torch", SpikingSpec(timesteps=4))


def truth(count: int, spec: InputSpec = SMALL, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return inputs (V, 1, C, H, W) in [0, 1] and labels (V, 1)."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.rand(count, 1, *spec.frame, generator=generator)
    return inputs, torch.randint(spec.classes, (count, 1), generator=generator)


def captures_of(model: ModelSpec, inputs: Tensor, labels: Tensor, *, seed: int = 0) -> list[CapturedUpdate]:
    """Return one captured gradient for each victim, each of its own untrained model."""
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
    """Return captures whose updates carry Gaussian noise of `scale` times their own norm."""
    noisy = []
    for index, capture in enumerate(captures):
        generator = torch.Generator().manual_seed(index)
        noise = {name: torch.randn(g.shape, generator=generator) for name, g in capture.update.items()}
        norms = [torch.cat([t.flatten() for t in tensors.values()]).norm() for tensors in (capture.update, noise)]
        factor = scale * norms[0] / norms[1]
        noisy.append(replace(capture, update={name: g + factor * noise[name] for name, g in capture.update.items()}))
    return noisy
