"""The splits that every image loader returns, and the data set assembled from them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fl_sim.datasets.examples import Dataset
from fl_sim.errors import DataError
from fl_sim.specs import InputSpec


@dataclass(frozen=True)
class Split:
    """One split of a data set, as stored.

    Attributes:
        pixels: uint8 (N, C, H, W).
        labels: int64 (N,).
    """

    pixels: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, indices: Tensor | slice = slice(None)) -> tuple[Tensor, Tensor]:
        """Return inputs, float32 (N, C, H, W) in [0, 1], and labels (N,) at `indices`."""
        return self.pixels[indices].to(torch.float32) / 255.0, self.labels[indices]


class Labelled(NamedTuple):
    """Pictures as stored in files, uint8 (N, H, W) or (N, H, W, C), and integer labels (N,)."""

    pixels: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.integer]


def assemble(name: str, *, train: Labelled, test: Labelled, class_names: Sequence[str], source: str) -> Dataset:
    """Return the data set made of two splits.

    Raises:
        DataError: a split is empty, does not have one label per picture, or has a label out of range.
    """
    parts = {"train": train, "test": test}
    splits = {which: _split(part, len(class_names), f"{source}: {which}") for which, part in parts.items()}
    _, channels, height, width = splits["train"].pixels.shape
    digest = hashlib.sha256()
    for split in splits.values():
        digest.update(split.pixels.numpy().tobytes())
        digest.update(split.labels.numpy().astype("<i8").tobytes())
    return Dataset(
        name=name,
        spec=InputSpec(channels=channels, height=height, width=width, classes=len(class_names)),
        train=splits["train"],
        test=splits["test"],
        class_names=tuple(class_names),
        source=source,
        digest=digest.hexdigest(),
    )


def _split(part: Labelled, classes: int, where: str) -> Split:
    pixels, labels = part
    if not len(labels) or len(pixels) != len(labels):
        raise DataError(f"{where}: expected one label per picture, found {len(labels)} labels, {len(pixels)} pictures.")
    if labels.min() < 0 or labels.max() >= classes:
        found = f"{labels.min()} to {labels.max()}"
        raise DataError(f"{where}: expected labels from 0 to {classes - 1}, found {found}.")
    grey = pixels[..., None] if pixels.ndim == 3 else pixels
    channels_first = np.array(grey.transpose(0, 3, 1, 2), order="C", copy=True)
    return Split(torch.from_numpy(channels_first), torch.from_numpy(labels.astype(np.int64)))
