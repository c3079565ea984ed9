"""Augmentation of training inputs: mirroring, zoom, shifts. All frames of an example are changed alike."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def augmented(inputs: Tensor, *, shift: int, zoom: float, flip: bool, generator: torch.Generator) -> Tensor:
    """Return inputs (N, C, H, W) or (T, N, P, H, W), each mirrored, zoomed and shifted at random.

    Args:
        inputs: inputs of one batch.
        shift: largest shift in pixels, in each direction.
        zoom: largest relative change of size.
        flip: whether each is mirrored horizontally with probability 1/2.
        generator: source of the random draws.
    """
    examples = inputs.movedim(-4, 0)
    pictures = examples.flatten(1, -3)
    if flip:
        pictures = flipped(pictures, generator)
    if zoom:
        pictures = zoomed(pictures, zoom, generator)
    if shift:
        # There are no events beyond the edge of a sensor; a photograph continues much as at its edge.
        pictures = shifted(pictures, shift, generator, mode="constant" if inputs.dim() == 5 else "replicate")
    return pictures.reshape(examples.shape).movedim(0, -4)


def flipped(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Return pictures (N, C, H, W), each mirrored horizontally with probability 1/2."""
    chosen = torch.rand(len(pictures), generator=generator) < 0.5
    return pictures.flip(-1).where(chosen[:, None, None, None], pictures)


def zoomed(pictures: Tensor, most: float, generator: torch.Generator) -> Tensor:
    """Return pictures (N, C, H, W), each scaled about its centre by a factor within `most` of 1."""
    scale = 1.0 + most * (2.0 * torch.rand(len(pictures), generator=generator) - 1.0)
    maps = scale[:, None, None] * torch.eye(2, 3)
    places = F.affine_grid(maps, list(pictures.shape), align_corners=False)
    return F.grid_sample(pictures, places, padding_mode="border", align_corners=False)


def shifted(pictures: Tensor, most: int, generator: torch.Generator, *, mode: str = "replicate") -> Tensor:
    """Return pictures (N, C, H, W), each shifted by up to `most` pixels in each direction.

    Args:
        pictures: pictures of one batch.
        most: largest shift in pixels, at least 1.
        generator: source of the random draws.
        mode: what fills the gap: "replicate" (the edge) or "constant" (zero).
    """
    count, channels, height, width = pictures.shape
    padded = F.pad(pictures, (most, most, most, most), mode=mode)
    down, right = torch.randint(0, 2 * most + 1, (2, count), generator=generator)
    rows = (down[:, None] + torch.arange(height))[:, None, :, None]
    columns = (right[:, None] + torch.arange(width))[:, None, None, :]
    examples = torch.arange(count)[:, None, None, None]
    return padded[examples, torch.arange(channels)[None, :, None, None], rows, columns]
