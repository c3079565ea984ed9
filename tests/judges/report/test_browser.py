"""The page in a real browser: nothing but the tables scrolls sideways, and every picture is decoded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from judges.report.gradient_inversion.report import write_report
from judges.runs.identity import Approach, Attacked, columns_of
from judges.runs.pictures import ANSWER, TRUTH, Pictures, save_pictures
from judges.runs.rows import Score, write_scores
from judges.summaries.gradient_inversion import summarise, write_summary
from tests.judges.browser import BROWSER, measured
from tests.judges.spike_rows import DISTANCES, spike_rows

pytestmark = BROWSER


@pytest.fixture
def page(tmp_path: Path, row: Callable[..., Score]) -> str:
    """The page of a run of 24 cells of images, a Table V and pictures of both."""
    rows = [
        row(
            dataset=dataset,
            init=init,
            cell=approach.get("attack", "control"),
            capture_id=f"v{index}",
            ssim=0.1 * index,
            **network,
            **approach,
        )
        for dataset in ("mnist", "cifar100")
        for network in ({"model": "lenet"}, {"model": "spiking_lenet", "varied": {"timesteps": 5}})
        for init in ("uniform", "torch")
        for approach in ({"attack": "dlg"}, {"attack": "idlg"}, {"attack": "grnn"}, {"control": "black"})
        for index in range(3)
    ] + spike_rows(row)
    write_scores(rows, tmp_path / "scores.csv")
    judges = {"mnist": {"accuracy": 0.98, "chance": 0.1}, "dvs_gesture": {"accuracy": 0.8, "chance": 1 / 11}}
    write_summary(summarise(rows, judges=judges, distances=DISTANCES), tmp_path / "summary.json")
    shown = {name: {"people": False} for name in ("mnist", "dvs_gesture")}
    (tmp_path / "manifest.json").write_text(json.dumps({"datasets": shown, "digest": "0123456789abcdef" * 8}))
    (tmp_path / "config.toml").write_text(f"name = '{'long ' * 60}'\n")
    for score in {(item.group, item.approach, item.cell): item for item in rows}.values():
        if not score.is_control:
            save_pictures(gallery_of(score), tmp_path)
    return write_report(tmp_path).read_text()


def gallery_of(score: Score) -> Pictures:
    size = (2, 64, 64) if score.tau is not None else (1, 28, 28)
    roles = ("best", "upper quartile", "median", "lower quartile", "worst", "diverged")
    return Pictures(
        **columns_of(score, Approach, Attacked), cell=score.cell, thresholding=score.thresholding, tau=score.tau,
        timesteps=10 if score.tau is not None else 0, roles=roles, subjects=("v0",) * 6, limits=(0.0, 1.0),
        images={TRUTH: torch.rand(6, *size), ANSWER: torch.rand(6, *size)},
        numbers={"label": (1,) * 6, "ssim": (0.5,) * 6, "psnr_db": (9.0,) * 6, "l2": (40.0,) * 6},
        words={"stop_reason": ("converged",) * 5 + ("diverged",)},
        loss_curves=torch.rand(3, 9), curve_recognisable=(True, False, False),
    )  # fmt: skip


@pytest.mark.parametrize("width", [1280, 390])
def test_only_the_tables_scroll_sideways(page: str, tmp_path: Path, width: int) -> None:
    found = measured(page, tmp_path, width)
    assert found["width"] <= width
    assert (found["broken"], found["images"] > 100, found["sections"] >= 8) == (0, True, True)
    assert len(found["tables"]) == 4
    if width == 1280:
        assert max(found["tables"]) <= 1280 - 2 * 32
    else:
        assert min(found["tables"]) > width
