"""The contrast of an ordinary network and its spiking twin: only the same examples are compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from judges.report.victims.contrast import contrast_lines, contrast_section
from judges.runs.rows import Score
from judges.summaries.contrast import Contrast, contrasts

Row = Callable[..., Score]
TWINS = ("lenet", "spiking_lenet")


def side(row: Row, model: str, ssims: list[float], **changes: Any) -> list[Score]:
    """Return a row for each repetition, whose captures are named after the model."""
    return [
        row(
            **{
                "model": model, "repeat": repeat, "ssim": ssim, "label": repeat, "judge_correct": ssim > 0.5,
                "capture_id": f"{model}-{repeat}/r001-c000", **changes,
            }
        )
        for repeat, ssim in enumerate(ssims)
    ]  # fmt: skip


def one(scores: list[Score]) -> Contrast:
    (found,) = contrasts(scores, seed=0)
    return found


def test_differences_are_those_of_pairs(row: Row) -> None:
    found = one(side(row, "lenet", [0.9, 0.8, 0.6]) + side(row, "spiking_lenet", [0.4, 0.6, 0.2]))
    assert (found.model, found.twin, found.attack, found.pairs) == ("spiking_lenet", "lenet", "idlg", 3)
    assert found.ssim_drop is not None
    assert found.ssim_drop.mean == pytest.approx((0.5 + 0.2 + 0.4) / 3)
    assert found.ssim_drop.interval is not None
    assert 0.2 <= found.ssim_drop.interval[0] < found.ssim_drop.mean < found.ssim_drop.interval[1] <= 0.5
    assert found.asr_twin == 1.0
    assert found.asr_spiking == pytest.approx(1 / 3)
    assert found.asr_ratio == pytest.approx(1 / 3)
    assert found.asr_drop is not None
    assert found.asr_drop.mean == pytest.approx(2 / 3)


def test_differences_that_are_all_alike_make_no_interval_of_no_width(row: Row) -> None:
    found = one(side(row, "lenet", [0.9, 0.8]) + side(row, "spiking_lenet", [0.8, 0.7]))
    assert found.asr_drop is not None
    assert (found.asr_drop.mean, found.asr_drop.interval) == (0.0, None)


def test_a_client_that_is_attacked_round_after_round_is_one_unit(row: Row) -> None:
    """More rounds on the same pictures tell no more of other pictures."""

    def over(rounds: int) -> tuple[int, object]:
        scores = [
            score
            for at in range(1, rounds + 1)
            for model, ssims in zip(TWINS, ([0.9, 0.8, 0.6], [0.4, 0.6, 0.2]), strict=True)
            for client, ssim in enumerate(ssims)
            for score in side(row, model, [ssim], round=at, capture_id=f"{model}/r{at:03d}-c{client:03d}")
        ]
        found = one(scores)
        assert found.ssim_drop is not None
        return found.pairs, found.ssim_drop.interval

    (few, narrow), (many, wide) = over(1), over(6)
    assert (few, many) == (3, 18)
    assert narrow is not None
    assert wide == pytest.approx(narrow)


def test_a_ratio_to_nothing_is_none_and_without_a_judge_there_is_none(row: Row) -> None:
    found = one(side(row, "lenet", [0.1, 0.2]) + side(row, "spiking_lenet", [0.6, 0.7]))
    assert (found.asr_twin, found.asr_spiking, found.asr_ratio) == (0.0, 1.0, None)
    blind = [side(row, model, [0.6, 0.7], judge_correct=None) for model in TWINS]
    assert (one(blind[0] + blind[1]).asr_drop, one(blind[0] + blind[1]).asr_ratio) == (None, None)


def test_other_labels_rounds_settings_and_controls_are_not_compared(row: Row) -> None:
    ordinary = side(row, "lenet", [0.9, 0.8])
    assert contrasts(ordinary + side(row, "spiking_lenet", [0.4, 0.4], label=9), seed=0) == ()
    for changes in ({"init": "torch"}, {"dataset": "other"}, {"attack": "dlg"}, {"round": 2}, {"defence": "noise"}):
        assert contrasts(ordinary + side(row, "spiking_lenet", [0.4, 0.4], **changes), seed=0) == (), changes
    controls = [side(row, model, [0.9, 0.8], control="no-op") for model in TWINS]
    assert contrasts(controls[0] + controls[1], seed=0) == ()
    other = [row(**{**vars(each), "capture_id": "x/r001-c001"}) for each in side(row, "spiking_lenet", [0.4, 0.4])]
    assert contrasts(ordinary + other, seed=0) == ()  # another client, though of the same label
    half = side(row, "spiking_lenet", [0.4, 0.4])[:1]
    assert one(ordinary + half).pairs == 1  # a repetition that one side lacks is left out


def test_a_spiking_network_may_have_settings_of_its_own(row: Row) -> None:
    scores = side(row, "lenet", [0.9, 0.8])
    for steps in (5, 10):
        scores += side(row, "spiking_lenet", [steps / 20, steps / 20], varied={"timesteps": steps}, timesteps=steps)
    found = contrasts(scores, seed=0)
    assert [dict(each.varied) for each in found] == [{"timesteps": 5}, {"timesteps": 10}]
    assert [each.ssim_drop.mean for each in found if each.ssim_drop] == pytest.approx([0.6, 0.35])


def test_it_is_told_beside_the_papers_ratio(row: Row) -> None:
    scores = [each for model in TWINS for each in side(row, model, [0.9, 0.3] if model == "lenet" else [0.4, 0.2])]
    told = [Score(**{**vars(each), "dataset": "mnist"}) for each in scores]
    found = contrasts(told, seed=0)
    of_asr, line = contrast_lines(found)
    assert of_asr.replace("\N{NO-BREAK SPACE}", " ") == (
        "ASR of the spiking networks: 50.0 points below their twins' on average of 1 cell; 0 % of theirs, less than "
        "40 % in 1 of 1. Table IV of arXiv 2511.21181, whose text says about 49 % lower and less than 40 %: 48.7 "
        "points below their twins' on average of 9 cells; 11 % to 91 % of theirs, less than 40 % in 5 of 9."
    )
    assert (
        "LeNet minus this network, on the same examples (2 pairs): iDLG SSIM +0.30 [0.10, 0.50], PSNR +0.0 dB, " in line
    )
    assert line.endswith("ASR +50 [0, 100] points.")
    section = contrast_section(found)
    cells = [column.of(found[0]) for column in section.tables[0].columns]
    assert cells[-1].under == ("paper 0.43",)  # 37.8 % to 88.3 %, its Table IV
    assert section.tables[0].flat_heads[0] == ("Spiking network", True)
    assert not contrast_section(()).shown
