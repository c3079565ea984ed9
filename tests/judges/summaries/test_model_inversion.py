from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from fl_sim.errors import DataError
from judges.runs.rows.classes import ClassScore, InversionScores, Repeated, TargetFacts
from judges.summaries.class_verdicts import BLIND, DIVERGED, FAILED, FOOLED, PARTLY, RECOVERED, TRACES
from judges.summaries.model_inversion import Inversions, InversionSummary, read_inversions, summarise, write_inversions

ROW = ClassScore(
    experiment="e",
    cell="c/mi_face",
    dataset="mnist",
    model="mlp",
    family="mlp",
    init="torch",
    source="central",
    round=50,
    target_seed=0,
    attack="mi_face",
    attack_seed=0,
    judge="brainleaks_cnn",
    label=0,
    rank=1,
    predicted=0,
    confidence=0.9,
    distinctive=True,
    target_confidence=0.99,
    iterations=60,
    stop_reason="converged",
    density=None,
    zeros=0.5,
    largest=0.4,
    nearest_train=6.0,
    nearest_test=6.5,
    nearest_train_label=0,
    nearer_train=True,
    seconds=0.3,
)
FACTS = TargetFacts(
    dataset="mnist",
    model="mlp",
    family="mlp",
    init="torch",
    source="central",
    round=50,
    seed=0,
    test_accuracy=0.98,
    train_accuracy=0.999,
    seconds=400.0,
    classes=10,
    n_test=10_000,
    shape=(1, 28, 28),
)


def cell(ranks: list[int], name: str = "mi_face", **changed: Any) -> list[ClassScore]:
    """Return the rows of a cell on classes 0, 1, ... with the given ranks."""
    return [
        dataclasses.replace(ROW, cell=f"c/{name}", label=label, rank=rank, distinctive=rank == 1, **changed)
        for label, rank in enumerate(ranks)
    ]


def control(ranks: list[int], kind: str, attack: str = "", **changed: Any) -> list[ClassScore]:
    """Return the rows of a control, of those of one attack where it is named."""
    told = {"control": kind, "attack": attack, "target_confidence": None, **changed}
    return cell(ranks, f"control: {kind} {told['attack']} {told.get('attack_settings', '')}", **told)


def summary(*cells: list[ClassScore], targets: tuple[TargetFacts, ...] = (FACTS,), **changed: Any) -> Inversions:
    rows = [row for own in cells for row in own]
    return summarise(rows, targets, **{"judges": {}, "draws": {}, "seed": 0, **changed})


def line(made: Inversions, attack: str = "mi_face") -> InversionSummary:
    (found,) = [cell for cell in made.cells if cell.attack == attack and not cell.is_control]
    return found


def test_scores_are_means_of_attacks_and_their_deviation_is_over_attacks() -> None:
    first = cell([1] * 5 + [2] * 4 + [9])
    second = cell([1] * 7 + [4] * 3, attack_seed=1, confidence=0.5)
    told = line(summary(first, second))
    assert (told.targets, told.repeats, told.classes) == (1, 2, 10)
    assert dataclasses.astuple(told.scores.mean) == pytest.approx((0.6, 0.8, 0.7, 0.6))
    assert told.scores.std is not None
    assert dataclasses.astuple(told.scores.std) == pytest.approx(
        tuple(abs(a - b) / 2**0.5 for a, b in ((0.5, 0.7), (0.9, 0.7), (0.9, 0.5), (0.5, 0.7)))
    )
    assert told.accuracy.count == 12
    assert told.accuracy.low < 0.6 < told.accuracy.high


def test_draws_stand_apart() -> None:
    drawn = Repeated(1000, InversionScores(0.5, 0.9, 0.5, 1.0), InversionScores(0.06, 0.05, 0.01, 0.0))
    told = line(summary(cell([1] * 10), draws={"c/mi_face": drawn}))
    assert told.draws == drawn
    assert told.scores.std is None


def test_the_paper_stands_beside_targets_of_its_kind_only() -> None:
    assert line(summary(cell([1] * 10))).published is not None
    assert summary(cell([1] * 10)).targets[0].published == 0.9796
    small = dataclasses.replace(FACTS, shape=(1, 16, 16))
    assert line(summary(cell([1] * 10), targets=(small,))).published is None
    other = dataclasses.replace(FACTS, source="federation")
    made = summary(cell([1] * 10, source="federation"), targets=(other,))
    assert (line(made).published, made.targets[0].published) == (None, None)


def test_targets_of_several_seeds_are_one_line() -> None:
    more = dataclasses.replace(FACTS, seed=1, test_accuracy=0.96)
    made = summary(cell([1] * 10), cell([2] * 10, target_seed=1), targets=(FACTS, more))
    (target,) = made.targets
    assert target.seeds == 2
    assert target.accuracy == pytest.approx(0.97)
    assert target.accuracy_std == pytest.approx(0.02 / 2**0.5)
    assert line(made).targets == 2


NOISE = control([4] * 9 + [1], "shuffled", "mi_face")
REAL = control([1] * 10, "real examples")


@pytest.mark.parametrize(
    ("rows", "controls", "verdict"),
    [
        (cell([1] * 10), (NOISE, REAL), RECOVERED),
        (cell([1] * 8 + [5] * 12), (NOISE, REAL), PARTLY),
        (cell([2] * 10), (NOISE, REAL), FOOLED),
        (cell([2] * 10, target_confidence=0.2), (NOISE, REAL), FAILED),
        (cell([2] * 10, stop_reason="diverged"), (NOISE, REAL), DIVERGED),
        (cell([2] * 10), (NOISE, control([3] * 9 + [1], "real examples")), BLIND),
        ([dataclasses.replace(row, distinctive=True) for row in cell([2] * 10)], (NOISE, REAL), TRACES),
    ],
    ids=["recovered", "partly", "fooled", "failed", "diverged", "blind", "traces"],
)
def test_the_verdict_tells_a_model_that_keeps_from_an_attack_that_fails(
    rows: list[ClassScore], controls: tuple[list[ClassScore], ...], verdict: str
) -> None:
    made = summary(rows, *controls)
    assert line(made).verdict == verdict
    assert "the target believes in" in line(made).reason
    assert [cell.verdict for cell in made.cells if cell.is_control] == ["control", "control"]


def test_an_attack_stands_beside_its_own_shuffled_values() -> None:
    """Not beside those of an attack of a longer name, or of the same with other settings."""
    own: dict[str, Any] = {"attack": "mi_face", "attack_settings": {"iterations": 5}}
    made = summary(
        cell([2] * 10, "mi_face-iterations=5", **own),
        cell([2] * 10, "mi_face-own", attack="mi_face-own"),
        control([1] * 10, "shuffled", **own),
        control([1] * 3 + [2] * 7, "shuffled", "mi_face-own"),
        control([1] * 9 + [2], "shuffled", "mi_face"),
        REAL,
    )
    assert "(and in 100 % of noise and 100 % of real ones)" in line(made).reason
    assert "(and in 30 % of noise and 100 % of real ones)" in line(made, "mi_face-own").reason
    assert [(one.control, one.attack, dict(one.attack_settings)) for one in made.cells] == [
        ("", "mi_face", {"iterations": 5}),
        ("", "mi_face-own", {}),
        ("shuffled", "mi_face", {"iterations": 5}),
        ("shuffled", "mi_face-own", {}),
        ("shuffled", "mi_face", {}),
        ("real examples", "", {}),
    ]


def test_targets_that_differ_in_any_column_are_two_lines() -> None:
    """A twin of the same name that spikes, a setting that varies, a defence: none of them is in the name."""
    changes: list[dict[str, Any]] = [
        {},
        {"spiking": True},
        {"varied": {"timesteps": 5}},
        {"varied": {"timesteps": 25}},
        {"defence": "clip"},
        {"defence": "clip", "defence_settings": {"clipping_norm": 2.0}},
        {"round": 3, "source": "federation"},
    ]
    facts = tuple(dataclasses.replace(FACTS, **change) for change in changes)
    made = summary(*(cell([1] * 10, **change) for change in changes), targets=facts)
    assert [target.target for target in made.targets] == [one.target for one in facts]
    assert [one.target for one in made.cells] == [one.target for one in facts]
    assert len({one.target for one in made.targets}) == len(changes)
    assert [one.published is not None for one in made.cells] == [True, True, *[False] * 5]


def test_a_summary_comes_back_as_it_was(tmp_path: Path) -> None:
    made = summary(cell([1] * 10), NOISE, REAL, judges={"mnist brainleaks_cnn": {"accuracy": 0.99}})
    assert read_inversions(write_inversions(made, tmp_path / "summary.json")) == made
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(DataError, match="expected a summary of model inversions"):
        read_inversions(tmp_path / "summary.json")


def test_an_attack_that_no_target_explains_is_an_error() -> None:
    with pytest.raises(KeyError):
        summary(cell([1] * 10, round=3))
