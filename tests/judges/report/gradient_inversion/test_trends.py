"""The series behind the figures of a report, from rows with numbers that a reader can follow."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from judges.intervals import Distribution
from judges.report.formats import digits, interval, mse, percent_span, span
from judges.report.gradient_inversion.tables_leaks import health_lines
from judges.report.gradient_inversion.trends import (
    Trend,
    by_round,
    by_strength,
    by_timesteps,
)
from judges.runs.measures import Health
from judges.runs.rows import Score
from judges.summaries.gradient_inversion import CellSummary, Summary, summarise
from tests.judges.report.test_figures import labels
from tests.judges.spike_rows import spike_rows

Row = Callable[..., Score]


def many(row: Row, ssims: Sequence[float], **changes: object) -> list[Score]:
    """Return a row for each SSIM, each of a federation of its own, in the cell of their attack."""
    own = {"cell": changes.get("attack", "c"), **changes}
    return [
        row(ssim=ssim, psnr_db=40 * ssim, repeat=index, capture_id=f"f-{index:03d}/r001-c000", **own)
        for index, ssim in enumerate(ssims)
    ]


def numbers(trend: Trend) -> list[tuple[str, str, float | None, float]]:
    return [(line.attack, line.model, line.place, round(line.ssim.mean, 6)) for line in trend.rows if line.ssim]


def test_answers_of_thresholding_have_no_trend(row: Row) -> None:
    rows = spike_rows(row)
    assert by_round(summarise(rows), rows) == by_timesteps(summarise(rows), rows) == []


def test_a_leak_by_round_is_the_mean_of_each_round(row: Row) -> None:
    rows = many(row, [0.8, 0.6], round=1, judge_correct=True) + many(row, [0.4, 0.2], round=7, judge_correct=False)
    (trend,) = by_round(summarise(rows, judges={"toy": {"chance": 0.25}}), rows)
    assert numbers(trend) == [("iDLG", "LeNet", 1, 0.7), ("iDLG", "LeNet", 7, 0.3)]
    assert [line.n for line in trend.rows] == [2, 2]
    assert [line.asr.mean for line in trend.rows if line.asr] == [1.0, 0.0]
    assert trend.rows[0].ssim is not None
    assert trend.rows[0].ssim.interval == pytest.approx((0.6, 0.8))
    assert "chance" in labels(trend.figures["ASR"])
    assert {"server round", "mean SSIM", "1", "7"} <= set(labels(trend.figures["SSIM"]))


def test_a_run_of_one_round_has_no_such_trend(row: Row) -> None:
    rows = many(row, [0.8, 0.6], round=3) + many(row, [0.5], round=4, model="spiking_lenet")
    assert by_round(summarise(rows), rows) == []
    unknown = many(row, [0.8, 0.6], round=0) + many(row, [0.5], round=1)
    assert by_round(summarise(unknown), unknown) == []


def test_without_a_judge_there_is_no_asr(row: Row) -> None:
    rows = many(row, [0.8], round=1, judge_correct=None) + many(row, [0.4], round=2, judge_correct=None)
    (trend,) = by_round(summarise(rows), rows)
    assert list(trend.figures) == ["SSIM"]
    assert [line.asr for line in trend.rows] == [None, None]


def test_more_networks_than_colours_stand_apart(row: Row) -> None:
    rows = [score for index in range(5) for at in (1, 2) for score in many(row, [0.5], model=f"net{index}", round=at)]
    assert [trend.name for trend in by_round(summarise(rows), rows)] == [
        f"toy, net{index}, uniform initialisation" for index in range(5)
    ]
    few = [score for score in rows if score.model in ("net0", "net1")]
    (trend,) = by_round(summarise(few), few)
    assert trend.name == "toy, uniform initialisation"


def of_timesteps(row: Row, **changes: object) -> list[Score]:
    return [
        score
        for steps, ssim in ((1, 0.8), (10, 0.6))
        for score in many(
            row, [ssim, ssim], model="spiking_lenet", varied={"timesteps": steps}, timesteps=steps, **changes
        )
    ]


def test_a_leak_by_timesteps_stands_beside_the_network_that_does_not_spike(row: Row) -> None:
    rows = of_timesteps(row) + many(row, [0.9, 0.7], model="lenet")
    rows += many(row, [0.1], model="lenet", attack="dlg") + many(row, [0.3, 0.3], control="black")
    (trend,) = by_timesteps(summarise(rows), rows)
    assert trend.name == "toy, uniform initialisation"
    assert numbers(trend) == [
        ("iDLG", "spiking LeNet", 1, 0.8),
        ("iDLG", "spiking LeNet", 10, 0.6),
        ("iDLG", "LeNet", None, 0.8),
    ]
    assert {"iDLG, spiking LeNet", "iDLG, LeNet", "1", "10"} <= set(labels(trend.figures["SSIM"]))


def test_a_leak_by_the_strength_of_a_defence_stands_beside_none(row: Row) -> None:
    rows = [
        score
        for ratio, ssim in ((0.9, 0.2), (0.1, 0.8))
        for score in many(row, [ssim, ssim], defence="prune", defence_settings={"prune_ratio": ratio})
    ]
    rows += many(row, [0.9], defence="quantise", defence_settings={"bits": 8})  # has one value
    rows += many(row, [0.5], defence="prune", defence_settings={"prune_ratio": 0.5}, init="torch")
    rows += many(row, [1.0, 0.8])
    (trend,) = by_strength(summarise(rows), rows)
    assert trend.name == "toy, uniform initialisation, pruning"
    assert numbers(trend) == [
        ("iDLG", "LeNet", 0.1, 0.8),
        ("iDLG", "LeNet", 0.9, 0.2),
        ("iDLG, no defence", "LeNet", None, 0.9),
    ]
    assert {"prune ratio", "0.1", "0.9", "iDLG, no defence"} <= set(labels(trend.figures["SSIM"]))


def test_settings_of_a_defence_vary_one_at_a_time(row: Row) -> None:
    rows = [
        score
        for norm in (4.0, 32.0)
        for sigma in (0.001, 0.003)
        for score in many(
            row, [sigma], defence="noise", defence_settings={"clipping_norm": norm, "noise_multiplier": sigma}
        )
    ]
    trends = by_strength(summarise(rows), rows)
    assert [trend.name.rpartition(", ")[2] for trend in trends] == [
        "clipping and noise (noise multiplier=0.001)",
        "clipping and noise (noise multiplier=0.003)",
        "clipping and noise (clipping norm=4.0)",
        "clipping and noise (clipping norm=32.0)",
    ]
    assert [[place for _, _, place, _ in numbers(trend)] for trend in trends] == [[4, 32]] * 2 + [[0.001, 0.003]] * 2
    words = [
        score for at in ("a", "b") for score in many(row, [0.5], defence="soteria", defence_settings={"layer": at})
    ]
    assert by_strength(summarise(words), words) == []


def test_one_t_is_no_trend(row: Row) -> None:
    rows = [score for score in of_timesteps(row) if score.timesteps == 1] + many(row, [0.9])
    assert by_timesteps(summarise(rows), rows) == []


def test_what_else_varies_keeps_trends_apart(row: Row) -> None:
    rows = [
        score
        for size in (1, 8)
        for steps in (1, 10)
        for score in many(
            row,
            [0.5],
            model="spiking_lenet",
            varied={"timesteps": steps, "batch_size": size},
            timesteps=steps,
        )
    ]
    rows += many(row, [0.9], model="lenet", varied={"batch_size": 8})
    first, second = by_timesteps(summarise(rows), rows)
    assert ("batch size=1" in first.name, "batch size=8" in second.name) == (True, True)
    assert [len(trend.rows) for trend in (first, second)] == [2, 3]


def test_the_control_beside_a_trend_is_the_best(row: Row) -> None:
    rows = of_timesteps(row)
    for steps in (1, 10):
        model = {"model": "spiking_lenet", "varied": {"timesteps": steps}, "timesteps": steps}
        rows += many(row, [0.3], control="black", **model) + many(row, [0.5], control="grey", **model)
    (trend,) = by_timesteps(summarise(rows), rows)
    assert "control: grey" in labels(trend.figures["SSIM"])
    assert "control: black" not in labels(trend.figures["SSIM"])


def test_the_intervals_are_those_of_the_summary(row: Row) -> None:
    """Of one round alone, a cell's interval is that of the same rows: over federations, not over rows."""
    rows = [
        row(ssim=0.1 * (3 * repeat + client), repeat=repeat, round=at, capture_id=f"f-{repeat}/r{at:03d}-c{client:03d}")
        for at in (1, 2)
        for repeat in range(3)
        for client in range(3)
    ]
    (trend,) = by_round(summarise(rows), rows)
    cell: CellSummary = summarise([score for score in rows if score.round == 1]).cells[0]
    point = trend.rows[0].ssim
    assert point is not None
    assert cell.ssim is not None
    assert point.mean == pytest.approx(cell.ssim.mean)
    assert point.interval == pytest.approx(cell.intervals["ssim"], abs=0.03)
    assert point.interval == pytest.approx((0.1, 0.7))


def health(**changes: object) -> Health:
    model = str(changes.get("model", "spiking_lenet"))
    values = {
        "dataset": "toy", "model": model, "family": model.removeprefix("spiking_"),
        "spiking": model.startswith("spiking_"), "init": "uniform", "defence": "none", "captures": 8,
        "accuracy": 0.5, "chance": 0.1, "firing_rates": {"conv1": 0.25}, "silent": {"conv1": 0.5},
        "zero_gradient": 0.5, "dead": 0.25, "gradient_norm": Distribution(1.0, 1.0, 0.5, 2.0),
    }  # fmt: skip
    return Health(**(values | changes))  # type: ignore[arg-type]


def test_firing_rates_are_of_networks_that_spike() -> None:
    told = health_lines(Summary((), {}, 0, {}, (health(), health(model="lenet", firing_rates={}, silent={}))))
    assert [line.name for line in told] == [
        "toy, spiking LeNet, uniform initialisation",
        "toy, LeNet, uniform initialisation",
    ]
    assert [bool(line.figure) for line in told] == [True, False]
    assert "conv1" in labels(told[0].figure)


def test_numbers_of_few_digits() -> None:
    assert [digits(0.81234), digits(1234567.0), digits(1e-7), digits(-2.0), digits(None)] == [
        "0.812", "1.23e6", "1e\N{MINUS SIGN}7", "\N{MINUS SIGN}2", "\N{INFINITY}",
    ]  # fmt: skip
    assert [mse(0.0331), mse(0.0004), mse(2e-7), mse(0.0), mse(None)] == [
        "0.033", "0.0004", "2e\N{MINUS SIGN}7", "0.000", "\N{INFINITY}",
    ]  # fmt: skip
    assert [interval((2e-7, 0.1), mse), interval(None, mse)] == ["[2e\N{MINUS SIGN}7, 0.100]", ""]
    assert [span({"a": 0.3, "b": 0.051}), span({"a": 0.3}), span({})] == ["0.051 to 0.30", "0.30", "\N{EN DASH}"]
    assert [percent_span({"a": 1.0, "b": 0.304}), percent_span({})] == ["30 to 100", "\N{EN DASH}"]
