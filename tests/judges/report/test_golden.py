"""What both kinds of reports print, as golden text. To renew it: SPIKELEAK_RENEW_GOLDEN=1 pytest THIS_FILE."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from judges.report.gradient_inversion.report import write_report
from judges.report.model_inversion.report import write_inversion_report
from judges.runs.rows import Score
from tests.judges.pages import outline_of
from tests.judges.report.golden_runs import gradient_run, inversion_run

GOLDEN = Path(__file__).parent / "golden"
RENEW = "SPIKELEAK_RENEW_GOLDEN"
FORMATS = ("html", "md", "tex")


def compare(page: Path, kind: str) -> None:
    """Compare, or renew, the golden text of a page and of those beside it; of HTML it is the text of its cells."""
    for form in FORMATS:
        told, golden = page.with_suffix(f".{form}").read_text(encoding="utf-8"), GOLDEN / f"{kind}.{form}.txt"
        told = outline_of(told) if form == "html" else told
        if RENEW in os.environ:
            golden.write_text(told, encoding="utf-8")
        assert told == golden.read_text(encoding="utf-8"), f"{golden.name} has changed; see how to renew it"


def test_a_report_on_gradient_inversion(tmp_path: Path, row: Callable[..., Score]) -> None:
    compare(write_report(gradient_run(tmp_path, row)), "gradient_inversion")


def test_a_report_on_model_inversion(tmp_path: Path) -> None:
    compare(write_inversion_report(inversion_run(tmp_path)), "model_inversion")


@pytest.mark.parametrize("kind", ["gradient_inversion", "model_inversion"])
def test_every_format_has_its_golden_text(kind: str) -> None:
    assert all((GOLDEN / f"{kind}.{form}.txt").stat().st_size > 1000 for form in FORMATS)
