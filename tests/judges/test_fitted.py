"""Tables in terminals of any width and encoding; no number is cut, and nothing is left out."""

from __future__ import annotations

import io
import sys

import pytest
from rich.console import Console

from judges.fitted import Fitted, Head, Line, write_anything

TABLE = Fitted(
    [Head("attack", left=True), Head("n"), Head("SSIM"), Head("verdict", left=True)],
    [
        Line(["digits", ], "bold"),
        Line(["  idlg", "8", "0.9125", "recovered"]),
        Line(["  black", "12", "-0.0250", ""], "dim"),
    ],
)  # fmt: skip


def printed(width: int) -> list[str]:
    console = Console(width=width, color_system=None, force_terminal=True)
    with console.capture() as text:
        console.print(TABLE)
    return [line.rstrip() for line in text.get().splitlines()]


def test_a_wide_terminal_has_every_column() -> None:
    assert printed(80) == [
        "attack    n     SSIM  verdict",
        "digits",
        "  idlg    8   0.9125  recovered",
        "  black  12  -0.0250",
    ]


def test_what_does_not_fit_stands_below() -> None:
    assert printed(24) == [
        "attack    n     SSIM",
        "digits",
        "  idlg    8   0.9125",
        "    verdict recovered",
        "  black  12  -0.0250",
    ]
    assert printed(16) == [
        "attack    n",
        "digits",
        "  idlg    8",
        "    SSIM 0.9125;",
        "    verdict",
        "    recovered",
        "  black  12",
        "    SSIM -0.0250",
    ]


def test_files_and_pipes_get_whole_lines() -> None:
    stream = io.StringIO()
    Console(file=stream, width=1000).print(TABLE)
    assert "  idlg    8   0.9125  recovered" in stream.getvalue().splitlines()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_no_character_stops_a_stream_that_lacks_it(encoding: str) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    write_anything(stream)
    stream.write("a \N{EN DASH} b\N{HORIZONTAL ELLIPSIS} \N{MINUS SIGN}1 \N{SNOWMAN}")
    stream.flush()
    assert stream.buffer.getvalue() == b"a - b... -1 ?"


def test_streams_of_others_are_left_alone() -> None:
    write_anything(io.StringIO(), sys.stdout if hasattr(sys.stdout, "reconfigure") else io.StringIO())
