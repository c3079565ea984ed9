"""The grid of membership inference: what is combined, what is left out, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fl_sim.errors import ConfigError
from judges.kinds import kind_of, read_plan
from judges.plans.membership import MembershipPlan, make_membership_plan

CONFIG = Path(__file__).parents[3] / "configs" / "membership.toml"


def plan(**raw: Any) -> MembershipPlan:
    return make_membership_plan({"task": "membership", "name": "x", **raw})


def test_modes_are_an_axis_of_the_attacks_that_have_them() -> None:
    made = plan(model=["mlp", "spiking_mlp"], attack={"mode": ["offline", "online"]})
    assert list(made.units) == [
        f"digits-{model}-torch/{attack}"
        for model in ("mlp", "spiking_mlp")
        for attack in (
            "loss_threshold", "lira-mode=offline", "lira-mode=online", "rmia-mode=offline", "rmia-mode=online",
        )
    ]  # fmt: skip
    assert made.shadows_of(made.targets[0]) == [(number, online) for online in (False, True) for number in range(16)]


def test_a_federation_has_updates_and_no_shadow_models_of_its_candidates() -> None:
    made = plan(target="federation", model="mlp", attack={"mode": ["offline", "online"]})
    assert {cell.label for cell in made.cells} == {
        "loss_threshold", "lira-mode=offline", "rmia-mode=offline", "gradient_cosine",
    }  # fmt: skip
    assert made.base.federation.keep_every == 1


def test_shadow_models_are_as_many_as_the_attack_that_takes_most() -> None:
    made = plan(attack={"name": ["lira", "rmia"], "shadows": [4, 8]})
    assert len(made.shadows_of(made.targets[0])) == 8


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"attack": "gradient_cosine"}, "attack.name: none of the attacks is for any of these targets"),
        ({"attack": "lirra"}, "Did you mean 'lira'"),
        ({"attack": {"name": "lira", "shadow": 8}}, "Did you mean 'shadows'"),
        ({"attack": {"name": "lira", "shadows": 7}}, "attack.shadows"),
        ({"candidates": 21}, "candidates"),
        ({"candidates": [20, 40]}, "candidates: is the same for the whole experiment"),
        ({"candidates": 100, "auxiliary": 49}, "auxiliary: expected at least half"),
        ({"federation": {"rounds": 2}}, 'federation: is not read where target = "central"'),
        ({"dataset": {"split": "test"}}, "dataset.split"),
        ({"target": "federation", "federation": {"keep_every": 0}}, "federation.keep_every: expected 1 or more"),
        ({"target": "federation", "federation": {"capture_every": 0}}, "federation.capture_every: expected 1"),
        ({"dataset": "digits_dvs", "model": "mlp"}, "attack.name: none of the attacks"),
    ],
)
def test_what_is_impossible_is_refused_in_a_sentence(raw: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan(**raw)


def test_the_shipped_config_has_three_scales() -> None:
    for scale in ("smoke", "small", "paper"):
        made = read_plan(CONFIG, [f"scale={scale}"])
        assert isinstance(made, MembershipPlan)
        assert kind_of(made.raw).task == "membership"
    federated = read_plan(CONFIG, ["scale=smoke", "target=federation", "attack=gradient_cosine"])
    assert isinstance(federated, MembershipPlan)
    assert {cell.attack for cell in federated.cells} == {"gradient_cosine"}
