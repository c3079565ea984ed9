"""The pictures of one cell in a report: all classes of its first attack, whatever they look like."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from fl_sim.datasets.examples import Dataset
from judges.runs.class_rows import AttackedModel, ClassScore
from judges.runs.identity import Approach, columns_of
from judges.runs.pictures import Album
from judges.scoring.class_metrics import Inverted, rate_decoded


def build_album(inversion: Inverted, rows: Sequence[ClassScore], nearest: Sequence[int], dataset: Dataset) -> Album:
    """Return the album of an attack.

    Args:
        inversion: answer of the attack.
        rows: one for each class, in the order of the answer.
        nearest: index of the training example nearest to each answer.
        dataset: data set on which the target was trained.
    """
    first = rows[0]
    labels = tuple(inversion.classes.tolist())
    shown = torch.stack([(dataset.train.labels == label).nonzero()[0, 0] for label in labels])
    closest = torch.tensor(list(nearest))
    middle = len(labels) // 2 if len(labels) < 7 else 3
    spiking = inversion.inputs.dim() == 5
    no_spikes = torch.zeros(0, *inversion.inputs.shape[1:], dtype=torch.uint8)
    return Album(
        **columns_of(first, Approach, AttackedModel),
        cell=first.cell,
        labels=labels,
        names=tuple(dataset.class_names[label] for label in labels),
        confidence=tuple(row.confidence for row in rows),
        target_confidence=tuple(row.target_confidence or 0.0 for row in rows),
        predicted=tuple(row.predicted for row in rows),
        truth=rate_decoded(dataset.train.batch(shown)[0]),
        answers=rate_decoded(inversion.inputs),
        nearest=rate_decoded(dataset.train.batch(closest)[0]),
        nearest_labels=tuple(dataset.train.labels[closest].tolist()),
        spikes=inversion.inputs[:, middle].to(torch.uint8) if spiking else no_spikes,
        spikes_label=labels[middle],
    )
