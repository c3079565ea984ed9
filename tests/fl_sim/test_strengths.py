"""Settings that one defence has for itself, in tables [defences.NAME]."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fl_sim.errors import ConfigError
from judges.kinds import plan_of, read_plan
from judges.plans.gradient_inversion import Plan, make_plan

OWN = {"clip": {"clipping_norm": [1.0, 2.0]}, "noise": {"clipping_norm": 0.5, "noise_multiplier": [0.1, 1.0]}}


def plan(**raw: Any) -> Plan:
    return make_plan({"name": "e", "defence": {"name": ["none", "clip", "noise"]}, "defences": OWN, **raw})


def settings_of(made: Plan) -> list[tuple[str, dict[str, Any]]]:
    return [(one.config.defence.name, one.config.defence.settings) for one in made.federations]


EXPECTED = [
    ("none", {}),
    ("clip", {"clipping_norm": 1.0}),
    ("clip", {"clipping_norm": 2.0}),
    ("noise", {"clipping_norm": 0.5, "noise_multiplier": 0.1}),
    ("noise", {"clipping_norm": 0.5, "noise_multiplier": 1.0}),
]


def test_each_defence_has_its_own_strengths() -> None:
    made = plan()
    assert settings_of(made) == EXPECTED
    assert dict(made.federations[-1].attacked.defence_settings) == {"clipping_norm": 0.5, "noise_multiplier": 1.0}


def test_the_defences_of_one_network_stand_beside_each_other() -> None:
    made = plan(model=["lenet", "mlp"])
    assert settings_of(made) == EXPECTED * 2
    assert [one.config.model.name for one in made.federations] == ["lenet"] * 5 + ["mlp"] * 5


def test_a_key_of_the_common_table_is_of_all_that_have_no_own() -> None:
    made = plan(defence={"name": ["clip", "noise"], "clipping_norm": 3.0}, defences={"noise": {"clipping_norm": 0.5}})
    assert [own["clipping_norm"] for _, own in settings_of(made)] == [3.0, 0.5]


def test_the_resolved_config_is_the_same_plan() -> None:
    assert settings_of(plan_of(plan().raw)) == EXPECTED  # type: ignore[arg-type]


def test_an_assignment_wins_over_the_tables(tmp_path: Path) -> None:
    path = tmp_path / "e.toml"
    path.write_text(
        'defence = ["clip", "noise"]\n[defences.clip]\nclipping_norm = [1.0, 2.0]\n[defences.noise]\n'
        "clipping_norm = 0.5\nnoise_multiplier = 1.0\n"
    )
    made = read_plan(path, ["defence.clipping_norm=7.0"])
    assert isinstance(made, Plan)
    assert settings_of(made) == [
        ("clip", {"clipping_norm": 7.0}),
        ("noise", {"clipping_norm": 7.0, "noise_multiplier": 1.0}),
    ]
    part = read_plan(path, ["defence=noise"])
    assert isinstance(part, Plan)
    assert settings_of(part) == [("noise", {"clipping_norm": 0.5, "noise_multiplier": 1.0})]


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        ({"clipp": {}}, "defences.clipp: 'clipp' is not known. Did you mean 'clip'?"),
        ({"clip": {"clipping_nrom": 1.0}}, "defences.clip.clipping_nrom: unknown key of 'clip'. Did you mean"),
        ({"clip": 3}, "defences: expected tables [defences.NAME]"),
        ({"clip": {"clipping_norm": []}}, "defence.clipping_norm: expected a value or a list of values"),
        ({"clip": {"clipping_norm": -1.0}}, "defence.clipping_norm"),
    ],
)
def test_a_wrong_table_is_refused(tables: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plan(defences=tables)
    assert told in str(caught.value)
