"""Attacks whose names look like those of others, or like a name with a setting: no name says whose rows are whose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from attacks import ATTACKS, AttackEntry
from attacks.contracts import Progress, Reconstruction
from attacks.dlg import DLG
from attacks.settings import DLGSettings
from fl_sim.records import CapturedUpdate
from judges.bench.gradient_inversion.added import attack_run
from judges.report.gradient_inversion.tables import image_rows
from judges.runs.rows import Score, read_scores
from judges.summaries.gradient_inversion import CellSummary, Summary, read_summary
from tests.judges.bench.test_gradient_inversion import quiet, run

NAME = "dlg-grey"
RAW: dict[str, Any] = {
    "name": "tiny",
    "dataset": {"name": "digits", "split": "test", "size": 12},
    "model": "lenet",
    "federation": {"clients": 2},
    "attack": {"name": ["dlg", NAME], "iterations": 0},
    "judge": "none",
}


class GreyDLG(DLG):
    """DLG that starts from grey, whatever its settings call its guess."""

    name = NAME

    def reconstruct(
        self,
        captures: Sequence[CapturedUpdate],
        *,
        seed: int,
        device: str = "cpu",
        progress: Progress | None = None,
    ) -> list[Reconstruction]:
        found = super().reconstruct(captures, seed=seed, device=device, progress=progress)
        return [replace(one, inputs=torch.full_like(one.inputs, 0.5)) for one in found]


@pytest.fixture(autouse=True)
def plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = AttackEntry(GreyDLG, DLGSettings, adversary="A", summary="DLG that starts from grey")
    monkeypatch.setitem(ATTACKS, NAME, entry)


def starts(folder: Path) -> dict[str, list[Score]]:
    """Return the rows of the no-op controls by their guess."""
    rows = [row for row in read_scores(folder / "scores.csv") if row.control == "no-op"]
    return {guess: [row for row in rows if row.guess == guess] for guess in sorted({row.guess for row in rows})}


def check_starts(folder: Path) -> None:
    """Each attack has a no-op control, of its own answers without a step."""
    rows, own = read_scores(folder / "scores.csv"), starts(folder)
    assert {guess: {row.attack for row in told} for guess, told in own.items()} == {
        "dlg-grey normal": {"dlg-grey"},
        "normal": {""},
    }
    for attack, guess in (("dlg", "normal"), (NAME, "dlg-grey normal")):
        answers = [row for row in rows if row.attack == attack and not row.is_control]
        assert [(row.guess, row.moved) for row in answers] == [(guess, 0.0)] * 2  # with no step taken it is its guess
        assert [(row.capture_id, row.mse) for row in own[guess]] == [(row.capture_id, row.mse) for row in answers]
    grey = [row.mse for row in rows if row.control == "grey"]
    assert [row.mse for row in own["dlg-grey normal"]] == grey
    assert [row.mse for row in own["normal"]] != grey


def with_asr(summary: Summary, shares: dict[str, float]) -> Summary:
    """Return a summary whose no-op controls have these ASRs, by guess, as if there had been a judge."""

    def told(cell: CellSummary) -> CellSummary:
        return replace(cell, asr=shares[cell.guess]) if cell.control == "no-op" else cell

    return replace(summary, cells=tuple(map(told, summary.cells)))


def test_an_attack_with_a_dash_in_its_name_has_a_no_op_control_of_its_own(tmp_path: Path) -> None:
    page = run(tmp_path / "run", RAW)
    check_starts(tmp_path / "run")
    summary = with_asr(read_summary(tmp_path / "run" / "summary.json"), {"normal": 0.25, "dlg-grey normal": 0.75})
    assert {row.cell.attack: row.no_op for row in image_rows(summary)} == {"dlg": 0.25, NAME: 0.75}
    text = page.read_text(encoding="utf-8")
    assert "no-op (normal)" in text
    assert "no-op (dlg-grey normal)" in text


def test_an_added_attack_brings_its_own_no_op_control(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(folder, {**RAW, "attack": {"name": "dlg", "iterations": 0}})
    before = list(map(repr, read_scores(folder / "scores.csv")))  # a control's matching loss is NaN
    attack_run(folder, [f"attack={NAME}", "attack.iterations=0"], quiet())
    check_starts(folder)
    after = list(map(repr, read_scores(folder / "scores.csv")))
    assert len(after) == len(before) + 3 * 2  # of two clients: the attack, and its two controls
    assert set(before) < set(after)


def test_settings_that_vary_stand_in_columns_and_not_in_the_name(tmp_path: Path) -> None:
    run(tmp_path / "run", {**RAW, "attack": {**RAW["attack"], "restarts": [1, 2]}})
    rows = [row for row in read_scores(tmp_path / "run" / "scores.csv") if not row.is_control]
    assert {(row.attack, tuple(row.attack_settings.items()), row.cell) for row in rows} == {
        (name, (("restarts", count),), f"digits-lenet-uniform/{name}-restarts={count}")
        for name in ("dlg", NAME)
        for count in (1, 2)
    }
    assert set(starts(tmp_path / "run")) == {"normal", "dlg-grey normal"}
