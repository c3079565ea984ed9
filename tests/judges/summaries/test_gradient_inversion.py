from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest, bootstrap, wilcoxon

from fl_sim.errors import DataError
from judges.intervals import (
    binomial_greater,
    bootstrap_mean,
    distribution,
    named_by_chance,
    rate,
    wilcoxon_greater,
)
from judges.report.gradient_inversion.sentences import findings
from judges.runs.names import line_name
from judges.runs.rows import Score
from judges.summaries.gradient_inversion import read_summary, stream_of, summarise, write_summary
from judges.summaries.published import PUBLISHED

Row = Callable[..., Score]


def cell_of(row: Row, ssims: list[float], attack: str = "idlg", **changes: Any) -> list[Score]:
    """Return one row a victim with these SSIMs."""
    return [
        row(
            **{"attack": attack, "cell": attack, "capture_id": f"v{index}", "ssim": value, "recognisable": value > 0.5}
            | changes
        )
        for index, value in enumerate(ssims)
    ]


def control_of(row: Row, ssims: list[float], kind: str = "black", **changes: Any) -> list[Score]:
    """Return one row of a control a victim with these SSIMs."""
    return cell_of(row, ssims, **{"attack": "", "control": kind, "guess": "", **changes})


def test_distribution_by_hand() -> None:
    found = distribution([4.0, 1.0, 2.0, 3.0])
    assert (found.mean, found.median, found.lower_quartile, found.upper_quartile) == (2.5, 2.5, 1.75, 3.25)
    infinite = distribution([1.0, 2.0, math.inf])
    assert (infinite.mean, infinite.median, infinite.lower_quartile) == (None, 2.0, 1.5)
    assert infinite.upper_quartile is None
    assert distribution([1.0, math.inf, math.inf, math.inf]).median is None
    with pytest.raises(ValueError, match="no value"):
        distribution([])


def test_bootstrap_is_near_scipy_and_seeded() -> None:
    values = np.random.default_rng(0).uniform(size=40)
    found = bootstrap_mean(values.tolist(), range(40), seed=0, stream="a")
    other = bootstrap((values,), np.mean, method="percentile", random_state=np.random.default_rng(1))
    assert found is not None
    assert found == pytest.approx((other.confidence_interval.low, other.confidence_interval.high), abs=0.01)
    assert bootstrap_mean(values.tolist(), range(40), seed=0, stream="a") == found
    assert bootstrap_mean(values.tolist(), range(40), seed=1, stream="a") != found
    assert bootstrap_mean([0.5], ["x"], seed=0, stream="a") is None


def test_bootstrap_draws_whole_batches() -> None:
    """Ten copies of each value in one batch tell no more than the value itself."""
    values = [0.0, 1.0, 0.0, 1.0, 1.0]
    alone = bootstrap_mean(values, range(5), seed=0, stream="a")
    copied = bootstrap_mean([v for v in values for _ in range(10)], [i // 10 for i in range(50)], seed=0, stream="a")
    assert alone == copied


def test_rate_by_hand() -> None:
    none = rate([False] * 10, range(10), seed=0, stream="a")
    assert (none.count, none.of, none.share, none.low) == (0, 10, 0.0, 0.0)
    assert none.high == pytest.approx(0.3085, abs=1e-4)  # Clopper-Pearson, 0 of 10
    every = rate([True] * 10, range(10), seed=0, stream="a")
    assert every.low == pytest.approx(0.6915, abs=1e-4)
    assert every.high == 1.0
    some = rate([True, False, False, False], range(4), seed=0, stream="a")
    assert (some.share, some.low) == (0.25, 0.0)
    assert 0.25 < some.high <= 1.0


@pytest.mark.parametrize("victims", [2, 8])
def test_federations_that_agree_are_not_certain(victims: int) -> None:
    """Half of each of three federations' victims: no resample differs, but three federations tell little."""
    flags = [place % 2 == 0 for place in range(3 * victims)]
    half = rate(flags, [place // victims for place in range(3 * victims)], seed=0, stream="a")
    exact = binomtest(15, 30).proportion_ci(method="exact")
    assert half.low < exact.low < half.share == 0.5 < exact.high < half.high
    assert half.low + half.high == pytest.approx(1.0)


def test_wilcoxon() -> None:
    differences = [0.3, 0.1, -0.05, 0.2, 0.4, 0.25]
    assert wilcoxon_greater(differences) == pytest.approx(wilcoxon(differences, alternative="greater").pvalue)
    assert wilcoxon_greater([0.1, 0.2, 0.3]) == pytest.approx(1 / 8)
    assert wilcoxon_greater([0.1] * 4) == 1 / 16  # tied: the normal approximation is 0.023
    assert wilcoxon_greater([0.0, 0.0]) == 1.0
    assert wilcoxon_greater([]) == 1.0


def test_labels_named_by_chance() -> None:
    assert binomial_greater(2, 2, 0.1) == pytest.approx(0.01)
    assert named_by_chance([3], 10) == pytest.approx(0.1)
    assert named_by_chance([1, 2], 2) == 2.0  # one of each is right
    assert named_by_chance([1, 1], 2) == 1.0
    assert named_by_chance([0] * 230 + [1] * 270 + [2] * 250 + [3] * 250, 4) == 980.0
    stream = np.random.default_rng(0)
    drawn = [[0, 1, 2, 3, int(stream.integers(4))] for _ in range(4000)]
    share = np.mean([(Counter(one) & Counter([0, 0, 0, 1, 2])).total() for one in drawn])
    assert named_by_chance([0, 0, 0, 1, 2], 4) == pytest.approx(share, abs=0.05)


def test_a_cell_by_hand(row: Row) -> None:
    rows = [
        row(capture_id="a", ssim=0.9, mse=0.0005, solved=True, judge_correct=True, label_correct=True),
        row(capture_id="b", ssim=0.6, mse=0.01, solved=False, judge_correct=True, label_correct=False),
        row(capture_id="c", ssim=0.1, mse=0.2, recognisable=False, judge_correct=False, truth_judge_correct=False),
        row(capture_id="d", ssim=0.8, mse=math.inf, recognisable=False, judge_correct=False, stop_reason="diverged"),
    ]
    controls = [row(control="black", capture_id=name, ssim=0.3, label_recovered=-1) for name in "abcd"]
    controls += [row(control="mean image", capture_id="b", ssim=0.7)]
    summary = summarise(controls + rows, judges={"toy": {"accuracy": 0.9, "chance": 0.25}})
    assert [(cell.attack, cell.control) for cell in summary.cells] == [("idlg", ""), ("", "black"), ("", "mean image")]
    cell, black, _ = summary.cells
    assert cell.n == 4
    assert cell.ssim is not None
    assert cell.ssim.mean == pytest.approx(0.6)
    assert cell.ssim.median == pytest.approx(0.7)
    assert cell.mse.mean is None
    assert cell.mse.median == pytest.approx(0.105)
    assert cell.recognisable is not None
    assert (cell.solved.count, cell.recognisable.count, cell.diverged) == (1, 2, 1)
    assert (cell.asr, cell.ceiling, cell.label_accuracy) == (0.5, 0.75, 0.75)
    assert cell.comparison is not None
    assert (cell.comparison.victims, cell.comparison.better, cell.comparison.units) == (4, 2, 4)
    assert (cell.comparison.succeeded.count, cell.comparison.succeeded.of) == (1, 4)
    expected = wilcoxon([0.6, -0.1, -0.2, 0.5], alternative="greater").pvalue
    assert cell.comparison.p == pytest.approx(expected)
    assert cell.verdict == "partly recovered"
    assert black.is_control
    assert black.label_accuracy is None
    assert black.comparison is None


@pytest.mark.parametrize(
    ("ssims", "lost", "verdict"),
    [
        ([0.9, 0.9, 0.1, 0.1], 0, "recovered"),
        ([0.9, 0.1, 0.1, 0.1], 3, "partly recovered"),
        ([0.35] * 6, 0, "traces only"),
        ([0.1] * 6, 0, "nothing found"),
        ([0.1] * 6, 3, "diverged"),
        ([0.9] * 6, 6, "traces only"),
    ],
)
def test_verdicts(row: Row, ssims: list[float], lost: int, verdict: str) -> None:
    rows = cell_of(row, ssims[: len(ssims) - lost])
    rows += [
        row(cell="idlg", capture_id=f"v{len(rows) + index}", ssim=value, recognisable=False, stop_reason="diverged")
        for index, value in enumerate(ssims[len(ssims) - lost :])
    ]
    controls = control_of(row, [0.3] * len(ssims), "black")
    (cell, _) = summarise(rows + controls).cells
    assert cell.verdict == verdict
    assert f"of {len(ssims)} above it" in cell.reason
    assert (f"{lost} of {len(ssims)} diverged" in cell.reason) == (lost > 0)


def test_labels_of_batches_are_found_and_paired(row: Row, tmp_path: Path) -> None:
    """Of batches of two, each as a whole; of batches of one both are the same, and only one is told."""
    batch = [
        row(capture_id=f"b{index // 2}", example=index % 2, label_correct=correct, label_found=found)
        for index, (correct, found) in enumerate([(False, True), (False, True), (True, True), (False, False)])
    ]
    (cell,) = summarise(batch).cells
    assert (cell.label_accuracy, cell.label_accuracy_paired) == (0.75, 0.25)
    (single,) = summarise([batch[0], batch[3]]).cells
    assert (single.label_accuracy, single.label_accuracy_paired) == (0.5, None)
    (none,) = summarise([replace(one, label_recovered=-1) for one in batch]).cells
    assert (none.label_accuracy, none.label_accuracy_paired) == (None, None)
    assert read_summary(write_summary(summarise(batch), tmp_path / "summary.json")) == summarise(batch)


def test_a_summary_without_an_ssim_comes_back(row: Row, tmp_path: Path) -> None:
    summary = summarise([row(ssim=None, last_ssim=None, recognisable=None, mse=math.inf)])
    assert summary.cells[0].ssim is None
    assert read_summary(write_summary(summary, tmp_path / "summary.json")) == summary


def test_a_picture_that_a_control_also_reaches_is_no_recovery(row: Row) -> None:
    (cell, _) = summarise(cell_of(row, [0.6] * 5) + control_of(row, [0.7] * 5, "mean image")).cells
    assert cell.recognisable is not None
    assert cell.recognisable.share == 1.0
    assert cell.verdict == "nothing found"


def test_a_swapped_answer_is_a_control_of_its_own_attack_only(row: Row) -> None:
    rows = cell_of(row, [0.6] * 6, "idlg", cell="x") + cell_of(row, [0.6] * 6, "dlg", cell="y")
    rows += cell_of(row, [0.6] * 6, "dlg", cell="z", attack_settings={"restarts": 2})
    swapped = [replace(one, control="swapped", cell="s", ssim=0.7) for one in cell_of(row, [0.6] * 6, "dlg", cell="y")]
    summary = summarise(rows + swapped + control_of(row, [0.3] * 6, "black"))
    told = {(cell.cell, cell.comparison.better if cell.comparison else None) for cell in summary.cells}
    assert told == {("x", 6), ("y", 0), ("z", 6), ("s", None), ("", None)}
    assert line_name(next(cell for cell in summary.cells if cell.cell == "s")) == "DLG, swapped"


def test_without_controls_the_verdict_says_so(row: Row) -> None:
    (found,) = summarise(cell_of(row, [0.9, 0.8])).cells
    assert (found.verdict, found.comparison) == ("recovered", None)
    assert "no controls" in found.reason
    (missed,) = summarise(cell_of(row, [0.2, 0.1])).cells
    assert missed.verdict == "nothing found"


def test_controls_of_the_same_victims_count_once(row: Row) -> None:
    rows = cell_of(row, [0.9, 0.8], "idlg", cell="x") + cell_of(row, [0.7, 0.6], "dlg", cell="y")
    controls = control_of(row, [0.3, 0.2], "black", cell="x") + control_of(row, [0.3, 0.2], "black", cell="y")
    summary = summarise(rows + controls)
    assert [(cell.attack, cell.control, cell.n) for cell in summary.cells] == [
        ("idlg", "", 2),
        ("dlg", "", 2),
        ("", "black", 2),
    ]
    assert [cell.cell for cell in summary.cells[:2]] == ["x", "y"]
    assert all(cell.comparison and cell.comparison.better == 2 for cell in summary.cells[:2])


def test_a_control_of_another_group_is_no_control(row: Row) -> None:
    rows = cell_of(row, [0.2, 0.2], model="lenet") + control_of(row, [0.9, 0.9], "black", model="spiking_lenet")
    assert summarise(rows).cells[0].comparison is None


@pytest.mark.parametrize(
    "change",
    [
        {"spiking": True},
        {"family": "other"},
        {"varied": {"timesteps": 5}},
        {"init": "torch"},
        {"defence": "clip"},
        {"defence_settings": {"bits": 4}},
    ],
)
def test_every_column_of_what_was_attacked_makes_a_group(row: Row, change: dict[str, Any]) -> None:
    rows = cell_of(row, [0.2, 0.2]) + control_of(row, [0.9, 0.9], **change)
    assert len({one.group for one in rows}) == 2
    assert summarise(rows).cells[0].comparison is None


def test_controls_are_told_apart_by_kind_start_threshold_and_owner(row: Row) -> None:
    """The name of their cell plays no part: all have the same here."""
    kinds: list[dict[str, Any]] = [
        {"kind": "black"},
        {"kind": "no-op", "guess": "normal"},
        {"kind": "no-op", "guess": "spikes"},
        {"kind": "no-op", "guess": "spikes", "tau": 0.5},
        {"kind": "no-op", "attack": "dlg-grey", "guess": "dlg-grey normal"},
    ]
    lines = summarise([one for told in kinds for one in control_of(row, [0.3, 0.2], **told)]).cells
    assert [(one.control, one.attack, one.guess, one.tau, one.n) for one in lines] == [
        ("black", "", "", None, 2),
        ("no-op", "", "normal", None, 2),
        ("no-op", "", "spikes", None, 2),
        ("no-op", "", "spikes", 0.5, 2),
        ("no-op", "dlg-grey", "dlg-grey normal", None, 2),
    ]


def test_a_random_stream_is_named_by_the_columns(row: Row) -> None:
    plain, control = row(), row(control="no-op")
    rich = row(
        model="spiking_lenet",
        varied={"timesteps": 5},
        defence="quantise",
        defence_settings={"bits": 4},
        attack="dlg-grey",
        attack_settings={"restarts": 2},
    )
    assert stream_of(plain) == ("toy", "lenet", "uniform", "none", "idlg")
    assert stream_of(control) == ("toy", "lenet", "uniform", "none", "control: no-op")
    assert stream_of(rich) == ("toy", "spiking_lenet timesteps=5", "uniform", "quantise bits=4", "dlg-grey-restarts=2")


def test_the_order_of_the_rows_does_not_matter(row: Row) -> None:
    rows = cell_of(row, [0.9, 0.1, 0.7, 0.4, 0.2]) + control_of(row, [0.3] * 5, "black")
    rows = [replace(item, last_ssim=last) for item, last in zip(rows, [1e16, 1.0, -1e16, 0.5, 0.25] * 2, strict=True)]
    shuffled = random.Random(0).sample(rows[:5], 5) + random.Random(1).sample(rows[5:], 5)  # noqa: S311
    assert summarise(shuffled) == summarise(rows)
    assert summarise(rows[4::-1] + rows[:4:-1]) == summarise(rows)


def test_published_rows_stand_only_beside_their_own_cell(row: Row) -> None:
    def published(**changes: Any) -> object:
        return summarise(cell_of(row, [0.9, 0.8], **changes)).cells[0].published

    assert published(dataset="mnist") == PUBLISHED["idlg", "mnist", "lenet"]
    assert published(dataset="digits") is None
    assert published(dataset="mnist", defence="noise") is None
    assert published(dataset="mnist", control="black") is None
    assert published(dataset="mnist", varied={"timesteps": 5}) is None
    for protocol in ("ours", "published"):
        assert published(dataset="mnist", varied={"protocol": protocol}) == PUBLISHED["idlg", "mnist", "lenet"]
    assert published(dataset="mnist", attack_settings={"restarts": 2}) is None
    assert published(dataset="mnist", attack="idlg-own") is None
    assert {key[1] for key in PUBLISHED} == {"mnist", "cifar100", "lfw"}
    assert len(PUBLISHED) == 18


def test_json_round_trip(tmp_path: Path, row: Row) -> None:
    rows = cell_of(row, [0.9, 0.8], mse=math.inf, dataset="mnist") + control_of(row, [0.3, 0.2], "black")
    summary = summarise(rows, judges={"mnist": {"name": "lenet", "accuracy": 0.99, "chance": 0.1, "n_train": 60000}})
    path = write_summary(summary, tmp_path / "summary.json")
    assert read_summary(path) == summary
    assert json.loads(path.read_text())["cells"][0]["mse"]["mean"] is None
    path.write_text("{}")
    with pytest.raises(DataError, match="summary"):
        read_summary(path)


def test_findings_are_the_numbers(row: Row) -> None:
    rows = cell_of(row, [0.9, 0.8, 0.1, 0.7]) + control_of(row, [0.3] * 4, "black")
    rows += cell_of(row, [0.1] * 4, "dlg", stop_reason="diverged")
    text = findings(summarise(rows))
    assert text[0] == "8 attacked examples in 2 cells of data, model and attack. 4 of 8 diverged and count as failures."
    assert text[1].startswith("Recovered: iDLG (3 of 4 recognisable, mean SSIM 0.62) on toy")
    assert text[2].startswith("Diverged: DLG (0 of 4")
    assert text[3] == "For comparison, the best control (black) has a mean SSIM of 0.30 on the same victims."
    assert findings(summarise([])) == ["No attack was scored in this run."]
