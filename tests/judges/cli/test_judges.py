from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path

import pytest

from judges.cli.judges import COLUMNS
from tests.judges.cli.conftest import Call

ROOT = Path(__file__).parents[3]
TINY = ("--set", "max_epochs=1", "--set", "max_examples=200")


@pytest.fixture
def call(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, spikeleak: Call) -> Call:
    """Return a function that runs the command `spikeleak judge` and returns its exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SPIKELEAK_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "downloads"))
    return functools.partial(spikeleak, "judge")


def test_train_prints_what_list_prints(call: Call, cache: Path) -> None:
    code, out, err = call("train", "digits", "--size", "8", *TINY)
    assert code == 0
    assert err == "judge lenet on digits ...\n"
    header, line = (row.rstrip() for row in out.splitlines())
    assert header.split() == " ".join(COLUMNS).split()
    (path,) = (cache / "judges").iterdir()
    assert line.startswith("lenet")
    assert line.endswith(str(path))
    assert "10.00 %" in line
    assert call("list") == (0, out, "")
    assert call("train", "digits", "--size", "8", *TINY) == (0, out, err)


def test_each_way_of_setting_the_same_thing_finds_the_same_judge(call: Call) -> None:
    first = call("train", "digits", "--size", "8", *TINY)
    named = ("--set", "judge=lenet", "--set", "judge.max_epochs=1", "--set", "judge.max_examples=200")
    assert call("train", "digits", "--set", "dataset.size=8", *named) == first
    _, out, _ = call("train", "digits", "--size", "8", *TINY, "--set", "seed=1")
    assert out != first[1]
    assert len(call("list")[1].splitlines()) == 3


def test_an_empty_cache_and_a_damaged_judge_are_told(call: Call, cache: Path) -> None:
    assert call("list") == (0, f"no trained judge in {cache / 'judges'}\n", "")
    (cache / "judges").mkdir(parents=True)
    (cache / "judges" / "x.safetensors").write_bytes(b"no judge")
    code, out, err = call("list")
    assert code == 0
    assert out.startswith("no trained judge")
    assert err == f"1 more in {cache / 'judges'} are damaged or of another version\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["digitss"], ["dataset.name: 'digitss' is not known.", "Did you mean 'digits'?"]),
        (["digits", "--set", "name=lennet"], ["judge.name: 'lennet' is not known.", "Did you mean 'lenet'?"]),
        (["digits", "--set", "name=none"], ["judge.name: 'none' is no judge"]),
        (["digits", "--set", "max_epoch=3"], ["judge.max_epoch: unknown key.", "Did you mean 'max_epochs'?"]),
        (["digits", "--set", "max_epochs=-3"], ["judge.max_epochs: input should be greater than or equal to 0"]),
        (["digits", "--set", "max_epochs=1,2"], ["judge.max_epochs: input should be a valid integer, got [1, 2]"]),
        (["digits", "--set", "attack.name=dlg"], ["judge.attack: unknown key."]),
        (["digits", "--set", "width=8", "--set", "name=lenet"], ["judge.width: 'lenet' does not read it"]),
        (["digits", "--set", "dataset.alpha=1"], ["dataset.alpha: no judge depends on it."]),
        (["digits", "--set", "dataset.sise=8"], ["dataset.sise: no judge depends on it. Did you mean 'size'?"]),
        (["digits", "--set", "name=dvs_gesture_snn"], ["'digits' holds images; use lenet, resnet50_arcface, "]),
        (["digits", "--size", "3"], ["dataset.size: expected 0 for the default, or a side of 7"]),
        (["digits", "--set", "dataset.time_bins=3"], ["dataset.time_bins: is for recordings of events"]),
    ],
)
def test_a_wrong_setting_is_refused_in_one_paragraph(call: Call, arguments: list[str], said: list[str]) -> None:
    code, out, err = call("train", *arguments)
    assert code == 2
    assert out == ""
    assert err.startswith("spikeleak: ")
    assert err.count("\n") == 1
    assert all(part in err for part in said), err


def test_missing_data_are_told(call: Call) -> None:
    code, _, err = call("train", "mnist")
    assert code == 3
    assert "spikeleak data fetch mnist" in err


def test_help_names_the_commands(call: Call) -> None:
    code, out, _ = call("--help")
    assert code == 0
    assert "train" in out
    assert "list" in out


def test_the_command_is_free_of_torch_until_it_is_needed() -> None:
    code = "import sys, judges.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
