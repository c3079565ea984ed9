"""Small changes of training inputs: mirrored, zoomed, moved. Each example is changed as a whole, all frames alike."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def augmented(inputs: Tensor, *, shift: int, zoom: float, flip: bool, generator: torch.Generator) -> Tensor:
    """Return inputs (N, C, H, W) or (T, N, P, H, W), each mirrored, zoomed and moved at random.

    Args:
        inputs: of one batch.
        shift: pixels that each is moved by at most, in each direction.
        zoom: share of its size by which each grows or shrinks at most.
        flip: whether each is mirrored, left and right, with probability 1/2.
        generator: what is drawn from.
    """
    examples = inputs.movedim(-4, 0)
    pictures = examples.flatten(1, -3)
    if flip:
        pictures = flipped(pictures, generator)
    if zoom:
        pictures = zoomed(pictures, zoom, generator)
    if shift:
        # No event is seen beyond the edge of a sensor; a photograph goes on there much as it ended.
        pictures = shifted(pictures, shift, generator, mode="constant" if inputs.dim() == 5 else "replicate")
    return pictures.reshape(examples.shape).movedim(0, -4)


def flipped(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Return pictures (N, C, H, W), half of them mirrored, left and right."""
    chosen = torch.rand(len(pictures), generator=generator) < 0.5
    return pictures.flip(-1).where(chosen[:, None, None, None], pictures)


def zoomed(pictures: Tensor, most: float, generator: torch.Generator) -> Tensor:
    """Return pictures (N, C, H, W), each grown or shrunk about its centre by up to the share `most` of its size."""
    scale = 1.0 + most * (2.0 * torch.rand(len(pictures), generator=generator) - 1.0)
    maps = scale[:, None, None] * torch.eye(2, 3)
    places = F.affine_grid(maps, list(pictures.shape), align_corners=False)
    return F.grid_sample(pictures, places, padding_mode="border", align_corners=False)


def shifted(pictures: Tensor, most: int, generator: torch.Generator, *, mode: str = "replicate") -> Tensor:
    """Return pictures (N, C, H, W), each moved by up to `most` pixels in each direction.

    Args:
        pictures: of one batch.
        most: pixels, at least 1.
        generator: what is drawn from.
        mode: what fills the gap: "replicate" (the edge) or "constant" (zero).
    """
    count, channels, height, width = pictures.shape
    padded = F.pad(pictures, (most, most, most, most), mode=mode)
    down, right = torch.randint(0, 2 * most + 1, (2, count), generator=generator)
    rows = (down[:, None] + torch.arange(height))[:, None, :, None]
    columns = (right[:, None] + torch.arange(width))[:, None, None, :]
    examples = torch.arange(count)[:, None, None, None]
    return padded[examples, torch.arange(channels)[None, :, None, None], rows, columns]
