"""One word for the paper's own protocol: what it sets, what wins over it, and that nothing else changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from attacks.settings import DLGSettings, GRNNSettings
from fl_sim.errors import ConfigError
from judges.kinds import read_plan
from judges.plans.added import override_attack
from judges.plans.gradient_inversion import Cell, Plan, make_plan

CONFIGS = Path(__file__).parents[3] / "configs"
BOTH = ["published", "ours"]
OURS = {"dataset": {"split": "test"}, "attack": {"restarts": 2}}


def plan(**raw: Any) -> Plan:
    return make_plan({"name": "e", **raw})


def only(made: Plan) -> Cell:
    (cell,) = made.cells
    return cell


def refusal(**raw: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        plan(**raw)
    return str(caught.value)


def read(name: str, *assignments: str) -> Plan:
    made = read_plan(CONFIGS / f"{name}.toml", assignments)
    assert isinstance(made, Plan)
    return made


def test_the_word_stands_for_the_papers_protocol() -> None:
    made = plan(protocol="published", model="spiking_lenet")
    config, settings = made.federations[0].config, only(made).all_settings
    assert (config.dataset.split, config.model.timesteps) == ("train", 20)
    assert {
        "answer": "last", "label_rule": "weights", "restarts": 0, "line_search": "none", "guess": "uniform",
        "tolerance_gradient": 1e-7, "tolerance_change": 1e-9, "divergence": 0.0, "iterations": 300,
    }.items() <= settings.items()  # fmt: skip


def test_the_guess_is_that_of_the_data() -> None:
    events = plan(protocol="published", dataset="digits_dvs", model="spiking_lenet", attack="dlg")
    assert only(events).guess == "spikes"
    assert only(plan(protocol="published", attack="dlg")).guess == "uniform"


def test_grnn_answers_with_its_last_step() -> None:
    settings = only(plan(protocol="published", attack="grnn")).all_settings
    assert settings == {**GRNNSettings().model_dump(), "answer": "last"}


def test_what_the_config_says_wins() -> None:
    made = plan(protocol="published", dataset={"name": "digits", "split": "test"}, attack={"restarts": 1})
    assert made.federations[0].config.dataset.split == "test"
    assert (only(made).all_settings["restarts"], only(made).all_settings["answer"]) == (1, "last")


def test_a_row_says_its_protocol_unless_all_are_ours() -> None:
    assert plan(protocol="published").federations[0].attacked.varied == {"protocol": "published"}
    assert plan(protocol="published").federations[0].label == "digits-lenet-uniform-protocol=published"
    assert [one.attacked.varied for one in plan(protocol=BOTH).federations] == [{"protocol": one} for one in BOTH]
    assert plan(protocol="ours") == plan()
    assert "protocol" not in plan().raw


def test_both_protocols_stand_beside_each_other_on_each_model() -> None:
    made = plan(protocol=BOTH, model={"name": ["lenet", "spiking_lenet"]}, attack={"name": ["idlg", "exact"]})
    assert [cell.name for cell in made.cells] == [
        "digits-lenet-uniform-protocol=published/idlg",
        "digits-lenet-uniform-protocol=ours/idlg",
        "digits-lenet-uniform-protocol=ours/exact",
        "digits-spiking_lenet-uniform-protocol=published/idlg",
        "digits-spiking_lenet-uniform-protocol=ours/idlg",
        "digits-spiking_lenet-uniform-protocol=ours/exact",
    ]


def test_settings_of_one_protocol_are_not_those_of_the_other() -> None:
    theirs, ours = plan(protocol=BOTH, protocols={"ours": OURS}).cells
    assert (theirs.all_settings["restarts"], ours.all_settings["restarts"]) == (0, 2)
    alone = plan(protocols={"ours": OURS})
    assert alone == plan(**OURS)
    assert plan(protocol="published", protocols={"ours": OURS}) == plan(protocol="published")


def test_settings_of_a_protocol_for_attacks_that_are_not_there_are_left_out() -> None:
    made = plan(attack="dlg", protocols={"ours": {"attack": {"label_rule": "bias", "restarts": 1}}})
    assert dict(only(made).settings) == {"restarts": 1}


@pytest.mark.parametrize("raw", [
    {"protocol": "published", "dataset": {"name": ["digits", "digits_dvs"]}, "model": "spiking_lenet",
     "attack": {"name": ["dlg", "idlg"]}},
    {"protocol": BOTH, "protocols": {"ours": OURS}, "attack": {"name": ["idlg", "ensemble"], "iterations": 3}},
], ids=["images and events", "both"])  # fmt: skip
def test_the_resolved_config_is_the_same_experiment(raw: dict[str, Any]) -> None:
    made = plan(**raw)
    again = make_plan(made.raw)
    assert (again.raw, again.units, again.federations) == (made.raw, made.units, made.federations)
    settings, told = ({cell.name: cell.all_settings for cell in one.cells} for one in (made, again))
    assert told == settings


def test_an_assignment_wins_over_the_settings_of_a_protocol() -> None:
    cells = read("table5", "scale=smoke", "protocol=published,ours", "attack.label_rule=counts").cells
    assert {cell.all_settings.get("label_rule") for cell in cells} == {None, "counts"}
    raw = {"name": "e", "protocol": BOTH, "protocols": {"ours": OURS}}
    assert {cell.all_settings["restarts"] for cell in make_plan(override_attack(raw, ["attack.restarts=5"])).cells} == {
        5
    }


@pytest.mark.parametrize("name", ["table4", "table5", "figure3", "figure4", "figure5"])
def test_the_papers_tables_run_under_its_protocol(name: str) -> None:
    made = read(name, "scale=smoke", "protocol=published,ours")
    theirs = {one.label: one for one in made.federations if one.attacked.as_published}
    assert len(theirs) * 2 == len(made.federations)
    for cell in made.cells:
        if cell.federation in theirs:
            config = theirs[cell.federation].config
            assert (cell.all_settings["answer"], config.dataset.split) == ("last", "train")
            assert cell.thresholding != "straight_through"
            assert config.model.timesteps == (20 if config.model.name == "spiking_lenet" else 10)
    assert {cell.attack for cell in made.cells if cell.federation in theirs} <= {"dlg", "idlg", "grnn"}


def test_what_is_wrong_is_told() -> None:
    assert refusal(protocol="publised").startswith("protocol: 'publised' is not known. Did you mean 'published'?")
    assert refusal(protocol=["ours", "ours"]).startswith("protocol: expected one of ours, published, or a list of both")
    assert refusal(protocol=[]).startswith("protocol: expected one of")
    assert refusal(protocol=3).startswith("protocol: '3' is not known")
    assert refusal(protocols={"theirs": {}}).startswith("protocols.theirs: 'theirs' is not known")
    assert refusal(protocols={"ours": 3}).startswith("protocols: expected tables [protocols.WORD]")
    assert refusal(protocols={"ours": {"repeats": 3}}).startswith("protocols.ours.repeats: is the same for the whole")
    assert refusal(protocols={"ours": {"attack": {"restart": 3}}}).startswith("attack.restart: unknown key.")
    assert refusal(protocol="published", attack="exact").startswith("attack.name: 'exact' is no attack of the paper")
    assert "'idgl' is not known" in refusal(protocol="published", attack="idgl")


def test_settings_that_came_later_are_told_only_where_they_are_set() -> None:
    assert not {"answer", "positive", "clamping"} & set(DLGSettings().model_dump())
    assert DLGSettings(answer="last", positive="square").model_dump().items() >= {
        ("answer", "last"), ("positive", "square"),
    }  # fmt: skip
    assert "answer" not in GRNNSettings().model_dump()
