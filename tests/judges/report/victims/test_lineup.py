"""The same victims under every network and attack: what belongs together, and what a page and a figure show of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from judges.report.pictures import Block
from judges.report.victims import lineup
from judges.report.victims.drawings import lineup_drawings
from judges.report.victims.folds import find_seen
from judges.report.victims.lineup import Lineup, lineups
from judges.report.victims.sheets import lineup_blocks, search_panel
from judges.runs.identity import Approach, Attacked, columns_of
from judges.runs.pictures import ANSWER, TRUTH, Pictures
from judges.runs.rows import Score
from judges.summaries.gradient_inversion import summarise

Row = Callable[..., Score]
TRUTHS = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))


class Made:
    """Rows and pictures of a run, a cell after the other."""

    def __init__(self, row: Row) -> None:
        self.row, self.rows = row, list[Score]()
        self.gallery: list[Pictures] = []

    def cell(
        self, model: str, attack: str, *, truths: Tensor = TRUTHS, kept: Sequence[int] = (0, 1, 2, 3), **more: Any
    ) -> None:
        """Add a cell: a row for each truth, and pictures of those that were kept."""
        films = {name: more.pop(name) for name in [name for name in more if name.startswith("snapshot")]}
        known = {"model": model, "family": "lenet", "spiking": model != "lenet", "init": "torch", **more}
        own = [
            self.row(attack=attack, cell=f"{model}/{known['init']}/{attack}", label=place, repeat=place,
                     capture_id=f"toy-{model}-{known['init']}-{place:03d}/r001-c000", ssim=0.1 * place, **known)
            for place in range(len(truths))
        ]  # fmt: skip
        self.rows += own
        shown = [own[at] for at in kept]
        self.gallery.append(
            Pictures(
                **columns_of(own[0], Approach, Attacked), cell=own[0].cell, limits=(0.0, 1.0),
                subjects=tuple(one.capture_id for one in shown),
                images={TRUTH: truths[list(kept)], ANSWER: truths[list(kept)] / 2},
                numbers={"label": tuple(one.label for one in shown), "example": (0,) * len(shown),
                         "ssim": tuple(one.ssim or 0.0 for one in shown), "l2": (1.0,) * len(shown)},
                words={"stop_reason": ("budget",) * len(shown)}, **films,
            )
        )  # fmt: skip

    def found(self) -> list[Lineup]:
        return lineups(find_seen(self.gallery, summarise(self.rows), self.rows), self.rows)

    def blocks(self, *, shown: bool = True) -> list[Block]:
        return lineup_blocks(self.found(), lambda _: shown, {})


@pytest.fixture
def made(row: Row) -> Made:
    one = Made(row)
    for model in ("lenet", "spiking_lenet"):
        one.cell(model, "dlg")
        one.cell(model, "idlg")
    return one


def told(one: Lineup) -> list[tuple[str, str]]:
    return [(row.attack, row.network) for row in one.rows]


def test_networks_and_attacks_on_the_same_examples_are_rows_below_one_row_of_truth(made: Made) -> None:
    (one,) = made.found()
    assert told(one) == [
        ("DLG", "LeNet"), ("iDLG", "LeNet"), ("DLG", "spiking LeNet"), ("iDLG", "spiking LeNet"),
    ]  # fmt: skip
    assert one.labels == (0, 1, 2, 3)
    assert "torch initialisation" in one.name
    for row in one.rows:
        for seen, label in zip(row.answers, one.labels, strict=True):
            assert seen is not None
            assert seen.pictures.images[TRUTH][seen.at].equal(TRUTHS[label])
    (block,) = made.blocks()
    (sheet,) = block.parts[0].sheets
    assert [row.title for row in sheet.rows] == ["Truth", "DLG", "iDLG", "DLG", "iDLG"]
    assert [shot.caption for shot in sheet.rows[3].shots] == [("0.00",), ("0.10",), ("0.20",), ("0.30",)]


def test_other_examples_are_not_set_beside_them(row: Row) -> None:
    made = Made(row)
    made.cell("lenet", "dlg")
    made.cell("spiking_lenet", "dlg", truths=TRUTHS.flip(0))  # the same names, other pictures
    assert [told(one) for one in made.found()] == [[("DLG", "")], [("DLG", "")]]
    assert made.blocks() == []  # a single row says no more than the other sheets


def test_victims_are_those_that_most_cells_show(row: Row) -> None:
    made = Made(row)
    made.cell("lenet", "dlg", kept=(3, 0, 1))
    made.cell("spiking_lenet", "dlg", kept=(1, 2, 3))
    (one,) = made.found()
    assert one.labels == (1, 3)


def test_many_rows_are_cut_by_initialisation(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    for model in ("lenet", "spiking_lenet"):
        made.cell(model, "dlg", init="uniform")
    assert len(made.found()) == 1
    assert ("DLG", "LeNet, uniform") in told(made.found()[0])
    monkeypatch.setattr(lineup, "MOST_ROWS", 4)
    assert [told(one)[0] for one in made.found()] == [("DLG", "LeNet"), ("DLG", "LeNet")]
    assert ["uniform" in one.name for one in made.found()] == [False, True]


def test_people_are_not_shown(made: Made) -> None:
    (block,) = made.blocks(shown=False)
    assert block.hidden
    assert block.parts == ()


def test_a_search_is_shown_step_by_step_and_a_finished_one_counts_on(row: Row) -> None:
    made, nan = Made(row), float("nan")
    film = torch.rand(2, 3, 1, 8, 8)
    film[1, 2] = nan
    made.cell(
        "lenet", "grnn", truths=TRUTHS[:2], kept=(0, 1), snapshots=film,
        snapshot_steps=torch.tensor([[0, 10, 20], [0, 4, -1]]),
        snapshot_ssim=torch.tensor([[0.0, 0.5, 1.0], [0.2, 0.3, nan]], dtype=torch.float64),
    )  # fmt: skip
    made.cell("spiking_lenet", "grnn", truths=TRUTHS[:2], kept=(0, 1))
    (one,) = made.found()
    panel = search_panel(one)
    assert panel is not None
    (line,) = panel.lines
    assert line.name == "GRNN, LeNet"
    assert [point.tau for point in line.points] == [0, 10, 20]
    assert [point.mean for point in line.points] == pytest.approx([0.1, 0.4, 0.65])
    _, films, _ = made.blocks()[0].parts
    first, second = films.sheets
    assert [shot.caption[-1] for shot in first.rows[0].shots[1:]] == ["0.00", "0.50", "1.00"]
    assert [shot.caption[0] for shot in second.rows[0].shots[1:]] == ["step 0", "step 4"]
    drawings = dict(lineup_drawings(made.found()))
    assert list(drawings) == ["gallery-1", "search-1", "search-1-ssim"]
    texts = [text.get_text() for text in drawings["search-1"](3.5).texts]
    assert texts == ["GRNN\nLeNet"]


def test_texts_have_no_line_up(row: Row) -> None:
    made = Made(row)
    made.cell("lenet", "dlg")
    made.gallery[0] = replace(made.gallery[0], images={}, texts={TRUTH: ("1 2",) * 4, ANSWER: ("1 3",) * 4})
    assert made.found() == []
