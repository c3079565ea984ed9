"""Upper bounds of what attacks compute hold for what they did compute."""

from __future__ import annotations

from typing import Any

import pytest

from attacks import ATTACKS, build_attack
from attacks.budgets import most_evaluations
from attacks.ensemble import EFFORTS
from attacks.testing.victims import LENET, captures_of, truth


@pytest.mark.parametrize(
    ("attack", "settings"),
    [
        ("dlg", {"iterations": 3, "restarts": 1}),
        ("idlg", {"iterations": 2, "inner_iterations": 5}),
        ("grnn", {"steps": 4}),
        ("inverting_gradients", {"steps": 5, "restarts": 1}),
        ("frozen_delta", {"steps": 6}),
        ("exact", {}),
    ],
)
def test_no_attack_evaluates_more_often_than_its_bound(attack: str, settings: dict[str, Any]) -> None:
    (found,) = build_attack(attack, settings).reconstruct(captures_of(LENET, *truth(1)), seed=0)
    bound = most_evaluations(attack, settings, spiking=False)
    assert bound is not None
    assert found.gradient_evaluations <= bound
    assert (bound == 0) == (attack == "exact")


def test_bounds_of_an_ensemble_grow_with_effort_and_letter() -> None:
    def bound(effort: str, adversary: str, *, spiking: bool = False) -> int:
        found = most_evaluations("ensemble", {"effort": effort, "adversary": adversary}, spiking=spiking)
        assert found is not None
        return found

    assert bound("none", "D") == 0
    bounds = [bound(effort, "B") for effort in EFFORTS]
    assert bounds == sorted(bounds)
    assert bound("quick", "A") < bound("quick", "B") < bound("quick", "D") == bound("quick", "auto")
    # Quick effort spares spiking networks iDLG and inverting_gradients: 30 x 25 x 2 and 500 + 1 evaluations.
    assert bound("quick", "B") - bound("quick", "B", spiking=True) == 2001


def test_every_attack_of_ours_has_a_bound() -> None:
    unknown = [name for name in ATTACKS if ATTACKS.origin(name) == "spikeleak" and _bound(name) is None]
    assert unknown == []


def _bound(name: str) -> int | None:
    return most_evaluations(name, {}, spiking=False)
