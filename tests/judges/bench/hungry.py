"""Jobs that lack memory; this file imports nothing, so that a worker that takes them starts soon."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path


class Hungry:
    """Lacks memory while a piece has more captures than `needs`, and writes how many pieces it was done in."""

    def __init__(self, path: Path, captures: int = 8, pieces: int = 1, needs: int = 4) -> None:
        self.path, self.captures, self.pieces, self.needs = path, captures, pieces, needs

    def run(self, advance: Callable[[int, int], None]) -> None:
        if self.captures // self.pieces > self.needs:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
        self.path.write_text(str(self.pieces))
        advance(self.captures, self.captures)

    def smaller(self) -> Hungry | None:
        more = self.pieces * 2
        return Hungry(self.path, self.captures, more, self.needs) if more <= self.captures else None


class Killed(Hungry):
    """Is killed by the system, as where memory runs out."""

    def run(self, advance: Callable[[int, int], None]) -> None:
        if self.captures // self.pieces > self.needs:
            os.kill(os.getpid(), signal.SIGKILL)
        super().run(advance)

    def smaller(self) -> Killed | None:
        more = self.pieces * 2
        return Killed(self.path, self.captures, more, self.needs) if more <= self.captures else None
