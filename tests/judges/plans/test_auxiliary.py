"""Which auxiliary data a plan accepts, and what it calls them."""

from __future__ import annotations

import pytest

from attacks import ATTACKS, AttackEntry, adversary_of
from attacks.settings import DLGSettings
from fl_sim.errors import ConfigError
from judges.plans.audit import make_audit_plan
from judges.plans.gradient_inversion import make_plan
from tests.judges.plans.test_gradient_inversion import plan, refusal

DIGITS = {"name": "digits", "split": "test"}


def learned(**settings: object) -> dict[str, object]:
    return {"name": "learned", "auxiliary": "digits", **settings}


def test_auxiliary_data_make_the_adversary_one_with_letter_d() -> None:
    named = {"name": ["idlg", "feature_kalman"], "auxiliary": ["none", "digits"], "auxiliary_count": 9}
    made = plan(dataset=DIGITS, attack=named)
    assert [(cell.attack, cell.adversary, cell.auxiliary) for cell in made.cells] == [
        ("idlg", "A", ""),
        ("feature_kalman", "B", ""),
        ("feature_kalman", "D", "digits train 9"),
    ]


def test_own_is_the_split_of_each_data_set_that_its_clients_do_not_hold() -> None:
    attack = {"name": ["idlg", "ensemble"], "auxiliary": "own", "auxiliary_count": 9, "adversary": ["B", "D"]}
    made = plan(dataset={"name": ["digits", "mnist"], "split": "test"}, attack=attack)
    assert [(cell.label, cell.adversary, cell.auxiliary) for cell in made.cells] == [
        (label, letter, f"{data} train 9" if letter == "D" else "")
        for data in ("digits", "mnist")
        for label, letter in (("idlg", "A"), ("ensemble-adversary=B", "B"), ("ensemble-adversary=D", "D"))
    ]
    held = plan(dataset={"name": "digits", "split": "train"}, attack=learned(auxiliary="own"))
    assert [cell.auxiliary for cell in held.cells] == ["digits test 4000"]


def test_own_needs_the_name_of_the_clients_data_set() -> None:
    with pytest.raises(ConfigError, match="'own' is the clients' own data set, so name it"):
        make_audit_plan({"attack": learned(auxiliary="own")})
    made = make_audit_plan({"dataset": DIGITS, "attack": learned(auxiliary="own")})
    assert [cell.auxiliary for cell in made.cells] == ["digits train 4000"]


def test_an_adversary_with_data_needs_some() -> None:
    assert "'ensemble' learns from examples of other people" in refusal(attack={"name": "ensemble", "adversary": "D"})


def test_attacks_with_other_data_do_not_share_a_start() -> None:
    made = plan(dataset=DIGITS, attack=learned(auxiliary=["digits", "mnist"]))
    assert [cell.guess for cell in made.cells] == ["learned digits train 4000", "learned mnist train 4000"]
    assert [cell.label for cell in made.cells] == ["learned-auxiliary=digits", "learned-auxiliary=mnist"]


def test_it_is_part_of_the_identity_of_a_cell() -> None:
    few, many = (plan(dataset=DIGITS, attack=learned(auxiliary_count=count)) for count in (10, 20))
    assert few.units.keys() == many.units.keys()
    assert few.units != many.units


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_split_that_the_clients_hold_is_refused(split: str) -> None:
    said = refusal(dataset={"name": "digits", "split": split}, attack=learned(auxiliary_split=split))
    other = "test" if split == "train" else "train"
    assert f"attack.auxiliary: the {split} split of 'digits' may hold the victims' own examples" in said
    assert f"the adversary has the {other} split of 'digits'" in said
    assert plan(dataset={"name": "digits", "split": other}, attack=learned(auxiliary_split=split)).cells


def test_another_data_set_of_the_same_pictures_is_refused_whatever_the_split() -> None:
    said = refusal(dataset={"name": "att_faces", "split": "test"}, attack=learned(auxiliary="att_faces_8_9"))
    assert "the train split of 'att_faces_8_9' may hold the victims' own examples" in said


def test_what_cannot_be_auxiliary_data_is_refused() -> None:
    assert "'learned' learns from examples of other people" in refusal(dataset=DIGITS, attack="learned")
    assert "'digitz' is not known. Did you mean 'digits'?" in refusal(
        dataset=DIGITS, attack=learned(auxiliary="digitz")
    )
    assert "'public' are the pictures that an audit gets" in refusal(dataset=DIGITS, attack=learned(auxiliary="public"))
    said = refusal(dataset=DIGITS, attack={"name": "dlg", "auxiliary": "digits"})
    assert said.startswith("attack.auxiliary: unknown key.")


def test_an_audit_gives_its_public_pictures_to_the_attacks_that_can_use_them() -> None:
    raw = {"public": "pictures", "attack": {"name": ["learned", "feature_kalman", "dlg"]}}
    made = make_audit_plan(raw)
    assert [(cell.attack, cell.adversary, cell.auxiliary) for cell in made.cells] == [
        ("learned", "D", "public 4000"),
        ("feature_kalman", "D", "public 4000"),
        ("dlg", "A", ""),
    ]
    without = make_audit_plan({"public": "pictures", "attack": {"name": "feature_kalman", "auxiliary": "none"}})
    assert [cell.adversary for cell in without.cells] == ["B"]
    with pytest.raises(ConfigError, match=r"or give public pictures of the same kind with --public FOLDER"):
        make_audit_plan({"attack": "learned"})
    with pytest.raises(ConfigError, match=r"'public' are the pictures"):
        make_audit_plan({"attack": {"name": "learned", "auxiliary": "public"}})


def test_an_entry_that_needs_auxiliary_data_has_settings_that_name_them() -> None:
    with pytest.raises(TypeError, match=r"a class derived from attacks\.settings\.base\.AuxiliarySettings"):
        AttackEntry("a.b:C", DLGSettings, "D", "s", needs_auxiliary=True)


def test_an_attack_in_no_table_has_no_letter() -> None:
    assert adversary_of("gone", {"auxiliary": "digits"}) == ""
    assert {adversary_of(name, {}) for name in ("dlg", "grnn", "learned")} == {"A", "B", "D"}
    assert ATTACKS["learned"].needs_auxiliary


def test_without_attacks_nothing_is_needed() -> None:
    assert make_plan({"name": "e", "dataset": DIGITS, "attack": "none"}).cells == ()
