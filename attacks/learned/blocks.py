"""Numbers of an update and of many examples that can be compared: layers' gradients, and the last layer's features."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from attacks.descent.frozen_delta import weights_of
from attacks.features.forward import Features
from attacks.features.regression import OUTLIER, standardised
from attacks.folding import Fold
from attacks.folding.losses import cross_entropies
from attacks.reading.head import HeadRead, read_head
from attacks.reading.labels import best_labels
from attacks.settings import LearnedSettings
from fl_sim.losses import normalised
from fl_sim.observed import observed_gradient
from fl_sim.records import CapturedUpdate
from fl_sim.seeding import torch_stream

FEATURES = "features"
_MOST_AT_ONCE = 32


class Blocks:
    """The gradients that each of many examples would have under one victim's model, a block of numbers for each layer.

    If the last layer tells the residual d of the victim's logits, the gradients are those of <d, logits>, and at the
    truth they are the captured ones exactly. If not, they are those of the cross-entropy with the victim's label.

    Args:
        capture: of the victim, the gradient of one example.
        settings: of the attack.
        device: where to compute.

    Raises:
        ConfigError: the model cannot be folded, its label cannot be read, or a layer of the settings is not known.
    """

    def __init__(self, capture: CapturedUpdate, settings: LearnedSettings, *, device: str) -> None:
        self._capture, self._read, self._device = capture, read_head(capture), device
        self._training, self._most = capture.training.taken(), settings.most_coordinates
        self._count = _at_once(capture, settings.memory_mb)
        self._fold = Fold(capture.model, [capture.parameters] * self._count, device=device)
        names = self._fold.weights()
        self._factors = dict(weights_of(settings.layers, names, self._read))
        self._features: Features | None = None
        if self._read is not None and names[-1] in self._factors:
            self._factors[FEATURES] = self._factors.pop(names[-1])
            self._features = Features(capture, device=device)
        self._direction = self._of_logits(self._read)

    def rows(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return standardised numbers of examples (n, q) and of the victim (q,), all blocks side by side.

        The squares of a block sum up to about its factor.

        Args:
            inputs: images (n, C, H, W) in the range of the InputSpec, or events (T, n, C, H, W).
        """
        known, wanted = self._known(inputs), self._wanted()
        parts = []
        for name, factor in self._factors.items():
            rows, row = standardised(known[name], wanted[name], least=0.0)
            scale = math.sqrt(factor / max(rows.shape[1], 1))
            parts.append([scale * part.nan_to_num(0.0).clamp(-OUTLIER, OUTLIER) for part in (rows, row)])
        return torch.cat([part[0] for part in parts], 1), torch.cat([part[1] for part in parts])

    def _known(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return {block: (n, size)} of examples."""
        axis = inputs.dim() - 4
        pieces = [self._gradients(piece) for piece in torch.split(inputs, self._count, dim=axis)]
        known = {name: torch.cat([piece[name] for piece in pieces]) for name in pieces[0]}
        if self._features is not None:
            known[FEATURES] = self._features.of(inputs)
        return known

    def _wanted(self) -> dict[str, Tensor]:
        """Return {block: (size,)} of the victim."""
        gradient, scale = observed_gradient(self._capture), _size(self._read)
        wanted = {
            name: self._sketched(name, (gradient[name].double() / scale).float().flatten()[None].to(self._device))[0]
            for name in self._layers()
        }
        if self._read is not None and self._features is not None:
            wanted[FEATURES] = self._read.features.to(self._device)
        return wanted

    def _gradients(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return {layer: (n, size)} of at most as many examples as are computed at once."""
        axis, layers = inputs.dim() - 4, self._layers()
        count = inputs.shape[axis]
        if not layers:
            return {}
        filled = torch.cat([inputs, inputs.narrow(axis, 0, 1).expand(*_repeated(inputs, self._count - count))], axis)
        read = normalised(self._training, filled.to(self._device)).movedim(axis, 0).unsqueeze(axis + 1)
        logits = self._fold.logits(read.requires_grad_())
        if self._read is None:
            losses = cross_entropies(self._training, logits, self._direction.expand_as(logits))
        else:
            losses = (logits * self._direction).sum((1, 2))
        found = self._fold.frozen_gradients(losses, layers)
        return {name: self._sketched(name, g.detach().flatten(1)[:count]) for name, g in found.items()}

    def _of_logits(self, read: HeadRead | None) -> Tensor:
        """Return the direction of the residual, or the one-hot label (classes,)."""
        if read is not None:
            return (read.residual.double() / _size(read)).float().to(self._device)
        return F.one_hot(best_labels(self._capture)[0], self._fold.classes).float().to(self._device)

    def _layers(self) -> list[str]:
        """Return the layers whose gradients are used."""
        return [name for name in self._factors if name != FEATURES]

    def _sketched(self, name: str, rows: Tensor) -> Tensor:
        """Return rows (n, size) with fewer numbers if there are too many, such that inner products stay about the same.

        Each number is added with a random sign to a random one of the sums (Weinberger et al., "Feature hashing for
        large scale multitask learning", ICML 2009).
        """
        size = rows.shape[1]
        if not 0 < self._most < size:
            return rows
        generator = torch_stream(0, "sketch", name)
        places = torch.randint(self._most, (size,), generator=generator).to(rows.device)
        signs = 2.0 * torch.randint(2, (size,), generator=generator).to(rows) - 1.0
        return rows.new_zeros(len(rows), self._most).index_add_(1, places, rows * signs)


def _size(read: HeadRead | None) -> float:
    """Return the norm of the residual, by which gradients are divided; 1 if it is not known."""
    return 1.0 if read is None else float(read.residual.double().norm())


def _repeated(inputs: Tensor, count: int) -> tuple[int, ...]:
    """Return the shape of `count` inputs."""
    axis = inputs.dim() - 4
    return *inputs.shape[:axis], count, *inputs.shape[axis + 1 :]


def _at_once(capture: CapturedUpdate, memory_mb: int) -> int:
    """Return for how many examples gradients are computed at once."""
    spec = capture.model.input
    steps = spec.timesteps or (capture.model.spiking.timesteps if capture.model.spiking else 1)
    parameters = sum(tensor.numel() for tensor in capture.parameters.values())
    size = 4 * (3 * parameters + 120 * math.prod(spec.frame) * (1 + steps))
    return max(1, min(_MOST_AT_ONCE, memory_mb * 2**20 // size))
