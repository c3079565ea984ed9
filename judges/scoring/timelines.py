"""How answers to recordings of events fare over time: pure functions of recordings, and what collects them by cell.

A recording is (T, N, P, H, W): T steps of N examples, with P polarities. A step is one frame of it. An answer with NaN
or infinity counts as a failure in every step, as it does in `judges.scoring.image_metrics`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from attacks.contracts import Reconstruction
from fl_sim.records import SealedBatch
from fl_sim.specs import InputSpec
from judges.runs.identity import Approach, Attacked, columns_of
from judges.runs.rows import Score
from judges.runs.timelines import Timelines, save_timelines
from judges.scoring.image_metrics import has_ssim, l2, ssim

LEAST_STEPS = 2
"""Number of steps below which nothing correlates over time."""


class Steps(NamedTuple):
    """Answers beside the truth, step by step; the fields are those of `judges.runs.timelines.Timelines`."""

    truth: Tensor
    answer: Tensor
    l2: Tensor
    ssim: Tensor | None
    correlation: Tensor


def spike_profile(recordings: Tensor) -> Tensor:
    """Return the profile of spikes of recordings (T, N, P, H, W), (N, T), float64: the sum of each frame's values.

    For binary recordings that is the number of spikes in each step, for others the sum of their counts, or of real
    values. It is NaN in all steps of a recording with NaN or infinity.
    """
    profile = recordings.detach().to("cpu", torch.float64).sum(dim=(2, 3, 4)).T.contiguous()
    return profile.masked_fill(~_is_finite(recordings)[:, None], torch.nan)


def profile_correlation(ours: Tensor, truth: Tensor) -> Tensor:
    """Return the correlation over time of two profiles (N, T) of spikes, (N,), float64, in [-1, 1].

    Pearson's r over the T steps, with a_t and b_t the deviations of the profiles from their means over time:
    sum_t a_t b_t / sqrt(sum_t a_t^2 sum_t b_t^2). It says whether an answer spikes much when the truth does, wherever
    in the frame, and not how much: a multiple of the true profile has 1. It is NaN where it is not defined: one of the
    profiles is constant, such as that of an empty recording, or not finite, or there is but one step.
    """
    if truth.shape[1] < LEAST_STEPS:
        return torch.full((len(truth),), torch.nan, dtype=torch.float64)
    a, b = (profile.double() - profile.double().mean(dim=1, keepdim=True) for profile in (ours, truth))
    r = (a * b).sum(dim=1) / (a.square().sum(dim=1) * b.square().sum(dim=1)).sqrt()
    # A mean of equal numbers is not always exact, so a constant profile is not known by its deviations.
    constant = (ours.amax(1) == ours.amin(1)) | (truth.amax(1) == truth.amin(1))
    return r.clamp(-1.0, 1.0).masked_fill(constant, torch.nan)


def steps_of(ours: Tensor, truth: Tensor, *, low: float, high: float) -> Steps:
    """Return how answers fare in each step.

    The squares of the l2 of all steps add up to that of the recording, and the mean of the SSIM of all steps is that of
    the recording, see `judges.scoring.image_metrics`. Two empty frames have an SSIM of 1.

    Args:
        ours: (T, N, P, H, W), the answers in the order of the originals.
        truth: (T, N, P, H, W), finite.
        low, high: value range of the inputs as specified.

    Raises:
        ValueError: the shapes differ or are not (T, N, P, H, W), an original is not finite, or the range is empty.
    """
    if truth.ndim != 5 or ours.shape != truth.shape:
        raise ValueError(
            f"expected two tensors of the same shape (T, N, P, H, W), got {tuple(ours.shape)} and {tuple(truth.shape)}"
        )
    steps, count = truth.shape[:2]
    known = ours.cpu().masked_fill(~_is_finite(ours)[None, :, None, None, None], torch.nan)
    frames, true_frames = (one.transpose(0, 1).flatten(0, 1) for one in (known, truth.cpu()))
    similar = ssim(frames, true_frames, low=low, high=high).view(count, steps) if has_ssim(truth[0]) else None
    answer, true = spike_profile(known), spike_profile(truth)
    distance = l2(frames, true_frames).view(count, steps)
    return Steps(true, answer, distance, similar, profile_correlation(answer, true))


class TimelineBook:
    """Collects the timelines of a run's answers by cell, until they are written."""

    def __init__(self) -> None:
        self._parts: defaultdict[str, list[tuple[Score, Steps]]] = defaultdict(list)

    def add(self, row: Score, answer: Reconstruction, sealed: SealedBatch, order: Tensor, spec: InputSpec) -> None:
        """Add the answers to a captured update; what is no recording of events is left out.

        Args:
            row: a row of these answers, which names their cell.
            answer: of an attack or a control.
            sealed: the truth of the same captured update.
            order: the assignment of the answers to the originals, see `judges.scoring.assignment`.
            spec: spec of the inputs.
        """
        if spec.timesteps:
            ours = answer.inputs.index_select(-4, order)
            self._parts[row.cell].append((row, steps_of(ours, sealed.inputs, low=spec.low, high=spec.high)))

    def write(self, run_dir: Path) -> None:
        """Write the timelines of each cell into the folder of a run, and forget them."""
        for parts in self._parts.values():
            save_timelines(_timelines(parts), run_dir)
        self._parts.clear()


def _timelines(parts: Sequence[tuple[Score, Steps]]) -> Timelines:
    """Return the timelines of a cell: for each captured update a row that names it, and its steps."""
    first, _ = parts[0]
    victims = [(row.repeat, row.capture_id, place) for row, steps in parts for place in range(len(steps.truth))]
    repeats, captures, examples = zip(*victims, strict=True)
    truth, answer, distance, similar, correlation = zip(*(steps for _, steps in parts), strict=True)
    known = [one for one in similar if one is not None]
    return Timelines(
        **columns_of(first, Approach, Attacked),
        **{name: getattr(first, name) for name in ("cell", "guess", "thresholding", "tau")},
        repeats=repeats,
        captures=captures,
        examples=examples,
        truth=torch.cat(truth),
        answer=torch.cat(answer),
        l2=torch.cat(distance),
        ssim=torch.cat(known) if len(known) == len(similar) else None,
        correlation=torch.cat(correlation),
    )


def _is_finite(recordings: Tensor) -> Tensor:
    """Return whether each recording (T, N, P, H, W) is finite, (N,)."""
    return recordings.detach().cpu().transpose(0, 1).flatten(1).isfinite().all(dim=1)
