"""Data sets small enough to train a judge on within a second: images, and recordings of events."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fl_sim.datasets.examples import Dataset
from fl_sim.datasets.reading.images import Split
from fl_sim.specs import InputSpec

NAMES = ("a", "b", "c")


@dataclass(frozen=True)
class Recordings:
    """One split of event frames: float32 (N, T, P, H, W), int64 (N,)."""

    frames: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, indices: Tensor | slice = slice(None)) -> tuple[Tensor, Tensor]:
        return self.frames[indices].movedim(1, 0), self.labels[indices]


def stripes(scale: int = 1) -> Dataset:
    """Return three classes of 9x8 colour pictures: which third of the rows is bright. Each pixel is `scale` wide."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(180) % 3
    pixels = torch.randint(0, 120, (180, 3, 9, 8), generator=generator, dtype=torch.uint8)
    for picture, label in zip(pixels, labels.tolist(), strict=True):
        picture[:, 3 * label : 3 * label + 3] += 130
    pixels = pixels.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    split = Split(pixels[:150], labels[:150]), Split(pixels[150:], labels[150:])
    spec = InputSpec(3, 9 * scale, 8 * scale, 3)
    return Dataset("stripes", spec, *split, NAMES, "made here", f"stripes-{scale}")


def gestures(scale: int = 1) -> Dataset:
    """Return three classes of 4 binary frames of 9x8: mostly events of one polarity, of the other, of both.

    Each pixel is `scale` wide.
    """
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(120) % 3
    rates = torch.full((120, 4, 2, 9, 8), 0.05)
    for rate, label in zip(rates, labels.tolist(), strict=True):
        rate[:, slice(label, label + 1) if label < 2 else slice(None)] = 0.5
    frames = torch.bernoulli(rates, generator=generator)
    frames = frames.repeat_interleave(scale, 3).repeat_interleave(scale, 4)
    split = Recordings(frames[:90], labels[:90]), Recordings(frames[90:], labels[90:])
    spec = InputSpec(2, 9 * scale, 8 * scale, 3, timesteps=4)
    return Dataset("gestures", spec, *split, NAMES, "made here", f"gestures-{scale}")
