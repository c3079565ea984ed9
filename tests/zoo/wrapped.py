"""Networks whose parameters are not simply those of their layers: reparametrised, tied or frozen."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize

from fl_sim.specs import ModelSpec


def features(spec: ModelSpec) -> int:
    """Return the number of values of an input."""
    return spec.input.channels * spec.input.height * spec.input.width


def weight_norm(spec: ModelSpec) -> nn.Module:
    """Return layers whose weight has a direction and a length."""
    return nn.Sequential(
        parametrizations.weight_norm(nn.Conv2d(spec.input.channels, 8, 3, stride=2)),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        parametrizations.weight_norm(nn.Linear(32, spec.input.classes), dim=0),
    )


def hooked_weight_norm(spec: ModelSpec) -> nn.Module:
    """Return the same by the older function, which computes the weight in a hook before each forward pass."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # it is deprecated, and still what many scripts call
        return nn.Sequential(
            nn.utils.weight_norm(nn.Conv2d(spec.input.channels, 8, 3, stride=2)),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(32, spec.input.classes),
        )


def spectral_norm(spec: ModelSpec) -> nn.Module:
    """Return layers divided by their largest singular value, of which buffers hold the vectors."""
    return nn.Sequential(
        parametrizations.spectral_norm(nn.Conv2d(spec.input.channels, 8, 3, stride=2)),
        nn.LeakyReLU(0.2),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        parametrizations.spectral_norm(nn.Linear(32, spec.input.classes)),
    )


def hooked_spectral_norm(spec: ModelSpec) -> nn.Module:
    """Return the same by the older function, which computes the weight in a hook before each forward pass."""
    return nn.Sequential(
        nn.utils.spectral_norm(nn.Conv2d(spec.input.channels, 8, 3, stride=2)),
        nn.LeakyReLU(0.2),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, spec.input.classes),
    )


class Symmetric(nn.Module):
    """The parametrisation of PyTorch's tutorial."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight.triu() + weight.triu(1).transpose(-1, -2)


def symmetric(spec: ModelSpec) -> nn.Module:
    """Return a perceptron with a symmetric hidden layer."""
    hidden = nn.Linear(12, 12)
    parametrize.register_parametrization(hidden, "weight", Symmetric())
    return nn.Sequential(
        nn.Flatten(), nn.Linear(features(spec), 12), nn.Tanh(), hidden, nn.Tanh(), nn.Linear(12, spec.input.classes)
    )


class TiedAutoencoder(nn.Module):
    """A classifier on the features of an autoencoder whose decoder is its transposed encoder."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.encoder = nn.Linear(features(spec), 16)
        self.decoder_bias = nn.Parameter(torch.zeros(features(spec)))
        self.head = nn.Linear(features(spec), spec.input.classes)

    def forward(self, x: Tensor) -> Tensor:
        code = F.relu(self.encoder(x.flatten(1)))
        rebuilt = F.linear(code, self.encoder.weight.t(), self.decoder_bias)
        logits: Tensor = self.head(F.relu(rebuilt))
        return logits


class TiedLayers(nn.Module):
    """The same layer under two names, and twice in a row."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.first = nn.Linear(features(spec), 12)
        self.second = nn.Linear(12, 12)
        self.third = self.second
        self.head = nn.Linear(12, spec.input.classes)
        self.head_of_old = nn.Linear(12, spec.input.classes)
        self.head_of_old.weight = self.head.weight

    def forward(self, x: Tensor) -> Tensor:
        x = F.silu(self.first(x.flatten(1)))
        x = F.silu(self.third(F.silu(self.second(x))))
        logits: Tensor = self.head(x) + self.head_of_old(x)
        return logits


def frozen(spec: ModelSpec) -> nn.Module:
    """Return a network of which only the last convolution and the head are fine-tuned."""
    net = nn.Sequential(
        nn.Conv2d(spec.input.channels, 8, 3, stride=2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, spec.input.classes),
    )
    for layer in net[:2]:
        layer.requires_grad_(False)
    return net


class TwoViews(nn.Module):
    """A bilinear layer of the two halves of a row."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        half = spec.input.width // 2
        self.bilinear = nn.Bilinear(half, spec.input.width - half, 12)
        self.head = nn.Linear(12, spec.input.classes)

    def forward(self, x: Tensor) -> Tensor:
        left, right = x.flatten(1).tensor_split(2, dim=1)
        logits: Tensor = self.head(F.relu(self.bilinear(left, right)))
        return logits
