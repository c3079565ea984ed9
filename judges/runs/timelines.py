"""What a run stores of answers to recordings of events, step by step: one file for each attack and each control."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from fl_sim.records import load_record, save_record
from judges.runs.identity import Approach, Attacked, Group
from judges.runs.manifest import TIMELINES
from judges.runs.names import file_name


@dataclass(frozen=True, kw_only=True)
class Timelines(Approach, Attacked):
    """V answers of one cell over the T steps of the recordings, each beside the truth; see `judges.scoring.timelines`.

    Attributes:
        cell, guess, thresholding, tau: as in the rows.
        repeats, captures, examples: the victim of each answer, V: the repetition of the federation, the captured
            update, and the index of the original there.
        truth, answer: (V, T), spikes of the true recording and of the answer in each step; NaN where the answer is not
            finite.
        l2: (V, T), l2 of the frames; infinite where the answer is not finite.
        ssim: (V, T), SSIM of the frames; None for frames smaller than 7x7, of which it is not defined.
        correlation: (V,), correlation of the two profiles of spikes; NaN where it is not defined.
    """

    cell: str
    guess: str = ""
    thresholding: str = "none"
    tau: float | None = None
    repeats: tuple[int, ...]
    captures: tuple[str, ...]
    examples: tuple[int, ...]
    truth: Tensor
    answer: Tensor
    l2: Tensor
    ssim: Tensor | None
    correlation: Tensor

    @property
    def key(self) -> tuple[Group, str]:
        """Return the key of the rows to which it belongs."""
        return self.group, self.cell


def save_timelines(timelines: Timelines, run_dir: Path) -> Path:
    """Write the timelines of a cell into the folder of a run and return their path."""
    return save_record(timelines, run_dir / TIMELINES / f"{file_name(timelines.cell)}.safetensors")


def load_timelines(run_dir: Path, keys: Sequence[tuple[Group, str]]) -> list[Timelines]:
    """Return the timelines in the folder of a run; a DataError if a file is corrupt.

    Args:
        run_dir: folder of a run.
        keys: (group, cell) of rows, in whose order the timelines are returned; those of an earlier call, which belong
            to no row, are left out.
    """
    found = [load_record(Timelines, path) for path in sorted((run_dir / TIMELINES).glob("*.safetensors"))]
    places = {key: place for place, key in enumerate(dict.fromkeys(keys))}
    return sorted((one for one in found if one.key in places), key=lambda one: places[one.key])
