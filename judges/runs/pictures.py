"""The pictures that a run stores for its report: truth and answers side by side, chosen by rank, not by appearance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from fl_sim.records import LATER, load_record, save_record
from judges.runs.identity import Approach, Attacked, Group
from judges.runs.manifest import ANSWERS, GALLERY
from judges.runs.names import file_name

CAPTURES = "captures"
"""Name of an audit's data set if none is given."""

TRUTH, ANSWER, NEAREST = "truth", "answer", "nearest"


@dataclass(frozen=True, kw_only=True)
class Pictures(Approach, Attacked):
    """K answers of one attack, each with the pictures and numbers to show next to it.

    Attributes:
        cell, thresholding, tau: as in the rows.
        source, round: training of the attacked model, as in the rows; "" and 0 if updates were attacked.
        captures: number of captures attacked; 0 if a trained model was attacked.
        subjects: subject of each answer: the id of a capture, or the name of a class.
        roles: why the first of them were chosen: "best", ..., "worst", "diverged"; the others, which are the same
            victims in all cells of a group, and all if there are no roles, were chosen evenly or are all there are.
        images: {"truth", "answer", "nearest": (K, C, H, W)}. Events become one picture: their sum or mean over time. {}
            for texts.
        texts: {"truth", "answer": K texts}, tokens as numbers; {} for pictures.
        numbers: {column: K numbers}, "label", "example" and the measured columns of the rows, as far as they
            are defined.
        words: {column: K texts}, "stop_reason"; for trained models also "seen", the class that the judge sees, and
            "nearest", the class of the nearest training example.
        limits: the values of black and white; None if each picture has its own.
        timesteps: number of frames of events that each picture sums; 0 for still images and for means.
        spikes: (T, C, H, W), uint8, of one answer; T = 0 for images.
        spikes_of: index of that answer.
        loss_curves: (curves, outer steps), matching loss of captures that are spread evenly over all, NaN after an
            attack's end.
        curve_subjects: the capture of each curve; () in runs of older versions.
        curve_recognisable: for each curve, whether all its pictures were recognisable, or solved where SSIM is not
            defined.
        snapshots: (K, S, C, H, W), the pictures of the search for each answer, NaN after its last; None if none were
            taken of any.
        snapshot_steps: (K, S), after how many steps each was taken, -1 after the last; None if none were taken.
        snapshot_ssim: (K, S), float64, SSIM of each to the truth, NaN after the last; None if none were taken, or where
            SSIM is not defined.
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
    texts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    limits: tuple[float, float] | None = None
    timesteps: int = 0
    spikes: Tensor = field(default_factory=lambda: torch.zeros(0, 1, 1, 1, dtype=torch.uint8))
    spikes_of: int = 0
    loss_curves: Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    curve_subjects: tuple[str, ...] = ()
    curve_recognisable: tuple[bool, ...] = ()
    snapshots: Tensor | None = field(default=None, metadata=LATER)
    snapshot_steps: Tensor | None = field(default=None, metadata=LATER)
    snapshot_ssim: Tensor | None = field(default=None, metadata=LATER)

    @property
    def key(self) -> tuple[Group, str]:
        """Return the key of the line of a summary to which it belongs."""
        return self.group, self.cell

    def steps_of(self, at: int) -> list[int]:
        """Return after how many steps each picture of the search for an answer was taken; [] where there are none."""
        return [] if self.snapshot_steps is None else [step for step in self.snapshot_steps[at].tolist() if step >= 0]

    def limits_of(self, kind: str, at: int) -> tuple[float, float]:
        """Return the values of black and white in one picture, in ascending order."""
        picture = self.images[kind][at]
        low, high = self.limits or (float(picture.min()), float(picture.max()))
        return low, high if high > low else low + 1.0


def save_pictures(pictures: Pictures, run_dir: Path) -> Path:
    """Write the pictures of a cell into the folder of a run and return their path."""
    folder = GALLERY if TRUTH in {*pictures.images, *pictures.texts} else ANSWERS
    return save_record(pictures, run_dir / folder / f"{file_name(pictures.cell)}.safetensors")


def load_pictures(folder: Path, keys: Sequence[tuple[Group, str]] | None = None) -> list[Pictures]:
    """Return the pictures in a folder; a DataError if a file is corrupt.

    Args:
        folder: that of the gallery or the answers in the folder of a run.
        keys: keys of the lines of a summary, in whose order the pictures are returned; those of an earlier call, which
            belong to no line, are left out. None for all pictures in the order of their file names.
    """
    pictures = [load_record(Pictures, path) for path in sorted(folder.glob("*.safetensors"))]
    if keys is None:
        return pictures
    places = {key: place for place, key in enumerate(keys)}
    return sorted((one for one in pictures if one.key in places), key=lambda one: places[one.key])
