"""What the commands `check`, `train`, `invert` and `judge train` read of `--set`. This does not import torch."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

import pydantic
from pydantic import Field

from attacks import MODEL_INVERSIONS
from fl_sim.config import DatasetSettings, ModelSettings, Raw, override, validate
from fl_sim.config.training import TrainingSettings
from fl_sim.datasets.table import constants_of
from fl_sim.errors import ConfigError, nearest, unknown_name
from fl_sim.models import MODELS
from fl_sim.specs import Framing, OwnData, Settings
from judges.classifiers import JudgeOptions
from judges.plans.audit import Assumptions
from judges.plans.audit.weights import InputSettings, Whose

PLACE = re.compile(r"[^\W\d][\w.]*:[^\W\d]\w*")
"""Pattern of the place of a model of the user's own, "module:name"."""

DATA_KEYS = ("root", "size", "channels", *Framing.model_fields, *OwnData.model_fields)
"""Keys of a config's [dataset] on which trained judges and targets depend."""


class ClientFacts(Assumptions):
    """Facts about the client.

    Attributes:
        kind: what the client shares: the "gradient" of one batch, or its weights after local steps ("delta"), which is
            meant if their number, epochs or a learning rate are given.
    """

    kind: Literal["gradient", "delta"] | None = None


class CheckTask(Settings):
    """What to examine.

    Attributes:
        model: settings of a model of the table.
        input: what one input looks like; of captures, they say it themselves.
        assumed: facts about the client.
    """

    model: ModelSettings = ModelSettings()
    input: InputSettings = InputSettings()
    assumed: ClientFacts = ClientFacts()


class TargetTask(Settings):
    """What to train.

    Attributes:
        model: the model and its neurons.
        dataset: the data set.
        training: settings of the training.
        seed: seed of the parameters, the order of the examples and the spikes.
    """

    model: ModelSettings
    dataset: DatasetSettings
    training: TrainingSettings
    seed: int = Field(default=0, ge=0)


class Inverting(Settings):
    """The inversion; every further key is one of its settings.

    Attributes:
        name: in `attacks.MODEL_INVERSIONS`; "" for brainleaks_v2 on a spiking model and mi_face on an ANN.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="allow", strict=True)
    name: str = ""

    @pydantic.field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name and name not in MODEL_INVERSIONS:
            raise ValueError(str(unknown_name("", name, MODEL_INVERSIONS)).removeprefix(": "))
        return name


class InversionTask(Whose):
    """How to attack, and which model if the file does not say so.

    Attributes:
        attack: the attack and its settings.
        seed: seed of the attack's random draws.
    """

    attack: Inverting = Inverting()
    seed: int = Field(default=0, ge=0)


class Task(Settings):
    """What to train.

    Attributes:
        judge: the judge and its training.
        dataset: the data set.
    """

    judge: JudgeOptions
    dataset: DatasetSettings


def read_check(model: str, assignments: Iterable[str]) -> CheckTask:
    """Return what to examine of a model of the table.

    Args:
        model: its name, or the place of a user's own, whose parameters stay as they are built.
        assignments: as of `subjects`.

    Raises:
        ConfigError: a key or value is wrong.
    """
    raw = override({}, assignments, ("model",))
    settings: Raw = raw.pop("model", {})
    if "name" in settings:
        raise ConfigError(f"model.name: the target says which model is examined, '{model}'; leave it out.")
    own = {"init": "torch"} if PLACE.fullmatch(model) else {}
    return validate(CheckTask, {**raw, "model": {**own, **settings, "name": model}})


def read_target(dataset: str, assignments: Iterable[str]) -> TargetTask:
    """Return what to train; the default preset is that of the data set and kind of model, if there is one.

    Args:
        dataset: name of the data set.
        assignments: "model=NAME", "seed=N", or "model.KEY=VALUE", "training.KEY=VALUE", "dataset.KEY=VALUE".

    Raises:
        ConfigError: a name or key is not known, or a value is wrong.
    """
    raw = override({}, assignments, ("model", "training", "dataset"))
    data: Raw = raw.pop("dataset", {})
    check_data_keys(data, "target")
    model: Raw = {"name": "spiking_mlp", **raw.pop("model", {})}
    training: Raw = dict(raw.pop("training", {}))
    if "name" in training:
        raise ConfigError("training: it has no name; the authors' constants are training.preset.")
    if model["name"] in MODELS:
        spiking = MODELS[model["name"]].spiking
        training.setdefault("preset", TrainingSettings.preset_for(constants_of(dataset), spiking=spiking))
    tables = {"model": model, "dataset": {**data, "name": dataset}, "training": training}
    return validate(TargetTask, {**raw, **tables})


def read_inversion(assignments: Iterable[str]) -> InversionTask:
    """Return how to attack, and of which model somebody else's weights are.

    Args:
        assignments: "attack=NAME", "model=NAME", "dataset=NAME", "seed=N", or "TABLE.KEY=VALUE" of these or of input.

    Raises:
        ConfigError: a name or key is not known, or a value is wrong.
    """
    raw = override({}, assignments, ("attack", "model", "dataset"))
    data = raw.get("dataset", {})
    check_data_keys({key: value for key, value in data.items() if key != "name"}, "target")
    return validate(InversionTask, raw)


def read_task(dataset: str, assignments: Iterable[str], size: int | None) -> Task:
    """Return what to train.

    Args:
        dataset: name of the data set.
        assignments: "key=value" or "judge.key=value" for the judge; "dataset.key=value" for the data.
        size: side of the images, which overrides the assignments; None if it is not set.

    Raises:
        ConfigError: a name or key is not known, a value is wrong, or the judge is "none".
    """
    raw = override({}, assignments, ("judge", "dataset"))
    judge, data = raw.pop("judge", {}), raw.pop("dataset", {})
    check_data_keys(data, "judge")
    named = {"name": dataset} if size is None else {"name": dataset, "size": size}
    task = validate(Task, {"judge": {**raw, **judge}, "dataset": {**data, **named}})
    if task.judge.name == "none":
        raise ConfigError("judge.name: 'none' is no judge that could be trained.")
    return task


def check_data_keys(data: Raw, what: str) -> None:
    """Raise a ConfigError if a key of [dataset] has no effect on what is trained, a "judge" or a "target"."""
    for key in data:
        if key not in DATA_KEYS:
            hint, known = nearest(key, DATA_KEYS), ", ".join(DATA_KEYS)
            raise ConfigError(f"dataset.{key}: no {what} depends on it.{hint} Known: {known}.")
