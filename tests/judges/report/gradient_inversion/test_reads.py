"""Where a report says what can be read off the updates without a search."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from judges.report.gradient_inversion.report import write_report
from judges.report.gradient_inversion.tables_reads import histogram_line
from judges.runs.measures import Readable
from judges.runs.rows import write_scores
from judges.summaries.gradient_inversion import read_summary, summarise, write_summary
from tests.judges.pages import cells_of, text_of

D = "\N{EN DASH}"
BATCHES: dict[str, Any] = {
    "examples": 32, "how": {"counts": 7, "": 1}, "certain": 0.5, "residual": 0.0, "residual_error": None,
    "active": None, "inputs": {}, "input_error": None, "fewest": 3, "most": 4, "unmodified": 0.75,
}  # fmt: skip


def reads_of(**changes: Any) -> Readable:
    values: dict[str, Any] = {
        "dataset": "toy", "model": "mlp", "family": "mlp", "init": "torch", "updates": 8, "examples": 8,
        "how": {"bias": 8}, "certain": 1.0, "histogram": {"0": 5, "3": 3}, "residual": 1.0, "residual_error": 2e-8,
        "active": 0.25, "inputs": {"input": 8}, "input_error": 0.0, "fewest": 1, "most": 1, "unmodified": 1.0,
    }  # fmt: skip
    return Readable(**(values | changes))


def write(folder: Path, *reads: Readable) -> str:
    """Write a run folder without a scored attack and its report, and return the page."""
    write_scores([], folder / "scores.csv")
    write_summary(replace(summarise([]), reads=reads), folder / "summary.json")
    (folder / "manifest.json").write_text("{}")
    (folder / "config.toml").write_text('name = "e"\n')
    write_report(folder)
    return (folder / "report.html").read_text(encoding="utf-8")


def test_what_can_be_read_off_is_told_without_a_score(tmp_path: Path) -> None:
    page = write(tmp_path, reads_of(), reads_of(**BATCHES))
    lines = cells_of(page, "reads")
    assert lines[1] == [
        "toy, MLP, torch initialisation", "8 8", "100.0 by the biases", "0: 5, 3: 3",
        "100.0 2e\N{MINUS SIGN}8", "25.0", "100.0 input 0", "1",
    ]  # fmt: skip
    assert lines[2][1:] == [
        "8 32", "50.0 counted 7, not readable 1", "0: 5, 3: 3", "0.0", D, "0.0", "3 to 4 25 % modified",
    ]  # fmt: skip
    assert "without a search and without the truth" in text_of(page, "reads")
    for name in ("report.md", "report.tex"):
        assert "What can be read off" in (tmp_path / name).read_text(encoding="utf-8")


def test_the_reads_survive_the_disk_and_older_summaries_have_none(tmp_path: Path) -> None:
    write(tmp_path, reads_of())
    path = tmp_path / "summary.json"
    assert read_summary(path).reads == (reads_of(),)
    old = json.loads(path.read_text())
    del old["reads"]
    path.write_text(json.dumps(old))
    assert read_summary(path).reads == ()


def test_an_update_that_no_gradient_explains_has_no_number_of_examples(tmp_path: Path) -> None:
    page = write(tmp_path, reads_of(fewest=None, most=None, unmodified=0.0))
    assert cells_of(page, "reads")[1][-1] == f"{D} 100 % modified"


def test_a_histogram_of_many_classes_is_a_number() -> None:
    assert histogram_line({}) == D
    assert histogram_line({str(label): 2 for label in range(13)}) == "26 of 13 classes"
