"""The posterior M_y(x) of a trained model, which model inversions increase and metrics report.

For an ANN it is softmax(logits). For a spiking model it is the time mean of the softmax of the output at each step, the
membrane potential of the output layer if that is the readout, as in the published code of BrainLeaks (Poursiami,
Alouani and Parsa 2024); it is neither the softmax of the mean nor that of spike counts.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fl_sim.errors import ConfigError
from fl_sim.models import MODELS, build_model
from fl_sim.records import TrainedModel, record_bytes
from fl_sim.specs import InputSpec

_ID_DIGITS = 12


def log_posterior(outputs: Tensor) -> Tensor:
    """Return log M (N, classes), which is stable even if M underflows.

    Args:
        outputs: (N, classes), logits of an ANN, or (T, N, classes), the output of a spiking model at each step.
    """
    steps = torch.log_softmax(outputs, dim=-1)
    return steps if outputs.dim() == 2 else torch.logsumexp(steps, dim=0) - math.log(len(steps))


def mean_log_probability(outputs: Tensor) -> Tensor:
    """Return the time mean of the log-softmax (N, classes) of outputs as in `log_posterior`; it is at most log M."""
    steps = torch.log_softmax(outputs, dim=-1)
    return steps if outputs.dim() == 2 else steps.mean(0)


def model_id(model: TrainedModel) -> str:
    """Return a name that identifies a trained model: its architecture and a hash of the whole record."""
    return f"{model.model.architecture}-{hashlib.sha256(record_bytes(model)).hexdigest()[:_ID_DIGITS]}"


class Target:
    """A trained model prepared for a model inversion: rebuilt, with fixed parameters.

    Args:
        model: the trained model.
        spiking: whether the attack is made for spiking models rather than ANNs.
        attack: name of the attack.
        device: where to compute.
        precision: "float32" or "float64".

    Raises:
        ConfigError: the model is of the other kind or reads texts, or a spiking model without an output at each step.
        DataError: the parameters are not those of the model.
    """

    def __init__(self, model: TrainedModel, *, spiking: bool, attack: str, device: str, precision: str) -> None:
        self.dtype, self.device = getattr(torch, precision), device
        self._spec = model.model
        if self._spec.input.vocabulary:
            raise ConfigError(
                f"attack '{attack}': it makes inputs of real numbers, and '{self._spec.architecture}' reads texts."
            )
        with torch.random.fork_rng(devices=[]):  # initial parameters are drawn and then replaced
            module: Any = build_model(self._spec, parameters=model.parameters).eval()
        self._spiking = spiking
        if MODELS[self._spec.architecture].spiking != spiking:
            kind, others = ("spiking models", "mi_face") if spiking else ("ANNs", "brainleaks_v1 or brainleaks_v2")
            raise ConfigError(
                f"attack '{attack}': it inverts {kind}, and '{self._spec.architecture}' is not one; choose {others}."
            )
        module.load_state_dict({**module.state_dict(), **model.parameters})
        self.module = module.to(device=device, dtype=self.dtype).requires_grad_(False)
        if spiking and not hasattr(module, "sequence"):
            raise ConfigError(f"model: '{self._spec.architecture}' has no method 'sequence', which '{attack}' needs.")
        self._shows_currents = hasattr(module, "currents") and hasattr(module, "sequence_from")

    @property
    def input(self) -> InputSpec:
        """Return the specification of the model's input."""
        return self._spec.input

    @property
    def timesteps(self) -> int:
        """Return T of a spiking model's inputs."""
        steps = self._spec.spiking.timesteps if self._spec.spiking else 1
        return self._spec.input.timesteps or steps

    def labels(self, classes: Sequence[int]) -> Tensor:
        """Return the classes as a tensor (K,).

        Raises:
            ConfigError: there are none, or the model does not have one of them.
        """
        unknown = [label for label in classes if not 0 <= label < self._spec.input.classes]
        if unknown or len(classes) == 0:
            found = f"found {unknown[0]}" if unknown else "found none"
            raise ConfigError(f"classes: expected labels from 0 to {self._spec.input.classes - 1}, {found}.")
        return torch.tensor(list(classes), device=self.device)

    def outputs(self, inputs: Tensor) -> Tensor:
        """Return logits (N, classes) of an ANN for images (N, C, H, W), or (T, N, classes) of a spiking model.

        A spiking model reads spikes (T, N, C, H, W), or images, which it codes itself.
        """
        outputs: Tensor = self.module.sequence(inputs) if self._spiking else self.module(inputs)
        return outputs

    def currents(self, spikes: Tensor) -> Tensor:
        """Return the first layer's currents (T, N, ...) for spikes (T, N, C, H, W), affine in the spikes.

        They are the spikes themselves if the model does not expose its first layer.
        """
        currents: Tensor = self.module.currents(spikes) if self._shows_currents else spikes
        return currents

    def outputs_from(self, currents: Tensor) -> Tensor:
        """Return the `outputs` (T, N, classes) for the spikes that have these currents."""
        outputs: Tensor = (self.module.sequence_from if self._shows_currents else self.module.sequence)(currents)
        return outputs

    def potentials(self, inputs: Tensor) -> Tensor:
        """Return the output layer's potentials (T, N, classes).

        Raises:
            ConfigError: the model's readout is its output spikes.
        """
        if self._spec.spiking is not None and self._spec.spiking.readout == "spikes":
            raise ConfigError('objective: the model\'s readout is "spikes"; for "membrane" it must be a potential.')
        return self.outputs(inputs)

    def output_spikes(self, inputs: Tensor) -> Tensor:
        """Return the output layer's spikes (T, N, classes).

        Raises:
            ConfigError: its neurons never fire.
        """
        spikes: Tensor = self.module.output_spikes(inputs)
        return spikes

    @torch.no_grad()
    def confidence(self, inputs: Tensor, classes: Tensor) -> Tensor:
        """Return the posterior (N,) of class `classes[n]` for input n."""
        return own(log_posterior(self.outputs(inputs)), classes).exp().clamp(max=1.0).cpu()


def own(values: Tensor, classes: Tensor) -> Tensor:
    """Return (N,), the entries of values (N, classes) at class `classes[n]` of each row n."""
    return values.gather(1, classes[:, None])[:, 0]
