"""Runs and audits from Python: in this process, in workers of a script, and what is read of their folders."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import spikeleak

from fl_sim.errors import ConfigError, DataError
from judges.notebook.results import Result
from judges.runs.rows import read_scores

CONFIG = """
name = "small"
repeats = 2
dataset = {name = "digits", size = 8}
model = {name = "lenet", init = "uniform"}
attack = {name = "idlg", iterations = 50}
judge = "none"
"""
CHANGES: dict[str, Any] = {"attack.iterations": 2, "attack.snapshots": 3, "attack.name": "dlg"}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "small.toml"
    path.write_text(CONFIG)
    return path


@pytest.fixture(scope="module")
def finished(config: Path) -> Result:
    return spikeleak.run(config, set=CHANGES, folder=config.parent / "run")


def test_a_run_is_read_from_its_folder(finished: Result) -> None:
    (verdict,) = finished.verdicts
    assert verdict.attack == "DLG"
    assert {row.iterations for row in read_scores(finished.folder / "scores.csv") if not row.control} <= set(range(41))
    assert len(finished.answers) == 4
    for pair in finished.answers:
        assert pair.truth is not None
        assert pair.steps[0] == 0
        assert pair.snapshots.shape == (len(pair.steps), 1, 8, 8)
        assert 0.0 <= float(pair.snapshots.min()) <= float(pair.snapshots.max()) <= 1.0
    page = finished._repr_html_()
    assert page.count("<img ") == 8 + sum(len(pair.steps) for pair in finished.answers)
    assert len(finished.figure("search").texts) == 4


def test_an_audit_of_a_run_without_answers_is_refused_and_of_captures_is_made(finished: Result, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds an experiment"):
        spikeleak.audit(finished.folder)
    for part in ("captures", "sealed"):
        (tmp_path / part).symlink_to(finished.folder / part)
    result = spikeleak.audit(tmp_path, ["exact", "idlg"], set={"attack.iterations": 1, "checks": 0, "people": True})
    assert {verdict.attack for verdict in result.verdicts} == {"exact", "iDLG"}
    assert result.notes
    assert "<img" not in result._repr_html_()


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tabel4: .* Did you mean 'table4'"):
        spikeleak.run("tabel4")
    with pytest.raises(DataError, match="expected captures, found none"):
        spikeleak.audit(tmp_path)
    with pytest.raises(ConfigError, match="imports: no_such_module"):
        spikeleak.audit(tmp_path, imports=["no_such_module"])
    (tmp_path / "audit.toml").write_text('task = "audit"')
    with pytest.raises(ConfigError, match="is the config of an audit"):
        spikeleak.run(tmp_path / "audit.toml")


SCRIPT = """
import sys
import spikeleak

if __name__ == "__main__":
    result = spikeleak.run(sys.argv[1], set={changes}, folder=sys.argv[2], workers=2)
    print(result.verdicts[0].attack)
"""


@pytest.mark.slow
@pytest.mark.endurance
def test_a_script_with_workers_finds_the_same_and_says_nothing_else(
    finished: Result, config: Path, tmp_path: Path
) -> None:
    script = tmp_path / "mine.py"
    script.write_text(textwrap.dedent(SCRIPT).replace("{changes}", repr(CHANGES)))
    command = [sys.executable, str(script), str(config), str(tmp_path / "run")]
    roots = [Path(spikeleak.__file__).parents[1], Path(spikeleak.__file__).parents[3]]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, roots))}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path, env=environment)
    assert (done.stdout, done.stderr, done.returncode) == ("DLG\n", "", 0)
    ours, theirs = (read_scores(folder / "scores.csv") for folder in (finished.folder, tmp_path / "run"))
    assert [(row.cell, row.capture_id, row.ssim) for row in ours] == [
        (row.cell, row.capture_id, row.ssim) for row in theirs
    ]
