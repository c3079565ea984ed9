"""The command: what it prints, what it exits with, and that a wrong config is refused at once in one paragraph."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from attacks import ATTACKS, MEMBERSHIP_INFERENCES, MODEL_INVERSIONS
from fl_sim.datasets import DATASETS
from fl_sim.errors import ConfigError
from fl_sim.models import MODELS
from fl_sim.plugins import BY_HAND
from judges.bench import execution
from judges.classifiers import JUDGES
from judges.cli import main

COMMAND = Path(sys.executable).with_name("spikeleak")
GOOD: dict[str, Any] = {
    "name": "tiny",
    "seed": 0,
    "dataset": {"name": "digits", "split": "test", "size": 12},
    "model": {"name": ["lenet", "spiking_lenet"], "timesteps": 2},
    "federation": {"clients": 2},
    "attack": {"name": ["dlg", "idlg"], "iterations": 0},
    "judge": "none",
}


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Return a function that runs the command in this process, in an empty folder, without any data set."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SPIKELEAK_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def run(*arguments: str | Path) -> Done:
        monkeypatch.setattr(sys, "argv", ["spikeleak", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Done(ended.value.code, printed.out, printed.err)

    return run


def process(*arguments: str | Path, cwd: Path) -> Done:
    done = subprocess.run([COMMAND, *arguments], cwd=cwd, capture_output=True, text=True, check=False, timeout=120)
    return Done(done.returncode, done.stdout, done.stderr)


def config(folder: Path, changes: dict[str, Any] | None = None) -> Path:
    """Write a config; changes are by path, and a path without a dot replaces what stands there."""
    raw = {key: dict(value) if isinstance(value, dict) else value for key, value in GOOD.items()}
    for path, value in (changes or {}).items():
        table, _, key = path.rpartition(".")
        (raw.setdefault(table, {}) if table else raw)[key] = value
    written = folder / "config.toml"
    written.write_text(tomli_w.dumps(raw))
    return written


def one_paragraph(text: str) -> bool:
    return text.startswith("spikeleak: ") and text.count("\n") == 1 and text.endswith("\n")


# Wrong configs

WRONG: dict[str, tuple[dict[str, Any], list[str], list[str]]] = {
    "unknown key": ({"federation.cliens": 3}, [], ["federation.cliens: unknown key.", "Did you mean 'clients'?"]),
    "unknown table": ({"federatoin.rounds": 3}, [], ["federatoin: unknown key.", "Did you mean 'federation'?"]),
    "wrong type": ({"seed": "zero"}, [], ["seed: input should be a valid integer, got 'zero'"]),
    "wrong model": (
        {"model.name": "lenett"},
        [],
        ["model.name: 'lenett' is not", "Did you mean 'lenet'?", "--import"],
    ),
    "wrong attack": ({"attack.name": "idgl"}, [], ["attack.name: 'idgl' is not known.", "Did you mean 'idlg'?"]),
    "wrong dataset": ({"dataset.name": "mnsit"}, [], ["dataset.name: 'mnsit' is not", "Did you mean 'mnist'?"]),
    "wrong judge": ({"judge": "lennet"}, [], ["judge.name: 'lennet' is not known.", "Did you mean 'lenet'?"]),
    "wrong strategy": ({"strategy": "FedAvgg"}, [], ["strategy.name: 'FedAvgg'", "Did you mean 'FedAvg'?"]),
    "wrong choice": ({"dataset.partitioner": "idd"}, [], ["dataset.partitioner: ", "Did you mean 'iid'?"]),
    "unknown attack key": ({"attack.itertions": 3}, [], ["attack.itertions: unknown", "Did you mean 'iterations'?"]),
    "impossible pair": ({"federation.local_steps": 2}, [], ["federation.local_steps: FedSGD"]),
    "refused surrogate": ({"model.surrogate": "rect"}, [], ["model.surrogate: 'rect' is refused"]),
    "out of range": ({"federation.fraction": 2.0}, [], ["federation.fraction: input should be less"]),
    "name leaves the folder": ({"name": "../up"}, [], ["name: '../up' is no name for a folder"]),
    "no axis": ({"repeats": [1, 2]}, [], ["repeats: "]),
    "empty axis": ({"model.name": []}, [], ["model.name: expected a value"]),
    "malformed --set": ({}, ["--set", "seed"], ["--set seed: expected key=value"]),
    "wrong --set": ({}, ["--set", "model.nmae=lenet"], ["model.nmae: unknown key.", "Did you mean 'name'?"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_config_is_refused_in_one_paragraph(call: Any, tmp_path: Path, case: str) -> None:
    changes, arguments, said = WRONG[case]
    done = call("run", config(tmp_path, changes), *arguments)
    assert done.code == 2
    assert one_paragraph(done.err), done.err
    assert all(part in done.err for part in said), done.err
    assert done.out == ""
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("case", [*list(WRONG)[:6], "impossible pair", "malformed --set", "no TOML", "no file"])
def test_a_wrong_config_is_refused_within_two_seconds_of_work(tmp_path: Path, case: str) -> None:
    """Of the processor's time: the clock on the wall also counts what else the machine is doing."""
    changes, arguments, said = WRONG.get(case, ({}, [], ["config.toml: expected"]))
    path = config(tmp_path, changes)
    if case == "no TOML":
        path.write_text("name = [")
    elif case == "no file":
        path.unlink()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = process("run", path, *arguments, cwd=tmp_path)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.code == 2
    assert one_paragraph(done.err), done.err
    assert "Traceback" not in done.err
    assert all(part in done.err for part in said), done.err
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2.0


def test_a_wrong_command_line_shows_how_it_is_used(call: Any) -> None:
    for arguments in (["run"], ["rnu"], ["run", "--frsh"], ["list"]):
        done = call(*arguments)
        assert done.code == 2
        assert "Usage: spikeleak" in done.err
        assert "Traceback" not in done.err


def test_help_names_every_command(call: Any) -> None:
    done = call("--help")
    assert done.code == 0
    for name in ("run", "attack", "report", "list", "data"):
        assert name in done.out


# Missing data, unexpected errors, interruption


def test_missing_data_are_told_with_what_to_do(call: Any, tmp_path: Path) -> None:
    done = call("run", config(tmp_path, {"dataset.name": "mnist"}))
    assert done.code == 3
    assert one_paragraph(done.err), done.err
    assert "spikeleak data fetch mnist" in done.err
    assert "SPIKELEAK_DATA" in done.err
    assert str(tmp_path / "cache") in done.err
    assert not (tmp_path / "runs").exists()


def test_an_empty_folder_of_data_is_no_data(call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("SPIKELEAK_DATA", str(tmp_path / "empty"))
    done = call("run", config(tmp_path, {"dataset.name": "mnist"}))
    assert done.code == 3
    assert str(tmp_path / "empty") in done.err


@pytest.mark.parametrize("command", ["attack", "report"])
def test_a_folder_without_a_run_is_told(call: Any, tmp_path: Path, command: str) -> None:
    done = call(command, tmp_path / "none")
    assert done.code == 3
    assert one_paragraph(done.err), done.err
    assert str(tmp_path / "none") in done.err


@pytest.mark.parametrize("command", ["report", "statement", "verify"])
def test_a_config_is_no_folder_of_a_run(call: Any, tmp_path: Path, command: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("")
    done = call(command, path)
    assert done.code == 3
    assert one_paragraph(done.err), done.err
    assert str(path) in done.err


def fail(error: BaseException) -> Any:
    def failing(*_arguments: object, **_options: object) -> None:
        raise error

    return failing


def test_an_interruption_is_130(call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "run_plan", fail(KeyboardInterrupt()))
    done = call("run", config(tmp_path))
    assert done.code == 130
    assert "interrupted; what was finished is kept" in done.err


def test_an_unexpected_error_is_one_paragraph_and_1(call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "run_plan", fail(OSError(28, "No space left on device")))
    done = call("run", config(tmp_path))
    assert done.code == 1
    assert one_paragraph(done.err), done.err
    assert "unexpected OSError: [Errno 28] No space left on device. Run again with --debug" in done.err


@pytest.mark.parametrize("place", [0, 1, 3])
def test_debug_may_stand_anywhere_and_lets_the_error_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    arguments = ["run", str(config(tmp_path)), "--set", "sed=1"]
    arguments.insert(place if place < 3 else len(arguments), "--debug")
    monkeypatch.setattr(sys, "argv", ["spikeleak", *arguments])
    with pytest.raises(ConfigError, match=r"^sed: unknown key"):
        main()


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    done = process("run", config(tmp_path, {"sed": 1}), "--debug", cwd=tmp_path)
    assert done.code != 0
    assert "Traceback" in done.err
    assert "ConfigError: sed: unknown key" in done.err


# list, data


@pytest.mark.parametrize(
    ("what", "table"),
    [
        ("attacks", {**ATTACKS, **MODEL_INVERSIONS, **MEMBERSHIP_INFERENCES}),
        ("models", MODELS),
        ("datasets", DATASETS),
        ("judges", JUDGES),
    ],
)
def test_list_shows_each_line_of_a_table_and_its_origin(call: Any, what: str, table: dict[str, Any]) -> None:
    done = call("list", what)
    assert done.code == 0
    lines = done.out.splitlines()
    assert [line.split()[0] for line in lines] == list(table)
    for line, (name, entry) in zip(lines, table.items(), strict=True):
        assert entry.summary in line
        by_hand = name in MODELS and MODELS.origin(name) == BY_HAND  # by other tests in this process
        assert (BY_HAND if by_hand else "spikeleak") in line


def test_list_of_what_is_not_there_names_the_nearest(call: Any) -> None:
    done = call("list", "atacks")
    assert done.code == 2
    assert "Did you mean 'attacks'?" in done.err


@pytest.mark.parametrize("name", DATASETS)
def test_info_says_where_a_dataset_comes_from_and_is_looked_for(call: Any, tmp_path: Path, name: str) -> None:
    done = call("data", "info", name, "--data-root", tmp_path / "here")
    assert done.code == 0
    entry = DATASETS[name]
    text = " ".join(done.out.split())
    assert " ".join(entry.summary.split()) in text
    assert " ".join(entry.terms.split()) in text
    shown = done.out.replace("\n", "").replace(" ", "")
    for layout in entry.layouts:
        for folder in (tmp_path / "here", tmp_path / "cache" / "spikeleak" / "data"):
            assert str(folder / layout).replace(" ", "") in shown
    assert ("not found" in done.out) is bool(entry.layouts or entry.own)


def test_info_finds_what_is_there(call: Any, tmp_path: Path) -> None:
    layout = DATASETS["mnist"].layouts[0]
    (tmp_path / "here" / layout).mkdir(parents=True)
    done = call("data", "info", "mnist", "--data-root", tmp_path / "here")
    assert any(line.startswith("found ") for line in done.out.splitlines())


def test_info_shows_a_path_with_brackets_as_it_is(call: Any) -> None:
    done = call("data", "info", "mnist", "--data-root", "odd[/red][bold]folder")
    assert done.code == 0
    assert "odd[/red][bold]folder" in done.out


def test_info_and_fetch_of_an_unknown_dataset_name_the_nearest(call: Any) -> None:
    for command in ("info", "fetch"):
        done = call("data", command, "mnits")
        assert done.code == 2
        assert "Did you mean 'mnist'?" in done.err


# A whole run


def test_run_attack_report(call: Any, tmp_path: Path) -> None:
    path = config(tmp_path, {"model.name": "lenet"})
    done = call("run", path, "--set", "attack.name=idlg")
    folder = tmp_path / "runs" / "tiny"
    assert done.code == 0
    assert done.out.splitlines()[-1] == f"report: {(folder / 'report.html').as_uri()}"
    assert "iDLG" in done.out
    assert "idlg on" not in done.out  # progress is on standard error
    assert "idlg on digits-lenet-uniform ..." in done.err

    refused = call("run", path, "--set", "attack.name=idlg", "--set", "seed=1")
    assert refused.code == 2
    assert "holds another experiment" in refused.err

    added = call("attack", "runs/tiny", "--set", "attack=dlg", "--set", "attack.iterations=1")
    assert added.code == 0
    assert "DLG (iterations=1)" in added.out

    (folder / "report.html").unlink()
    written = call("report", "runs/tiny")
    assert written.code == 0
    assert written.out == added.out
    assert (folder / "report.html").is_file()

    elsewhere = call("run", path, "--out", tmp_path / "out", "--fresh")
    assert elsewhere.code == 0
    assert (tmp_path / "out" / "scores.csv").is_file()
    again = call("run", path, "--set", "seed=1", "--out", tmp_path / "out", "--fresh")
    assert again.code == 0
    assert "seed = 1" in (tmp_path / "out" / "config.toml").read_text()


def test_the_installed_command_is_this_one() -> None:
    done = process("list", "models", cwd=Path(os.sep))
    assert done.code == 0
    assert "spiking_lenet" in done.out
    assert done.err == ""


def test_an_experiment_without_an_attack_prints_its_distances(call: Any, tmp_path: Path) -> None:
    given = ["dataset=digits_dvs", "dataset.size=8", "dataset.time_bins=2", "class_distances=6"]
    options = [part for text in given for part in ("--set", text)]
    done = call("run", "table6", "--set", "scale=smoke", *options, "--out", str(tmp_path / "run"))
    assert done.code == 0
    assert "intra-class" in done.out
    assert "inter-class" in done.out
    assert "attack" not in done.out
