"""What is added to the loss for images beyond their range, on every engine."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import pytest
import torch
from torch import Tensor

from attacks.idlg import IDLG
from attacks.matching.problem import MatchingProblem
from attacks.replay.engine import ReplayedClients
from attacks.settings import IDLGSettings
from attacks.testing.victims import EVENT_MLP, EVENTS, captures_of, truth
from fl_sim.errors import ConfigError
from fl_sim.records import InputSpec, ModelSpec
from tests.attacks.clients import SMALL, client

SIGNED = dataclasses.replace(SMALL, low=-1.0, high=1.0)
WEIGHT = 0.25
ENGINES = ["folded", "replayed together", "replayed"]


def problem_of(engine: str, spec: InputSpec, **settings: Any) -> tuple[MatchingProblem, Tensor]:
    """Return the problem of one client that trains on images of some range, and its images in units of the range."""
    steps: dict[str, Any] = {"local_steps": 1, "num_examples": 1} if engine == "folded" else {}
    capture, (inputs, labels) = client(model=ModelSpec("lenet", spec), **steps)
    if engine == ReplayedClients.name:
        settings["opened"] = functools.partial(ReplayedClients, device="cpu", precision=torch.float64)
    problem = MatchingProblem([capture], [labels], precision=torch.float64, device="cpu", **settings)
    assert problem.engine.name == engine
    return problem, ((inputs - spec.low) / (spec.high - spec.low)).double().flatten()[None]


@pytest.mark.parametrize("spec", [SMALL, SIGNED], ids=["0 to 1", "-1 to 1"])
@pytest.mark.parametrize("engine", ENGINES)
def test_images_beyond_their_range_cost_the_square_of_their_distance(engine: str, spec: InputSpec) -> None:
    plain, inside = problem_of(engine, spec)
    ranged, _ = problem_of(engine, spec, range_weight=WEIGHT)
    beyond = inside.clone()
    beyond[0, 3], beyond[0, 7] = 1.5, -0.2
    slope = torch.zeros_like(beyond)
    slope[0, 3], slope[0, 7] = 2 * WEIGHT * 0.5, 2 * WEIGHT * -0.2
    for points, cost, more in ((inside, 0.0, torch.zeros_like(slope)), (beyond, WEIGHT * (0.25 + 0.04), slope)):
        (losses, slopes), (usual, downhill) = ranged.evaluate(points), plain.evaluate(points)
        torch.testing.assert_close(losses, usual + cost, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(slopes, downhill + more, rtol=1e-9, atol=1e-12)


def test_the_truth_is_a_match_as_before() -> None:
    problem, inside = problem_of("replayed together", SMALL, range_weight=WEIGHT)
    assert float(problem.evaluate(inside)[0]) < 1e-9


def test_recordings_have_no_range() -> None:
    attack = IDLG(IDLGSettings(range_weight=WEIGHT, iterations=1))
    with pytest.raises(ConfigError, match=r"attack\.range_weight: expected 0 for .* recordings of events"):
        attack.reconstruct(captures_of(EVENT_MLP, *truth(1, EVENTS)), seed=0)
