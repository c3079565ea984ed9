"""The best and last candidates of victims that are optimised side by side."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from attacks.matching.film import Pictures


@dataclass
class Track:
    """The best and last candidates of V victims, (V,) or (V, unknowns) each; those of a diverged victim are frozen.

    Attributes:
        best, last: (V, unknowns).
        best_loss, last_loss: (V,), the losses of exactly these candidates.
        diverged: (V,), whether a loss was not finite.
        evaluations: (V,).
        curve: losses (V,) of some iterates.
        pictures: {step: candidates (V, unknowns)} of some iterates, for snapshots.
    """

    best: Tensor
    last: Tensor
    best_loss: Tensor
    last_loss: Tensor
    diverged: Tensor
    evaluations: Tensor
    curve: list[Tensor] = field(default_factory=list)
    pictures: Pictures = field(default_factory=dict)

    @classmethod
    def start(cls, points: Tensor) -> Track:
        """Return the track of victims that start at points (V, unknowns)."""
        losses = points.new_full((len(points),), torch.inf)
        zeros = torch.zeros(len(points), dtype=torch.int64, device=points.device)
        return cls(points.clone(), points.clone(), losses, losses, zeros.bool(), zeros)

    def see(self, points: Tensor, losses: Tensor, *, candidates: bool = True) -> None:
        """Update the best and the last candidates from points and their losses.

        Args:
            points, losses: (V, unknowns) and (V,).
            candidates: whether these points may become the best ones.
        """
        running = ~self.diverged
        self.evaluations += running
        self.last = torch.where(running[:, None], points, self.last)
        self.last_loss = torch.where(running, losses, self.last_loss)
        self.diverged |= ~losses.isfinite()
        if candidates:
            better = ~self.diverged & (losses < self.best_loss)
            self.best = torch.where(better[:, None], points, self.best)
            self.best_loss = torch.where(better, losses, self.best_loss)

    def pictures_of(self, victim: int) -> Pictures:
        """Return the pictures {step: candidate (unknowns,)} of one victim."""
        return {step: points[victim] for step, points in self.pictures.items()}
