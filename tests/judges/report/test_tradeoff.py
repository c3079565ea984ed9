"""A small run whose report says what protects and what it costs."""

from __future__ import annotations

from pathlib import Path

import pytest

from judges.bench.execution import run_plan
from judges.export.cells import read_export
from judges.plans.gradient_inversion import make_plan
from judges.progress import Watch
from judges.report.gradient_inversion.report import write_report
from judges.summaries.gradient_inversion import read_summary
from judges.summaries.tradeoff import tradeoffs
from tests.judges.pages import text_of

pytestmark = pytest.mark.endurance


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run of a LeNet without a defence, and with two strengths of noise."""
    folder = tmp_path_factory.mktemp("tradeoff") / "run"
    raw = {
        "name": "e",
        "judge": "none",
        "dataset": {"name": "digits", "size": 16, "split": "test", "singles": 1},
        "strategy": "FedAvg",
        "federation": {"clients": 2, "local_epochs": 1, "batch_size": 250, "keep_every": 1, "capture_most": 1},
        "defence": ["none", "noise"],
        "defences": {"noise": {"clipping_norm": 0.5, "noise_multiplier": [0.01, 1.1]}},
        "attack": {"name": "idlg", "iterations": 1},
    }
    run_plan(make_plan(raw), folder, Watch())
    return folder


def test_the_report_has_the_section_and_its_figure(finished: Path) -> None:
    page = write_report(finished, figures=True).read_text(encoding="utf-8")
    text = text_of(page, "tradeoff")
    assert "The attacked updates are of round 1." in text
    (board,) = tradeoffs(read_summary(finished / "summary.json"))
    for one in board.settings:
        assert f"{100 * one.accuracy:.1f}" in text
    assert "9.55 1e\N{MINUS SIGN}5, a client" in text
    assert (finished / "figures" / "tradeoff-1-ann-1col.pdf").stat().st_size > 1000


def test_the_run_hands_its_settings_on(finished: Path) -> None:
    told = [one for one in read_export(finished).cells if "on_front" in one.numbers]
    assert [one.settings["defence"] for one in told] == [
        "none",
        "noise noise_multiplier=0.01",
        "noise noise_multiplier=1.1",
    ]
    assert all(0 <= one.numbers["accuracy_low"] <= one.numbers["accuracy"] for one in told)
