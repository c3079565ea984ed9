"""ROC curves beside scikit-learn's and brute force; the candidates, whose order says nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score, roc_curve

from fl_sim.config import DatasetSettings, SimulationConfig
from fl_sim.errors import ConfigError
from fl_sim.federation.client_data import partition_indices
from judges.scoring.membership.asked import Asked, Held
from judges.scoring.membership.roc import area_and_error, told_by


def drawn(seed: int, *, ties: bool, members: int = 150, others: int = 250) -> tuple[np.ndarray, np.ndarray]:
    """Return scores that tell a little, and who is a member."""
    stream = np.random.default_rng(seed)
    flags = stream.permutation(np.arange(members + others) < members)
    scores = stream.normal(size=len(flags)) + 0.7 * flags
    return (np.round(scores) if ties else scores), flags


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_areas_and_rates_are_those_of_scikit_learn(seed: int, ties: bool) -> None:
    scores, flags = drawn(seed, ties=ties)
    told = told_by(scores, flags)
    assert told.auc == pytest.approx(roc_auc_score(flags, scores), abs=1e-12)
    false, true, _ = roc_curve(flags, scores)
    assert told.caught_1 == round(max(t for f, t in zip(false, true, strict=True) if f <= 0.01) * 150)
    assert told.caught_01 is None  # 250 others cannot tell one in a thousand
    assert told.balanced_accuracy == pytest.approx(max((true + 1 - false) / 2))
    for rate, share in told.curve.items():
        assert share == pytest.approx(max(t for f, t in zip(false, true, strict=True) if f <= float(rate) + 1e-12))


def test_so_many_others_tell_one_in_a_thousand() -> None:
    scores, flags = drawn(0, ties=False, members=500, others=1000)
    highest = np.sort(scores[~flags])[-2]
    assert told_by(scores, flags).caught_01 == int((scores[flags] > highest).sum())


@pytest.mark.parametrize("ties", [False, True])
def test_the_error_is_that_of_all_pairs(ties: bool) -> None:
    scores, flags = drawn(1, ties=ties)
    pairs = scores[flags][:, None] - scores[~flags]
    won = (pairs > 0) + 0.5 * (pairs == 0)
    expected = won.mean(1).var(ddof=1) / won.shape[0] + won.mean(0).var(ddof=1) / won.shape[1]
    area, error = area_and_error(scores, flags)
    assert (area, error) == pytest.approx((won.mean(), np.sqrt(expected)))


def test_all_of_a_kind_is_no_question() -> None:
    with pytest.raises(ValueError, match="found 3 and 0"):
        told_by(np.arange(3.0), np.ones(3, dtype=bool))


def asked(**changes: object) -> Asked:
    known = {"candidates": 100, "auxiliary": 80, "seed": 3, "target_seed": 3, **changes}
    return Asked(DatasetSettings(), "central", folder=Path(), **known)  # type: ignore[arg-type]


def test_members_train_the_target_and_nobody_else_does() -> None:
    own = asked()
    question, truth = own.question(), own.truth()
    inputs, labels = own.trained_on().train.batch()
    assert truth.sum() == 50
    assert inputs.equal(question.inputs[truth])
    assert labels.equal(question.labels[truth])
    known = {one.numpy().tobytes() for one in question.inputs}
    others = own.never_trained_on().train.batch()[0]
    assert len(others) == 50
    assert not known & {one.numpy().tobytes() for one in [*others, *own.own().inputs]}


def test_the_order_of_the_candidates_depends_on_the_seed_and_says_nothing() -> None:
    truth = asked().truth()
    runs = int((truth[1:] != truth[:-1]).sum())
    assert 30 < runs < 70  # of 99; members in one block would give 1
    assert not asked(target_seed=4).truth().equal(truth)
    assert asked(target_seed=4).question().inputs.equal(asked().question().inputs)
    assert not asked(seed=4).question().inputs.equal(asked().question().inputs)


def test_two_shadow_models_share_the_pool_between_them() -> None:
    for online, size in ((True, 100), (False, 80)):
        first, second, third = (asked().half(number, online=online).chosen for number in range(3))
        assert first.sum() == size // 2
        assert second.equal(~first)
        assert not third.equal(first)
    digests = {asked().half(number, online=online).dataset.digest for number in range(3) for online in (True, False)}
    assert len(digests) == 6


def test_too_few_examples_are_refused_with_their_number() -> None:
    with pytest.raises(ConfigError, match=r"candidates: 1400 .* more than the 1297 of 'digits'"):
        asked(candidates=1400).check()


def test_a_chosen_split_is_what_was_chosen() -> None:
    data = asked().trained_on()
    whole, labels = data.train.batch()
    some = torch.tensor([4, 1])
    assert data.train.batch(some)[0].equal(whole[some])
    assert data.train.labels.equal(labels)
    assert data.digest != DatasetSettings().load().digest


@pytest.mark.parametrize("trained", [(0, 1, 2, 3), (1, 3)])
def test_members_of_a_global_model_are_of_the_clients_that_have_trained_it(trained: tuple[int, ...]) -> None:
    federation = {"clients": 4, "batch_size": 1, "local_epochs": 1}
    raw = {"seed": 3, "dataset": {"name": "digits", "singles": 2}, "strategy": {"name": "FedAvg"}}
    config = SimulationConfig.model_validate({**raw, "federation": federation})
    asked = Asked(config.dataset, "federation", 400, 100, config.seed, config.seed, held=Held(4, trained))
    split = config.dataset.load().train
    parts = [pictures(split.batch(partition_indices(config, client))[0]) for client in range(4)]
    held = set().union(*(parts[client] for client in trained))
    never = set().union(*(parts[client] for client in range(4) if client not in trained))
    inside = asked.question().inputs[asked.truth()]
    assert len(inside) == 200
    assert pictures(inside) <= held
    assert not pictures(inside) & never


def pictures(inputs: torch.Tensor) -> set[bytes]:
    return {one.numpy().tobytes() for one in inputs}
