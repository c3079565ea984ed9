"""Networks of torchvision at the size of CIFAR images."""

from __future__ import annotations

import functools

from torch import nn
from torchvision import models
from torchvision.models import resnet, vgg

from fl_sim.specs import ModelSpec


def resnet18(spec: ModelSpec) -> nn.Module:
    """Return ResNet-18 (11 million parameters)."""
    net: nn.Module = models.resnet18(weights=None, num_classes=spec.input.classes)
    return net


def group_norm_resnet(spec: ModelSpec) -> nn.Module:
    """Return a ResNet of half the depth with group normalisation, as is usual in federated learning."""
    net: nn.Module = resnet.ResNet(
        resnet.BasicBlock,
        [1, 1, 1, 1],
        num_classes=spec.input.classes,
        norm_layer=functools.partial(nn.GroupNorm, 2),
    )
    return net


def vgg11_bn(spec: ModelSpec) -> nn.Module:
    """Return the layers of VGG-11 with batch normalisation and the one linear layer that CIFAR needs."""
    features = vgg.make_layers(vgg.cfgs["A"], batch_norm=True)
    return nn.Sequential(features, nn.Flatten(), nn.Linear(512, spec.input.classes))


def mobilenet(spec: ModelSpec) -> nn.Module:
    """Return MobileNetV3-small: depthwise convolutions, squeeze and excitation, Hardswish, dropout in the head."""
    net: nn.Module = models.mobilenet_v3_small(weights=None, num_classes=spec.input.classes)
    return net
