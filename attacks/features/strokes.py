"""A prior of pictures without any data: pen strokes on a dark background."""

from __future__ import annotations

import torch
from torch import Tensor

_MOST_CURVES = 3
_POINTS = 24
_CLOSED = 0.4
_MARGIN = 0.18
_NARROW, _WIDE = 0.8 / 28, 2.0 / 28
_CLOSING = 1.5 / 28


def strokes(count: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    """Return pictures (count, 1, height, width) in [0, 1] of one to three smooth curves each.

    A curve is a cubic Bezier curve with random control points, drawn by a pen of random width; some are closed.
    """
    size = torch.tensor([height, width], dtype=torch.float32)
    time = torch.linspace(0.0, 1.0, _POINTS)[:, None]
    basis = torch.cat([(1 - time) ** 3, 3 * (1 - time) ** 2 * time, 3 * (1 - time) * time**2, time**3], 1)
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pixels = torch.stack([rows, columns], -1).flatten(0, 1).float()
    curves = torch.randint(1, _MOST_CURVES + 1, (count,), generator=generator)
    pictures = torch.zeros(count, height * width)
    for number in range(_MOST_CURVES):
        points = size * (_MARGIN + (1 - 2 * _MARGIN) * torch.rand(count, 4, 2, generator=generator))
        closed = torch.rand(count, generator=generator) < _CLOSED
        ends = points[:, 0] + size * _CLOSING * torch.randn(count, 2, generator=generator)
        points[:, 3] = torch.where(closed[:, None], ends, points[:, 3])
        radii = size.mean() * (_NARROW + (_WIDE - _NARROW) * torch.rand(count, 1, generator=generator))
        wanted = curves > number
        if not wanted.any():
            continue
        distances = torch.stack([torch.cdist(pixels, curve).amin(1) for curve in (basis @ points)[wanted]])
        drawn = (radii[wanted] + 0.5 - distances).clamp(0.0, 1.0)
        pictures[wanted] = torch.maximum(pictures[wanted], drawn)
    return pictures.view(count, 1, height, width)
