"""Networks with normalisation layers of all kinds."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fl_sim.specs import ModelSpec


def normalised(spec: ModelSpec, norm: Callable[[int], nn.Module]) -> nn.Module:
    """Return two convolutions, each followed by a normalisation of its 8 channels."""
    return nn.Sequential(
        nn.Conv2d(spec.input.channels, 8, 3, padding=1),
        norm(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1),
        norm(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, spec.input.classes),
    )


def normalised_mlp(spec: ModelSpec, norm: Callable[[int], nn.Module]) -> nn.Module:
    """Return a perceptron with a normalisation of its 16 hidden units."""
    columns = spec.input.channels * spec.input.height * spec.input.width
    return nn.Sequential(nn.Flatten(), nn.Linear(columns, 16), norm(16), nn.GELU(), nn.Linear(16, spec.input.classes))


def response_norm(size: int) -> nn.Module:
    """Return AlexNet's normalisation over neighbouring channels, which has no parameters."""
    return nn.LocalResponseNorm(min(size, 5), alpha=0.1)


class Dense(nn.Module):
    """A small DenseNet: each layer reads all that came before, concatenated."""

    def __init__(self, spec: ModelSpec, layers: int = 3, growth: int = 6) -> None:
        super().__init__()
        self.stem = nn.Conv2d(spec.input.channels, 8, 3, padding=1, bias=False)
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm2d(8 + growth * number),
                nn.ReLU(inplace=True),
                nn.Conv2d(8 + growth * number, growth, 3, padding=1, bias=False),
            )
            for number in range(layers)
        )
        self.norm = nn.BatchNorm2d(8 + growth * layers)
        self.head = nn.Linear(8 + growth * layers, spec.input.classes)

    def forward(self, x: Tensor) -> Tensor:
        found = self.stem(x)
        for layer in self.layers:
            found = torch.cat([found, layer(found)], dim=1)
        logits: Tensor = self.head(F.relu(self.norm(found)).mean((2, 3)))
        return logits


class ConvNext(nn.Module):
    """A block of ConvNeXt: depthwise convolution, layer normalisation over channels that come last, layer scale."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.stem = nn.Conv2d(spec.input.channels, 8, 2, stride=2)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.norm = nn.LayerNorm(8, eps=1e-6)
        self.widen, self.narrow = nn.Linear(8, 16), nn.Linear(16, 8)
        self.gamma = nn.Parameter(0.1 * torch.ones(8))
        self.head = nn.Linear(8, spec.input.classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        inner = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        inner = self.gamma * self.narrow(F.gelu(self.widen(inner)))
        logits: Tensor = self.head((x + inner.permute(0, 3, 1, 2)).mean((2, 3)))
        return logits


class StandardisedConv2d(nn.Conv2d):
    """A convolution whose weights are standardised before they are used (Qiao et al. 2019)."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        weight = weight / (weight.flatten(1).std(1).view(-1, 1, 1, 1) + 1e-5)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


def standardised(spec: ModelSpec) -> nn.Module:
    """Return weight-standardised convolutions with group normalisation."""
    return nn.Sequential(
        StandardisedConv2d(spec.input.channels, 8, 3, stride=2),
        nn.GroupNorm(4, 8),
        nn.ReLU(),
        StandardisedConv2d(8, 8, 3),
        nn.GroupNorm(4, 8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, spec.input.classes),
    )
