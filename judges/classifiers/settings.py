"""The settings of a judge: the table [judge] of a config. Importing this does not import torch."""

from __future__ import annotations

from typing import Literal

import pydantic
from pydantic import Field

from fl_sim.errors import ConfigError, unknown_name
from fl_sim.specs import Settings
from judges.classifiers.table import JUDGES

PAPER, NONE = "paper", "none"
AUTHORS = {"margin": 28.6, "scale": 64.0}
"""What the authors of ArcFace have (Deng, Guo, Xue and Zafeiriou 2019, section 3.1): a margin of 0.5 rad."""


class JudgeOptions(Settings):
    """The classifier that judges the reconstructions, and its training.

    Attributes:
        name: in the table `judges.classifiers.JUDGES`; "paper" for the paper's judge of the data set, see `judge_for`;
            "none" for no judge.
        width: channels of the first block of dvs_gesture_snn; 64 in the paper.
        max_epochs: largest number of epochs; 0 for the judge's default.
        max_examples: largest number of training examples seen, over all epochs; 0 for the judge's default.
        weights: initial weights of resnet50_arcface: "none" for random ones, "imagenet" for the paper's IMAGENET1K_V1,
            which torchvision takes from its cache or downloads.
        margin, scale: of the ArcFace head of resnet50_arcface, in degrees and as a factor; "authors" for those of its
            authors, 28.6 (0.5 rad) and 64, for millions of faces.
        fit: "held out" stops where a slice of the train split that is held out is judged best; "overfitted" trains on
            all of the split without augmentation for `max_epochs`, 100 by default. A high attack success rate of a
            judge that is wrong on unseen images, as published (82.6 % with 24.6 %), needs the latter.
        seed: seed of the judge's initialisation, the order of the examples and their augmentation.
    """

    name: str = PAPER
    width: int = Field(default=64, ge=1, le=512)
    max_epochs: int = Field(default=0, ge=0)
    max_examples: int = Field(default=0, ge=0)
    weights: Literal["none", "imagenet"] = "none"
    margin: float = Field(default=11.5, ge=0, lt=90)
    scale: float = Field(default=16.0, gt=0)
    fit: Literal["held out", "overfitted"] = "held out"
    seed: int = Field(default=0, ge=0)

    @pydantic.field_validator("margin", "scale", mode="before")
    @classmethod
    def _of_authors(cls, value: object, info: pydantic.ValidationInfo) -> object:
        return AUTHORS[str(info.field_name)] if value == "authors" else value

    @pydantic.field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        names = [*JUDGES, PAPER, NONE]
        if name not in names:
            raise ValueError(str(unknown_name("", name, names)).removeprefix(": "))
        return name

    @pydantic.field_validator("width", "weights", "margin", "scale")
    @classmethod
    def _read(cls, value: float | str, info: pydantic.ValidationInfo) -> float | str:
        """Reject a setting that the judge would ignore; "paper" may mean any judge."""
        name, key = info.data.get("name", PAPER), str(info.field_name)
        if value != cls.model_fields[key].default and name in JUDGES and key not in JUDGES[name].options:
            readers = ", ".join(judge for judge, entry in JUDGES.items() if key in entry.options)
            raise ValueError(f"'{name}' does not read it; {readers} does")
        return value


def judge_for(options: JudgeOptions, dataset: str, *, events: bool) -> str:
    """Return the name of a data set's judge: in `JUDGES`, or "none".

    "paper" means Table II: dvs_gesture_snn for recordings of events, resnet50_arcface for LFW, lenet for all other
    images (MNIST and CIFAR-100 in the paper).

    Args:
        options: options of the judge.
        dataset: name of the data set.
        events: whether it holds recordings of events.

    Raises:
        ConfigError: the judge reads events but the data set holds images, or vice versa.

    Source: Aksu, Martinez del Rincon and Alouani, arXiv 2511.21181, section IV.
    """
    if options.name == PAPER:
        return "dvs_gesture_snn" if events else "resnet50_arcface" if dataset == "lfw" else "lenet"
    if options.name != NONE and not JUDGES[options.name].reads(events=events):
        reads, holds = ("images", "recordings of events") if events else ("recordings of events", "images")
        fitting = ", ".join(name for name, entry in JUDGES.items() if entry.reads(events=events))
        raise ConfigError(
            f"judge.name: '{options.name}' reads {reads}, but '{dataset}' holds {holds}; use {fitting}, paper or none."
        )
    return options.name
