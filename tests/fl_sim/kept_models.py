"""What may happen to a training that is kept, and to a file that keeps a trained model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


class KilledError(Exception):
    """Stands for the end of the process."""


def kill_after(epoch: int, seen: list[int]) -> Callable[[int, int], None]:
    """Return a progress that notes each epoch, and ends the process after this one; 0 for none."""

    def progress(done: int, _of: int) -> None:
        seen.append(done)
        if done == epoch:
            raise KilledError

    return progress


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(bytes(content))


def praise(path: Path) -> None:
    """Change a digit of the accuracy, which stands in the header."""
    before, key, after = path.read_bytes().partition(b'accuracy\\": ')
    path.write_bytes(before + key + (b"0" if after[:1] == b"1" else b"1") + after[1:])
