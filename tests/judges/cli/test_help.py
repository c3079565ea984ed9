"""Help: every argument says what it is, nothing is eaten by markup, and each command has an example and its codes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer.main
from typer.testing import CliRunner

from judges.cli import app
from judges.cli.manual import FOUR_WAYS
from tests.judges.cli.conftest import Call

ROOT = typer.main.get_command(app)
GENERATED = {"--help", "--install-completion", "--show-completion"}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Call from a folder without runs."""
    monkeypatch.chdir(tmp_path)


def commands(group: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if isinstance(group, click.Group):
        for name, inner in group.commands.items():
            yield from commands(inner, (*path, name))
    else:
        yield path, group


COMMANDS = dict(commands(ROOT))


def words(text: str) -> str:
    """Return a text without what a layout adds."""
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", text).split())


def shown(*arguments: str) -> str:
    return words(CliRunner().invoke(app, [*arguments, "--help"], env={"COLUMNS": "80", "TERM": "dumb"}).output)


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_argument_says_what_it_is(path: tuple[str, ...]) -> None:
    page = shown(*path)
    for one in COMMANDS[path].params:
        if GENERATED.isdisjoint(one.opts):
            told = getattr(one, "help", None)
            assert told, one.name
            # A column's words stand in their order, though those of its neighbours may come between two lines.
            assert re.search(r".{1,60}?".join(re.escape(word) for word in told.split()), page), one.name


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_an_example_and_its_exit_codes(path: tuple[str, ...]) -> None:
    page = shown(*path)
    assert f"spikeleak {' '.join(path)}" in page
    assert "Exit codes: 0" in page
    has_set = any("--set" in one.opts for one in COMMANDS[path].params)
    assert ("spikeleak config reference" in page) == (has_set or path == ("config", "reference"))


def test_alone_it_shows_the_four_ways_in(spikeleak: Call) -> None:
    page = shown()
    for line in FOUR_WAYS.split("\n\n"):
        assert words(line) in page
    assert len(re.findall(r"^spikeleak", FOUR_WAYS, re.MULTILINE)) == 4


def test_nothing_is_written_by_a_dry_run_which_tells_what_lacks(
    spikeleak: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SPIKELEAK_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    given = ["--set", "dataset=digits,mnist", "--set", "attack=idlg", "--set", "repeats=3", "--out", "none"]
    code, out, err = spikeleak("run", "table4", "--set", "scale=smoke", *given, "--dry-run")
    assert code == 0
    told = " ".join(out.split())
    assert "24 federations, 8 cells" in told
    assert "none: new; 48 answers to compute" in told
    assert "data digits 1,297 train, 500 test examples" in told
    assert "data mnist missing, and no run downloads it." in told
    assert "3 x 2 clients x 1 round = 6 victims; an evaluation takes" in told
    # 2 outer steps of 3 iterations, at most 1.25 evaluations each, two restarts.
    assert "idlg at most 24 evaluations a victim" in told
    assert "attack.adversary, attack.auxiliary" in err
    assert "attack.effort" in err
    assert not Path("none").exists()
    _, out, _ = spikeleak("run", "table4", "--set", "scale=smoke", "--set", "dataset=mnist", *given[2:], "--dry-run")
    assert "time not estimated for any of 4 cells" in " ".join(out.split())
    code, _, err = spikeleak("run", "demo", "--dry-run", "--device", "cuda:99")
    assert (code, "device: 'cuda:99' was asked for" in err) == (2, True)


def test_a_dry_run_counts_the_rounds_that_are_captured(spikeleak: Call) -> None:
    settings = ["rounds=5", "capture_every=2", "clients=10", "fraction=0.5", "dropout=0.1"]
    given = [part for text in settings for part in ("--set", f"federation.{text}")]
    code, out, _ = spikeleak("run", "demo", "--set", "attack=exact", "--set", "repeats=2", *given, "--dry-run")
    assert (code, "2 x 5 clients x 3 rounds = at most 30 victims" in out) == (0, True)
    code, _, err = spikeleak("run", "demo", "--set", "federation.capture_every=0", "--dry-run")
    assert (code, "federation.capture_every: 0 captures no update" in err) == (2, True)


def test_a_dry_run_of_model_inversions_tells_of_trainings(spikeleak: Call) -> None:
    code, out, _ = spikeleak("run", "brainleaks", "--set", "dataset=digits", "--dry-run", "--out", "none")
    assert code == 0
    assert "target digits-" in out
    assert re.search(r"time +about \d+ \w+( \d+ min)? of one core for the trainings", " ".join(out.split()))


def test_a_dry_run_tells_how_long_federations_train(spikeleak: Call) -> None:
    short = [part for text in ("attack=idlg", "federation.local_epochs=40", "strategy=FedAvg", "federation.rounds=30",
                               "judge=none") for part in ("--set", text)]  # fmt: skip
    code, out, _ = spikeleak("run", "demo", *short, "--dry-run")
    assert code == 0
    assert re.search(r", about \d+ \w+( \d+ min)? for the federations; training of judges", " ".join(out.split()))


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cuda:64", "mps:1"])
def test_a_device_that_is_not_there_is_said_before_anything_is_done(spikeleak: Call, device: str) -> None:
    for command in (["run", "demo"], ["train", "digits"]):
        code, _, err = spikeleak(*command, "--device", device)
        assert code == 2
        assert f"'{device}'" in err
        assert "device: " in err
    assert not Path("runs").exists()


def test_a_config_may_begin_with_a_mark(spikeleak: Call, tmp_path: Path) -> None:
    """As editors of Windows write it."""
    path = tmp_path / "marked.toml"
    path.write_text('name = "x"\nattack = "exact"\ndataset.name = "digits"\n', encoding="utf-8-sig")
    code, out, _ = spikeleak("run", str(path), "--dry-run")
    assert (code, "1 cell" in out) == (0, True)


def test_a_home_that_the_shell_leaves_is_found(
    spikeleak: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    code, _, err = spikeleak("run", "demo", "--set", "dataset.root=~/data", "--set", "dataset=mnist", "--out=~/results")
    assert (code, f"expected a folder, found none at {tmp_path / 'data'}" in err) == (3, True)
    code, _, err = spikeleak("verify", "~/results")
    assert (code, str(tmp_path / "results") in err) == (3, True)
