"""What can be asked of a finished run: is it whole, how does it differ from another, does it come out again."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fl_sim.errors import ConfigError, DataError
from judges.cli import app
from judges.progress import EventWatch
from judges.runs.comparison import compare
from judges.runs.integrity import FILE, renew_hashes, verify
from judges.runs.rows import Score
from judges.runs.tables import read_rows, write_rows
from tests.judges.bench.test_gradient_inversion import run

Copy = Callable[[str], Path]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    run(folder)
    return folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Copy:
    """Return a function that copies the finished run to a new folder."""
    return lambda name: Path(shutil.copytree(finished, tmp_path / name))


def ask(*arguments: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    return done.exit_code, done.output


def test_a_finished_run_is_whole_and_sha256sum_agrees(finished: Path) -> None:
    found = verify(finished)
    assert found.is_sound
    assert found.sound == sum(path.is_file() for path in finished.rglob("*")) - 1
    assert ask("verify", finished)[0] == 0
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "--check", "--quiet", FILE], cwd=finished, check=True)


@pytest.mark.parametrize("command", ["report", "statement"])
def test_what_is_no_finished_run_is_told(finished: Path, tmp_path: Path, command: str) -> None:
    (tmp_path / "mine").mkdir()
    shutil.copy(finished / "config.toml", tmp_path / "mine")
    with pytest.raises(DataError, match=r"found no summary\.json: it was interrupted or still goes on"):
        ask(command, tmp_path / "mine")
    with pytest.raises(DataError, match=r"found no such folder\. Did you mean 'mine'"):
        ask(command, tmp_path / "mein")


def test_every_change_is_named(copied: Copy) -> None:
    folder = copied("changed")
    capture = next((folder / "captures").rglob("*.safetensors"))
    content = bytearray(capture.read_bytes())
    content[-1] ^= 1
    capture.write_bytes(content)
    (folder / "summary.json").unlink()
    (folder / "gallery" / "more.safetensors").write_bytes(b"x")
    (folder / "notes.txt").write_text("mine: no file of the run")
    found = verify(folder)
    assert found.changed == (capture.relative_to(folder).as_posix(),)
    assert (found.missing, found.unlisted) == (("summary.json",), ("gallery/more.safetensors",))
    code, told = ask("verify", folder)
    assert code == DataError.exit_code
    for name in (capture.name, "summary.json", "more.safetensors"):
        assert name in told


def test_a_new_report_makes_nothing_else_good(copied: Copy) -> None:
    folder = copied("report")
    (folder / "scores.csv").write_text((folder / "scores.csv").read_text() + "\n")
    (folder / "report.html").write_text("old")
    renew_hashes(folder, ["report.html"])
    assert verify(folder).changed == ("scores.csv",)
    (folder / FILE).unlink()
    renew_hashes(folder, ["report.html"])
    assert not (folder / FILE).exists()
    with pytest.raises(DataError, match="expected the list of files"):
        verify(folder)


def test_figures_are_files_of_the_run_until_a_report_without_them(copied: Copy) -> None:
    folder = copied("figures")
    code, told = ask("report", folder, "--figures")
    assert code == 0
    assert f"figures: {folder / 'figures'}, with their captions in captions.txt" in told
    assert not any(line.endswith(" ") for line in told.splitlines())
    names = {path.name for path in (folder / "figures").iterdir()}
    assert {"victims-1-1col.pdf", "victims-1-2col.svg", "gallery-1-2col.png"} <= names
    assert verify(folder).is_sound
    (folder / "figures" / "victims-1-1col.pdf").write_bytes(b"x")
    assert verify(folder).changed == ("figures/victims-1-1col.pdf",)
    assert ask("report", folder)[0] == 0
    assert verify(folder).is_sound
    assert not (folder / "figures").exists()


@pytest.mark.parametrize("line", ["nonsense", f"{'0' * 64}  /etc/passwd", f"{'0' * 64}  ../other/scores.csv"])
def test_a_list_that_leads_elsewhere_is_refused(copied: Copy, line: str) -> None:
    folder = copied("list")
    (folder / FILE).write_text(f"{line}\n")
    with pytest.raises(DataError, match="line 1"):
        verify(folder)


def test_equal_runs_are_equal_and_times_do_not_count(copied: Copy, finished: Path) -> None:
    folder = copied("times")
    rows = read_rows(Score, folder / "scores.csv")
    write_rows(Score, [replace(row, seconds=row.seconds + 1.0) for row in rows], folder / "scores.csv")
    found = compare(finished, folder)
    assert found.is_equal
    assert sum(cell.rows for cell in found.cells) == len(rows)
    code, told = ask("compare", finished, folder)
    assert (code, told) == (0, f"equal: {len(rows)} rows in {len(found.cells)} cells compared.\n")


def test_differences_are_counted_and_measured_by_cell(copied: Copy, finished: Path) -> None:
    folder = copied("other")
    rows = read_rows(Score, folder / "scores.csv")
    changed = [replace(rows[0], ssim=rows[0].similarity + 0.25), *rows[1:-1]]
    write_rows(Score, changed, folder / "scores.csv")
    text = (folder / "config.toml").read_text()
    (folder / "config.toml").write_text(text.replace("clients = 2", "clients = 3"))
    found = compare(finished, folder)
    assert found.config == {"federation.clients": ("2", "3")}
    unequal = [cell for cell in found.cells if not cell.is_equal]
    assert [(cell.cell, cell.differing, cell.only_first) for cell in unequal] == [
        (rows[0].cell, 1, 0),
        (rows[-1].cell, 0, 1),
    ]
    assert unequal[0].columns == {"ssim": pytest.approx(0.25)}
    code, told = ask("compare", finished, folder)
    assert code == 1
    assert "not equal" in told
    assert "federation.clients: 2 | 3" in told


def test_a_run_comes_out_again_to_the_last_digit(finished: Path, tmp_path: Path) -> None:
    code, told = ask("rerun", finished, "--out", tmp_path / "again")
    assert code == 0
    assert told.splitlines()[-1].startswith("equal:")
    assert compare(finished, tmp_path / "again").config == {}
    with pytest.raises(DataError, match="found no config"):
        ask("rerun", tmp_path)


def test_what_was_not_made_by_a_run_is_refused(tmp_path: Path, finished: Path) -> None:
    (tmp_path / "scores.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="column 'cell'"):
        compare(finished, tmp_path)


def tiny_config(folder: Path) -> Path:
    path = folder / "tiny.toml"
    path.write_text(
        'dataset = "digits"\njudge = "none"\nmodel = "lenet"\n[federation]\nclients = 1\n[attack]\niterations = 1\n'
    )
    return path


def test_events_are_lines_of_json_and_nothing_else(tmp_path: Path) -> None:
    code, told = ask("run", tiny_config(tmp_path), "--out", tmp_path / "run", "--events", "jsonl")
    events = [json.loads(line) for line in told.splitlines()]
    assert code == 0
    tasks = [event["task"] for event in events if event["event"] == "start"]
    assert tasks == ["federation digits-lenet-uniform", "idlg on digits-lenet-uniform"]
    assert [event["task"] for event in events if event["event"] == "end"] == tasks
    assert {"done": 1, "total": 1}.items() <= next(event for event in events if event["event"] == "progress").items()
    assert events[-1]["event"] == "report"
    assert Path(events[-1]["task"]).is_file()
    assert all(first["time"] <= second["time"] for first, second in pairwise(events))


def test_quiet_says_nothing_and_an_unknown_form_of_events_is_refused(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    assert ask("run", config, "--out", tmp_path / "run", "--quiet") == (0, "")
    with pytest.raises(ConfigError, match="--events: 'json' is not known"):
        ask("run", config, "--events", "json")


def test_a_task_that_fails_is_told() -> None:
    stream = io.StringIO()
    with pytest.raises(OSError, match="full"), EventWatch(stream).task("work"):
        raise OSError("full")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["start", "failed"]
