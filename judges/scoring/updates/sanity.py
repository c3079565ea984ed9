"""Sanity checks of an attack: what it answers to updates that hold less of a victim than the captured ones, or nothing.

Nothing is learned from an attack that scores as well without the victim's update.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean, median

import torch
from torch import Tensor

from attacks.contracts import StopReason
from fl_sim.models import build_model
from fl_sim.records import CapturedUpdate
from fl_sim.seeding import torch_stream
from fl_sim.specs import InputSpec
from judges.runs.identity import BLACK, GREY, MEAN_IMAGE, NO_OP, SWAPPED, Approach, Attacked, columns_of
from judges.runs.measures import SanityCheck
from judges.runs.rows import Score

NOISY, RANDOM = "noisy", "random"
"""How updates are disturbed."""

ALONE = "lone"
"""Not disturbed, and each attacked alone."""

_TINY = torch.finfo(torch.float64).tiny


def disturbed(capture: CapturedUpdate, how: str, *, seed: int) -> CapturedUpdate:
    """Return a capture with noise in its update; tensors of integers and buffers stay as they are.

    Args:
        capture: the captured update.
        how: `NOISY` adds to each tensor Gaussian noise of the tensor's own norm; `RANDOM` replaces each tensor by such
            noise, and takes away the labels that the client told.
        seed: root seed; the noise depends on it, on `how` and on the id of the capture.
    """
    stream = torch_stream(seed, "sanity check", how, capture.id)
    module = build_model(capture.model, parameters=capture.parameters, partly=True)
    kept = dict(module.named_buffers())
    update = {}
    for name, entries in capture.update.items():
        if name in kept or not entries.is_floating_point():
            update[name] = entries
            continue
        noise = _noise(entries, stream)
        update[name] = (noise if how == RANDOM else entries.double() + noise).to(entries.dtype)
    return replace(capture, update=update, labels=None if how == RANDOM else capture.labels)


def _noise(entries: Tensor, stream: torch.Generator) -> Tensor:
    """Return Gaussian noise of the norm of a tensor, float64."""
    noise = torch.randn(entries.shape, generator=stream, dtype=torch.float64)
    scale: Tensor = torch.linalg.vector_norm(entries.double()) / torch.linalg.vector_norm(noise).clamp(min=_TINY)
    return noise * scale


def attempted(rows: Iterable[Score], most: int) -> list[Score]:
    """Return the rows of the first victims, at most so many, whose inputs an attack looked for.

    Args:
        rows: of one cell.
        most: number of captured updates.
    """
    tried = [row for row in rows if row.stop_reason != StopReason.NOT_ATTEMPTED]
    victims = list(dict.fromkeys(row.capture_id for row in tried))[:most]
    return [row for row in tried if row.capture_id in victims]


def sanity_check(own: Sequence[Score], controls: Iterable[Score], spec: InputSpec, *, swapped: str) -> SanityCheck:
    """Return the check of an attack without the answers to disturbed updates.

    Args:
        own: rows of the attack, see `attempted`.
        controls: rows of the run, of which those of other victims and attacks are left out.
        spec: of the inputs.
        swapped: cell of the attack's control of swapped answers.
    """
    first, victims = own[0], {row.victim for row in own}
    found: dict[str, dict[object, float]] = defaultdict(dict)
    best: dict[object, float] = {}
    for row in controls:
        if row.victim in victims and _is_comparable(row, first, swapped):
            found[row.control][row.victim] = similarity = _similarity(row, spec)
            best[row.victim] = max(similarity, best.get(row.victim, similarity))
    mismatches = {row.capture_id: row.mismatch for row in own if row.mismatch is not None}
    return SanityCheck(
        **columns_of(first, Approach, Attacked),
        cell=first.cell,
        guess=first.guess,
        thresholding=first.thresholding,
        tau=first.tau,
        victims=tuple(dict.fromkeys(row.capture_id for row in own)),
        examples=len(own),
        measure="tokens" if first.token_accuracy is not None else "-MSE" if first.ssim is None else "SSIM",
        truth=median(mismatches.values()) if mismatches else None,
        plain=mean_similarity(own, spec),
        controls={kind: fmean(values.values()) for kind, values in found.items() if len(values) == len(victims)},
        best_control=fmean(best.values()) if len(best) == len(victims) else None,
    )


def mean_similarity(rows: Iterable[Score], spec: InputSpec) -> float:
    """Return the mean of `Score.similarity`, of an MSE relative to the squared data range."""
    return fmean(_similarity(row, spec) for row in rows)


def _similarity(row: Score, spec: InputSpec) -> float:
    if row.ssim is not None or row.token_accuracy is not None:
        return row.similarity
    return max(-1.0, row.similarity / (spec.high - spec.low) ** 2)  # -1 of an answer that is not finite


def _is_comparable(row: Score, first: Score, swapped: str) -> bool:
    """Return whether a row is of a control that knows neither the update nor the labels of the attack's victim."""
    if row.control == NO_OP:
        return (row.guess, row.tau) == (first.guess, first.tau)
    return row.control in (BLACK, GREY, MEAN_IMAGE) or (row.control == SWAPPED and row.cell == swapped)


def known_before(check: SanityCheck, known: SanityCheck | None) -> bool:
    """Return whether an earlier call made this check, on the same victims and truth, and it was complete."""
    return known is not None and not known.failure and check == replace(known, noisy=None, random=None, moved=None)


def completed(
    check: SanityCheck, similarities: Mapping[str, float], moved: int | None = None, failure: str = ""
) -> SanityCheck:
    """Return a check with what the attack scored otherwise, see `SanityCheck`, and why some of it is missing."""
    noisy, random = similarities.get(NOISY), similarities.get(RANDOM)
    return replace(check, noisy=noisy, random=random, moved=moved, failure=failure)


def moved_by_company(own: Iterable[Score], alone: Iterable[Score]) -> int:
    """Return for how many captured updates one of two calls of an attack finds an example and the other does not."""

    def found(rows: Iterable[Score]) -> dict[tuple[str, int], bool]:
        return {(row.capture_id, row.example): row.success for row in rows}

    first, second = found(own), found(alone)
    return len({capture for capture, example in first if first[capture, example] != second[capture, example]})
