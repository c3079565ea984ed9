"""The classic LeNet that GRNN attacks."""

from __future__ import annotations

from torch import Tensor, nn

from fl_sim.errors import ConfigError
from fl_sim.specs import InputSpec, ModelSpec

SMALLEST_SIDE = 16
"""In pixels; for smaller inputs, the second pooling has nothing left to pool."""


def synapses(spec: InputSpec) -> list[nn.Module]:
    """Return the four layers before the head, each preceded by the pooling of the previous layer's output.

    Two 5x5 convolutions without padding, to 6 and to 16 channels, each followed by 2x2 max-pooling, then linear layers
    to 120 and to 84 units.

    Raises:
        ConfigError: a side of the input is smaller than 16 pixels.
    """
    if min(spec.height, spec.width) < SMALLEST_SIDE:
        raise ConfigError(
            f"model: the classic LeNet needs inputs of at least {SMALLEST_SIDE}x{SMALLEST_SIDE} pixels, got "
            f"{spec.height}x{spec.width}; set dataset.size, or choose another model."
        )
    height, width = (((side - 4) // 2 - 4) // 2 for side in (spec.height, spec.width))
    return [
        nn.Conv2d(spec.channels, 6, kernel_size=5),
        nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(6, 16, kernel_size=5)),
        nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16 * height * width, 120)),
        nn.Linear(120, 84),
    ]


class ClassicLeNet(nn.Module):
    """LeNet with 6, 16, 120 and 84 units, sigmoids and 2x2 max-pooling.

    Reads (N, C, H, W) with sides of at least 16 pixels and returns logits (N, classes). On 32x32x3 it has 62,006
    parameters with 10 classes, 69,656 with 100 and 549,821 with 5749.

    Source: the published code of Ren, Deng and Xie, "GRNN: Generative Regression Neural Network", ACM TIST 2022.

    Raises:
        ConfigError: a side of the input is smaller than 16 pixels.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        first, second, third, fourth = synapses(spec.input)
        self.body = nn.Sequential(
            first, nn.Sigmoid(), second, nn.Sigmoid(), third, nn.Sigmoid(), fourth, nn.Sigmoid()
        )  # fmt: skip
        self.head = nn.Linear(84, spec.input.classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits (N, classes) for inputs (N, C, H, W)."""
        logits: Tensor = self.head(self.body(inputs))
        return logits
