"""Scores over time of a real run on recordings of events: files, summary, report, figures, export, further attacks."""

from __future__ import annotations

import math
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from fl_sim.errors import DataError
from judges.bench.gradient_inversion.added import attack_run
from judges.export.cells import read_export
from judges.export.trackers import write_tensorboard
from judges.report.gradient_inversion.report import write_report
from judges.runs.integrity import verify
from judges.runs.manifest import TIMELINES
from judges.runs.rows import Score, read_scores
from judges.runs.timelines import Timelines, load_timelines
from judges.summaries.gradient_inversion import read_summary
from judges.summaries.timelines import TimeSummary
from tests.judges.bench.test_gradient_inversion import quiet, run
from tests.judges.export.test_cells import boards, scalars
from tests.judges.pages import Tags

pytestmark = pytest.mark.endurance

T = 4
RAW: dict[str, Any] = {
    "name": "tiny",
    "dataset": {"name": "digits_dvs", "size": 8, "time_bins": T},
    "model": {"name": "spiking_lenet", "init": "torch"},
    "federation": {"clients": 2},
    "attack": {
        "name": "dlg", "thresholding": ["post_optimisation", "in_optimisation"], "tau": [0.1, 0.5], "guess": "spikes",
        "iterations": 1, "inner_iterations": 2,
    },
    "judge": "none",
}  # fmt: skip
LABEL = "digits_dvs-spiking_lenet-torch"
CELL, EMPTY = f"{LABEL}/dlg-thresholding=post_optimisation-tau=0.1", f"{LABEL}/control: black"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("timelines") / "tiny"
    run(folder, RAW)
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "tiny"))


def stored(folder: Path) -> dict[str, Timelines]:
    rows = read_scores(folder / "scores.csv")
    return {one.cell: one for one in load_timelines(folder, [(row.group, row.cell) for row in rows])}


def summarised(folder: Path) -> dict[str, TimeSummary]:
    return {one.cell: one for one in read_summary(folder / "summary.json").timelines}


def test_every_row_has_its_steps(finished: Path) -> None:
    files, rows = stored(finished), defaultdict[str, list[Score]](list)
    for row in read_scores(finished / "scores.csv"):
        rows[row.cell].append(row)
    assert files.keys() == rows.keys()
    for cell, own in rows.items():
        one = files[cell]
        assert one.captures == tuple(row.capture_id for row in own)
        assert one.l2.shape == one.truth.shape == (2, T)
        assert one.l2.square().sum(1).sqrt().tolist() == pytest.approx([row.l2 for row in own])
        assert one.ssim is not None
        assert one.ssim.mean(1).tolist() == pytest.approx([row.ssim for row in own])
        assert (one.attack, one.control, one.tau) == (own[0].attack, own[0].control, own[0].tau)


def test_the_summary_has_means_and_says_what_is_not_defined(finished: Path) -> None:
    files, told = stored(finished), summarised(finished)
    assert told.keys() == files.keys()
    for cell, one in told.items():
        assert one.answer == pytest.approx(files[cell].answer.mean(0).tolist())
        assert one.l2 == pytest.approx(files[cell].l2.mean(0).tolist())
        defined = [value for value in files[cell].correlation.tolist() if math.isfinite(value)]
        assert one.defined == len(defined)
        assert (one.correlation is None) == (not defined)
    assert (told[EMPTY].defined, told[EMPTY].n, told[EMPTY].correlation) == (0, 2, None)
    mean = told[f"{LABEL}/control: class mean"]
    assert mean.correlation is not None
    assert mean.defined == 2


def test_the_report_shows_curves_and_strips(folder: Path) -> None:
    page = Tags(write_report(folder, figures=True).read_text())
    assert "Over time" in page.text
    shown = [text for text in page.attributes("alt") if "against the time step" in text]
    assert len(shown) == 2  # one for each threshold
    assert all("spikes, l2, SSIM" in text for text in shown)
    markdown = (folder / "report.md").read_text()
    (line,) = {line for line in markdown.splitlines() if "| empty recording |" in line and "tau 0.1" in line}
    assert "0 of 2" in line
    assert "\N{EN DASH}" in line
    names = {path.name for path in (folder / "figures").iterdir()}
    for measure in ("spikes", "l2", "ssim", "correlation"):
        assert {f"time-{place}-{measure}-1col.svg" for place in (1, 2)} <= names
    curves = (folder / "figures" / "time-1-spikes-2col.svg").read_text()
    for told in ("truth", "DLG", "empty recording", "mean recording", "mean of the class", "guess, zero steps"):
        assert f"<!-- {told}" in curves, told  # matplotlib writes each text beside its outline


def test_the_export_has_them(finished: Path, tmp_path: Path) -> None:
    export, told = read_export(finished), summarised(finished)
    cells = {cell.name: cell for cell in export.cells}
    cell, one = cells[CELL], told[CELL]
    assert cell.over_time == {"truth": one.truth, "spikes": one.answer, "l2": one.l2, "ssim": one.ssim}
    assert cell.numbers["time_correlation_defined"] == one.defined
    assert "time_correlation" not in cells[EMPTY].numbers
    write_tensorboard(export, tmp_path)
    values = scalars(boards(tmp_path)[CELL])["time/l2"]
    assert values == [(step, pytest.approx(value)) for step, value in enumerate(one.l2, start=1)]


def test_a_further_attack_leaves_those_of_the_run(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in (folder / TIMELINES).iterdir()}
    attack_run(folder, ["attack=dlg", "attack.iterations=2"], quiet())
    after = {path.name: path.read_bytes() for path in (folder / TIMELINES).iterdir()}
    assert before.items() <= after.items()
    assert len(after) > len(before)
    assert summarised(folder).keys() == stored(folder).keys()
    assert verify(folder).is_sound


def test_damaged_ones_are_named(folder: Path) -> None:
    path = next((folder / TIMELINES).iterdir())
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert not verify(folder).is_sound
    with pytest.raises(DataError, match=TIMELINES):
        attack_run(folder, ["attack=dlg", "attack.iterations=2"], quiet())


def test_still_images_have_none(tmp_path: Path) -> None:
    raw = {**RAW, "dataset": {"name": "digits", "size": 12}, "attack": {"name": "dlg", "iterations": 1}}
    run(tmp_path / "still", {**raw, "model": "lenet"})
    assert not (tmp_path / "still" / TIMELINES).exists()
    assert read_summary(tmp_path / "still" / "summary.json").timelines == ()
    assert "Over time" not in (tmp_path / "still" / "report.html").read_text()
