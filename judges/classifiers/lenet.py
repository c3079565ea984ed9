"""The judge of the paper's MNIST and CIFAR-100 columns: a LeNet-5 in its modern form."""

from __future__ import annotations

from torch import Tensor, nn

from fl_sim.specs import InputSpec
from judges.classifiers.model import JudgeModel
from judges.classifiers.settings import JudgeOptions


class JudgeLeNet(JudgeModel):
    """Two 5x5 convolutions with ReLU and 2x2 max pooling, then 120-84-classes (LeCun et al. 1998, section II.B).

    The convolutions are padded, so that any size from 4x4 pixels fits. Inputs (N, C, H, W) are in the value range of
    the spec and scaled to [-1, 1]; outputs are logits (N, classes). The clients' LeNets differ: they use sigmoids and
    strides.

    Raises:
        ValueError: the images are smaller than 4x4 pixels.
    """

    def __init__(self, spec: InputSpec, options: JudgeOptions) -> None:  # noqa: ARG002  the builders' common signature
        super().__init__()
        if min(spec.height, spec.width) < 4:
            raise ValueError(f"the judge needs at least 4x4 pixels, got {spec.height}x{spec.width}")
        self.low, self.high = spec.low, spec.high
        self.conv1 = nn.Conv2d(spec.channels, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5, padding=2)
        self.pool = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(16 * (spec.height // 4) * (spec.width // 4), 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, spec.classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits (N, classes) of inputs (N, C, H, W)."""
        centred = (inputs - self.low) * (2.0 / (self.high - self.low)) - 1.0
        features = self.pool(self.conv1(centred).relu())
        features = self.pool(self.conv2(features).relu()).flatten(1)
        logits: Tensor = self.fc3(self.fc2(self.fc1(features).relu()).relu())
        return logits
