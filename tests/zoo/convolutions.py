"""Convolutional networks without normalisation layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fl_sim.specs import ModelSpec


def tutorial(spec: ModelSpec, activation: type[nn.Module] = nn.ReLU) -> nn.Module:
    """Return the network of PyTorch's CIFAR-10 tutorial."""
    side = ((spec.input.height - 4) // 2 - 4) // 2
    return nn.Sequential(
        nn.Conv2d(spec.input.channels, 6, 5),
        activation(),
        nn.MaxPool2d(2, 2),
        nn.Conv2d(6, 16, 5),
        activation(),
        nn.MaxPool2d(2, 2),
        nn.Flatten(),
        nn.Linear(16 * side * side, 120),
        activation(),
        nn.Linear(120, 84),
        activation(),
        nn.Linear(84, spec.input.classes),
    )


class MnistExample(nn.Module):
    """The network of PyTorch's MNIST example, which ends in log-probabilities."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(spec.input.channels, 32, 3, 1)
        self.conv2 = nn.Conv2d(32, 64, 3, 1)
        self.dropout1 = nn.Dropout(0.25)
        self.dropout2 = nn.Dropout(0.5)
        self.fc1 = nn.Linear(64 * ((spec.input.height - 4) // 2) ** 2, 128)
        self.fc2 = nn.Linear(128, spec.input.classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        x = self.dropout1(F.max_pool2d(x, 2))
        x = F.relu(self.fc1(torch.flatten(x, 1)))
        return F.log_softmax(self.fc2(self.dropout2(x)), dim=1)


def pooled(spec: ModelSpec, *layers: nn.Module, width: int = 8) -> nn.Module:
    """Return layers that leave `width` channels, with the usual head."""
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * width, spec.input.classes))


def fully_convolutional(spec: ModelSpec) -> nn.Module:
    """Return a network that ends in a map of (N, K, 1, 1)."""
    return nn.Sequential(
        nn.Conv2d(spec.input.channels, 8, 3, stride=2),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, stride=2),
        nn.ReLU(),
        nn.Conv2d(8, spec.input.classes, 1),
        nn.AdaptiveAvgPool2d(1),
    )


def depthwise(spec: ModelSpec) -> nn.Module:
    """Return depthwise separable and grouped convolutions."""
    return pooled(
        spec,
        nn.Conv2d(spec.input.channels, 8, 3, stride=2, padding=1),
        nn.ReLU6(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False),
        nn.Conv2d(8, 8, 1),
        nn.ReLU6(),
        nn.Conv2d(8, 8, 3, padding=1, groups=2),
        nn.ReLU6(),
    )


def same_padding(spec: ModelSpec) -> nn.Module:
    """Return convolutions with padding="same", dilated, and with padding other than by zeros."""
    return pooled(
        spec,
        nn.Conv2d(spec.input.channels, 8, 5, padding="same"),
        nn.LeakyReLU(0.1),
        nn.Conv2d(8, 8, 3, padding="same", dilation=2, padding_mode="reflect"),
        nn.ELU(),
        nn.AvgPool2d(2),
    )


def transposed(spec: ModelSpec) -> nn.Module:
    """Return a network that scales up within."""
    return pooled(
        spec,
        nn.Conv2d(spec.input.channels, 8, 3, stride=2, padding=1),
        nn.ReLU(inplace=True),
        nn.ConvTranspose2d(8, 8, 4, stride=2, padding=1),
        nn.ReLU(inplace=True),
        nn.Upsample(scale_factor=2, mode="bilinear"),
    )


def prelu(spec: ModelSpec) -> nn.Module:
    """Return a network whose activations are trained."""
    return pooled(
        spec, nn.Conv2d(spec.input.channels, 8, 3), nn.PReLU(), nn.Conv2d(8, 8, 3), nn.PReLU(8), nn.MaxPool2d(2)
    )


def dropout_2d(spec: ModelSpec) -> nn.Module:
    """Return a network that drops whole channels."""
    return pooled(spec, nn.Conv2d(spec.input.channels, 8, 3), nn.ReLU(), nn.Dropout2d(0.3), nn.Conv2d(8, 8, 3))


class FunctionalDropout(nn.Module):
    """A network whose dropout is no module."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.conv = nn.Conv2d(spec.input.channels, 8, 5, stride=2)
        self.fc = nn.Linear(8 * ((spec.input.height - 3) // 2) ** 2, spec.input.classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.dropout(F.relu(self.conv(x)).flatten(1), p=0.4, training=self.training)
        logits: Tensor = self.fc(x)
        return logits


class HeadFirst(nn.Module):
    """A network whose head is registered before its body, so that the order of the names is not that of the layers."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.head = nn.Linear(32, spec.input.classes)
        self.late = nn.Conv2d(8, 8, 3)
        self.early = nn.Conv2d(spec.input.channels, 8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.late(F.relu(self.early(x))))
        logits: Tensor = self.head(F.adaptive_avg_pool2d(x, 2).flatten(1))
        return logits


class NormalisesInside(nn.Module):
    """A network that normalises its images itself."""

    mean: Tensor
    std: Tensor

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.4914, 0.4822, 0.4465]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.2470, 0.2435, 0.2616]).view(1, 3, 1, 1))
        self.net = pooled(spec, nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net((x - self.mean) / self.std)
        return logits


def softmax_output(spec: ModelSpec) -> nn.Module:
    """Return a network that ends in probabilities, on which its client computes a cross-entropy as of logits."""
    body = pooled(spec, nn.Conv2d(spec.input.channels, 8, 3), nn.ReLU())
    return nn.Sequential(body, nn.Softmax(dim=1))


class Unet(nn.Module):
    """A classifier with the concatenated skip of a U-Net."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.down1 = nn.Conv2d(spec.input.channels, 8, 3, padding=1)
        self.down2 = nn.Conv2d(8, 16, 3, padding=1)
        self.up = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.fuse = nn.Conv2d(16, 8, 3, padding=1)
        self.head = nn.Linear(8, spec.input.classes)

    def forward(self, x: Tensor) -> Tensor:
        fine = F.relu(self.down1(x))
        coarse = F.relu(self.down2(F.max_pool2d(fine, 2)))
        x = F.relu(self.fuse(torch.cat([fine, self.up(coarse)], dim=1)))
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


class BareScale(nn.Module):
    """Residual blocks with a scale that is a parameter of no layer, and a convolution whose weight is bare too."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.kernel = nn.Parameter(0.2 * torch.randn(8, spec.input.channels, 3, 3))
        self.scale = nn.Parameter(torch.tensor(0.5))
        self.shifts = nn.ParameterList([torch.zeros(8, 1, 1) for _ in range(2)])
        self.blocks = nn.ModuleList([nn.Conv2d(8, 8, 3, padding=1) for _ in range(2)])
        self.head = nn.Linear(8, spec.input.classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.conv2d(x, self.kernel, padding=1)
        for block, shift in zip(self.blocks, self.shifts, strict=True):
            x = x + self.scale * F.relu(block(x) + shift)
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


class Signal(nn.Module):
    """One-dimensional convolutions over a signal."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv1d(spec.input.channels, 8, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool1d(2),
            nn.Conv1d(8, 8, 5, padding=2),
            nn.ReLU(),
            nn.AdaptiveAvgPool1d(3),
            nn.Flatten(),
            nn.Linear(24, spec.input.classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x.squeeze(2))
        return logits
