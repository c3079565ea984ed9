"""Lines of membership inferences: areas over several models, chance, verdicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from judges.intervals import clopper_pearson
from judges.runs.rows.membership import BLIND, NULL, MembershipScore
from judges.summaries.membership import (
    DIFFERENT,
    MEMBERS_TOLD,
    SOME_TOLD,
    UNTOLD,
    area,
    by_chance,
    read_memberships,
    summarise,
    write_memberships,
)


def row(**changes: Any) -> MembershipScore:
    values: dict[str, Any] = {
        "experiment": "e", "cell": "t/lira", "dataset": "toy", "model": "mlp", "source": "central", "round": 9,
        "attack": "lira", "target_seed": 0, "client": -1, "shadows": 8, "members": 200, "non_members": 200,
        "auc": 0.7, "auc_error": 0.02, "balanced_accuracy": 0.66, "caught_1": 5, "caught_01": None,
        "curve": {"0.01": 0.025, "0.1": 0.3, "1": 1.0}, "test_accuracy": 0.9, "train_accuracy": 1.0, "seconds": 1.0,
    }  # fmt: skip
    return MembershipScore(**(values | changes))


def null(**changes: Any) -> MembershipScore:
    return row(**{"control": NULL, "cell": "t/control: lira", "auc": 0.5, **changes})


def test_the_area_of_one_model_has_delongs_interval_and_of_several_the_larger() -> None:
    one = area([row()])
    assert (one.mean, one.low, one.high) == pytest.approx((0.7, 0.7 - 1.96 * 0.02, 0.7 + 1.96 * 0.02), abs=1e-4)
    alike, apart = area([row(), row()]), area([row(auc=0.6), row(auc=0.8)])
    assert alike.high - 0.7 == pytest.approx(1.96 * 0.02 / 2**0.5, abs=1e-4)
    assert apart.high - 0.7 == pytest.approx(1.96 * 0.1, abs=1e-4)


def test_an_area_without_error_is_still_not_certain() -> None:
    perfect = area([row(auc=1.0, auc_error=0.0, members=50)])
    assert perfect.high == 1.0
    assert perfect.low == pytest.approx(0.025 ** (1 / 50))


@pytest.mark.parametrize("members", [1, 2])
def test_areas_over_single_members_have_the_exact_interval_of_as_many(members: int) -> None:
    """DeLong's error knows nothing of the spread of a single member."""
    found = area([row(auc=value, auc_error=0.01, members=members, target_seed=seed)
                  for seed, value in enumerate((0.96, 0.97, 0.98, 0.97))])  # fmt: skip
    assert found.mean == pytest.approx(0.97)
    assert (found.low < 0.5) == (members == 1)
    if members == 1:
        assert (found.low, found.high) == pytest.approx((0.025 ** (1 / 4), 1.0))


def test_chance_is_that_of_random_orders() -> None:
    stream = np.random.default_rng(0)
    caught = np.array([(member > np.sort(other)[-3]).sum() for member, other in stream.random((4000, 2, 200))])
    for count in (2, 6, 12):
        assert by_chance([row(caught_1=count)]) == pytest.approx((caught >= count).mean(), abs=0.02)
    assert by_chance([row(caught_1=None)]) is None
    twice = (caught[::2] + caught[1::2] >= 9).mean()
    assert by_chance([row(caught_1=4), row(caught_1=5)]) == pytest.approx(twice, abs=0.03)


@pytest.mark.parametrize(
    ("changes", "beside", "verdict"),
    [
        ({}, {}, MEMBERS_TOLD),
        ({"auc": 0.52}, {}, UNTOLD),
        ({"auc": 0.52, "caught_1": 40}, {}, SOME_TOLD),
        ({"auc": 0.62}, {"auc": 0.62}, DIFFERENT),
        ({"auc": 0.8}, {"auc": 0.62}, MEMBERS_TOLD),
    ],
)
def test_the_verdict_is_read_beside_the_model_that_saw_nobody(
    changes: dict[str, Any], beside: dict[str, Any], verdict: str
) -> None:
    attack, control = summarise([row(**changes), null(**beside)]).cells
    assert attack.verdict == verdict
    assert attack.null is not None
    assert f"{attack.auc.mean:.3f}" in attack.reason
    assert (control.verdict, control.null) == ("control", None)


@pytest.mark.parametrize(
    ("attack", "without", "verdict"),
    [(0.62, 0.53, MEMBERS_TOLD), (0.62, 0.6, DIFFERENT), (0.8, 0.6, MEMBERS_TOLD), (0.52, 0.6, DIFFERENT)],
)
def test_a_classifier_without_any_model_counts_where_it_is_better_than_chance(
    attack: float, without: float, verdict: str
) -> None:
    blind = row(control=BLIND, cell="t/control: without any model", attack="", auc=without)
    elsewhere = row(control=BLIND, cell="u/control: without any model", attack="", auc=0.99, round=3)
    cells = summarise([row(auc=attack), null(), blind, elsewhere]).cells
    assert cells[0].verdict == verdict
    assert cells[0].blind is not None
    assert cells[0].blind.mean == without
    assert f"; without any model {without:.3f} [" in cells[0].reason


def test_lines_count_what_their_models_have_and_survive_the_disk(tmp_path: Path) -> None:
    summary = summarise([row(target_seed=seed, caught_1=5 + seed, caught_01=None) for seed in range(2)])
    (cell,) = summary.cells
    assert (cell.units, cell.members, cell.caught_01) == (2, 400, None)
    assert cell.caught_1 is not None
    assert (cell.caught_1.count, cell.caught_1.share) == (11, 11 / 400)
    assert (cell.caught_1.low, cell.caught_1.high) == clopper_pearson(11, 400)
    assert cell.curve == ((0.01, 0.025), (0.1, 0.3), (1.0, 1.0))
    assert read_memberships(write_memberships(summary, tmp_path / "s.json")) == summary


def test_another_rate_is_not_told_if_one_model_has_too_few_others() -> None:
    (cell,) = summarise([row(caught_01=1), row(target_seed=1, caught_01=None)]).cells
    assert cell.caught_01 is None


def test_the_exact_interval_is_that_of_the_textbook() -> None:
    assert clopper_pearson(0, 10) == pytest.approx((0.0, 1 - 0.025**0.1))
    assert clopper_pearson(10, 10) == pytest.approx((0.025**0.1, 1.0))
    assert clopper_pearson(3, 10) == pytest.approx((0.0667, 0.6525), abs=1e-4)
