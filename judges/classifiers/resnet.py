"""The judge of the paper's LFW column: a ResNet-50 with an ArcFace head."""

from __future__ import annotations

import contextlib
import sys
from typing import Any

import torchvision
from pytorch_metric_learning.losses import ArcFaceLoss
from torch import Tensor, nn
from torchvision.models import ResNet50_Weights

from fl_sim.errors import ConfigError, DataError
from fl_sim.specs import InputSpec
from judges.classifiers.model import JudgeModel
from judges.classifiers.settings import JudgeOptions

EMBEDDING = 512
"""Length of an embedding.

The default margin and scale of `JudgeOptions` were chosen on two images per person held out of the train split of a
subset of LFW (62 people, 16 images each, 32x32, random weights), with one run of about three minutes on one core each:
22 % correct, 18 % with a margin of 28.6, and 20 % with a 3x3 first convolution of stride 2 without max pooling, whose
epochs take two and a half times as long. With 124 images these differences are not significant; the first layers are
those of ResNet for speed and to fit ImageNet's weights.
"""

IMAGENET_MEAN, IMAGENET_STD = 0.45, 0.225
"""Mean and standard deviation of pixels in [0, 1] over all three channels."""


class JudgeResNet(JudgeModel):
    """ResNet-50 (He et al. 2016; torchvision), a batch-normalised embedding of 512 numbers, and ArcFace.

    In training, ArcFace (Deng, Guo, Xue and Zafeiriou 2019, eq. 3; pytorch-metric-learning) adds a margin to the angle
    between an embedding and the weight vector of its class. Logits are the scaled cosines without a margin.

    Inputs (N, C, H, W) are in the value range of the spec; one channel is repeated to three.

    Raises:
        ConfigError: the images have neither one nor three channels.
        DataError: ImageNet weights are requested, but they are not in torch's cache and cannot be downloaded.
    """

    def __init__(self, spec: InputSpec, options: JudgeOptions) -> None:
        super().__init__()
        if spec.channels not in (1, 3):
            raise ConfigError(f"judge.name: 'resnet50_arcface' reads 1 or 3 channels, not {spec.channels}.")
        self.low, self.high, self.pretrained = spec.low, spec.high, options.weights == "imagenet"
        self.note = (
            "started from ImageNet weights, as the paper's"
            if self.pretrained
            else "started from random weights; the paper's from ImageNet weights"
        )
        self.body = torchvision.models.resnet50(weights=None)
        self.body.fc = nn.Identity()
        self.embedding = nn.Sequential(nn.Linear(2048, EMBEDDING, bias=False), nn.BatchNorm1d(EMBEDDING))
        # Its default initialisation would draw from torch's global stream.
        self.head = ArcFaceLoss(
            spec.classes, EMBEDDING, margin=options.margin, scale=options.scale, weight_init_func=lambda weight: weight
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits (N, classes), the scaled cosines of inputs (N, C, H, W)."""
        logits: Tensor = self.head.get_logits(self.embed(inputs))
        return logits

    def embed(self, inputs: Tensor) -> Tensor:
        """Return embeddings (N, 512) of inputs (N, C, H, W)."""
        unit = (inputs - self.low) / (self.high - self.low)
        coloured = unit.expand(-1, 3, -1, -1) if unit.shape[1] == 1 else unit
        embeddings: Tensor = self.embedding(self.body((coloured - IMAGENET_MEAN) / IMAGENET_STD))
        return embeddings

    def loss(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """Return the ArcFace loss of a batch: the cross-entropy with the margin."""
        loss: Tensor = self.head(self.embed(inputs), labels)
        return loss

    def after_initialisation(self) -> None:
        """Make every residual block the identity (Goyal et al. 2017, section 5.1), or load ImageNet's weights."""
        if self.pretrained:
            state = {name: tensor for name, tensor in imagenet_state().items() if not name.startswith("fc.")}
            self.body.load_state_dict(state)
            return
        for module in self.body.modules():
            if isinstance(module, torchvision.models.resnet.Bottleneck):
                nn.init.zeros_(module.bn3.weight)


def imagenet_state() -> dict[str, Any]:
    """Return the parameters IMAGENET1K_V1 of ResNet-50 by name, from torch's cache or downloaded by torchvision.

    Raises:
        DataError: they are not available, or the file is damaged.
    """
    weights = ResNet50_Weights.IMAGENET1K_V1
    try:
        with contextlib.redirect_stdout(sys.stderr):  # torch announces a download on standard output
            state: dict[str, Any] = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"judge.weights: the ImageNet weights could not be had ({type(error).__name__}: {error}). Put "
            f"{weights.url} into the folder 'hub/checkpoints' of torch's cache (TORCH_HOME), or leave weights = none."
        ) from error
    return state
