"""The pictures that a run stores for its report: truth and answers side by side, chosen by rank, not by appearance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from fl_sim.records import load_record, save_record
from judges.runs.identity import Approach, Attacked, Group
from judges.runs.names import file_name

GALLERY, ANSWERS = "gallery", "answers"
"""Folders of a run: of answers beside the truth, and of those whose truth nobody kept. A cell of an audit has both."""

CAPTURES = "captures"
"""Name of an audit's data set if none is given."""

TRUTH, ANSWER, NEAREST = "truth", "answer", "nearest"


@dataclass(frozen=True, kw_only=True)
class Pictures(Approach, Attacked):
    """K answers of one attack and what stands beside each.

    Attributes:
        cell, thresholding, tau: as in the rows.
        source, round: how a trained model was trained, as in the rows; "" and 0 where updates were attacked.
        captures: how many were attacked; 0 where a trained model was.
        subjects: what each answer is of: the id of a capture, or the name of a class.
        roles: why each was chosen: "best", ..., "worst", "diverged"; () where they are the first, or all.
        images: {"truth", "answer", "nearest": (K, C, H, W)}. Events are one picture: their sum or their mean over time.
        numbers: {"label" and whatever was measured: of each}, as in the rows.
        words: {"stop_reason": of each}, of trained models also the names of the classes that the judge sees, "seen",
            and that the nearest training example is of, "nearest".
        limits: the values that are black and white; None where each picture has its own.
        timesteps: how many frames of events each picture sums; 0 for still images and for means.
        spikes: (T, C, H, W), uint8, of one answer; T = 0 of images.
        spikes_of: which answer.
        loss_curves: (curves, outer steps), matching loss of the first victims, NaN after an attack's end.
        curve_recognisable: for each curve, whether all its pictures were recognisable.
    """

    cell: str
    thresholding: str = "none"
    tau: float | None = None
    source: str = ""
    round: int = 0
    captures: int = 0
    subjects: tuple[str, ...]
    roles: tuple[str, ...] = ()
    images: Mapping[str, Tensor]
    numbers: Mapping[str, tuple[float, ...]]
    words: Mapping[str, tuple[str, ...]]
    limits: tuple[float, float] | None = None
    timesteps: int = 0
    spikes: Tensor = field(default_factory=lambda: torch.zeros(0, 1, 1, 1, dtype=torch.uint8))
    spikes_of: int = 0
    loss_curves: Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    curve_recognisable: tuple[bool, ...] = ()

    @property
    def key(self) -> tuple[Group, str]:
        """Return the key of the line of a summary to which it belongs."""
        return self.group, self.cell

    def limits_of(self, kind: str, at: int) -> tuple[float, float]:
        """Return the values of one picture that are black and white, the second above the first."""
        picture = self.images[kind][at]
        low, high = self.limits or (float(picture.min()), float(picture.max()))
        return low, high if high > low else low + 1.0


def save_pictures(pictures: Pictures, run_dir: Path) -> Path:
    """Write the pictures of a cell into the folder of a run and return their path."""
    folder = GALLERY if TRUTH in pictures.images else ANSWERS
    return save_record(pictures, run_dir / folder / f"{file_name(pictures.cell)}.safetensors")


def load_pictures(folder: Path, keys: Sequence[tuple[Group, str]] | None = None) -> list[Pictures]:
    """Return the pictures in a folder.

    Args:
        folder: one of the two of a run.
        keys: those of a summary's lines, whose order is kept, and pictures of none of them, which are of an earlier
            call, are left out; None for all by name.

    Raises:
        DataError: a file is corrupt.
    """
    found = [load_record(Pictures, path) for path in sorted(folder.glob("*.safetensors"))]
    if keys is None:
        return found
    places = {key: place for place, key in enumerate(keys)}
    return sorted((one for one in found if one.key in places), key=lambda one: places[one.key])
