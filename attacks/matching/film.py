"""Pictures of a search on its way: candidates that are evenly spread over its steps, held in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

HELD = 4
"""Candidates that are held for each picture, so that those chosen in the end are nearly evenly spread."""

Pictures = dict[int, Tensor]
"""{step: candidate (unknowns,), or (V, unknowns) of V victims}, in the order of the steps."""


class Film:
    """The candidates of one search, whose number of steps is known when it ends: they are thinned as they come.

    Args:
        pictures: number of candidates that are wanted, at least 2.
        guess: the first candidate (unknowns,).
    """

    def __init__(self, pictures: int, guess: Tensor) -> None:
        self._wanted, self._stride = pictures, 1
        self._held: Pictures = {0: guess.clone()}

    def see(self, step: int, point: Tensor) -> None:
        """Hold the candidate (unknowns,) at the start of a step, as far as it may be wanted; steps ascend."""
        if step % self._stride == 0:
            self._held[step] = point.clone()
        while len(self._held) > HELD * self._wanted:
            self._stride *= 2
            self._held = {step: point for step, point in self._held.items() if step % self._stride == 0}

    def developed(self, end: int, last: Tensor) -> Pictures:
        """Return the wanted candidates of a search that ended after `end` steps, or within the next, at `last`."""
        if end in self._held and not torch.equal(self._held[end], last):
            end += 1
        held = {step: point for step, point in self._held.items() if step < end} | {end: last.clone()}
        chosen = {min(held, key=lambda step: abs(step - wanted)) for wanted in evenly(end, self._wanted)}
        return {step: held[step] for step in sorted(chosen)}


def in_rows(films: Sequence[Pictures]) -> dict[str, Tensor]:
    """Return the pictures of several searches as fields of an `Inversion`, NaN (-1) after the last; {} of none.

    Args:
        films: of each search, {step: picture (C, H, W)}.
    """
    most = max(map(len, films), default=0)
    if not most:
        return {}
    frame = next(iter(films[0].values())).shape
    pictures = torch.full((len(films), most, *frame), torch.nan)
    steps = torch.full((len(films), most), -1)
    for row, film in enumerate(films):
        pictures[row, : len(film)] = torch.stack(list(film.values())).cpu().float()
        steps[row, : len(film)] = torch.tensor(list(film))
    return {"snapshots": pictures, "snapshot_steps": steps}


def evenly(end: int, count: int) -> list[int]:
    """Return at most `count` of the steps 0 to `end`, evenly spread, the first and the last among them; [] of 0."""
    return sorted({round(end * number / (count - 1)) for number in range(count)}) if count else []
