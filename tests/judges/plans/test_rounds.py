"""The plan of an experiment over rounds: one federation for all threats, and what is refused before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fl_sim.errors import ConfigError
from judges.kinds import read_plan
from judges.plans.gradient_inversion import Plan
from judges.plans.membership import MembershipPlan
from judges.plans.model_inversion import InversionPlan
from judges.plans.reading import shipped_configs
from judges.plans.rounds import RoundsPlan, make_rounds_plan, names_of
from judges.runs.manifest import THREATS

RAW: dict[str, Any] = {
    "task": "rounds",
    "name": "tiny",
    "dataset": {"name": "digits", "size": 16, "singles": 2},
    "model": {"name": ["lenet", "spiking_lenet"], "timesteps": 4},
    "strategy": "FedAvg",
    "federation": {"clients": 4, "rounds": 2, "keep_every": 1, "local_epochs": 1, "batch_size": 16, "capture_most": 1},
    "judge": {"name": "none", "max_epochs": 1},
    "gradient_inversion": {"name": "idlg", "iterations": 2},
    "model_inversion": {"name": ["mi_face", "brainleaks_v2"], "iterations": 2},
    "membership": "loss_threshold",
    "candidates": 40,
}


def test_all_threats_are_to_the_same_federations() -> None:
    made = make_rounds_plan({**RAW, "repeats": 2, "seed": 5})
    updates, members, models = made.parts.values()
    assert isinstance(updates, Plan)
    assert isinstance(members, MembershipPlan)
    assert isinstance(models, InversionPlan)
    for federation, target in zip(updates.federations, models.targets, strict=True):
        spiking = target.spiking
        assert federation.label == target.label
        for repeat, seed in enumerate(target.seeds):
            ours, theirs = federation.repetition(repeat)[1], target.simulation(seed)
            fields = set(type(ours).model_fields) - (set() if spiking else {"model"})
            assert ours.model_dump(include=fields) == theirs.model_dump(include=fields)
    for federation, asked in zip(updates.federations, members.targets, strict=True):
        for repeat, seed in enumerate(asked.seeds):
            name, ours = federation.repetition(repeat)
            assert asked.name(seed) == name  # ids of captures contain it, and tell no seed
            assert asked.simulation(seed).model_dump(exclude={"model"}) == ours.model_dump(exclude={"model"})
    assert names_of(updates) == names_of(members)
    assert names_of(updates).keys() == names_of(models).keys()
    assert names_of(models)["digits-lenet-uniform", 1] == "digits-lenet-uniform-006"


def test_a_threat_has_the_keys_of_its_own_kind_and_its_own_attacks() -> None:
    made = make_rounds_plan({**RAW, "chunk": 3, "draws": 7})
    updates, models = made.parts["gradient_inversion"], made.parts["model_inversion"]
    assert isinstance(updates, Plan)
    assert isinstance(models, InversionPlan)
    assert (updates.base.chunk, updates.base.judge.name, models.base.draws, models.base.judge.max_epochs) == (
        3,
        "none",
        7,
        1,
    )
    assert {cell.attack for cell in updates.cells} == {"idlg"}
    assert {cell.attack for cell in models.cells} == {"mi_face", "brainleaks_v2"}
    assert [unit.partition(":")[0] for unit in made.units] == [
        threat for threat in ("gradient_inversion", "membership", "model_inversion") for _ in range(2)
    ]


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"gradient_inversion": {"name": "idlg", "iteratoins": 2}}, "gradient_inversion.iteratoins: unknown key"),
        ({"model_inversion": "idlg"}, "model_inversion.name: 'idlg' is not known"),
        ({"membership": "lirra"}, "membership.name: 'lirra' is not known"),
        ({"membership": {"name": "lira", "shadow": 4}}, "membership.shadow: unknown key. Did you mean 'shadows'"),
        ({"candidates": 21}, "candidates"),
        ({"drows": 3}, "drows: unknown key. Did you mean 'draws'"),
        ({"attack": "idlg"}, "attack: unknown key"),
        ({"protocol": "published"}, "protocol: unknown key"),
        ({"judge": {"max_epoch": 1}}, "judge.max_epoch: unknown key. Did you mean 'max_epochs'"),
        ({"federation": {**RAW["federation"], "keep_every": 0}}, "federation.keep_every: 0 keeps the last model only"),
        ({"federation": {**RAW["federation"], "roundz": 3}}, "Did you mean 'rounds'"),
        ({"dataset": {"name": "digits", "split": "test"}}, "dataset.split"),
    ],
)  # fmt: skip
def test_a_wrong_config_is_refused_by_the_key_that_it_has(raw: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_rounds_plan({**RAW, **raw})
    assert said in str(caught.value)


def test_a_config_without_a_threat_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"\[gradient_inversion\], \[membership\], \[model_inversion\], found none"):
        make_rounds_plan({key: value for key, value in RAW.items() if key not in THREATS})


@pytest.mark.parametrize("threats", [("model_inversion", "membership"), ("gradient_inversion", "membership")])
def test_any_threats_make_an_experiment_and_one_that_needs_captures_trains(threats: tuple[str, ...]) -> None:
    raw = {key: value for key, value in RAW.items() if key in threats or key not in THREATS}
    made = make_rounds_plan(raw | {"training": {"epochs": 2}, "judge": {}})
    assert set(made.parts) == set(threats)
    assert next(iter(made.parts)) != "model_inversion"


def test_a_key_that_no_threat_reads_is_refused() -> None:
    raw = {key: value for key, value in RAW.items() if key != "membership"}
    with pytest.raises(ConfigError, match="candidates: unknown key"):
        make_rounds_plan(raw)
    del raw["candidates"]
    with pytest.raises(ConfigError, match="training: unknown key"):
        make_rounds_plan({**raw, "training": {"epochs": 2}})


@pytest.mark.parametrize("scale", ["smoke", "small", "paper"])
def test_the_shipped_config_has_both_families_at_every_scale(scale: str) -> None:
    made = read_plan(Path(shipped_configs()["rounds"]), [f"scale={scale}"])
    assert isinstance(made, RoundsPlan)
    for plan in made.parts.values():
        assert {"lenet", "spiking_lenet"} <= {name.split("-")[1] for name, _ in names_of(plan)}


def test_settings_of_attacks_that_are_replaced_by_others_are_left_out() -> None:
    told: list[str] = []
    config = Path(shipped_configs()["rounds"])
    made = read_plan(config, ["scale=smoke", "gradient_inversion=exact"], told.append)
    assert isinstance(made, RoundsPlan)
    assert {cell.attack for cell in made.parts["gradient_inversion"].cells} == {"exact"}
    assert "gradient_inversion.iterations" in told[0]
