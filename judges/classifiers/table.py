"""The table of judges: a name -> how to build and train one. Importing this does not import torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from fl_sim.specs import Scalar

if TYPE_CHECKING:
    from fl_sim.specs import InputSpec
    from judges.classifiers.model import JudgeModel
    from judges.classifiers.settings import JudgeOptions

_AS_BRAINLEAKS: dict[str, Scalar] = {"schedule": "constant", "holdout": 0.0, "shift": 0, "max_examples": 2**31}
"""All of the train split, without augmentation, for all epochs. Poursiami, Alouani and Parsa 2024, whose published code
states all constants below except the length of the spiking network's training: 20 epochs on events are the least, and
10 on MNIST are our choice. So are all constants of the spiking network on faces, and of both networks on `digits`."""

Builder: TypeAlias = "Callable[[InputSpec, JudgeOptions], JudgeModel]"


@dataclass(frozen=True)
class JudgeEntry:
    """A line of the table of judges.

    Attributes:
        builder: a callable `(InputSpec, JudgeOptions) -> JudgeModel`, or its place "package.module:name".
        summary: one line for `spikeleak list judges`.
        extra: the extra of the project that its builder needs, see `fl_sim.extras`; "" for none.
        events: whether it reads recordings of events (T, N, P, H, W) rather than images (N, C, H, W).
        either: whether it reads both.
        options: the settings of `JudgeOptions` that its builder reads.
        training: settings that differ from the defaults of `judges.classifiers.training.JudgeSettings`.
        training_on: {data set: settings that differ from `training`}.
    """

    builder: str | Builder
    summary: str
    extra: str = ""
    events: bool = False
    either: bool = False
    options: tuple[str, ...] = ()
    training: Mapping[str, Scalar] = field(default_factory=dict)
    training_on: Mapping[str, Mapping[str, Scalar]] = field(default_factory=dict)

    def reads(self, *, events: bool) -> bool:
        """Return whether it can judge recordings of events, or images."""
        return self.either or self.events == events


JUDGES: dict[str, JudgeEntry] = {
    "lenet": JudgeEntry(
        "judges.classifiers.lenet:JudgeLeNet",
        summary="LeNet-5 with ReLU and max pooling, trained on the train split",
    ),
    "resnet50_arcface": JudgeEntry(
        "judges.classifiers.resnet:JudgeResNet",
        summary="ResNet-50 with an ArcFace head, from random weights unless weights = imagenet (the paper's)",
        extra="judges",
        options=("weights", "margin", "scale"),
        training={
            "learning_rate": 1e-3,
            "warmup": 0.05,
            "weight_decay": 0.05,
            "batch_size": 32,
            "max_epochs": 24,
            "patience": 24,
            "zoom": 0.15,
            "flip": True,
        },
    ),
    "dvs_gesture_snn": JudgeEntry(
        "judges.classifiers.gesture:DVSGestureSNN",
        summary="the paper's residual spiking network for event frames: four blocks of LIF neurons, see its Table I",
        events=True,
        options=("width",),
        training={"batch_size": 16},
    ),
    "brainleaks_cnn": JudgeEntry(
        "judges.classifiers.brainleaks:BrainLeaksCNN",
        summary="BrainLeaks' evaluation network: convolutions of 12 and 24 channels, trained as its authors did",
        training=_AS_BRAINLEAKS | {"learning_rate": 1e-3, "batch_size": 1000, "max_epochs": 20, "clip": math.inf},
        training_on={"att_faces": {"batch_size": 8, "max_epochs": 40}, "digits": {"batch_size": 50}},
    ),
    "brainleaks_snn": JudgeEntry(
        "judges.classifiers.brainleaks:BrainLeaksSNN",
        summary="its spiking twin, which reads spikes, event frames, or images through a rate code of 25 steps",
        either=True,
        training=_AS_BRAINLEAKS | {"learning_rate": 2e-4, "batch_size": 100, "max_epochs": 10, "clip": 1.0},
        training_on={
            "att_faces": {"batch_size": 8, "max_epochs": 25},
            "digits": {"learning_rate": 1e-3, "batch_size": 50},
            "nmnist": {"learning_rate": 5e-5, "max_epochs": 20},
            "dvs_gesture": {"batch_size": 6, "max_epochs": 20},
        },
    ),
}
