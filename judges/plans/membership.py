"""One experiment of membership inference: a config whose lists are the axes of a grid of targets and attacks.

Importing this imports neither torch nor Flower, so that a wrong config fails at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from attacks import MEMBERSHIP_INFERENCES
from attacks.membership.settings import ONLINE
from fl_sim.config import Raw, validate
from fl_sim.config.defence import with_own_settings
from fl_sim.config.training import TrainingSettings
from fl_sim.datasets.table import DATASETS
from fl_sim.errors import ConfigError
from fl_sim.models import MODELS
from judges.plans.base import ExperimentBase, attack_keys, checked_attack
from judges.plans.targets import TargetCell, TargetGrid, Targets, grid_of, table_of
from judges.runs.rows.classes import CENTRAL, FEDERATION

TASK = "membership"
TABLES = ("dataset", "model", "strategy", "defence", "attack", "training")
ONE_VALUE = (
    "name", "task", "target", "scale", "repeats", "repeat", "threads", "device", "candidates", "auxiliary",
    "shadow_training",
    "federation.keep_every", "federation.capture_every",
)  # fmt: skip
"""Settings of the whole experiment, which cannot be lists."""


class MembershipConfig(ExperimentBase):
    """One combination of an experiment's axes.

    Attributes:
        task: the kind of experiment.
        target: how the targets are trained: "central", each on a random half of the candidates, or "federation", by the
            clients of a Flower federation, of which the global model after each kept round and the captured updates are
            attacked.
        training: training of central targets and of shadow models that are trained centrally.
        shadow_training: how shadow models are trained: "central", by `training`, or "federation", each by a federation
            of the target's own config among whose clients a half of the adversary's examples is divided.
        candidates: number of examples whose membership is asked for; half of them are members. Of a federation, half
            of it is the number of others, and the largest number of members.
        auxiliary: number of examples of other people that the adversary has, of which offline shadow models are trained
            on halves; 0 for as many as there are candidates, so that these halves are as large as the target's.
    """

    task: Literal["membership"] = "membership"
    target: Literal["central", "federation"] = "central"
    training: TrainingSettings = TrainingSettings()
    shadow_training: Literal["central", "federation"] = "central"
    candidates: int = Field(default=2000, ge=20, le=1_000_000, multiple_of=2)
    auxiliary: int = Field(default=0, ge=0, le=1_000_000)

    @property
    def own(self) -> int:
        """Return the number of the adversary's own examples."""
        return self.auxiliary or self.candidates


@dataclass(frozen=True)
class MemberPlan(Targets[MembershipConfig]):
    """Targets of one kind."""

    def name(self, seed: int) -> str:
        """Return the name of the target with a seed, in folders and in what attacks see, which tells no seed."""
        return f"{self.label}-{seed - self.config.seed:03d}"


@dataclass(frozen=True)
class MembershipCell(TargetCell):
    """One attack on the targets of one kind."""

    @property
    def shadows(self) -> int:
        """Return the number of its shadow models; 0 if it uses none."""
        return int(self.all_settings["shadows"]) if MEMBERSHIP_INFERENCES[self.attack].shadows else 0

    @property
    def online(self) -> bool:
        """Return whether its shadow models are trained on candidates."""
        return self.all_settings.get("mode") == ONLINE


@dataclass(frozen=True)
class MembershipPlan(TargetGrid[MembershipConfig, MemberPlan, MembershipCell]):
    """A whole experiment."""

    def shadows_of(self, target: MemberPlan) -> list[tuple[int, bool]]:
        """Return (number, whether online) of every shadow model of the attacks on targets of one kind."""
        most = {online: max((cell.shadows for cell in self.attacks_on(target) if cell.online == online), default=0)
                for online in (False, True)}  # fmt: skip
        return [(number, online) for online, count in most.items() for number in range(count)]


def make_membership_plan(raw: Raw) -> MembershipPlan:
    """Return the grid of targets and attacks that `raw` describes.

    Impossible combinations are left out: an attack on updates and a centrally trained model, shadow models that are
    trained on candidates and a federation, an ANN and recordings of events.

    Raises:
        ConfigError: a key is not known, a type is wrong, or no combination is possible.
    """
    _refuse_unread(raw)
    return MembershipPlan(
        *grid_of(
            raw,
            attacks=MEMBERSHIP_INFERENCES,
            tables=TABLES,
            one_value=ONE_VALUE.__contains__,
            checked=_checked,
            fits=_fits,
            target=MemberPlan,
            cell=MembershipCell,
        )
    )


def _refuse_unread(raw: Raw) -> None:
    """Raise a ConfigError if the config has a table that the kind of target does not read."""
    target = raw.get("target", CENTRAL)
    for key in ("federation", "strategy", "defence", "client") if target == CENTRAL else ():
        if key in raw:
            raise ConfigError(f'{key}: is not read where target = "{target}".')


def _checked(combination: Raw, raw: Raw) -> MembershipConfig:
    """Return one combination as settings, with torch's initialisation, and every round of a federation kept."""
    model, training, federation = (table_of(combination, key) for key in ("model", "training", "federation"))
    model = {"init": "torch", **model}
    tables: Raw = {"model": model, "training": training}
    if combination.get("target") == FEDERATION:
        tables["federation"] = {"keep_every": 1, **federation}
    config = validate(
        MembershipConfig,
        {**with_own_settings(combination, raw), **tables},
        {"attack": attack_keys(raw, MEMBERSHIP_INFERENCES)},
    )
    if config.target == CENTRAL and config.shadow_training == FEDERATION:
        raise ConfigError(
            f'shadow_training: "{FEDERATION}" is for targets of a federation; set target = "{FEDERATION}".'
        )
    if config.target == CENTRAL and config.dataset.split != "train":
        raise ConfigError("dataset.split: targets are trained on the train split, and tested on the other.")
    if config.target == CENTRAL and config.own < config.candidates // 2:
        raise ConfigError(
            f"auxiliary: expected at least half as many as there are candidates, {config.candidates // 2}, since the "
            f"control is a model trained on them, got {config.auxiliary}."
        )
    if config.target == FEDERATION and not config.federation.keep_every:
        raise ConfigError(
            "federation.keep_every: expected 1 or more, since the global models after the rounds are attacked, got 0."
        )
    if config.target == FEDERATION and not config.federation.capture_every:
        raise ConfigError(
            "federation.capture_every: expected 1 or more, since the sealed examples of captured updates are the "
            "members, got 0."
        )
    return config.model_copy(update={"attack": checked_attack(config.attack, raw, MEMBERSHIP_INFERENCES)})


def _fits(config: MembershipConfig) -> bool:
    """Return whether the attack suits the target, and the model the data."""
    entry, model = MEMBERSHIP_INFERENCES[config.attack.name], MODELS[config.model.name]
    central = config.target == CENTRAL
    possible = model.spiking or not DATASETS[config.dataset.name].events
    return possible and not (entry.updates if central else config.attack.settings.get("mode") == ONLINE)
