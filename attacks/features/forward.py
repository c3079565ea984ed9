"""The features that the last layer reads, for many inputs of one victim's model."""

from __future__ import annotations

import torch
from torch import Tensor

from attacks.folding import Fold
from attacks.reading.last_layer import LastLayer, dummy_inputs
from fl_sim.errors import ConfigError
from fl_sim.losses import normalised
from fl_sim.records import CapturedUpdate

_PIECE = 256
_ROUNDING = 1e-3


class Features:
    """The forward pass of one victim's model up to its last layer.

    Args:
        capture: of the victim.
        device: where to compute.

    Raises:
        ConfigError: the model cannot be folded, or its logits are not affine in the features of its last layer.
    """

    def __init__(self, capture: CapturedUpdate, *, device: str) -> None:
        self._training = capture.training.taken()
        self._fold = Fold(capture.model, [capture.parameters], device=device)
        self._device = device
        dummies = dummy_inputs(capture.model.input)
        axis = dummies.dim() - 4
        self._factors = self._of_time(dummies.narrow(axis, 0, 1))
        known = LastLayer(capture).features()
        errors = (self.of(dummies).cpu() - known).norm(dim=1) / known.norm(dim=1).clamp(min=_ROUNDING)
        # Rounding alone may decide whether a neuron at its threshold spikes, so a few inputs may differ.
        if not float(errors.median()) <= _ROUNDING:
            raise ConfigError(
                f"{capture.id}: the logits of model '{capture.model.architecture}' do not depend on the input of its "
                "last layer as on the features of a linear layer, so these cannot be read off the update."
            )

    def of(self, inputs: Tensor) -> Tensor:
        """Return features (n, F) of images (n, C, H, W) in the range of the InputSpec, or events (T, n, C, H, W)."""
        axis = inputs.dim() - 4
        pieces = [self._piece(piece) for piece in torch.split(inputs, _PIECE, dim=axis)]
        return torch.cat(pieces)

    @torch.no_grad()
    def _piece(self, inputs: Tensor) -> Tensor:
        self._fold.logits(self._read(inputs))
        source, count = self._fold.last_layer().source, inputs.shape[inputs.dim() - 4]
        return torch.einsum("r,rnf->nf", self._factors, source.view(len(self._factors), count, -1))

    def _of_time(self, one: Tensor) -> Tensor:
        """Return the weights (T,) that the readout of a spiking model gives to the time steps; (1,) for an ANN."""
        logits = self._fold.logits(self._read(one).requires_grad_())
        probe = torch.linspace(1.0, 2.0, logits.shape[-1], device=logits.device)
        (delta,) = torch.autograd.grad((logits * probe).sum(), self._fold.last_layer().output)
        return delta.view(-1, len(probe)) @ probe / probe.square().sum()

    def _read(self, inputs: Tensor) -> Tensor:
        """Return inputs as the fold of one model reads them."""
        return normalised(self._training, inputs.to(self._device))[None]
