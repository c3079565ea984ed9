"""The pictures of one cell that a report shows: all classes of its first attack, none chosen by how it looks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fl_sim.datasets.examples import Dataset
from fl_sim.records import save_record
from judges.runs.class_rows import ClassScore
from judges.scoring.class_metrics import Inverted, rate_decoded


@dataclass(frozen=True)
class Album:
    """The answers of an attack beside the truth, for K classes. Recordings and spikes are averaged over time.

    Attributes:
        cell, dataset, model, source, round, attack: as in the rows.
        labels: of the K classes.
        names: of the K classes.
        confidence, target_confidence: the judge's and the target's belief in each.
        predicted: the class that the judge sees; -1 where it sees none.
        truth: (K, C, H, W), the first training example of each class.
        answers: (K, C, H, W).
        nearest: (K, C, H, W), the training example that is nearest to each answer.
        nearest_labels: its classes.
        spikes: (T, C, H, W), uint8, the spikes of the answer for `spikes_label`; T = 0 of images.
        spikes_label: the fourth class, or the middle one of few.
    """

    cell: str
    dataset: str
    model: str
    source: str
    round: int
    attack: str
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


def build_album(inversion: Inverted, rows: Sequence[ClassScore], nearest: Sequence[int], dataset: Dataset) -> Album:
    """Return the album of an attack.

    Args:
        inversion: its answer.
        rows: one for each class, in the order of the answer.
        nearest: index of the training example that is nearest to each answer.
        dataset: that the target was trained on.
    """
    first = rows[0]
    labels = tuple(inversion.classes.tolist())
    shown = torch.stack([(dataset.train.labels == label).nonzero()[0, 0] for label in labels])
    closest = torch.tensor(list(nearest))
    middle = len(labels) // 2 if len(labels) < 7 else 3
    still = inversion.inputs.dim() == 4
    return Album(
        cell=first.cell,
        dataset=first.dataset,
        model=first.model,
        source=first.source,
        round=first.round,
        attack=first.attack,
        labels=labels,
        names=tuple(dataset.class_names[label] for label in labels),
        confidence=tuple(row.confidence for row in rows),
        target_confidence=tuple(row.target_confidence or 0.0 for row in rows),
        predicted=tuple(row.predicted for row in rows),
        truth=rate_decoded(dataset.train.batch(shown)[0]),
        answers=rate_decoded(inversion.inputs),
        nearest=rate_decoded(dataset.train.batch(closest)[0]),
        nearest_labels=tuple(dataset.train.labels[closest].tolist()),
        spikes=torch.zeros(0, *inversion.inputs.shape[1:], dtype=torch.uint8)
        if still
        else inversion.inputs[:, middle].to(torch.uint8),
        spikes_label=labels[middle],
    )


def save_album(album: Album, folder: Path) -> Path:
    """Write an album into the folder of a run and return its path."""
    return save_record(album, folder / "gallery" / f"{re.sub(r'[^A-Za-z0-9._=-]', '_', album.cell)}.safetensors")
