"""Files that are whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fl_sim.files import atomic_write, sha256


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = atomic_write(tmp_path / "a" / "result.json", "old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        atomic_write(path, "new")
    assert path.read_text() == "old"
    assert [item.name for item in path.parent.iterdir()] == ["result.json"]


def test_others_may_read_what_the_umask_lets_them(tmp_path: Path) -> None:
    reference = tmp_path / "reference"
    reference.write_text("")
    assert atomic_write(tmp_path / "result", b"x").stat().st_mode == reference.stat().st_mode


def test_sha256_of_a_known_text(tmp_path: Path) -> None:
    path = atomic_write(tmp_path / "abc", "abc")
    assert sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
