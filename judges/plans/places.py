"""Who reads the keys of a config: experiments of all kinds, audits, and Flower's command; without importing torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pydantic

from attacks import ATTACKS, MEMBERSHIP_INFERENCES, MODEL_INVERSIONS
from fl_sim.config import ModelSettings, SimulationConfig, StrategySettings
from fl_sim.config.strategies import FLOWER_DEFAULTS, REQUIRED_ARGUMENTS, STRATEGY_ARGUMENTS
from fl_sim.datasets.table import DATASETS
from fl_sim.defences import DEFENCES, NO_DEFENCE
from fl_sim.models import MODELS
from fl_sim.specs import Settings
from judges.classifiers.settings import NONE, PAPER
from judges.classifiers.table import JUDGES
from judges.plans import gradient_inversion, membership, model_inversion, rounds
from judges.plans.audit import AuditSettings
from judges.plans.base import NO_ATTACK
from judges.plans.keys import Entry, Place, Use, literal
from judges.runs.manifest import THREATS

_Names = Mapping[str, Sequence[str]]
_Tables = Mapping[str, type[Settings]]
_Owners = Mapping[str, _Tables]
"""As in `Place`: allowed names, settings of the entries of a table, and tables whose keys are those of an entry."""

_GRADIENT_INVERSION, _MODEL_INVERSION, _MEMBERSHIP = "gradients", "models", "members"
_AUDIT, _FLOWER = "audit", "`flwr run`"
_ROUNDS = "rounds"
FURTHER = (
    Entry(
        "output",
        "text",
        'absolute folder of captures, sealed batches and models; "" to write nothing.',
        (Use(_FLOWER, "", literal("")),),
    ),
    Entry(
        "federation_id",
        "text",
        "name of the federation in that folder.",
        (Use(_FLOWER, "", literal("federation")),),
    ),
    Entry(
        "scales.NAME",
        "table",
        "settings that override the others if `scale` is NAME, which is added to the name of the run.",
        tuple(
            Use(place, "", "no scales", axis=False)
            for place in (_GRADIENT_INVERSION, _MODEL_INVERSION, _ROUNDS, _MEMBERSHIP)
        ),
    ),
    *(
        Entry(
            f"{table}.KEY",
            "`attack.KEY`",
            f"a setting of the attacks of {table.replace('_', ' ')}.",
            (Use(_ROUNDS, "", "as of `attack.KEY`", axis=True),),
        )
        for table in THREATS
    ),
    Entry(
        "defences.NAME",
        "table",
        "settings of the defence NAME only, in place of those of `[defence]`; a list is an axis of that defence.",
        (Use(_GRADIENT_INVERSION, "", "none", axis=False),),
    ),
    Entry(
        "protocols.WORD",
        "table",
        "settings of the protocol WORD only, which override the others where `protocol` names it.",
        (Use(_GRADIENT_INVERSION, "", "none", axis=False),),
    ),
)
"""Keys that belong to no settings class."""


def places(*, plugins: bool = False) -> tuple[Place, ...]:
    """Return the readers of a config: experiments of all kinds, audits, and Flower's command.

    Args:
        plugins: whether to include the entries of other packages.
    """
    attacks, inversions, memberships, defences = (
        {name: entry.settings for name, entry in (table if plugins else table.own).items()}
        for table in (ATTACKS, MODEL_INVERSIONS, MEMBERSHIP_INFERENCES, DEFENCES)
    )
    names, owners = _names(plugins=plugins), {"strategy": _strategies(), "defence": defences}
    return (
        _of_gradient_inversion(names, owners, attacks),
        _of_model_inversion(names, owners, inversions),
        _of_rounds(attacks, inversions, memberships),
        _of_membership(names, owners, memberships),
        _of_audits(names, attacks, inversions, memberships),
        Place(
            _FLOWER,
            "the apps under Flower's own command, by `--run-config`, which sets only what `pyproject.toml` names",
            SimulationConfig,
            names=names,
            owners=owners,
            unread=("federation.engine",),
        ),
    )


def _of_gradient_inversion(names: _Names, owners: _Owners, attacks: _Tables) -> Place:
    return Place(
        _GRADIENT_INVERSION,
        "an experiment of gradient inversion: `spikeleak run` of a config without `task`; `[attack]` is also what "
        "`spikeleak attack` may change",
        gradient_inversion.ExperimentConfig,
        names={**names, "attack.name": [*attacks, NO_ATTACK]},
        owners={**owners, "attack": attacks},
        unread=("repeat",),
        axis=lambda key: key not in gradient_inversion.ONE_VALUE,
        defaults={"name": "the name of the file"},
    )


def _of_model_inversion(names: _Names, owners: _Owners, inversions: _Tables) -> Place:
    return Place(
        _MODEL_INVERSION,
        'an experiment of model inversion: `spikeleak run` of a config with `task = "model_inversion"`',
        model_inversion.InversionConfig,
        names={**names, "attack.name": [*inversions]},
        owners={**owners, "attack": inversions},
        unread=("repeat", "dataset.split"),
        axis=lambda key: key not in model_inversion.ONE_VALUE and not key.startswith("judge."),
        defaults=_defaults_of_model_inversion(),
    )


def _of_rounds(attacks: _Tables, inversions: _Tables, memberships: _Tables) -> Place:
    return Place(
        _ROUNDS,
        'an experiment over rounds: `spikeleak run` of a config with `task = "rounds"`; it reads all other keys of '
        f"{_GRADIENT_INVERSION}, {_MODEL_INVERSION} and {_MEMBERSHIP} too as far as it names these threats, except "
        "`attack`, `target`, `protocol` and `ladder`",
        rounds.RoundsKeys,
        names={
            "gradient_inversion.name": [*attacks],
            "model_inversion.name": [*inversions],
            "membership.name": [*memberships],
        },
        axis=lambda key: key != "task",
        defaults={f"{table}.name": "no such threat" for table in THREATS},
    )


def _of_membership(names: _Names, owners: _Owners, memberships: _Tables) -> Place:
    return Place(
        _MEMBERSHIP,
        'an experiment of membership inference: `spikeleak run` of a config with `task = "membership"`',
        membership.MembershipConfig,
        names={**names, "attack.name": [*memberships]},
        owners={**owners, "attack": memberships},
        unread=("repeat",),
        axis=lambda key: key not in membership.ONE_VALUE,
        defaults={
            "name": "the name of the file",
            "task": "to be given",
            "attack.name": literal([*MEMBERSHIP_INFERENCES.own]),
            "model.init": literal("torch"),
            "federation.keep_every": literal(1),
        },
    )


def _of_audits(names: _Names, attacks: _Tables, inversions: _Tables, memberships: _Tables) -> Place:
    return Place(
        _AUDIT,
        "`spikeleak audit`, by `--set`",
        AuditSettings,
        names={
            **names,
            "attack.name": [*attacks],
            "model_inversion.name": [*inversions],
            "membership.name": [name for name in memberships if not MEMBERSHIP_INFERENCES[name].shadows],
        },
        owners={"attack": attacks},
        axis=lambda key: key.startswith("attack."),
        defaults={"dataset.name": literal(None), "model_inversion.name": "what fits the model"},
    )


def _strategies() -> dict[str, type[Settings]]:
    """Return the arguments of each strategy as settings."""
    strategies: dict[str, type[Settings]] = {}
    for name, arguments in STRATEGY_ARGUMENTS.items():
        defaults: dict[str, Any] = {**dict.fromkeys(REQUIRED_ARGUMENTS, ...), **FLOWER_DEFAULTS.get(name, {})}
        fields: dict[str, Any] = {key: (kind, defaults[key]) for key, kind in arguments.items()}
        strategies[name] = pydantic.create_model(name, __base__=Settings, __doc__=StrategySettings.__doc__, **fields)
    return strategies


def _names(*, plugins: bool) -> dict[str, list[str]]:
    """Return {key: allowed names} for the keys that name an entry of a table."""
    datasets, models, defences = (table if plugins else table.own for table in (DATASETS, MODELS, DEFENCES))
    return {
        "dataset.name": [*datasets],
        "model.name": [*models],
        "model.surrogate": ["atan", "sigmoid", "fast_sigmoid"],
        "strategy.name": [*STRATEGY_ARGUMENTS],
        "defence.name": [*defences, NO_DEFENCE],
        "judge.name": [*JUDGES, PAPER, NONE],
    }


def _defaults_of_model_inversion() -> dict[str, str]:
    """Return the defaults of an experiment of model inversion that differ from those of its class."""
    model = model_inversion.with_brainleaks_neurons(ModelSettings(name="spiking_mlp")).model_dump()
    return {
        "name": "the name of the file",
        "task": "to be given",
        "attack.name": literal([*MODEL_INVERSIONS.own]),
        **{f"model.{key}": literal(value) for key, value in model.items()},
    }
