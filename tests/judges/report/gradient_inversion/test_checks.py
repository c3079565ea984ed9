"""When a sanity check holds, and where a report says so."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from judges.report.gradient_inversion.report import write_report
from judges.report.gradient_inversion.sentences import findings
from judges.runs.measures import SanityCheck
from judges.runs.rows import write_scores
from judges.summaries.gradient_inversion import read_summary, summarise, write_summary
from tests.judges.pages import cells_of

D = "\N{EN DASH}"


def check_of(**changes: Any) -> SanityCheck:
    values: dict[str, Any] = {
        "dataset": "toy", "model": "mlp", "family": "mlp", "init": "torch", "attack": "idlg", "cell": "toy/idlg",
        "guess": "normal", "thresholding": "none", "tau": None, "victims": ("f/r001-c000", "f/r001-c001"),
        "examples": 2, "measure": "SSIM", "truth": 2e-7, "plain": 0.9, "noisy": 0.3, "random": 0.1,
        "controls": {"no-op": 0.05, "black": 0.1}, "best_control": 0.12, "moved": 0,
    }  # fmt: skip
    return SanityCheck(**(values | changes))


def test_the_truth_must_be_about_where_rounding_leaves_it() -> None:
    found = [check_of(truth=truth).truth_is_fixed for truth in (None, 0.0, 0.05, 0.051)]
    assert found == [None, True, True, False]
    assert check_of(truth=0.9, defence="noise").truth_is_fixed is None


def test_margins_shrink_with_the_number_of_examples() -> None:
    assert [round(check_of(examples=count).margin, 3) for count in (1, 4, 16, 400)] == [0.2, 0.1, 0.05, 0.05]
    assert check_of(measure="-MSE", examples=64).margin == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("changes", "holds"),
    [
        ({}, True),
        ({"random": 0.21}, True),
        ({"random": 0.23}, False),
        ({"random": None}, None),
        ({"best_control": None}, None),
        ({"measure": "-MSE", "random": -0.10, "best_control": -0.14, "examples": 4}, True),
        ({"measure": "-MSE", "random": -0.09, "best_control": -0.14, "examples": 4}, False),
    ],
)
def test_a_random_update_scores_no_more_than_the_best_control(changes: dict[str, Any], holds: bool | None) -> None:
    assert check_of(**{"examples": 4, **changes}).random_finds_nothing is holds


@pytest.mark.parametrize(
    ("plain", "noisy", "random", "holds"),
    [
        (0.9, 0.3, 0.1, True),
        (0.9, 0.9, 0.1, True),  # robust against noise, but not without the update
        (0.9, 0.9, 0.9, False),
        (0.5, 0.61, 0.1, False),
        (0.05, 0.21, 0.1, True),  # no better than a control
        (0.05, 0.23, 0.1, False),
        (0.2, 0.2, 0.2, True),  # nothing was found that noise could hurt
        (0.9, None, 0.1, None),
    ],
)
def test_noise_hurts_what_was_found(plain: float, noisy: float | None, random: float, holds: bool | None) -> None:
    assert check_of(examples=4, plain=plain, noisy=noisy, random=random).noise_hurts is holds


def test_a_victim_that_comes_out_otherwise_alone_is_named(tmp_path: Path) -> None:
    assert [check_of(moved=moved).is_own for moved in (0, 1, None)] == [True, False, None]
    page = write(tmp_path, check_of(moved=1))
    (line,) = [line for line in cells_of(page, "checks") if line[0] == "iDLG"]
    assert line[-1] == "failed: a victim's result is its own"


def write(folder: Path, *checks: SanityCheck) -> str:
    """Write a run folder with these checks only and its report, and return the page."""
    write_scores([], folder / "scores.csv")
    write_summary(replace(summarise([]), checks=checks), folder / "summary.json")
    (folder / "manifest.json").write_text("{}")
    (folder / "config.toml").write_text('name = "e"\n')
    return write_report(folder).read_text(encoding="utf-8")


def test_a_report_has_a_line_for_each_attack_and_says_which_checks_failed(tmp_path: Path) -> None:
    refused = check_of(attack="dlg", noisy=None, random=None, failure="the attack fails on a random update: why")
    page = write(tmp_path, check_of(), check_of(attack="exact", random=0.9, noisy=0.9), refused)
    lines = [line for line in cells_of(page, "checks") if line[0] in ("iDLG", "exact", "DLG")]
    assert lines[0] == ["iDLG", "2", "2e\N{MINUS SIGN}7", "0.90 SSIM", "0.30", "0.10", "0", "0.05", "0.12", "passed"]
    assert lines[1][-1] == "failed: a random update scores like the controls, more noise hurts"
    assert lines[2][4:6] == [D, D]
    assert lines[2][-1].startswith("passed a random update scores like the controls, more noise hurts")
    assert lines[2][-1].endswith("the attack fails on a random update: why")
    for name in ("report.md", "report.tex"):
        assert "Sanity checks" in (tmp_path / name).read_text(encoding="utf-8")


def test_a_failed_check_is_a_finding(row: Any) -> None:
    summary = summarise([row()])
    assert findings(replace(summary, checks=(check_of(),))) == findings(summary)
    (told,) = set(findings(replace(summary, checks=(check_of(truth=0.4),)))) - set(findings(summary))
    assert told == (
        "Sanity check failed: iDLG on toy, MLP, torch initialisation: that the truth is a fixed point does not hold "
        "(distance of its update 0.4)."
    )


def test_checks_survive_the_disk_and_older_summaries_have_none(tmp_path: Path) -> None:
    write(tmp_path, check_of(attack_settings={"iterations": 3}))
    path = tmp_path / "summary.json"
    assert read_summary(path).checks == (check_of(attack_settings={"iterations": 3}),)
    old = json.loads(path.read_text())
    del old["checks"]
    path.write_text(json.dumps(old))
    assert read_summary(path).checks == ()
