"""What things are called: one golden text for each form, so that a changed name is seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fl_sim.errors import ConfigError
from judges.runs import names
from judges.runs.identity import Attacked
from judges.runs.rows import Score
from judges.runs.rows.classes import CENTRAL, FEDERATION, Target
from tests.judges import class_runs

Row = Callable[..., Score]
ANN = Attacked(dataset="mnist", model="lenet", family="lenet", init="uniform")
SNN = Attacked(
    dataset="dvs_gesture",
    model="spiking_lenet",
    family="lenet",
    spiking=True,
    varied={"timesteps": 5, "tau": 2.0},
    init="torch",
    defence="quantise",
    defence_settings={"bits": 4},
)
PLAIN = Attacked(dataset="toy", model="my-net")


def test_settings_stand_in_one_line() -> None:
    assert names.settings_name({}) == ""
    assert names.settings_name({"timesteps": 5, "fast": True, "rate": 0.1}) == "timesteps=5 fast=True rate=0.1"


def test_a_network_spikes_or_does_not() -> None:
    assert (names.network(ANN), names.network(SNN.group)) == ("ANN", "SNN")


@pytest.mark.parametrize(
    ("victim", "model", "defence", "group", "without_init"),
    [
        (ANN, "LeNet", "none", "MNIST, LeNet, uniform initialisation", "MNIST, LeNet"),
        (
            SNN,
            "spiking LeNet (T=5, tau=2.0)",
            "quantisation (bits=4)",
            "DVS128 Gesture, spiking LeNet (T=5, tau=2.0), torch initialisation, quantisation (bits=4)",
            "DVS128 Gesture, spiking LeNet (T=5, tau=2.0), quantisation (bits=4)",
        ),
        (PLAIN, "my-net", "none", "toy, my-net", "toy, my-net"),
    ],
    ids=["ann", "snn", "plain"],
)
def test_what_was_attacked(victim: Attacked, model: str, defence: str, group: str, without_init: str) -> None:
    for one in (victim, victim.group):
        assert names.model_name(one) == model
        assert names.defence_name(one) == defence
        assert names.group_name(one) == group
        assert names.group_name(one, init=False) == without_init


@pytest.mark.parametrize(
    ("settings", "model"),
    [
        ({"protocol": "published"}, "LeNet (published protocol)"),
        ({"protocol": "ours", "batch_size": 8}, "LeNet (our protocol, batch size=8)"),
        ({"adversary": "B"}, "LeNet (adversary B)"),
    ],
)
def test_settings_that_vary_are_put_in_words(settings: dict[str, str | int], model: str) -> None:
    assert names.model_name(Attacked(dataset="mnist", model="lenet", varied=settings)) == model


def test_keys_have_the_names_of_a_config() -> None:
    assert (names.model_key(SNN), names.defence_key(SNN)) == ("spiking_lenet timesteps=5 tau=2.0", "quantise bits=4")
    assert (names.model_key(ANN.group), names.defence_key(ANN)) == ("lenet", "none")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("spiking_mlp", "spiking MLP"),
        ("cifar100", "CIFAR-100"),
        ("spiking_mine", "spiking_mine"),
        ("x" * 300, "x" * 300),
    ],
)
def test_known_names_are_put_in_words_and_others_stay(name: str, words: str) -> None:
    assert names.in_words(name) == words


def test_a_kind_of_target() -> None:
    told = [Target(ANN.group, CENTRAL, 1), Target(ANN.group, CENTRAL, 50), Target(SNN.group, FEDERATION, 3)]
    assert [names.target_name(target) for target in told] == [
        "MNIST, ANN LeNet, 1 epoch",
        "MNIST, ANN LeNet, 50 epochs",
        "DVS128 Gesture, SNN spiking LeNet (T=5, tau=2.0), federation, round 3",
    ]


def test_a_way_of_thresholding() -> None:
    assert names.way_name("post_optimisation") == "post-optimisation"


SPIKES = {"guess": "spikes", "thresholding": "in_optimisation", "tau": 0.25}
AFTER = {"thresholding": "post_optimisation", "tau": 0.5}


@pytest.mark.parametrize(
    ("columns", "attack", "line"),
    [
        ({"attack": "idlg"}, "iDLG", "iDLG"),
        ({"attack": "dlg-grey"}, "dlg-grey", "dlg-grey"),
        ({"attack": "mi_face"}, "MI-Face", "MI-Face"),
        (
            {"attack": "dlg", "attack_settings": {"restarts": 2}, **AFTER},
            "DLG (restarts=2)",
            "DLG (restarts=2), post-optimisation, tau 0.5",
        ),
        ({"control": "black"}, "black", "black"),
        ({"control": "class mean", "guess": ""}, "class mean", "class mean"),
        ({"control": "no-op"}, "no-op", "no-op (normal)"),
        ({"control": "no-op", **SPIKES}, "no-op", "no-op (spikes, tau 0.25)"),
        ({"control": "no-op", "attack": "dlg-grey", "guess": "dlg-grey normal"}, "no-op", "no-op (dlg-grey normal)"),
    ],
)
def test_an_attack_or_a_control_of_a_gradient_inversion(
    row: Row, columns: dict[str, Any], attack: str, line: str
) -> None:
    assert names.attack_name(row(**columns)) == attack
    assert names.line_name(row(**columns)) == line


@pytest.mark.parametrize(
    ("columns", "name"),
    [
        ({"attack": "brainleaks_v1"}, "BrainLeaks-v1"),
        ({"attack": "brainleaks_v2", "attack_settings": {"sparsity": 0.1}}, "BrainLeaks-v2 (sparsity=0.1)"),
        ({"attack": "brainleaks_v2", "control": "shuffled"}, "BrainLeaks-v2, shuffled"),
        ({"attack": "own", "attack_settings": {"a": 1}, "control": "shuffled"}, "own (a=1), shuffled"),
        ({"control": "real examples"}, "real examples"),
    ],
)
def test_an_attack_or_a_control_of_a_model_inversion(columns: dict[str, Any], name: str) -> None:
    assert names.attack_name(class_runs.row(**columns)) == name


def test_a_start_without_a_step() -> None:
    assert names.no_op_name("normal", None) == "no-op (normal)"
    assert names.no_op_name("spikes", 0.95) == "no-op (spikes, tau 0.95)"


def test_the_cell_of_a_control_begins_with_its_word() -> None:
    assert names.control_cell("digits-lenet-uniform", "mean image") == "digits-lenet-uniform/control: mean image"


def test_what_folders_call_a_federation() -> None:
    assert names.federation_label(ANN, defence=False) == "mnist-lenet-uniform"
    assert names.federation_label(ANN, defence=True) == "mnist-lenet-uniform-none"
    told = "dvs_gesture-spiking_lenet-torch-quantise-bits=4-timesteps=5-tau=2.0"
    assert names.federation_label(SNN, defence=True) == told
    with pytest.raises(ConfigError, match=r"the grid gives a federation the name 'mnist-lenet-uniform-note=x+"):
        names.federation_label(Attacked(**{**vars(ANN), "varied": {"note": "x" * 90}}), defence=False)


def test_what_folders_call_the_captures_of_an_audit() -> None:
    assert names.group_label(PLAIN) == "my-net"
    assert names.group_label(SNN) == "spiking_lenet-timesteps=5-tau=2.0"
    assert names.group_label(Attacked(model="x" * 200)) == "x" * names.LONGEST


def test_what_folders_call_an_attack() -> None:
    assert names.attack_label("dlg-grey", {}) == "dlg-grey"
    assert names.attack_label("idlg", {"label_rule": "bias", "restarts": 2}) == "idlg-label_rule=bias-restarts=2"
    with pytest.raises(ConfigError, match=r"attack: the grid gives it the name 'idlg-guess=x+"):
        names.attack_label("idlg", {"guess": "x" * 90})
    assert names.attack_key("idlg", {"guess": "x" * 90}) == f"idlg-guess={'x' * 90}"


def test_a_file_has_no_character_that_it_should_not() -> None:
    assert names.file_name("../a b/<c>=1.5-é") == ".._a_b__c_=1.5-_"
