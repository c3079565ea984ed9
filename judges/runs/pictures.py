"""The pictures that a run stores for its report: truth and answers side by side, chosen by rank, not by appearance."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from fl_sim.records import save_record
from judges.runs.class_rows import AttackedModel
from judges.runs.identity import Approach, Attacked, Group
from judges.runs.names import file_name

GALLERY, ANSWERS = "gallery", "answers"
"""Folders of a run."""

CAPTURES = "captures"
"""Name of an audit's data set if none is given."""


@dataclass(frozen=True, kw_only=True)
class Gallery(Approach, Attacked):
    """Truth and reconstruction of K victims of a cell, best first, by SSIM, or by l2 for events.

    Attributes:
        cell, tau, thresholding: as in the rows.
        low, high: value range of the pictures.
        timesteps: number of frames of events that each picture sums; 0 for still images.
        roles: why each was chosen: "best", ..., "worst", and then "diverged" if none of these has diverged.
        capture_ids, labels, ssim, psnr_db, l2, stop_reasons: columns of the K rows.
        truth, reconstructions: (K, C, H, W); events are summed over time and scaled to the brightest true pixel.
        loss_curves: (curves, outer steps), matching loss of the first victims, NaN after an attack's end.
        curve_recognisable: for each curve, whether all its pictures were recognisable.
    """

    cell: str
    thresholding: str
    tau: float | None
    low: float
    high: float
    timesteps: int
    roles: tuple[str, ...]
    capture_ids: tuple[str, ...]
    labels: tuple[int, ...]
    ssim: tuple[float, ...]
    psnr_db: tuple[float, ...]
    l2: tuple[float, ...]
    stop_reasons: tuple[str, ...]
    truth: Tensor
    reconstructions: Tensor
    loss_curves: Tensor
    curve_recognisable: tuple[bool, ...]

    @property
    def key(self) -> tuple[Group, str]:
        """Return the key of the line of a summary to which it belongs."""
        return self.group, self.cell


def save_gallery(gallery: Gallery, run_dir: Path) -> Path:
    """Write a gallery into a run folder, as gallery/CELL.safetensors with special characters replaced."""
    name = re.sub(r"[^A-Za-z0-9._]+", "-", gallery.cell).strip("-.")
    return save_record(gallery, run_dir / GALLERY / f"{name}.safetensors")


@dataclass(frozen=True, kw_only=True)
class Album(Approach, AttackedModel):
    """The answers of an attack and the truth for K classes. Recordings and spikes are averaged over time.

    Attributes:
        cell: as in the rows.
        labels, names: the K classes.
        confidence, target_confidence: the judge's and the target's belief in each class.
        predicted: the class that the judge sees; -1 for none.
        truth: (K, C, H, W), the first training example of each class.
        answers: (K, C, H, W).
        nearest: (K, C, H, W), the training example nearest to each answer.
        nearest_labels: classes of the nearest examples.
        spikes: (T, C, H, W), uint8, the spikes of the answer for `spikes_label`; T = 0 for images.
        spikes_label: the fourth class, or the middle one if there are few.
    """

    cell: str
    labels: tuple[int, ...]
    names: tuple[str, ...]
    confidence: tuple[float, ...]
    target_confidence: tuple[float, ...]
    predicted: tuple[int, ...]
    truth: Tensor
    answers: Tensor
    nearest: Tensor
    nearest_labels: tuple[int, ...]
    spikes: Tensor
    spikes_label: int


def save_album(album: Album, folder: Path) -> Path:
    """Write an album into the folder of a run and return its path."""
    return save_record(album, folder / GALLERY / f"{file_name(album.cell)}.safetensors")


@dataclass(frozen=True, kw_only=True)
class Answers(Approach, Attacked):
    """The first answers of one attack on captures without a sealed truth.

    Attributes:
        cell: as in the rows.
        captures: number of captures attacked, of which the first K pictures are stored.
        low, high: value range of the pictures.
        capture_ids, labels, stop_reasons, losses: for each picture; the label is the one that the attack names, -1 for
            none, and the loss is the matching loss of its batch.
        pictures: (K, C, H, W); events are summed over time and scaled to the brightest pixel.
    """

    cell: str
    captures: int
    low: float
    high: float
    capture_ids: tuple[str, ...]
    labels: tuple[int, ...]
    stop_reasons: tuple[str, ...]
    losses: tuple[float, ...]
    pictures: Tensor


def save_answers(answers: Answers, run_dir: Path) -> Path:
    """Write answers into a run folder and return their path."""
    return save_record(answers, run_dir / ANSWERS / f"{file_name(answers.cell)}.safetensors")
