"""Utility beside leak on constructed summaries: the strongest attack of a letter, intervals, and the Pareto front."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from judges.export.tradeoffs import cells_of_tradeoffs
from judges.intervals import clopper_pearson
from judges.report.tradeoff.figure import tradeoff_figure
from judges.report.tradeoff.section import sentences, tradeoff_section
from judges.runs.measures import Claimed, ModelAccuracy
from judges.runs.rows import Score
from judges.summaries.gradient_inversion import Summary, summarise
from judges.summaries.tradeoff import Tradeoff, pareto_front, tradeoffs

Row = Callable[..., Score]
NOISE = {"noise_multiplier": 1.0}


def test_a_front_by_hand() -> None:
    """Of points that tie in both, all are on the front; of those that tie in one, the better one."""
    found, nothing = (True, 0.9), (False, 0.1)
    points = [(0.9, found), (0.8, found), (0.5, nothing), (0.5, nothing), (0.4, nothing), (0.3, (False, 0.05))]
    assert pareto_front(points) == [True, False, True, True, False, True]
    assert pareto_front([(0.9, (True, 0.01)), (0.9, (False, 0.2))]) == [False, True]
    assert pareto_front([]) == []


def rows(row: Row, ssims: dict[str, float], **victims: Any) -> list[Score]:
    """Return, for six federations, a row of each attack with its SSIM, and of a black control with 0.1."""
    made = []
    for repeat in range(6):
        for letter, ssim in ssims.items():
            own = {"attack": letter, "cell": f"{victims}/{letter}", "adversary": letter, "repeat": repeat}
            made.append(row(**own, ssim=ssim, recognisable=ssim > 0.5, **victims))
        made.append(
            row(control="black", guess="", cell="black", repeat=repeat, ssim=0.1, recognisable=False, **victims)
        )
    return made


def measured(accuracies: list[float], **victims: Any) -> list[ModelAccuracy]:
    """Return the accuracy of a first model, and of that after 4 rounds for each repetition."""
    known = {"dataset": "toy", "model": "lenet", "family": "lenet", "init": "uniform", **victims}
    first = ModelAccuracy(**known, round=0, repeat=0, accuracy=0.1, examples=200)
    return [first, *(dataclasses.replace(first, round=4, repeat=at, accuracy=one) for at, one in enumerate(accuracies))]


@pytest.fixture
def summary(row: Row) -> Summary:
    """Return four settings: none and clipping leak, noise and pruning do not; clipping is dominated by none."""
    strong: dict[str, Any] = {"defence": "noise", "defence_settings": NOISE}
    parts: list[tuple[dict[str, Any], dict[str, float], list[float]]] = [
        ({}, {"A": 0.3, "B": 0.9, "D": 0.7}, [0.9, 0.94]),
        ({"defence": "clip"}, {"A": 0.2, "B": 0.95, "D": 0.6}, [0.8, 0.8]),
        (strong, {"A": 0.05, "B": 0.06, "D": 0.09}, [0.5]),
        ({"defence": "prune"}, {"A": 0.08, "B": 0.02, "D": 0.01}, [0.5]),
    ]
    made = summarise([one for victims, ssims, _ in parts for one in rows(row, ssims, **victims)])
    accuracies = [one for victims, _, shares in parts for one in measured(shares, **victims)]
    claim = Claimed(
        dataset="toy", model="lenet", family="lenet", init="uniform", **strong, by="noise", against="the server",
        epsilon=9.5, delta=1e-5, unit="client", accountant="rdp", noise_multiplier=0.5, sampling_rate=1.0, releases=4,
        stated_epsilon=None, stated_delta=None, stated_is_sound=None, reason="",
    )  # fmt: skip
    return dataclasses.replace(made, accuracies=tuple(accuracies), claims=(claim,))


@pytest.fixture
def board(summary: Summary) -> Tradeoff:
    (found,) = tradeoffs(summary)
    return found


def test_each_setting_has_its_last_accuracy_and_the_strongest_attack_of_each_letter(board: Tradeoff) -> None:
    none, clip, noise, _ = board.settings
    assert (none.round, none.repeats, none.interval) == (4, 2, (0.9, 0.94))
    assert none.accuracy == pytest.approx(0.92)
    assert noise.interval == clopper_pearson(100, 200)
    assert {leak.adversary: leak.similarity for leak in none.leaks} == pytest.approx({"A": 0.3, "B": 0.9, "D": 0.7})
    assert (none.strongest.adversary, noise.strongest.adversary) == ("B", "D")
    assert (none.verdict, clip.verdict, noise.verdict) == ("recovered", "recovered", "nothing found")
    assert clip.strongest.found.count == 6
    assert board.band == pytest.approx((0.1, 0.1))
    assert noise.claim is not None
    assert (noise.claim.epsilon, clip.claim) == (9.5, None)


def test_settings_at_which_nothing_was_found_tie_in_leak(board: Tradeoff) -> None:
    """Noise (0.09) and pruning (0.08) are equally accurate, and neither is above the controls."""
    assert [one.on_front for one in board.settings] == [True, False, True, True]
    assert [one.defence for one in board.front] == ["noise", "prune", "none"]


def test_the_sentences_say_what_each_defence_buys(board: Tradeoff) -> None:
    plain, clip, noise, _, front = sentences(board)
    assert "92.0\N{NO-BREAK SPACE}% accuracy after 4 rounds" in plain
    assert "pictures leak" in clip
    assert "12.0 points less than without (recovered)" in clip
    assert "no attack tried found a picture at 1 of 1 setting" in noise
    assert "claims epsilon 9.5 at delta 1e\N{MINUS SIGN}5" in noise
    assert "which does not mean that none would" in front
    assert not any("defended" in text or "safe" in text for text in (clip, noise, front))
    flowers = dataclasses.replace(board, settings=(dataclasses.replace(board.settings[2], defence="flower_local_dp"),))
    assert next(iter(sentences(flowers))).startswith("Flower's LocalDpMod: ")


def test_epsilons_of_settings_that_lie_together_do_not_cover_each_other(board: Tradeoff) -> None:
    noise = board.settings[2]
    near = [dataclasses.replace(noise, accuracy=noise.accuracy + 0.01 * place) for place in range(4)]
    figure = tradeoff_figure([dataclasses.replace(board, settings=(*board.settings, *near))], width=4.0)
    FigureCanvasAgg(figure).draw()  # type: ignore[no-untyped-call]
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(boxes) == 5
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))


def test_one_setting_or_no_accuracy_gives_no_section(summary: Summary) -> None:
    assert not tradeoffs(dataclasses.replace(summary, accuracies=()))
    alone = tuple(one for one in summary.accuracies if one.defence == "none")
    assert not tradeoffs(dataclasses.replace(summary, accuracies=alone))
    assert not tradeoff_section([], [], "").shown


def test_networks_and_protocols_have_fronts_of_their_own(row: Row, summary: Summary) -> None:
    """An SNN that is better in both dominates no setting of the ANN."""
    spiking = {"model": "spiking_lenet", "spiking": True, "timesteps": 5}
    more = summarise([*rows(row, {"A": 0.0}, **spiking), *rows(row, {"A": 0.0}, **spiking, defence="clip")])
    columns = {"model": "spiking_lenet", "spiking": True}
    models = [*measured([1.0], **columns), *measured([0.9], **columns, defence="clip")]
    both = dataclasses.replace(summary, cells=(*summary.cells, *more.cells), accuracies=(*summary.accuracies, *models))
    ann, snn = tradeoffs(both)
    assert [one.on_front for one in ann.settings] == [True, False, True, True]
    assert [one.on_front for one in snn.settings] == [True, False]


def test_the_export_has_a_cell_for_each_setting(summary: Summary) -> None:
    cells = {one.settings["defence"]: one for one in cells_of_tradeoffs(summary)}
    assert list(cells) == ["none", "clip", "noise noise_multiplier=1.0", "prune"]
    numbers = cells["noise noise_multiplier=1.0"].numbers
    assert (numbers["accuracy"], numbers["on_front"]) == (0.5, 1.0)
    assert numbers["leak_D"] == pytest.approx(0.09)
    assert cells["clip"].words == {"verdict": "recovered"}
