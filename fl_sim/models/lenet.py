"""DLG's LeNet."""

from __future__ import annotations

import math

from torch import Tensor, nn

from fl_sim.specs import InputSpec, ModelSpec

WIDTH = 12


def convolutions(channels: int) -> list[nn.Conv2d]:
    """Return DLG's three 5x5 convolutions: strides 2, 2, 1, padding 2, 12 channels each."""
    return [
        nn.Conv2d(channels, WIDTH, kernel_size=5, stride=2, padding=2),
        nn.Conv2d(WIDTH, WIDTH, kernel_size=5, stride=2, padding=2),
        nn.Conv2d(WIDTH, WIDTH, kernel_size=5, stride=1, padding=2),
    ]


def feature_count(spec: InputSpec) -> int:
    """Return the number of features that the linear layer reads from the last convolution."""
    # Each of the two 5x5 convolutions with padding 2 and stride 2 halves a side and rounds up.
    height, width = (math.ceil(math.ceil(side / 2) / 2) for side in (spec.height, spec.width))
    return WIDTH * height * width


class LeNet(nn.Module):
    """DLG's LeNet: three strided 5x5 convolutions with sigmoids, no pooling, one linear layer.

    Reads (N, C, H, W) and returns logits (N, classes). It has 13,426 parameters on 28x28x1 with 10 classes and 85,036
    on 32x32x3 with 100.

    Source: the published code of Zhu, Liu and Han, "Deep Leakage from Gradients", NeurIPS 2019.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        first, second, third = convolutions(spec.input.channels)
        self.body = nn.Sequential(first, nn.Sigmoid(), second, nn.Sigmoid(), third, nn.Sigmoid())
        self.head = nn.Linear(feature_count(spec.input), spec.input.classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits (N, classes) for inputs (N, C, H, W)."""
        logits: Tensor = self.head(self.body(inputs).flatten(1))
        return logits
