"""Configs: axes, overrides, and a refusal that names the key's path for everything that is wrong."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl_sim.config import (
    STRATEGIES,
    ModelSettings,
    SimulationConfig,
    expand,
    flatten,
    override,
    read_toml,
    unflatten,
    validate,
)
from fl_sim.config.strategies import STRATEGY_ARGUMENTS, STRATEGY_CLAIMS
from fl_sim.defences import DEFENCES
from fl_sim.errors import ConfigError
from fl_sim.specs import REFUSED_SURROGATES, InputSpec, SpikingSpec

TABLES = ("dataset", "model", "strategy")
POSITIVE = st.floats(min_value=1e-6, max_value=1e6)
CONFIGS = st.fixed_dictionaries(
    {},
    optional={
        "seed": st.integers(-(2**40), 2**40),
        "repeat": st.integers(0, 99),
        "dataset": st.fixed_dictionaries(
            {},
            optional={
                "name": st.sampled_from(["digits", "mnist"]),
                "root": st.text(max_size=5),
                "alpha": POSITIVE,
                "partitioner": st.sampled_from(["iid", "dirichlet"]),
            },
        ),
        "model": st.fixed_dictionaries(
            {},
            optional={
                "name": st.sampled_from(["lenet", "spiking_lenet"]),
                "timesteps": st.integers(1, 50),
                "detach_reset": st.booleans(),
                "threshold": POSITIVE,
            },
        ),
        "federation": st.fixed_dictionaries(
            {}, optional={"clients": st.integers(1, 9), "learning_rate": POSITIVE, "batch_size": st.integers(1, 9)}
        ),
        "strategy": st.one_of(
            st.fixed_dictionaries(
                {"name": st.sampled_from([name for name in STRATEGIES if name not in STRATEGY_CLAIMS])}
            ),
            st.fixed_dictionaries({"name": st.just("FedProx")}, optional={"proximal_mu": POSITIVE}),
            st.fixed_dictionaries({"name": st.just("FedAdam")}, optional={"eta": POSITIVE, "tau": POSITIVE}),
        ),
    },
)


def refusal(raw: dict[str, Any], kind: type[SimulationConfig] = SimulationConfig) -> str:
    with pytest.raises(ConfigError) as caught:
        validate(kind, raw)
    return str(caught.value)


# What is valid


@given(CONFIGS)
def test_flatten_and_unflatten_are_inverse(raw: dict[str, Any]) -> None:
    config = validate(SimulationConfig, raw)
    flat = flatten(config)
    assert all(isinstance(value, str | int | float | bool) for value in flat.values())
    assert validate(SimulationConfig, unflatten(flat)) == config
    assert flatten(validate(SimulationConfig, unflatten(flat))) == flat
    for table, value in raw.items():
        given_here = (
            {f"{table}.{key}": item for key, item in value.items()} if isinstance(value, dict) else {table: value}
        )
        assert given_here.items() <= flat.items()


def test_flat_keys_are_the_paths() -> None:
    flat = flatten(validate(SimulationConfig, {"strategy": {"name": "FedProx", "proximal_mu": 0.5}}))
    assert flat["strategy.proximal_mu"] == 0.5
    assert flat["federation.clients"] == 2
    assert flat["seed"] == 0
    assert unflatten({"seed": 1, "model.name": "x", "model.tau": 3.0}) == {
        "seed": 1,
        "model": {"name": "x", "tau": 3.0},
    }


def test_a_whole_number_is_a_number_but_true_is_not_one() -> None:
    assert validate(SimulationConfig, {"federation": {"learning_rate": 1}}).federation.learning_rate == 1.0
    assert "federation.clients" in refusal({"federation": {"clients": True}})
    assert "federation.clients" in refusal({"federation": {"clients": 2.0}})


def test_settings_are_frozen() -> None:
    config = validate(SimulationConfig, {})
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 3  # type: ignore[misc]


def test_a_spiking_model_gets_its_settings_and_an_ann_gets_none() -> None:
    picture = InputSpec(1, 8, 8, 10)
    spiking = ModelSettings(name="spiking_lenet", timesteps=4, neuron="lif").spec(picture)
    assert spiking.spiking == SpikingSpec(timesteps=4, neuron="lif")
    assert (spiking.architecture, spiking.init, spiking.input) == ("spiking_lenet", "uniform", picture)
    assert ModelSettings(name="lenet", init="torch", timesteps=4).spec(picture).spiking is None


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_may_take_its_own_arguments(name: str) -> None:
    arguments = {key: kind(2) for key, kind in STRATEGY_ARGUMENTS[name].items()}
    defence = next((own for own, entry in DEFENCES.items() if entry.strategy == name), "none")
    config = validate(SimulationConfig, {"strategy": {"name": name, **arguments}, "defence": {"name": defence}})
    assert config.strategy.arguments == arguments
    assert "unknown argument" in refusal({"strategy": {"name": name, "epsilon": 0.5}})


def test_the_config_is_read_without_torch() -> None:
    code = "import sys, fl_sim.config; sys.exit(bool({'torch', 'flwr'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


# What is refused


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (
            {"sed": 1},
            ["sed: unknown key", "Did you mean 'seed'?", "Known: client, dataset, defence, federation, model,"],
        ),
        ({"federatoin": {}}, ["federatoin: unknown key", "Did you mean 'federation'?"]),
        ({"federation": {"client": 3}}, ["federation.client: unknown key", "Did you mean 'clients'?", "local_steps"]),
        ({"model": {"zzzz": 3}}, ["model.zzzz: unknown key. Known: "]),
        ({"model": {"name": {"deep": 1}}}, ["model.name: input should be a valid string"]),
        ({"seed": "1"}, ["seed: input should be a valid integer", "got '1'"]),
        ({"federation": 3}, ["federation: input should be a valid dictionary", "got 3"]),
        ({"federation": {"clients": 0}}, ["federation.clients: input should be greater than or equal to 1, got 0"]),
        ({"federation": {"fraction": 1.5}}, ["federation.fraction: input should be less than or equal to 1"]),
        ({"federation": {"engine": "rey"}}, ["federation.engine:", "'local' or 'ray'", "Did you mean 'ray'?"]),
        ({"dataset": {"name": "mnits"}}, ["dataset.name: 'mnits' is not known.", "Did you mean 'mnist'?"]),
        ({"dataset": {"partitioner": "dirichelt"}}, ["dataset.partitioner:", "Did you mean 'dirichlet'?"]),
        ({"dataset": {"split": "validation"}}, ["dataset.split:", "'train' or 'test'"]),
        ({"dataset": {"size": -1}}, ["dataset.size:"]),
        ({"dataset": {"bin_ms": 3}}, ["dataset.bin_ms: ", "expected dataset.time_bins above 0, found 0"]),
        (
            {"dataset": {"time_bins": 9, "bin_ms": 3, "window_ms": 60}},
            ["dataset.bin_ms: ", "expected dataset.window_ms to be 0, found 60"],
        ),
        ({"dataset": {"time_bins": 9, "bin_ms": 1e-4}}, ["dataset.bin_ms: expected 0, or at least", "got 0.0001"]),
        ({"dataset": {"denoise_ms": 1e-4}}, ["dataset.denoise_ms: expected 0, or at least", "got 0.0001"]),
        ({"dataset": {"denoise_ms": -1}}, ["dataset.denoise_ms: input should be greater than or equal to 0"]),
        ({"dataset": {"classes": -1}}, ["dataset.classes: input should be greater than or equal to 0"]),
        ({"model": {"name": "lenett"}}, ["model.name: 'lenett' is not known.", "Did you mean 'lenet'?"]),
        ({"model": {"tau": 1.0}}, ["model.tau: input should be greater than 1"]),
        ({"model": {"timesteps": 0}}, ["model.timesteps:"]),
        ({"model": {"reset": "sotf"}}, ["model.reset:", "Did you mean 'soft'?"]),
        ({"model": {"encoder": "latncy"}}, ["model.encoder:", "Did you mean 'latency'?"]),
        ({"model": {"surrogate": "atam"}}, ["model.surrogate: 'atam' is not known", "fast_sigmoid"]),
        ({"strategy": {"name": "FedAverage"}}, ["strategy.name: 'FedAverage' is not known.", "Did you mean 'FedAvg"]),
    ],
)
def test_what_is_wrong_is_named_by_its_path(raw: dict[str, Any], said: list[str]) -> None:
    message = refusal(raw)
    assert message.startswith(said[0].partition(":")[0] + ":")
    for part in said:
        assert part in message
    assert "\n" not in message


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 0.0, -1.0])
@pytest.mark.parametrize("path", ["federation.learning_rate", "dataset.alpha", "model.threshold", "model.slope"])
def test_a_number_that_is_none_is_refused(path: str, value: float) -> None:
    """TOML knows inf and nan."""
    assert refusal(unflatten({path: value})).startswith(f"{path}: ")


def test_unknown_keys_come_first_and_the_rest_is_counted() -> None:
    message = refusal({"seed": "x", "federation": {"clients": 0, "clinets": 2}})
    assert message.startswith("federation.clinets: unknown key.")
    assert message.endswith("(and 2 more)")


def test_fedsgd_shares_the_gradient_of_one_batch() -> None:
    raw = {"federation": {"local_steps": 2}}
    assert refusal(raw).startswith("federation.local_steps: ")
    assert 'strategy = "FedAvg"' in refusal(raw)
    assert validate(SimulationConfig, raw | {"strategy": {"name": "FedAvg"}}).federation.local_steps == 2


@pytest.mark.parametrize("name", REFUSED_SURROGATES)
def test_a_surrogate_without_a_second_derivative_is_refused_with_the_reason(name: str) -> None:
    message = refusal({"model": {"name": "spiking_lenet", "surrogate": name}})
    assert message.startswith(f"model.surrogate: '{name}' is refused: {REFUSED_SURROGATES[name]}")


# Axes


def test_lists_are_axes_in_the_order_of_the_file() -> None:
    raw = {"seed": [0, 1], "model": {"name": ["a", "b", "c"], "tau": 2.0}}
    combinations = expand(raw, TABLES)
    assert [(one["seed"], one["model"]["name"]) for one in combinations] == [
        (0, "a"), (0, "b"), (0, "c"), (1, "a"), (1, "b"), (1, "c"),
    ]  # fmt: skip
    assert all(one["model"]["tau"] == 2.0 for one in combinations)


@pytest.mark.parametrize("value", ["lenet", ["lenet", "spiking_lenet"]])
def test_a_plain_value_for_a_table_is_its_name(value: Any) -> None:
    assert expand({"model": value}, TABLES) == expand({"model": {"name": value}}, TABLES)
    assert expand({"seed": 3}, TABLES) == [{"seed": 3}]


@given(st.dictionaries(st.sampled_from("abc"), st.lists(st.integers(), min_size=1, max_size=3, unique=True)))
def test_a_grid_holds_each_combination_once(raw: dict[str, Any]) -> None:
    combinations = expand(raw, ())
    assert len(combinations) == math.prod(len(values) for values in raw.values())
    assert len({tuple(sorted(one.items())) for one in combinations}) == len(combinations)
    assert all(one[key] in raw[key] for one in combinations for key in raw)


def test_an_empty_axis_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^model\.tau: expected a value or a list of values, got an empty list\.$"):
        expand({"model": {"tau": []}}, TABLES)


def test_expanding_leaves_the_config_as_it_was() -> None:
    raw = {"model": "lenet", "seed": [1, 2]}
    expand(raw, TABLES)[0]["seed"] = 9
    assert raw == {"model": "lenet", "seed": [1, 2]}


# --set


@pytest.mark.parametrize(
    ("assignment", "result"),
    [
        ("seed=3", {"seed": 3}),
        ("seed=3,4", {"seed": [3, 4]}),
        ("seed=[3, 4]", {"seed": [3, 4]}),
        ("model=spiking_lenet", {"model": {"name": "spiking_lenet"}}),
        ("model.name=lenet,spiking_lenet", {"model": {"name": ["lenet", "spiking_lenet"]}}),
        ("model.tau=2.5", {"model": {"name": "lenet", "tau": 2.5}}),
        ("model.detach_reset=true", {"model": {"name": "lenet", "detach_reset": True}}),
        (" model.tau = 2.5 ", {"model": {"name": "lenet", "tau": 2.5}}),
        ("dataset.root=a=b", {"dataset": {"root": "a=b"}}),
        ('dataset.root="a,b"', {"dataset": {"root": "a,b"}}),
        ("dataset.root=", {"dataset": {"root": ""}}),
    ],
)
@pytest.mark.parametrize("before", [{"model": "lenet"}, {"model": {"name": "lenet"}}])
def test_an_assignment_is_read_as_toml_or_as_text(
    assignment: str, result: dict[str, Any], before: dict[str, Any]
) -> None:
    changed = override(before, [assignment], TABLES)
    assert expand(changed, TABLES) == expand(before | result, TABLES)


def test_a_plain_value_for_a_table_replaces_its_name_only() -> None:
    raw = {"model": {"name": "lenet", "tau": 3.0}}
    assert override(raw, ["model=spiking_lenet"], TABLES) == {"model": {"name": "spiking_lenet", "tau": 3.0}}
    assert override({"model": ["a", "b"]}, ["model.tau=3.0"], TABLES) == {"model": {"name": ["a", "b"], "tau": 3.0}}


def test_later_assignments_win_and_the_config_stays_as_it_was() -> None:
    raw = {"model": {"tau": 2.0}}
    assert override(raw, ["model.tau=3.0", "model.tau=4.0", "seed=1"], TABLES) == {"model": {"tau": 4.0}, "seed": 1}
    assert raw == {"model": {"tau": 2.0}}


@pytest.mark.parametrize("assignment", ["seed", "", "=3", "model.=3", "a.b.c=3"])
def test_a_malformed_assignment_is_refused(assignment: str) -> None:
    with pytest.raises(ConfigError, match=r"--set .*: expected key=value or table\.key=value"):
        override({}, [assignment], TABLES)


# Files


def test_a_file_that_is_missing_or_no_toml_is_refused_with_its_path(tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text("seed = [")
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    for path, said in [(tmp_path / "none.toml", "No such file"), (tmp_path, "directory"), (bad, "expected TOML"),
                       (binary, "expected TOML")]:  # fmt: skip
        with pytest.raises(ConfigError, match=said) as caught:
            read_toml(path)
        assert str(path) in str(caught.value)
