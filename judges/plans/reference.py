"""A reference of all keys of a config in Markdown, generated from the settings classes without importing torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pydantic

from attacks import ATTACKS, MEMBERSHIP_INFERENCES, MODEL_INVERSIONS
from fl_sim.config import ModelSettings, SimulationConfig, StrategySettings
from fl_sim.config.strategies import FLOWER_DEFAULTS, REQUIRED_ARGUMENTS, STRATEGY_ARGUMENTS
from fl_sim.datasets.table import DATASETS
from fl_sim.defences import DEFENCES, NO_DEFENCE
from fl_sim.errors import unknown_name
from fl_sim.models import MODELS
from fl_sim.specs import PresetSettings, Scalar, Settings, TrainingSettings
from judges.classifiers.settings import NONE, PAPER
from judges.classifiers.table import JUDGES
from judges.plans import gradient_inversion, membership, model_inversion, rounds
from judges.plans.audit import AuditSettings
from judges.plans.base import NO_ATTACK
from judges.plans.keys import Entry, Place, Use, literal, ordered, summary_of, tables_of
from judges.runs.manifest import THREATS

COMMAND = "spikeleak config reference > configs/REFERENCE.md"
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

_HEAD = f"""# All keys of a config

Written by `{COMMAND}`; a test compares the two. `spikeleak config reference KEY` prints one key.

A key in a table is written `table.key` here and after `--set`. A plain value in place of a table is its `name`. The
columns give the allowed values of a key, its default, its readers, and whether a list of values is an axis of the grid:
yes, no (one value for the whole experiment), or the readers for which it is. The readers:
"""
_FEDERATED = 'Model inversion and membership inference read this table only with `target = "federation"`.'
_CENTRAL = (
    'Model inversion reads this table only with `target = "central"`; membership inference trains shadow models by it '
    "for federations too."
)


def places(*, plugins: bool = False) -> tuple[Place, ...]:
    """Return the readers of a config: experiments of all kinds, audits, and Flower's command.

    Args:
        plugins: whether to include the entries of other packages.
    """
    attacks, inversions, memberships, defences = (
        {name: entry.settings for name, entry in (table if plugins else table.own).items()}
        for table in (ATTACKS, MODEL_INVERSIONS, MEMBERSHIP_INFERENCES, DEFENCES)
    )
    flower = Place(
        _FLOWER,
        "the apps under Flower's own command, by `--run-config`, which sets only what `pyproject.toml` names",
        SimulationConfig,
        names=_names(plugins=plugins),
        owners={"strategy": _strategies(), "defence": defences},
        unread=("federation.engine",),
    )
    gradients = Place(
        _GRADIENT_INVERSION,
        "an experiment of gradient inversion: `spikeleak run` of a config without `task`; `[attack]` is also what "
        "`spikeleak attack` may change",
        gradient_inversion.ExperimentConfig,
        names={**flower.names, "attack.name": [*attacks, NO_ATTACK]},
        owners={**flower.owners, "attack": attacks},
        unread=("repeat",),
        axis=lambda key: key not in gradient_inversion.ONE_VALUE,
        defaults={"name": "the name of the file"},
    )
    models = Place(
        _MODEL_INVERSION,
        'an experiment of model inversion: `spikeleak run` of a config with `task = "model_inversion"`',
        model_inversion.InversionConfig,
        names={**flower.names, "attack.name": [*inversions]},
        owners={**flower.owners, "attack": inversions},
        unread=("repeat", "dataset.split"),
        axis=lambda key: key not in model_inversion.ONE_VALUE and not key.startswith("judge."),
        defaults=_defaults_of_model_inversion(),
    )
    over_rounds = Place(
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
    members = Place(
        _MEMBERSHIP,
        'an experiment of membership inference: `spikeleak run` of a config with `task = "membership"`',
        membership.MembershipConfig,
        names={**flower.names, "attack.name": [*memberships]},
        owners={**flower.owners, "attack": memberships},
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
    audit = Place(
        _AUDIT,
        "`spikeleak audit`, by `--set`",
        AuditSettings,
        names={
            **flower.names,
            "attack.name": [*attacks],
            "model_inversion.name": [*inversions],
            "membership.name": [name for name in memberships if not MEMBERSHIP_INFERENCES[name].shadows],
        },
        owners={"attack": attacks},
        axis=lambda key: key.startswith("attack."),
        defaults={"dataset.name": literal(None), "model_inversion.name": "what fits the model"},
    )
    return gradients, models, over_rounds, members, audit, flower


def reference(entries: Iterable[Entry], read_by: Sequence[Place]) -> str:
    """Return the whole reference in Markdown, of the entries of all keys and the places that read them."""
    every = ordered(entries)
    parts = [_HEAD + "\n".join(f"* {place.name}: {place.what}." for place in read_by)]
    for table in dict.fromkeys(entry.table for entry in every):
        parts += [f"## `[{table}]`" if table else "## Top level", *_introduction(table, read_by)]
        parts.append(_rows([entry for entry in every if entry.table == table]))
        parts += _presets(table, read_by)
    return "\n\n".join(parts) + "\n"


def entry_of(key: str, entries: Iterable[Entry]) -> str:
    """Return the entries of a key in Markdown; the name of a table means its key `name`.

    Raises:
        ConfigError: the key is not known; the message suggests the nearest.
    """
    every = list(entries)
    matching = [entry for entry in every if entry.key in (key, f"{key}.name")]
    if not matching:
        raise unknown_name("config reference", key, {entry.key for entry in every})
    return "\n".join(map(_lines, matching))


def _lines(entry: Entry) -> str:
    """Return an entry as a heading and a list."""
    facts = {
        "values": entry.values,
        "default": entry.default,
        "of": ", ".join(entry.owners),
        "read by": ", ".join(entry.places),
        "a list is an axis": entry.axis,
    }
    lines = "\n".join(f"* {name}: {value}" for name, value in facts.items() if value)
    return f"`{entry.key}`: {entry.sentence}\n\n{lines}\n"


def _rows(entries: Sequence[Entry]) -> str:
    """Return the entries of one table of a config as a table of Markdown."""
    owned = any(entry.owners for entry in entries)
    columns = ["key", *(["of"] if owned else []), "values", "default", "read by", "axis", "what it is"]
    rows = [columns, ["---"] * len(columns)]
    for entry in entries:
        owners = [", ".join(entry.owners)] if owned else []
        cells = [entry.values, entry.default, ", ".join(entry.places), entry.axis, entry.sentence]
        rows.append([f"`{entry.key}`", *owners, *cells])
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in escaped)


def _introduction(table: str, read_by: Sequence[Place]) -> list[str]:
    """Return the paragraphs above the rows of a table: the summaries of its classes, and further remarks."""
    summaries: dict[str, list[str]] = {}
    for place in read_by:
        kind = tables_of(place.settings).get(table)
        if kind is not None:
            summaries.setdefault(summary_of(kind), []).append(place.name)
    labelled = [f"{', '.join(names)}: {text}" for text, names in summaries.items()]
    paragraphs = labelled if len(summaries) > 1 else list(summaries)
    if table in ("federation", "strategy", "defence"):
        paragraphs.append(_FEDERATED)
    elif table == "training":
        paragraphs.append(_CENTRAL)
    elif table == "dataset":
        framings = (f"`{name}` {_settings(own)}" for name, own in model_inversion.AUTHORS_FRAMING.items())
        paragraphs.append(f"In model inversion, event data sets have other defaults: {'; '.join(framings)}.")
    return paragraphs


def _presets(table: str, read_by: Sequence[Place]) -> list[str]:
    """Return the paragraphs below the rows of a table: the values of each preset."""
    kinds: dict[str, type[Settings]] = {"training": TrainingSettings} if table == "training" else {}
    for place in read_by:
        kinds |= place.owners.get(table, {})
    lines = []
    for name, kind in kinds.items():
        if issubclass(kind, PresetSettings):
            presets = "; ".join(f"`{preset}` {_settings(own)}" for preset, own in kind.PRESETS.items())
            lines.append(f"* {name}: {presets}.")
    return ["Values that the presets set in place of the defaults above:", "\n".join(lines)] if lines else []


def _settings(settings: Mapping[str, Scalar]) -> str:
    return ", ".join(f"{key} = {literal(value)}" for key, value in settings.items()) or "nothing"


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
