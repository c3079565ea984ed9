from __future__ import annotations

import math
from dataclasses import astuple, dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from judges.classifiers.cache import Judge
from judges.classifiers.model import JudgeModel
from judges.runs.rows.classes import InversionScores
from judges.scoring import class_metrics as metrics
from judges.scoring.class_metrics import (
    min_max_scaled,
    over_attacks,
    over_draws,
    score,
    score_draws,
    seen_by_judges,
)


@dataclass(frozen=True)
class Answer:
    """The part of an inversion that is judged."""

    classes: Tensor
    inputs: Tensor


class ByBrightRow(JudgeModel):
    """Says row k of three where it is the brightest, of images or of spikes' mean."""

    reads_spikes = True

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, inputs: Tensor) -> Tensor:
        images = inputs.mean(0) if inputs.dim() == 5 else inputs
        return 5.0 * self.scale * images.mean((1, 3))


@pytest.fixture
def rows() -> Judge:
    return Judge("rows", "toy", ByBrightRow(), 1.0, 1 / 3, 1, 1, "")


def direct(log_probabilities: Tensor, classes: list[int]) -> InversionScores:
    """Return the scores by sorting, as the published code has them, without ties."""
    beliefs = log_probabilities.double().exp().numpy()
    first = third = daa = 0
    for row, label in zip(beliefs, classes, strict=True):
        order = list(np.argsort(-row))
        first += order.index(label) == 0
        third += order.index(label) < 3
    for place, label in enumerate(classes):
        daa += int(np.argmax(beliefs[:, label])) == place
    own = [row[label] for row, label in zip(beliefs, classes, strict=True)]
    count = len(classes)
    return InversionScores(first / count, third / count, float(np.mean(own)), daa / count)


def score_inversion(answer: Answer, judge: Judge) -> InversionScores:
    return score(judge.log_probabilities(seen_by_judges(answer.inputs)), answer.classes)


def test_a_case_worked_by_hand() -> None:
    """Row 0 names class 0, row 1 class 0, row 2 class 1; columns are led by rows 0, 1 and 2."""
    beliefs = torch.tensor([[0.7, 0.2, 0.1], [0.5, 0.4, 0.1], [0.3, 0.375, 0.325]]).double()
    found = score(beliefs.log(), torch.tensor([0, 1, 2]))
    assert found.attack_accuracy == pytest.approx(1 / 3)
    assert found.top3 == 1.0
    assert found.confidence == pytest.approx((0.7 + 0.4 + 0.325) / 3)
    assert found.daa == 1.0


def test_daa_asks_columns_not_rows() -> None:
    """All rows name class 0, so that the accuracy is 1/3; the column of class 1 is led by row 2, the others right."""
    beliefs = torch.tensor([[0.9, 0.05, 0.05], [0.6, 0.3, 0.1], [0.45, 0.35, 0.2]])
    found = score(beliefs.log(), torch.tensor([0, 1, 2]))
    assert found.attack_accuracy == pytest.approx(1 / 3)
    assert found.daa == pytest.approx(2 / 3)


@given(st.integers(0, 2**16), st.integers(1, 9), st.integers(4, 12))
def test_scores_are_those_of_a_direct_loop_whatever_the_order(seed: int, count: int, classes: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    beliefs = (4 * torch.randn(min(count, classes), classes, generator=generator)).log_softmax(1)
    attacked = torch.randperm(classes, generator=generator)[: len(beliefs)]
    found = score(beliefs, attacked)
    expected = direct(beliefs, attacked.tolist())
    assert (found.attack_accuracy, found.top3, found.daa) == pytest.approx(
        (expected.attack_accuracy, expected.top3, expected.daa)
    )
    assert found.confidence == pytest.approx(expected.confidence)
    order = torch.randperm(len(beliefs), generator=generator)
    again = score(beliefs[order], attacked[order])
    assert (again.attack_accuracy, again.top3, again.daa) == (found.attack_accuracy, found.top3, found.daa)


def test_a_tie_counts_against_the_attack() -> None:
    equal = torch.full((3, 3), 1 / 3).log()
    assert astuple(score(equal, torch.arange(3))) == pytest.approx((0.0, 1.0, 1 / 3, 0.0))
    lost = torch.tensor([[0.9, 0.05, 0.05], [torch.nan] * 3, [-torch.inf] * 3])
    lost[0] = lost[0].log()
    assert astuple(score(lost, torch.arange(3))) == pytest.approx((1 / 3, 1.0, 0.3, 1 / 3))
    many = torch.full((2, 5), 0.2).log()
    assert score(many, torch.tensor([0, 4])).top3 == 0.0


def test_all_but_certain_answers_are_told_apart() -> None:
    """In float32 the probabilities of both rows round to 1."""
    beliefs = torch.tensor([[0.0, -30.0], [1e-12, -25.0]]).double().log_softmax(1)
    assert score(beliefs, torch.tensor([0, 1])).daa == 1.0


def test_what_is_no_table_of_beliefs_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected \(K, C\)"):
        score(torch.zeros(2, 3), torch.tensor([0]))
    with pytest.raises(ValueError, match="from 0 to 2, got"):
        score(torch.zeros(1, 3), torch.tensor([3]))


# Answers


def test_images_are_scaled_one_by_one_and_spikes_are_not(rows: Judge) -> None:
    images = 0.01 * torch.eye(3)[:, None, :, None].expand(3, 1, 3, 3)
    found = score_inversion(Answer(torch.arange(3), images), rows)
    sure = math.exp(5) / (math.exp(5) + 2)
    assert astuple(found) == pytest.approx((1.0, 1.0, sure, 1.0))
    spikes = torch.zeros(4, 3, 1, 3, 3)
    spikes[0] = torch.eye(3)[:, None, :, None]
    assert score_inversion(Answer(torch.arange(3), spikes), rows).confidence == pytest.approx(
        math.exp(1.25) / (math.exp(1.25) + 2)
    )


def test_a_lost_reconstruction_is_a_failure_and_disturbs_no_other(rows: Judge) -> None:
    images = torch.eye(3)[:, None, :, None].repeat(1, 1, 1, 3)
    images[1, 0, 0, 0] = torch.nan
    found = score_inversion(Answer(torch.arange(3), images), rows)
    assert (found.attack_accuracy, found.daa) == pytest.approx((2 / 3, 2 / 3))
    assert min_max_scaled(torch.full((1, 1, 2, 2), 7.0)).tolist() == [[[[0.0, 0.0], [0.0, 0.0]]]]


# Draws and repetitions


def test_draws_depend_on_the_seed_alone(rows: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    probabilities = torch.rand(2, 3, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    classes = torch.arange(3)
    whole = score_draws(probabilities, classes, rows, seed=4, draws=7)
    monkeypatch.setattr(metrics, "AT_ONCE", 3 * probabilities.numel())
    assert score_draws(probabilities, classes, rows, seed=4, draws=7) == whole
    assert score_draws(probabilities, classes, rows, seed=4, draws=3) == whole[:3]
    assert score_draws(probabilities, classes, rows, seed=5, draws=7) != whole
    assert len({one.confidence for one in whole}) == 7


def test_draws_have_the_probabilities_given(rows: Judge) -> None:
    """The mean logit of row k is that of its probability."""
    probabilities = torch.tensor([0.0, 0.5, 1.0])[None, None, None, :, None].expand(50, 3, 1, 3, 20)
    found = score_draws(probabilities, torch.arange(3), rows, seed=0, draws=20)
    expected = (5.0 * torch.tensor([0.0, 0.5, 1.0])).softmax(0).mean()
    assert over_draws(found).mean.confidence == pytest.approx(float(expected), abs=1e-2)


def test_the_deviation_over_draws_is_the_populations_and_over_attacks_the_samples() -> None:
    scores = [InversionScores(value, value, value, 1.0) for value in (0.2, 0.4, 0.9)]
    draws, attacks = over_draws(scores), over_attacks(scores)
    assert draws.count == 3
    assert draws.mean.attack_accuracy == pytest.approx(0.5)
    assert draws.std is not None
    assert attacks.std is not None
    assert draws.std.attack_accuracy == pytest.approx(np.std([0.2, 0.4, 0.9]))
    assert attacks.std.attack_accuracy == pytest.approx(np.std([0.2, 0.4, 0.9], ddof=1))
    assert draws.std.daa == attacks.std.daa == 0.0
    assert over_attacks(scores[:1]).std is None
    one = over_draws(scores[:1]).std
    assert one is not None
    assert one.confidence == 0.0


# Memory and controls
