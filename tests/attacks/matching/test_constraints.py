"""Candidates that are kept positive, in range or binary; and the last iterate as the answer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from attacks import build_attack
from attacks.contracts import Reconstruction
from attacks.matching.constraints import projection
from attacks.matching.search import Search
from attacks.settings import MatchingSettings
from fl_sim.errors import ConfigError
from tests.attacks.helpers import LENET, captures_of, truth
from tests.attacks.test_thresholding import recordings

CENTRE = torch.tensor([-2.0, -0.5, 0.25, 0.5, 1.0, 3.0], dtype=torch.float64)
STIFFNESS = torch.tensor([0.5, 1.0, 2.0, 1.0, 0.5, 1.5], dtype=torch.float64)


class Bowl:
    """A quadratic bowl about `CENTRE`, whose smallest loss among positive points is at max(0, CENTRE)."""

    def __init__(self, *, square: bool) -> None:
        self.square = square

    def candidates(self, points: Tensor) -> Tensor:
        return points.square() if self.square else points

    def evaluate(self, points: Tensor) -> tuple[Tensor, Tensor]:
        points = points.detach().requires_grad_()
        losses = (STIFFNESS * (self.candidates(points) - CENTRE).square()).sum(1)
        (slopes,) = torch.autograd.grad(losses.sum(), points)
        return losses.detach(), slopes

    def keep(self, rows: Tensor) -> None:
        pass

    def replace(self, row: int, victim: int) -> None:
        pass


def searched(**settings: Any) -> tuple[Search, Tensor]:
    """Return the search in one bowl, from 1 everywhere, and its last iterate."""
    chosen = MatchingSettings(iterations=30, **settings)
    bowl = Bowl(square=chosen.positive == "square")
    start = torch.ones(6, dtype=torch.float64)
    project = projection(chosen, 6)
    search = Search(bowl, lambda _victim, _attempt: start, chosen, victims=1, slots=1, project=project)
    search.run(lambda _: None)
    return search, bowl.candidates(search.last)[0]


@pytest.mark.parametrize(("changes", "expected"), [
    ({}, CENTRE),
    ({"positive": "project"}, CENTRE.clamp(min=0.0)),
    ({"positive": "square"}, CENTRE.clamp(min=0.0)),
    ({"clamping": "loop"}, CENTRE.clamp(0.0, 1.0)),
    ({"thresholding": "in_optimisation", "tau": 0.4}, (CENTRE > 0.4).double()),
], ids=["free", "project", "square", "in range", "binary"])  # fmt: skip
def test_a_search_ends_where_its_constraint_has_the_smallest_loss(changes: dict[str, Any], expected: Tensor) -> None:
    _, last = searched(answer="last", **changes)
    torch.testing.assert_close(last, expected, rtol=0, atol=2e-3)


def test_the_last_candidate_has_its_own_loss() -> None:
    search, last = searched(answer="last", thresholding="in_optimisation", tau=0.4)
    assert float(search.last_loss) == pytest.approx(float((STIFFNESS * (last - CENTRE).square()).sum()))
    assert float(search.last_loss) >= float(search.best_loss)


def test_roots_are_binarised_by_their_squares() -> None:
    project = projection(MatchingSettings(positive="square", thresholding="in_optimisation", tau=0.5), 3)
    assert project is not None
    assert project(torch.tensor([[-0.8, 0.6, 0.7, -5.0]])).tolist() == [[1.0, 0.0, 0.0, -5.0]]
    assert projection(MatchingSettings(positive="square"), 3) is None


def run(captures: Any, name: str = "dlg", **settings: Any) -> list[Reconstruction]:
    return build_attack(name, settings).reconstruct(captures, seed=0)


@pytest.mark.parametrize("positive", ["project", "square"])
def test_events_stay_positive_from_the_guess_on(positive: str) -> None:
    captures, _, _ = recordings(1)
    for iterations in (0, 1):
        (result,) = run(captures, positive=positive, iterations=iterations, inner_iterations=3, answer="last")
        assert float(result.inputs.min()) >= 0.0


def test_the_square_starts_at_the_guess() -> None:
    captures, _, _ = recordings(1)
    (free,), (square,) = (run(captures, guess="spikes", iterations=0, positive=how) for how in ("none", "square"))
    torch.testing.assert_close(square.inputs, free.inputs)


def test_the_square_finds_images() -> None:
    inputs, labels = truth(2)
    results = run(captures_of(LENET, inputs, labels), "idlg", positive="square", guess="uniform", iterations=30)
    errors = [float((one.inputs - real).square().mean()) for one, real in zip(results, inputs, strict=True)]
    assert min(errors) < 1e-3


@pytest.mark.parametrize("thresholding", ["none", "in_optimisation"])
def test_the_last_iterate_is_the_answer_if_that_is_asked_for(thresholding: str) -> None:
    captures, _, _ = recordings(2)
    for best, last in zip(*(run(captures, answer=answer, iterations=3, inner_iterations=3, thresholding=thresholding)
                            for answer in ("best", "last")), strict=True):  # fmt: skip
        assert last.inputs.equal(last.last_inputs)
        assert last.last_inputs.equal(best.last_inputs)
        assert last.matching_loss >= best.matching_loss
        assert last.settings["answer"] == "last"
        assert "answer" not in best.settings


@pytest.mark.parametrize(("changes", "message"), [
    ({"clamping": "loop"}, r"attack\.clamping: expected 'end' for .* recordings of events: only images are clamped"),
    ({"range_weight": 0.1}, r"attack\.range_weight: expected 0 for .*; found 0\.1"),
])  # fmt: skip
def test_events_are_not_kept_in_a_range(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run(recordings(1)[0], **changes)
