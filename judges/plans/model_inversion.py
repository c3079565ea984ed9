"""One experiment of model inversion: a config whose lists are the axes of a grid of targets and attacks.

Importing this imports neither torch nor Flower, so that a wrong config fails at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from attacks import MODEL_INVERSIONS
from fl_sim.config import ModelSettings, Raw, validate
from fl_sim.config.defence import with_own_settings
from fl_sim.config.training import TrainingSettings
from fl_sim.datasets.table import DATASETS, constants_of
from fl_sim.errors import ConfigError
from fl_sim.models import MODELS
from fl_sim.specs import BRAINLEAKS_NEURONS, Framing, Scalar, Settings, SpikingSpec
from judges.plans.base import ExperimentBase, attack_keys, checked_attack
from judges.plans.targets import TargetCell, TargetGrid, Targets, grid_of, table_of
from judges.runs.rows.classes import CENTRAL, FEDERATION

TASK = "model_inversion"
TABLES = ("dataset", "model", "strategy", "defence", "attack", "judge", "training")
ONE_VALUE = (
    "name", "task", "target", "scale", "repeats", "repeat", "attack_repeats", "draws", "transfer", "threads", "device",
    "federation.keep_every",
)  # fmt: skip
"""Settings of the whole experiment, which cannot be lists."""

AUTHORS_FRAMING: Mapping[str, Mapping[str, Scalar]] = {
    "nmnist": {"time_bins": 100, "bin_ms": 3.0, "denoise_ms": 40.0, "polarity": "off"},
    "dvs_gesture": {"time_bins": 100, "bin_ms": 50.0, "denoise_ms": 100.0, "polarity": "merged", "classes": 10},
    "digits_dvs": {"time_bins": 100, "bin_ms": 3.0, "denoise_ms": 40.0, "polarity": "off"},
}
"""Framing of recordings in the published code of BrainLeaks, cut or padded to the T = 100 of its attacks; digits_dvs is
framed like N-MNIST. The [dataset] settings of a config override it."""


class InversionJudgeOptions(Settings):
    """How the evaluation networks of BrainLeaks are trained.

    Attributes:
        max_epochs: largest number of epochs; 0 for the network's default.
        max_examples: largest number of training examples seen, over all epochs; 0 for no limit.
        seed: seed of the initialisation and the order of the examples.
    """

    max_epochs: int = Field(default=0, ge=0)
    max_examples: int = Field(default=0, ge=0)
    seed: int = Field(default=0, ge=0)


class InversionConfig(ExperimentBase):
    """One combination of an experiment's axes.

    Attributes:
        task: the kind of experiment.
        target: how the targets are trained: "central", on the whole train split, or "federation", by the clients of a
            Flower federation, whose global model is attacked after each round that `federation.keep_every` keeps.
        training: training of central targets; the default preset is that of the data set and kind of model.
        attack_repeats: number of attacks on each target, each with its own seed; one if the attack draws nothing.
        draws: number of samples of the first answer, if it consists of Bernoulli parameters.
        transfer: number of further central targets of each kind, trained alike with other seeds, on which every answer
            is tried and which no attack sees; 0 for none.
        judge: how the evaluation networks are trained.
    """

    task: Literal["model_inversion"] = "model_inversion"
    target: Literal["central", "federation"] = "central"
    training: TrainingSettings = TrainingSettings()
    attack_repeats: int = Field(default=3, ge=1, le=1000)
    draws: int = Field(default=1000, ge=1, le=100_000)
    transfer: int = Field(default=0, ge=0, le=100)
    judge: InversionJudgeOptions = InversionJudgeOptions()


@dataclass(frozen=True)
class TargetPlan(Targets[InversionConfig]):
    """Targets of one kind."""

    @property
    def unseen(self) -> range:
        """Return the seeds of the further targets, which no attack sees."""
        return range(self.seeds.stop, self.seeds.stop + self.config.transfer)

    @property
    def spiking(self) -> bool:
        """Return whether they are spiking networks."""
        return MODELS[self.config.model.name].spiking

    @property
    def judge(self) -> str:
        """Return the name of the evaluation network that judges attacks on them."""
        return "brainleaks_snn" if self.spiking else "brainleaks_cnn"

    def federation(self, seed: int) -> str:
        """Return the name of the training of the target with a seed, in folders."""
        return f"{self.label}-{seed:03d}"


InversionCell = TargetCell
"""One attack on the targets of one kind."""


@dataclass(frozen=True)
class InversionPlan(TargetGrid[InversionConfig, TargetPlan, InversionCell]):
    """A whole experiment."""


def make_inversion_plan(raw: Raw) -> InversionPlan:
    """Return the grid of targets and attacks that `raw` describes.

    Impossible combinations are left out: MI-Face and a spiking network, BrainLeaks and an ANN, an ANN and recordings of
    events.

    Raises:
        ConfigError: a key is not known, a type is wrong, or no combination is possible.
    """
    _refuse_unread(raw)
    return InversionPlan(
        *grid_of(
            raw,
            attacks=MODEL_INVERSIONS,
            tables=TABLES,
            one_value=lambda path: path in ONE_VALUE or path.startswith("judge."),
            checked=_checked,
            fits=_fits,
            target=TargetPlan,
            cell=InversionCell,
        )
    )


def with_brainleaks_neurons(model: ModelSettings) -> ModelSettings:
    """Return the settings of a model with the neurons and initialisation of BrainLeaks in place of unset ones.

    The defaults of a federation's models, DLG's initialisation and SpikingJelly's neurons, are not those of BrainLeaks.
    A network that does not spike reads no spiking setting, so that an axis of these leaves it a single target.
    """
    own = model.model_fields_set
    if not MODELS[model.name].spiking:
        own = own - SpikingSpec.model_fields.keys()
    settings = model.model_dump(include=own)
    return validate(ModelSettings, {**BRAINLEAKS_NEURONS.model_dump(), "init": "torch", **settings})


def _refuse_unread(raw: Raw) -> None:
    """Raise a ConfigError if the config has a table that the kind of target does not read."""
    target = raw.get("target", CENTRAL)
    unread = {CENTRAL: ("federation", "strategy", "defence"), FEDERATION: ("training",)}.get(str(target), ())
    for key in unread:
        if key in raw:
            raise ConfigError(f'{key}: is not read where target = "{target}".')
    if target == FEDERATION and raw.get("transfer"):
        raise ConfigError('transfer: tries answers on further targets of central trainings; target is "federation".')


def _checked(combination: Raw, raw: Raw) -> InversionConfig:
    """Return one combination as settings, with the authors' constants in place of unset ones."""
    data, model, training, attack = (table_of(combination, key) for key in ("dataset", "model", "training", "attack"))
    dataset, name = str(data.get("name", "digits")), str(model.setdefault("name", "spiking_mlp"))
    entry = DATASETS.get(dataset)
    if entry is not None and entry.events:
        data = {**AUTHORS_FRAMING.get(dataset, {}), **data}
    elif entry is not None and _holds_events(raw):
        data = {key: value for key, value in data.items() if key not in Framing.model_fields}
    if name in MODELS:
        training.setdefault("preset", TrainingSettings.preset_for(constants_of(dataset), spiking=MODELS[name].spiking))
    inversion = MODEL_INVERSIONS.get(str(attack.get("name")))
    if inversion is not None and constants_of(dataset) in inversion.settings.PRESETS:
        attack.setdefault("preset", constants_of(dataset))
    tables = {"dataset": data, "model": model, "training": training, "attack": attack}
    config = validate(
        InversionConfig,
        {**with_own_settings(combination, raw), **tables},
        {"attack": attack_keys(raw, MODEL_INVERSIONS)},
    )
    if config.dataset.split != "train":
        raise ConfigError("dataset.split: targets are trained on the train split, and judges measured on the other.")
    chosen = checked_attack(config.attack, raw, MODEL_INVERSIONS)
    return config.model_copy(update={"attack": chosen, "model": with_brainleaks_neurons(config.model)})


def _holds_events(raw: Raw) -> bool:
    """Return whether a grid includes recordings of events, to which its framing settings then apply."""
    name = table_of(raw, "dataset").get("name", "")
    names = [one for one in (name if isinstance(name, list) else [name]) if isinstance(one, str)]
    return any(one in DATASETS and DATASETS[one].events for one in names)


def _fits(config: InversionConfig) -> bool:
    """Return whether the attack suits the model, and the model the data."""
    spiking, events = MODELS[config.model.name].spiking, DATASETS[config.dataset.name].events
    return MODEL_INVERSIONS[config.attack.name].spiking == spiking and (spiking or not events)
