"""The judge of the paper's DVS Gesture column: a residual spiking network."""

from __future__ import annotations

from spikingjelly.activation_based import functional
from torch import Tensor, nn

from fl_sim.errors import ConfigError
from fl_sim.models.neurons import build_neuron
from fl_sim.specs import InputSpec, SpikingSpec
from judges.classifiers.model import JudgeModel
from judges.classifiers.settings import JudgeOptions

PAPER_WIDTH = 64
LIF = SpikingSpec(neuron="lif", tau=2.0, threshold=1.0, reset="hard", detach_reset=True, surrogate="atan", slope=2.0)
"""SpikingJelly's defaults of a LIFNode; the reset is detached from the backward pass, as in its gesture example."""


class SpikingConvolution(nn.Module):
    """Conv2d(3x3, padding 1, no bias) - BN - LIF over a sequence (T, N, C, H, W); BN counts T x N as its batch."""

    def __init__(self, channels_in: int, channels_out: int, *, stride: int = 1) -> None:
        super().__init__()
        self.synapse = nn.Sequential(
            nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
        )
        self.neuron = build_neuron(LIF)

    def forward(self, sequence: Tensor) -> Tensor:
        """Return spikes (T, N, C', H', W')."""
        currents = self.synapse(sequence.flatten(0, 1)).unflatten(0, sequence.shape[:2])
        spikes: Tensor = self.neuron(currents)
        return spikes


class ResidualBlock(nn.Module):
    """Two spiking convolutions whose spikes are added to the input (spike-element-wise ADD).

    The paper's table names the block but not its contents. With two 3x3 convolutions without bias, each with batch
    normalisation, the whole network has 7.75 million parameters.

    Source: Fang, Yu, Chen, Huang, Masquelier and Tian, "Deep Residual Learning in Spiking Neural Networks", NeurIPS
    2021, eq. 4 with g = ADD.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(SpikingConvolution(channels, channels), SpikingConvolution(channels, channels))

    def forward(self, sequence: Tensor) -> Tensor:
        """Return activity (T, N, C, H, W) with the shape of the input; integers from 0 to 2 for spikes."""
        residual: Tensor = self.body(sequence)
        return sequence + residual


class DVSGestureSNN(JudgeModel):
    """Residual spiking network for event frames; 7,753,739 parameters at width 64 with 2 polarities and 11 classes.

    Conv(P, w, stride 1) - BN - LIF; then three times Conv(stride 2) - BN - LIF - ResidualBlock with 2w, 4w and 8w
    channels; global average pooling; Linear(8w, classes); logits averaged over time. Membrane potentials are reset
    before and after each batch.

    Raises:
        ConfigError: the inputs are images.

    Source: Aksu, Martinez del Rincon and Alouani, arXiv 2511.21181, Table I (width 64, 128x128, T = 20).
    """

    def __init__(self, spec: InputSpec, options: JudgeOptions) -> None:
        super().__init__()
        if not spec.timesteps:
            raise ConfigError(
                "judge.name: 'dvs_gesture_snn' reads recordings of events, but the data set holds images."
            )
        width = options.width
        self.note = "" if width == PAPER_WIDTH else f"width {width}; the paper's is {PAPER_WIDTH}"
        layers: list[nn.Module] = [SpikingConvolution(spec.channels, width)]
        for channels in (width, 2 * width, 4 * width):
            layers += [SpikingConvolution(channels, 2 * channels, stride=2), ResidualBlock(2 * channels)]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(8 * width, spec.classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits (N, classes) of event frames (T, N, P, H, W)."""
        functional.reset_net(self)
        features = self.body(inputs).mean(dim=(3, 4))
        functional.reset_net(self)  # a graph left in the neurons could not be copied or saved
        logits: Tensor = self.head(features).mean(0)
        return logits
