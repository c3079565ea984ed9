"""What a report on gradient inversion says first, from rows with numbers that a reader can follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from judges.report.answer import Answer
from judges.report.gradient_inversion.answer import answer, labels_read, passed_over
from judges.runs.rows import Score
from judges.summaries.gradient_inversion import summarise
from tests.judges.report.gradient_inversion.test_checks import check_of
from tests.judges.report.gradient_inversion.test_trends import many
from tests.judges.spike_rows import spike_rows

Row = Callable[..., Score]


def told(rows: list[Score], *warnings: str) -> Answer:
    return answer(summarise(rows), warnings)


def of_settings(row: Row, found: float, missed: float) -> list[Score]:
    """Return two attacks and a control on two networks; nothing more than `missed` is found on the second."""
    rows: list[Score] = []
    for model, ssim in (("lenet", found), ("spiking_lenet", missed)):
        rows += many(row, [0.1] * 6, model=model, attack="dlg", adversary="A")
        rows += many(row, [ssim] * 6, model=model, attack="ensemble", adversary="B")
        rows += many(row, [0.2] * 6, model=model, control="black", cell=f"control {model}")
    return rows


def test_the_box_says_what_by_whom_and_how_sure(row: Row) -> None:
    found = told(of_settings(row, 0.9, 0.1), "Clients tell the server their labels.")
    assert (found.headline, found.tone) == ("Inputs were recovered in 1 of 2 settings.", "yes")
    lines = dict(found.shown)
    assert lines["Attacked"] == [
        "toy; LeNet and spiking LeNet; uniform initialisation; no defence. 24 attacked examples in 4 cells."
    ]
    assert lines["By"] == [
        "DLG: adversary A, who knows the update only", "ensemble: adversary B, who knows a prior of the inputs, too",
    ]  # fmt: skip
    first = "toy, LeNet, uniform initialisation: recovered by ensemble, 6 of 6 recognisable above their controls, 95 %"
    assert lines["Leaked"][0].startswith(first)
    assert lines["Controls"][0].endswith("(black) has a mean SSIM of 0.20 on the same victims.")
    assert lines["Beware"] == ["Clients tell the server their labels."]


def test_what_the_ensemble_went_without_is_told(row: Row) -> None:
    def of(*refused: str, **columns: object) -> list[str]:
        reasons = dict.fromkeys(refused, "cannot be folded")
        return passed_over(many(row, [0.1] * 2, attack="ensemble", refused=reasons, **columns))

    (told,) = of("frozen_delta", model="own", spiking=True)
    assert told.startswith("On toy, own, uniform initialisation the ensemble went without frozen-delta matching")
    assert of("feature_kalman", model="own", spiking=True) == []
    assert of("frozen_delta", model="lenet", spiking=False) == []


def test_nothing_found_is_no_proof(row: Row) -> None:
    found = told(of_settings(row, 0.1, 0.1))
    assert found.tone in ("no", "open")
    assert "which does not mean" in found.headline or "nothing follows" in found.headline


def test_one_setting_is_called_so(row: Row) -> None:
    assert told(many(row, [0.9] * 6)).headline == "Inputs were recovered in the setting attacked."


def test_many_settings_are_left_to_the_tables(row: Row) -> None:
    found = told([one for index in range(9) for one in many(row, [0.9], dataset=f"d{index}")])
    leaked = dict(found.shown)["Leaked"]
    assert len(leaked) == 7
    assert leaked[-1] == "and 3 more settings, in the tables below"


def test_events_are_told_by_distance(row: Row) -> None:
    found = told(spike_rows(row))
    assert found.headline == "Answers are nearer than those that need no update in 2 of 12 cells."
    assert dict(found.shown)["Leaked"][0].startswith("With thresholding on DVS128 Gesture")


def test_a_failed_check_is_a_warning(row: Row) -> None:
    summary = replace(summarise(many(row, [0.9] * 6)), checks=(check_of(truth=0.4),))
    (warning,) = dict(answer(summary, ()).shown)["Beware"]
    assert warning.startswith("Sanity check failed: ")


def test_a_run_without_scores(row: Row) -> None:
    found = told([], "why")
    assert (found.headline, found.shown) == ("No attack was scored in this run.", [("Beware", ["why"])])


def test_labels_stand_beside_those_of_a_guess_that_names_many(row: Row) -> None:
    (cell,) = summarise(many(row, [0.1] * 4)).cells
    cell = replace(cell, label_accuracy=0.97)
    told = labels_read(replace(cell, label_chance=0.984)).replace("\N{NO-BREAK SPACE}", " ")
    assert told == "97 % (a guess without the update: 98 %)"
    assert (
        labels_read(replace(cell, label_chance=0.1)) == labels_read(cell) == told[:4].replace(" ", "\N{NO-BREAK SPACE}")
    )
