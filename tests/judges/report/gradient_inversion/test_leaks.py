"""Where the figures of leaks, the health of the victims and the cells without a result stand in a report."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from judges.report.gradient_inversion.report import write_report
from judges.runs.measures import Health
from judges.runs.rows import Score, write_scores
from judges.summaries.gradient_inversion import summarise, write_summary
from tests.judges.pages import Tags, cells_of, text_of
from tests.judges.report.gradient_inversion.test_trends import health, many, of_timesteps

Row = Callable[..., Score]
D = "\N{EN DASH}"
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a run folder and its report, and returns the folder."""

    def write_run(rows: Sequence[Score], told: Sequence[Health] = (), **manifest: Any) -> Path:
        write_scores(rows, tmp_path / "scores.csv")
        write_summary(summarise(rows, judges={"toy": {"chance": 0.1}}, health=told), tmp_path / "summary.json")
        (tmp_path / "manifest.json").write_text(json.dumps(manifest))
        (tmp_path / "config.toml").write_text('name = "e"\n')
        write_report(tmp_path)
        return tmp_path

    return write_run


def html_of(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def sections_of(folder: Path) -> list[str]:
    return [
        attributes["id"] for tag, attributes in Tags(html_of(folder)).tags if tag == "section" and "id" in attributes
    ]


def test_what_there_is_nothing_of_is_left_out(row: Row, write: Write) -> None:
    folder = write(many(row, [0.5, 0.6]))
    assert sections_of(folder) == [
        "answer",
        "table-iv",
        "dots",
        "tried",
        "judges",
        "record",
        "definitions",
        "provenance",
    ]
    for text in (html_of(folder), (folder / "report.md").read_text(), (folder / "report.tex").read_text()):
        assert "Not computed" not in text
        assert "Health" not in text
        assert "Leak against" not in text


def test_everything_stands_in_a_readers_order(row: Row, write: Write) -> None:
    rows = of_timesteps(row, round=1) + of_timesteps(row, round=2)
    folder = write(rows, [health(model="spiking_lenet", varied={"timesteps": 1})], failed={"a/dlg": "no memory"})
    assert sections_of(folder) == [
        "answer", "failed", "table-iv", "dots", "rounds", "timesteps", "health", "tried", "judges", "record",
        "definitions", "provenance",
    ]  # fmt: skip
    alts = Tags(html_of(folder)).attributes("alt")
    for words in ("strip of the SSIM of", "axis from 0 to 1", "SSIM against the round",
                  "ASR against the round", "SSIM against the T", "firing rate and silent share"):  # fmt: skip
        assert any(words in alt for alt in alts), words


def test_the_numbers_behind_the_trends_stand_in_both_kinds(row: Row, write: Write) -> None:
    rows = of_timesteps(row, round=1, judge_correct=True) + many(row, [0.9, 0.9], model="lenet", round=1)
    folder = write(rows)
    lines = cells_of(html_of(folder), "timesteps")
    assert lines[1][:5] == ["iDLG", "spiking LeNet", "1", "2", "0.80 [0.80, 0.80]"]
    assert lines[3][:5] == ["iDLG", "LeNet", D, "2", "0.90 [0.90, 0.90]"]
    assert lines[1][5].startswith("100.0 [")
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    assert "## Leak against T" in markdown
    assert r"| iDLG | spiking LeNet | 10 | 2 | 0.60 \[0.60, 0.60\] | 100.0 \[" in markdown
    assert "## Leak against the server round" not in markdown


def test_the_health_of_the_victims_is_told_in_three_kinds(row: Row, write: Write) -> None:
    rows = many(row, [0.5, 0.6], model="spiking_lenet") + many(row, [0.5], model="lenet")
    still = health(model="lenet", firing_rates={}, silent={}, dead=0.0, accuracy=None)
    spiking = health(firing_rates={"a": 0.25, "b": 0.0}, silent={"a": 0.5, "b": 1.0})
    folder = write(rows, [spiking, still])
    lines = cells_of(html_of(folder), "health")
    assert lines[1] == [
        "toy, spiking LeNet, uniform initialisation", "8",
        "50.0 10.0", "0 to 0.25", "50 to 100", "50.0", f"1 (0.5{D}2)", "25.0",
    ]  # fmt: skip
    assert lines[2][2:] == [f"{D} 10.0", D, D, "50.0", f"1 (0.5{D}2)", "0.0"]
    assert html_of(folder).count('class="alarm"') == 1
    assert "that is no privacy" in text_of(html_of(folder), "health")
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    name = "toy, spiking LeNet, uniform initialisation"
    assert f"| {name} | 8 | 50.0 | 10.0 | 0 to 0.25 | 50 to 100 | 50.0 | 1 (0.5{D}2) | 25.0 |" in markdown
    latex = (folder / "report.tex").read_text(encoding="utf-8")
    name = r"toy, spiking LeNet, uniform initialisation"
    assert rf"{name} & 8 & 50.0 & 0 to 0.25 & 50 to 100 & 50.0 & 1 (0.5--2) & 25.0 \\" in latex


def test_a_summary_from_before_there_was_health_is_read(row: Row, write: Write) -> None:
    folder = write(many(row, [0.5]), [health(model="lenet")])
    old = json.loads((folder / "summary.json").read_text())
    assert old.pop("health")
    (folder / "summary.json").write_text(json.dumps(old))
    write_report(folder)
    assert "health" not in sections_of(folder)


def test_cells_without_a_result_are_named_with_the_reason(row: Row, write: Write) -> None:
    failed = {"digits-lenet/<b>dlg": "no memory:\n</td> 3 GB & more", "other/idlg": "100 % | wrong"}
    folder = write(many(row, [0.5]), failed=failed)
    assert cells_of(html_of(folder), "failed")[1:] == [
        ["digits-lenet/<b>dlg", "no memory: </td> 3 GB & more"],
        ["other/idlg", "100 % | wrong"],
    ]
    assert "2 cells could not be computed" in text_of(html_of(folder), "failed")
    assert "no memory" not in html_of(folder).partition('<section id="provenance"')[2]
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    assert "| digits-lenet/&lt;b&gt;dlg | no memory: &lt;/td&gt; 3 GB &amp; more |" in markdown
    assert r"| other/idlg | 100 % \| wrong |" in markdown
    latex = (folder / "report.tex").read_text(encoding="utf-8").splitlines()
    assert r"digits-lenet/$<$b$>$dlg & no memory: $<$/td$>$ 3 GB \& more \\" in latex


@pytest.mark.parametrize("failed", [{}, None, [], "all"])
def test_a_manifest_that_names_no_such_cell(row: Row, write: Write, failed: object) -> None:
    assert "failed" not in sections_of(write(many(row, [0.5]), failed=failed))


def test_the_digests_of_the_cells_are_left_to_the_manifest(row: Row, write: Write) -> None:
    text = html_of(write(many(row, [0.5]), cells={"a/dlg": "0123abcd"}, config_sha256="4567"))
    assert "0123abcd" not in text
    assert "4567" in text
