"""The folds of the victims, and the strip of truth beside answers at the top, from rows and pictures of a toy run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch

from judges.report.victims import folds
from judges.report.victims.folds import Victim, Victims, find_victims
from judges.report.victims.glance import glances
from judges.runs.identity import Approach, Attacked, columns_of
from judges.runs.pictures import ANSWER, TRUTH, Pictures
from judges.runs.rows import Score
from judges.summaries.gradient_inversion import summarise

Row = Callable[..., Score]
FIVE = (0.9, 0.1, 0.5, 0.7, 0.3)


def attacked(row: Row, attack: str, ssims: Sequence[float] = FIVE, **changes: object) -> list[Score]:
    return [
        row(attack=attack, cell=attack, ssim=ssim, capture_id=f"v{place}", label=place, repeat=place, **changes)
        for place, ssim in enumerate(ssims)
    ]


def gallery_of(rows: Sequence[Score], order: Sequence[int] | None = None) -> Pictures:
    kept = [rows[at] for at in (order or range(len(rows)))]
    first = kept[0]
    return Pictures(
        **columns_of(first, Approach, Attacked), cell=first.cell, thresholding=first.thresholding, tau=first.tau,
        subjects=tuple(one.capture_id for one in kept), roles=("best",), limits=(0.0, 1.0),
        images={kind: torch.rand(len(kept), 1, 8, 8) for kind in (TRUTH, ANSWER)},
        numbers={"label": tuple(one.label for one in kept), "example": tuple(one.example for one in kept),
                 "ssim": tuple(one.ssim or 0.0 for one in kept), "l2": tuple(one.l2 for one in kept)},
        words={"stop_reason": tuple(one.stop_reason for one in kept)},
        loss_curves=torch.tensor([[2.0, 1.0], [4.0, torch.nan]]), curve_subjects=("v0", "v1"),
        curve_recognisable=(True, False),
    )  # fmt: skip


@pytest.fixture
def rows(row: Row) -> list[Score]:
    return attacked(row, "dlg") + attacked(row, "idlg", FIVE[::-1]) + attacked(row, "", (0.2,) * 5, control="black")


def found(rows: list[Score], *galleries: Pictures, shown: bool = True) -> Victims:
    return find_victims(galleries, summarise(rows), rows, lambda _: shown)


def both(rows: list[Score]) -> tuple[Pictures, Pictures]:
    return gallery_of(rows[:5]), gallery_of(rows[5:10], [4, 0, 2])


def test_every_victim_has_the_answers_of_all_attacks_that_show_it(rows: list[Score]) -> None:
    victims = found(rows, *both(rows))
    assert [(one.id, one.key[1], one.label) for one in victims.shown] == [
        (f"victim-{place + 1}", f"v{place}", place) for place in range(5)
    ]
    assert [[answer.name for answer in one.answers] for one in victims.shown] == [
        ["DLG", "iDLG"], ["DLG"], ["DLG", "iDLG"], ["DLG"], ["DLG", "iDLG"],
    ]  # fmt: skip
    first = victims.shown[0]
    assert [answer.numbers[:2] for answer in first.answers] == [("0.90", "0.20"), ("0.30", "0.20")]
    assert victims.more == 0
    assert [one.more for one in victims.shown] == [0, 1, 0, 1, 0]  # iDLG answered to those as well


def test_a_picture_leads_to_the_fold_about_its_victim(rows: list[Score]) -> None:
    dlg, idlg = both(rows)
    links = found(rows, dlg, idlg).links
    assert [links[dlg.key, at] for at in range(5)] == [f"victim-{place}" for place in range(1, 6)]
    assert [links[idlg.key, at] for at in range(3)] == ["victim-5", "victim-1", "victim-3"]


def test_loss_curves_are_of_the_captures_that_have_them(rows: list[Score]) -> None:
    victims = found(rows, *both(rows)).shown
    assert [bool(one.curves) for one in victims] == [True, True, False, False, False]
    assert [answer.colour for answer in victims[0].answers] == [0, 1]


def test_what_may_not_be_shown_is_not_there(rows: list[Score]) -> None:
    victims = found(rows, *both(rows), shown=False).shown
    shots = [shot for one in victims for shot in (one.truth, *(answer.shot for answer in one.answers))]
    assert len(shots) > 5
    assert not any(shot.uri or shot.caption for shot in shots)
    assert glances(victims) == []


def test_the_page_is_bounded_and_says_what_is_left_out(rows: list[Score], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folds, "MOST_FOLDS", 2)
    victims = found(rows, *both(rows))
    assert [one.key[1] for one in victims.shown] == ["v0", "v2"]  # both attacks show these
    assert victims.more == 3


def test_pictures_of_older_versions_do_not_tell_which_example_of_a_batch_they_show(row: Row) -> None:
    own = [row(attack="dlg", cell="dlg", example=place, capture_id="v0") for place in range(2)]
    old = gallery_of(own)
    old = replace(old, numbers={name: column for name, column in old.numbers.items() if name != "example"})
    assert found(own, old).shown == ()
    alone = found(own[:1], replace(old, subjects=("v0",)))
    assert [one.id for one in alone.shown] == ["victim-1"]


def test_the_top_shows_the_median_victim_of_the_best_attack(rows: list[Score]) -> None:
    (glance,) = glances(found(rows, gallery_of(rows[:5]), gallery_of(rows[5:10])).shown)
    assert glance.victim.key[1] == "v2"  # 0.5, of 0.9, 0.7, 0.5, 0.3 and 0.1
    assert [(answer.name, answer.near, answer.shot.link) for answer in glance.answers] == [
        ("DLG", "0.50", "victim-3"), ("iDLG", "0.50", "victim-3"),
    ]  # fmt: skip


def test_a_fold_says_in_a_line_how_many_answers_are_near(rows: list[Score]) -> None:
    def line(victim: Victim) -> str:
        return victim.summary

    assert line(found(rows, *both(rows)).shown[0]).startswith("label 0, v0, example 0: ")
