"""The evaluation networks of BrainLeaks: a convolutional network and its spiking twin.

Source: Poursiami, Alouani and Parsa, "BrainLeaks: On the Privacy-Preserving Properties of Neuromorphic Architectures
against Model Inversion Attacks", 2024, section 4.1, and their published code, where LIF neurons follow the pooling.
"""

from __future__ import annotations

import math

import torch
from spikingjelly.activation_based import functional
from torch import Tensor, nn

from fl_sim.central import batch_loss
from fl_sim.encoders import Encoder
from fl_sim.errors import ConfigError
from fl_sim.models.neurons import Readout, build_neuron
from fl_sim.models.spiking_lenet import over_time
from fl_sim.specs import BRAINLEAKS_NEURONS, InputSpec
from judges.classifiers.model import JudgeModel
from judges.classifiers.settings import JudgeOptions

KERNEL = 5
CHANNELS = (12, 24)
SMALLEST = 16
IMAGE_NEURONS = BRAINLEAKS_NEURONS.model_copy(update={"reset_order": "after_decay"})
EVENT_NEURONS = IMAGE_NEURONS.model_copy(update={"tau": 1.0 / (1.0 - 0.8), "surrogate": "atan", "slope": 1.5})
"""beta is 0.7 on images, 0.8 on events; the reset follows the decay, as in snnTorch's `Leaky` with a hidden state."""


class _Convolutional(JudgeModel):
    """The layers that both networks share: two 5x5 convolutions without padding, 2x2 max pooling, one linear layer."""

    memory_format = torch.channels_last  # halves the time of judging thousands of draws

    def __init__(self, spec: InputSpec) -> None:
        super().__init__()
        if min(spec.height, spec.width) < SMALLEST:
            raise ConfigError(
                f"judge.name: the networks of BrainLeaks need at least {SMALLEST}x{SMALLEST} pixels, got "
                f"{spec.height}x{spec.width}."
            )
        first, second = CHANNELS
        self.conv1 = nn.Conv2d(spec.channels, first, KERNEL)
        self.conv2 = nn.Conv2d(first, second, KERNEL)
        sides = (((side - KERNEL + 1) // 2 - KERNEL + 1) // 2 for side in (spec.height, spec.width))
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Linear(second * math.prod(sides), spec.classes)

    def after_initialisation(self) -> None:
        """Scale He's bounds sqrt(6 / fan in) to torch's default sqrt(1 / fan in), which the source uses."""
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.mul_(1.0 / math.sqrt(6.0))


class BrainLeaksCNN(_Convolutional):
    """Conv(12) - ReLU - max pool - Conv(24) - ReLU - max pool - Linear.

    Inputs are (N, C, H, W) in [0, 1], outputs are logits (N, classes). On 28x28x1 with 10 classes it has 11,386
    parameters.

    Raises:
        ConfigError: the images are smaller than 16x16 pixels.
    """

    def __init__(self, spec: InputSpec, options: JudgeOptions) -> None:  # noqa: ARG002  the builders' common signature
        super().__init__(spec)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits (N, classes) of inputs (N, C, H, W)."""
        features = self.pool(self.conv1(inputs).relu())
        features = self.pool(self.conv2(features).relu()).flatten(1)
        logits: Tensor = self.head(features)
        return logits


class BrainLeaksSNN(_Convolutional):
    """Conv(12) - max pool - LIF - Conv(24) - max pool - LIF - Linear - LIF, read out by the last potential.

    Inputs are (N, C, H, W) in [0, 1], read through a rate code of 25 steps, or spikes (T, N, C, H, W) for any T,
    whatever the data set holds. In training, each batch is coded with fresh draws. In evaluation, the draws for each
    pixel and step are always the same, so that an output does not depend on the rest of the batch.

    Raises:
        ConfigError: the inputs are smaller than 16x16 pixels.
    """

    reads_spikes = True

    def __init__(self, spec: InputSpec, options: JudgeOptions) -> None:  # noqa: ARG002  the builders' common signature
        super().__init__(spec)
        neurons = EVENT_NEURONS if spec.timesteps else IMAGE_NEURONS
        self.encoder = Encoder("rate", BRAINLEAKS_NEURONS.timesteps)
        self.neurons1, self.neurons2, self.readout = build_neuron(neurons), build_neuron(neurons), Readout(neurons)

    def potentials(self, inputs: Tensor) -> Tensor:
        """Return the output neurons' potentials before the reset, (T, N, classes), of images or spikes."""
        activity = inputs if inputs.dim() == 5 else self._coded(inputs)
        functional.reset_net(self)
        activity = self.neurons1(over_time(nn.Sequential(self.conv1, self.pool), activity))
        activity = self.neurons2(over_time(nn.Sequential(self.conv2, self.pool), activity))
        potentials: Tensor = self.readout(over_time(self.head, activity.flatten(2)))
        functional.reset_net(self)  # a graph left in the neurons could not be copied or saved
        return potentials

    def loss(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """Return the cross-entropy of the potentials, summed over time and averaged over the batch."""
        return batch_loss(self.potentials(inputs), labels)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return log M, float64 (N, classes), where M is the time mean of the softmax of the potentials.

        The source ranks classes by M and calls it confidence; the softmax of log M is M itself. Double precision
        distinguishes answers that are almost certain.
        """
        steps = self.potentials(inputs).double().log_softmax(dim=2)
        return steps.logsumexp(dim=0) - math.log(len(steps))

    def _coded(self, images: Tensor) -> Tensor:
        """Return spikes (T, N, C, H, W) of images (N, C, H, W)."""
        if self.training:
            spikes: Tensor = self.encoder(images)
            return spikes
        shape = self.encoder.timesteps, 1, *images.shape[1:]
        uniform = torch.rand(shape, generator=torch.Generator().manual_seed(0))
        return (uniform.to(images) < images).to(images)
