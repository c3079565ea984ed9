"""The table of judges: a name -> how to build and train one. No torch here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from fl_sim.specs import Scalar

if TYPE_CHECKING:
    from fl_sim.specs import InputSpec
    from judges.classifiers.model import JudgeModel
    from judges.classifiers.settings import JudgeOptions

Builder: TypeAlias = "Callable[[InputSpec, JudgeOptions], JudgeModel]"


@dataclass(frozen=True)
class JudgeEntry:
    """A line of the table of judges.

    Attributes:
        builder: a callable `(InputSpec, JudgeOptions) -> JudgeModel`, or where to import it from
            ("package.module:name").
        summary: one line for `spikeleak list judges`.
        events: whether it reads recordings of events (T, N, P, H, W) rather than images (N, C, H, W).
        options: the settings of `JudgeOptions` that its builder reads.
        training: where its training differs from the defaults of `judges.classifiers.training.JudgeSettings`.
    """

    builder: str | Builder
    summary: str
    events: bool = False
    options: tuple[str, ...] = ()
    training: Mapping[str, Scalar] = field(default_factory=dict)


JUDGES: dict[str, JudgeEntry] = {
    "lenet": JudgeEntry(
        "judges.classifiers.lenet:JudgeLeNet",
        summary="LeNet-5 with ReLU and max pooling, trained on the train split with shifts of up to 2 pixels",
    ),
    "resnet50_arcface": JudgeEntry(
        "judges.classifiers.resnet:JudgeResNet",
        summary="ResNet-50 with an ArcFace head, from random weights unless weights = imagenet (the paper's)",
        options=("weights",),
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
}
