"""What the command sends to a terminal and to a pipe: colours where they are wanted, and nothing where it is quiet."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import pytest
import tomli_w

from tests import programs
from tests.test_robustness_bombs import NO_STEP

pty = pytest.importorskip("pty")

ESCAPE = "\x1b"
STYLE = re.compile(rb"\x1b\[([0-9;]*)m")
COLOURS = {*range(30, 39), *range(40, 49), *range(90, 98), *range(100, 108)}
"""Of the codes of an ANSI style those that set a colour, of the sign or behind it."""
DECIDE = (
    "NO_COLOR",
    "FORCE_COLOR",
    "PY_COLORS",
    "GITHUB_ACTIONS",
    "TTY_COMPATIBLE",
    "TTY_INTERACTIVE",
    "CLICOLOR_FORCE",
)
"""Variables by which rich, typer and click decide on colours."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the config of a run that takes no step."""
    (tmp_path / "tiny.toml").write_text(tomli_w.dumps(NO_STEP))
    return tmp_path


def environment(**variables: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in DECIDE}
    return {**kept, "TERM": "xterm-256color", "COLUMNS": "120", **variables}


def on_a_terminal(folder: Path, *arguments: str, **variables: str) -> tuple[int, bytes]:
    """Return the exit code, and all that a terminal got of the command."""
    ours, theirs = pty.openpty()
    try:
        process = programs.start(
            programs.COMMAND, *arguments, cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs,
            env=environment(**variables),
        )  # fmt: skip
        os.close(theirs)
        said = b""
        while part := _read(ours):
            said += part
        process.join(120)
        assert process.exitcode is not None
        return process.exitcode, said
    finally:
        os.close(ours)


def _read(terminal: int) -> bytes:
    """Return what is there to read; nothing once the other side is closed, which Linux tells as an error."""
    try:
        return os.read(terminal, 1 << 16)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return b""


def colours(said: bytes) -> set[int]:
    """Return the codes of colours among the styles in a text."""
    codes = {int(code) for style in STYLE.findall(said) for code in style.split(b";") if code}
    return codes & COLOURS


COMMANDS = {
    "help": ["--help"],
    "list": ["list", "attacks"],
    "info": ["data", "info", "digits"],
    "usage": ["rnu"],
    "wrong": ["run", "tiny.toml", "--set", "seeed=1"],
    "run": ["run", "tiny.toml"],
}


@pytest.mark.endurance
@pytest.mark.parametrize("name", COMMANDS)
def test_no_color_is_honoured_on_a_terminal(name: str, folder: Path) -> None:
    code, said = on_a_terminal(folder, *COMMANDS[name], NO_COLOR="1")
    assert said.strip()
    assert code == (2 if name in ("usage", "wrong") else 0)
    assert not colours(said), said


@pytest.mark.endurance
def test_there_are_colours_to_leave_out(folder: Path) -> None:
    assert colours(on_a_terminal(folder, *COMMANDS["help"])[1])
    assert colours(on_a_terminal(folder, *COMMANDS["run"])[1])


@pytest.mark.endurance
@pytest.mark.parametrize("name", ["help", "list", "run"])
def test_a_pipe_gets_plain_text(name: str, folder: Path) -> None:
    done = programs.run(programs.COMMAND, *COMMANDS[name], cwd=folder, env=environment())
    assert done.returncode == 0
    assert done.stdout
    assert ESCAPE not in done.stdout + done.stderr


@pytest.mark.endurance
@pytest.mark.parametrize("variables", [{}, {"NO_COLOR": "1"}], ids=["colours", "no colours"])
def test_a_quiet_run_says_nothing(variables: dict[str, str], folder: Path) -> None:
    code, said = on_a_terminal(folder, "run", "tiny.toml", "--quiet", **variables)
    assert (code, said) == (0, b"")
    assert (folder / "runs" / "tiny" / "report.html").is_file()


def test_a_quiet_run_says_what_is_wrong(folder: Path) -> None:
    code, said = on_a_terminal(folder, "run", "tiny.toml", "--quiet", "--set", "seeed=1")
    assert code == 2
    assert said.startswith(b"spikeleak: seeed: unknown key.")
