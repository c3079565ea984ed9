"""The reference of all keys: it is current, leaves nothing out, and says what the readers of a config really do."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flwr.serverapp import strategy as flower_strategies

from attacks import MODEL_INVERSIONS, build_inversion
from fl_sim.config import ModelSettings, override
from fl_sim.config.strategies import FLOWER_DEFAULTS, REQUIRED_ARGUMENTS, STRATEGY_ARGUMENTS, STRATEGY_CLAIMS
from fl_sim.defences import DEFENCES, MESSAGE, SHARING
from fl_sim.errors import ConfigError
from fl_sim.federation.settings import RunSettings
from fl_sim.models import MODELS
from fl_sim.specs import Settings
from judges.cli.configs import all_entries, all_places
from judges.cli.tasks import InversionTask, read_check, read_inversion, read_target, read_task
from judges.plans import gradient_inversion, membership, model_inversion, rounds
from judges.plans.audit import read_audit
from judges.plans.gradient_inversion import make_plan
from judges.plans.keys import Entry, Use, descriptions, literal, tables_of
from judges.plans.membership import make_membership_plan
from judges.plans.model_inversion import make_inversion_plan, with_brainleaks_neurons
from judges.plans.places import FURTHER
from judges.plans.reference import COMMAND, reference
from judges.plans.rounds import make_rounds_plan
from judges.runs.manifest import THREATS

FILE = Path(__file__).parents[3] / "configs" / "REFERENCE.md"
PLACES = {place.name: place for place in all_places()}
ENTRIES = all_entries(tuple(PLACES.values()))
SETTINGS = {"name": '"x"', "model.tau": "3.0", "repeat": "1", "dataset.split": '"test"', "attack.auxiliary": '"mnist"'}
OF_CLIENTS = {
    "loss": '"mse"', "frozen": '"head.*"', "nesterov": "false", "drop_last": "true",
    **dict.fromkeys(("label_smoothing", "momentum", "beta_1", "beta_2"), "0.5"),
}  # fmt: skip
SETTINGS |= {f"{table}.{key}": value for table in ("client", "assumed") for key, value in OF_CLIENTS.items()}
"""Values of keys whose default is told in words, or accepted where the key cannot be set."""

PER_CHOICE = ("scales", "protocols", "defences")
ANY_KEY = tuple(f"{threat}.KEY" for threat in THREATS)
"""Entries that stand for the settings of all attacks, which are told under [attack]."""


def uses_in(place: str) -> list[tuple[Entry, Use]]:
    """Return the keys that a place reads; scales and protocols are resolved before."""
    entries = [entry for entry in ENTRIES if entry.table not in PER_CHOICE and entry.key not in ANY_KEY]
    return [(entry, use) for entry in entries for use in entry.uses if use.place == place]


def kinds() -> Iterator[type[Settings]]:
    """Yield every settings class that the reference is made of."""
    for place in PLACES.values():
        yield place.settings
        yield from tables_of(place.settings).values()
        for owners in place.owners.values():
            yield from owners.values()


def test_the_file_is_current() -> None:
    fresh = reference(ENTRIES, tuple(PLACES.values()))
    assert FILE.read_text(encoding="utf-8") == fresh, f"{FILE.name} is out of date; renew it with `{COMMAND}`"


@pytest.mark.parametrize("kind", dict.fromkeys(kinds()))
def test_every_field_has_a_description(kind: type[Settings]) -> None:
    silent = set(kind.model_fields) - {name for name, text in descriptions(kind).items() if text.strip()}
    assert not silent, f"{kind.__module__}.{kind.__name__} says nothing of {silent} under Attributes"


@pytest.mark.parametrize("place", PLACES)
def test_every_field_is_told(place: str) -> None:
    told = {(entry.key, use.owner) for entry in ENTRIES for use in entry.uses if use.place == place}
    reader = PLACES[place]
    tables = tables_of(reader.settings)
    keys = {(key, "") for key in reader.settings.model_fields if key not in tables}
    for table, kind in tables.items():
        keys |= {(f"{table}.{key}", "") for key in kind.model_fields}
        owners = reader.owners.get(table, {}).items()
        keys |= {(f"{table}.{key}", owner) for owner, own in owners for key in own.model_fields}
    unread = {(key, "") for key in reader.unread}
    further = {(entry.key, "") for entry in FURTHER}
    assert unread <= keys
    assert keys - unread == told - further


def test_every_key_is_told_with_a_sentence_a_type_and_a_default() -> None:
    types = ("`", "integer", "number", "text", "true or false", "table")
    for entry in ENTRIES:
        assert len(entry.sentence) > len("a."), entry
        assert entry.sentence.endswith("."), entry
        assert entry.values.startswith(types), entry
        assert all(use.default for use in entry.uses), entry


def test_no_key_is_told_twice_of_the_same_reader() -> None:
    told = [(entry.key, use.place, use.owner) for entry in ENTRIES for use in entry.uses]
    assert len(told) == len(set(told))


# What the readers do, called with "key=value" as a user gives it


def gradients(told: list[str]) -> None:
    make_plan(override({"name": "e"}, told, gradient_inversion.TABLES))


def models(told: list[str]) -> None:
    federated = any(one.startswith(("federation.", "strategy.", "defence.")) for one in told)
    raw = {"name": "e", "task": "model_inversion", "model": {"name": [*MODELS]}}
    target = ["target=federation"] if federated else []
    make_inversion_plan(override(raw, [*target, *told], model_inversion.TABLES))


def over_rounds(told: list[str]) -> None:
    raw = {
        "name": "e", "task": "rounds", "model": {"name": ["lenet", "spiking_lenet"]}, "federation": {"keep_every": 1},
        "gradient_inversion": "idlg", "model_inversion": [*MODEL_INVERSIONS],
    }  # fmt: skip
    make_rounds_plan(override(raw, told, rounds.TABLES))


def members(told: list[str]) -> None:
    federated = ("federation.", "strategy.", "defence.", "client.", "dataset.split", "shadow_training")
    updates = any(one.startswith(federated) or "gradient_cosine" in one for one in told)
    raw = {"name": "e", "task": "membership", "model": {"name": [*MODELS]}}
    make_membership_plan(override(raw, [*(["target=federation"] if updates else []), *told], membership.TABLES))


def invert(told: list[str]) -> None:
    attack = read_inversion(told).attack
    build_inversion(attack.name or "brainleaks_v2", attack.model_extra)


def flwr(told: list[str]) -> None:
    raw = override({}, told, ())
    flat = {key: value for key, value in raw.items() if not isinstance(value, dict)}
    tables = {f"{key}.{name}": item for key, inner in raw.items() if key not in flat for name, item in inner.items()}
    RunSettings.read({**flat, **tables})


READERS: dict[str, Callable[[list[str]], Any]] = {
    "gradients": gradients,
    "models": models,
    "rounds": over_rounds,
    "members": members,
    "audit": lambda told: read_audit(["dataset=digits", *told]),
    "`train`": lambda told: read_target("digits", told),
    "`invert`": invert,
    "`judge train`": lambda told: read_task("digits", told, None),
    "`check`": lambda told: read_check("lenet", told),
    "`flwr run`": flwr,
}


def value_of(entry: Entry, use: Use) -> str:
    """Return a value that the reference says a key may have, as TOML."""
    value = SETTINGS.get(entry.key) or (use.default.strip("`") if use.default.startswith("`") else "1")
    is_name = entry.values.startswith('`"')
    return entry.values.split(", ")[0].strip("`") if is_name and f"`{value}`" not in entry.values else value


def assignments(entry: Entry, use: Use, value: str) -> list[str]:
    owner = [f"{entry.table}.name={json.dumps(use.owner)}"] if use.owner else []
    needed = ["model.reset=soft"] if entry.key == "model.reset_order" else []
    needed += companions(use.owner or value.strip('"'), entry.key)
    if {'"learned"', '"D"'} & {json.dumps(use.owner), value} and entry.key != "attack.auxiliary":
        needed.append(f"{entry.table}.auxiliary=mnist")  # it answers only with auxiliary data
    if use.place == "audit" and entry.table == "judge":
        needed.append("dataset=digits")  # it is trained on
    return [*owner, *needed, f"{entry.key}={value}"]


def companions(name: str, key: str) -> list[str]:
    """Return what a defence or a strategy of this name, or a key, goes with."""
    if key == "federation.summed_clients":
        return ['federation.observer="sum of clients"', "federation.clients=9"]
    if name in STRATEGY_CLAIMS:
        own = {"noise_multiplier": "0.1", "clipping_norm": "1.0"}
        mods = [f"defence.name={defence}" for defence, entry in DEFENCES.items() if entry.strategy == name]
        given = [f"strategy.{one}={value}" for one, value in own.items() if one in STRATEGY_ARGUMENTS[name]]
        return [*mods, *(one for one in given if not one.startswith(f"{key}="))]
    if name not in DEFENCES:
        return []
    entry = DEFENCES[name]
    if entry.strategy:
        return [f"strategy.name={entry.strategy}", *companions(entry.strategy, key)[1:]]
    return ["strategy.name=FedAvg"] * (entry.works_on in (MESSAGE, SHARING)) + ["model.name=lenet"] * bool(
        entry.static_only
    )


def refusal(entry: Entry, use: Use, value: str) -> str:
    """Return what a reader says of a key with a value; "" where it accepts it."""
    try:
        READERS[use.place](assignments(entry, use, value))
    except ConfigError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("place", PLACES)
def test_a_key_is_read_where_the_reference_says_so(place: str) -> None:
    told = {(entry.key, use.owner): refusal(entry, use, value_of(entry, use)) for entry, use in uses_in(place)}
    assert {key: text for key, text in told.items() if text} == {}


@pytest.mark.parametrize("place", PLACES)
def test_every_choice_is_accepted_and_no_other(place: str) -> None:
    for entry, use in uses_in(place):
        choices = entry.values.split(", ") if entry.values.startswith('`"') else []
        for choice in choices:
            assert refusal(entry, use, choice.strip("`")) == "", (entry.key, choice)
        if choices:
            assert refusal(entry, use, '"nothing of the kind"'), entry.key


def test_a_number_is_told_with_its_bounds() -> None:
    values = {entry.key: entry.values for entry in ENTRIES if "gradients" in entry.places or "audit" in entry.places}
    assert values["seed"] == "integer >= 0"  # of an audit, the last
    assert values["repeats"] == "integer >= 1, <= 10000"
    assert values["federation.fraction"] == "number > 0, <= 1"
    assert values["attack.alpha"] == "number >= 0, < 1"
    assert values["assumed.batch_size"] == "integer >= 1"
    assert values["defence"] == "text of at least 1 and at most 80 characters"
    assert values["model.detach_reset"] == "true or false"


@pytest.mark.parametrize("place", ["gradients", "models", "members", "audit"])
def test_a_list_is_an_axis_where_the_reference_says_so(place: str) -> None:
    for entry, use in uses_in(place):
        if (entry.key, place) == ("threats", "audit"):
            continue  # a list of names means all of them
        text = refusal(entry, use, f"[{value_of(entry, use)}]")
        assert ("cannot be a list" in text) is not use.axis, (entry.key, use.owner, text)
        assert not (use.axis and text), (entry.key, use.owner, text)


@pytest.mark.parametrize("place", PLACES)
def test_what_the_reference_says_is_read_elsewhere_is_refused(place: str) -> None:
    here = {entry.key for entry in ENTRIES if place in entry.places}
    accepted = {  # `defence = "none"` means the table, and a judge's own keys need not be told as such
        "gradients": {"defence"},
        "`flwr run`": {"federation.engine"},
        "`judge train`": {key.removeprefix("judge.") for key in here},
        "rounds": {"defence", *(one.key for one in ENTRIES if {"gradients", "models"} & set(one.places))},
    }
    for entry in ENTRIES:
        if entry.key in here or entry.key in accepted.get(place, set()) or entry.table in PER_CHOICE:
            continue
        told = assignments(entry, Use("", "", ""), value_of(entry, entry.uses[0]))
        with pytest.raises(ConfigError):
            READERS[place](told)


@pytest.mark.parametrize("table", ["federation", "strategy", "defence", "training"])
def test_tables_that_a_kind_of_target_does_not_read_are_refused(table: str) -> None:
    target = "federation" if table == "training" else "central"
    with pytest.raises(ConfigError, match=f'is not read where target = "{target}"'):
        make_inversion_plan({"name": "e", "task": "model_inversion", "target": target, table: {}})


def _flower_run() -> Any:
    told = RunSettings.read({"seed": 0})
    return told.config.model_copy(update={"output": str(told.output or ""), "federation_id": told.federation_id})


def _trained() -> Any:
    task = read_target("digits", ["training.preset=own"])
    return task.model_copy(update={"model": with_brainleaks_neurons(task.model)})


BASES: dict[str, Callable[[], Any]] = {
    "gradients": lambda: make_plan({"name": "e"}).base,
    "models": lambda: make_inversion_plan({"name": "e", "training": {"preset": "own"}}).base,
    "rounds": rounds.RoundsKeys,
    "members": lambda: make_membership_plan({"name": "e", "task": "membership", "model": "lenet"}).base,
    "audit": lambda: read_audit(["dataset=digits"]).base,
    "`train`": _trained,
    "`invert`": lambda: InversionTask(model=with_brainleaks_neurons(ModelSettings())),
    "`judge train`": lambda: read_task("digits", [], None),
    "`check`": lambda: read_check("lenet", []),
    "`flwr run`": _flower_run,
}


@pytest.mark.parametrize("place", PLACES)
def test_defaults_are_those_of_a_config_that_says_nothing(place: str) -> None:
    base = BASES[place]()
    for entry, use in uses_in(place):
        in_words = use.default in ("the name of the file", "to be given", "no such threat")
        if (
            use.owner
            or in_words
            or (entry.key, place)
            in (
                ("attack.name", "models"),
                ("attack.name", "members"),
                ("federation.keep_every", "members"),  # that of federations; a central target has none
                ("dataset.name", "audit"),
                ("model_inversion.name", "audit"),
            )
        ):
            continue  # what a plan holds none of, or another test compares
        value: Any = base
        for name in entry.key.split("."):
            value = None if value is None else getattr(value, name)
        assert (place, entry.table) == ("audit", "dataset") or literal(value) == use.default, entry.key


def test_an_audit_has_no_data_set_and_no_judge_unless_told() -> None:
    told = {entry.key: use.default for entry, use in uses_in("audit")}
    base = read_audit([]).base
    assert (literal(base.dataset), literal(base.judge.name)) == (told["dataset.name"], told["judge.name"])


def test_model_inversion_runs_all_attacks_unless_told() -> None:
    (entry,) = (one for one in ENTRIES if one.key == "attack.name" and one.places == ["models"])
    made = make_inversion_plan({"name": "e", "model": ["mlp", "spiking_mlp"]})
    assert entry.default == literal([*dict.fromkeys(cell.attack for cell in made.cells)])


@pytest.mark.parametrize("strategy", STRATEGY_ARGUMENTS)
def test_arguments_of_strategies_have_flowers_defaults(strategy: str) -> None:
    kind: type = getattr(flower_strategies, "FedAvg" if strategy == "FedSGD" else strategy)
    parameters = inspect.signature(kind).parameters
    found = {name: parameters[name].default for name in STRATEGY_ARGUMENTS[strategy]}
    needed = {name for name, default in found.items() if default is inspect.Parameter.empty}
    assert needed == set(REQUIRED_ARGUMENTS) & set(found)
    assert FLOWER_DEFAULTS.get(strategy, {}) == {name: found[name] for name in found if name not in needed}
