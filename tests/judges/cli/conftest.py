from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from judges.cli import main

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def spikeleak(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Return a function that runs the command `spikeleak` and returns its exit code, output and errors."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["spikeleak", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, printed.out, printed.err

    return run
