"""Truths and answers side by side, from the folder of a run, and the figures of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from fl_sim.errors import ConfigError
from judges.figures.grid import Row, picture_grid
from judges.runs.names import attack_name, group_name, way_name
from judges.runs.pictures import ANSWER, TRUTH, Pictures

MOST = 8
"""Pictures in a row of a figure at most."""

_INCHES, _NAME = 0.8, 1.6  # width of a picture and of the names beside them
_WIDEST = 7.2


@dataclass(frozen=True)
class Pair:
    """An answer beside the truth.

    Attributes:
        attack, victim: what it is an answer of, and to, in words.
        subject: the id of a capture, or the name of a class, and which of its examples.
        truth: (C, H, W) in [0, 1], black to white; None where it is not known.
        answer: (C, H, W) in [0, 1].
        ssim, psnr_db: of the answer; None where they are not defined or not measured.
        confidence: of the model in the class, for an answer of a model inversion.
        label: the true label, or that of the class.
        beside: what `truth` is: "truth", or "class mean" for an answer of a model inversion.
        snapshots: (S, C, H, W), the pictures of the search; S is 0 where none were taken.
        steps: (S,), after how many steps each was taken.
    """

    attack: str
    victim: str
    subject: str
    truth: Tensor | None
    answer: Tensor
    ssim: float | None = None
    psnr_db: float | None = None
    confidence: float | None = None
    label: int | None = None
    beside: str = "truth"
    snapshots: Tensor = torch.empty(0, 1, 1, 1)  # noqa: RUF009 - never changed
    steps: tuple[int, ...] = ()

    @property
    def measured(self) -> str:
        """Return what was measured, in a line."""
        ssim = "" if self.ssim is None else f"SSIM {self.ssim:.2f}"
        psnr = "" if self.psnr_db is None else f"{self.psnr_db:.1f} dB"
        sure = "" if self.confidence is None else f"confidence {self.confidence:.2f}"
        return ", ".join(part for part in (ssim, psnr, sure) if part)


def pairs_in(gallery: Iterable[Pictures]) -> Iterator[Pair]:
    """Yield the pictures that a run keeps for its report; texts have none."""
    for pictures in gallery:
        for at, subject in enumerate(pictures.subjects if pictures.images else ()):
            numbers = {name: column[at] for name, column in pictures.numbers.items()}
            role = f" ({pictures.roles[at]})" if pictures.roles else ""
            yield Pair(
                attack=_name(pictures),
                victim=group_name(pictures),
                subject=f"{subject}{role}",
                truth=_scaled(pictures, TRUTH, at) if TRUTH in pictures.images else None,
                answer=_scaled(pictures, ANSWER, at),
                ssim=numbers.get("ssim"),
                psnr_db=numbers.get("psnr_db"),
                confidence=numbers.get("target_confidence"),
                label=int(numbers["label"]) if "label" in numbers else None,
                **_search(pictures, at),
            )


FIGURES = ("answers", "search")


def figure_of(pairs: Sequence[Pair], kind: str) -> Figure:
    """Return a figure of one kind; a ConfigError if there is no such kind, or nothing to draw."""
    if kind not in FIGURES:
        raise ConfigError(f"figure: expected {' or '.join(FIGURES)}, got {kind!r}.")
    return answers_figure(pairs) if kind == "answers" else search_figure(pairs)


def answers_figure(pairs: Sequence[Pair]) -> Figure:
    """Return a figure with a row of truths above a row of answers of each attack, at most eight of a row.

    Raises:
        ConfigError: there is no picture.
    """
    rows: list[Row] = []
    names, captions = [], []
    for _, block in groupby(pairs, key=lambda pair: (pair.victim, pair.attack)):
        shown = list(block)[:MOST]
        truths = [pair.truth for pair in shown]
        if any(truth is not None for truth in truths) and not _are_same(rows, truths):
            rows.append(truths)
            names.append(shown[0].beside)
            captions.append([""] * len(shown))
        rows.append([pair.answer for pair in shown])
        names.append(shown[0].attack)
        captions.append([pair.measured.partition(", ")[0] for pair in shown])
    return _drawn(rows, names, captions)


def search_figure(pairs: Sequence[Pair]) -> Figure:
    """Return a figure with a row for each search: the truth, then its pictures from the guess to the last iterate.

    Raises:
        ConfigError: no search kept pictures.
    """
    filmed = [pair for pair in pairs if len(pair.snapshots)]
    if not filmed:
        raise ConfigError(
            "figure: no search kept pictures; ask for them with set={'attack.snapshots': 6}, or of `invert` with "
            "set={'snapshots': 6}, of an attack that searches step by step: dlg, idlg, grnn, inverting_gradients, "
            "frozen_delta, the ensemble where one of these found its answer, or a model inversion."
        )
    rows: list[Row] = [[pair.truth, *pair.snapshots] for pair in filmed]
    captions = [[pair.beside, *(f"step {step}" for step in pair.steps)] for pair in filmed]
    return _drawn(rows, [pair.attack for pair in filmed], captions)


def _drawn(rows: Sequence[Row], names: Sequence[str], captions: Sequence[Sequence[str]]) -> Figure:
    if not rows:
        raise ConfigError("figure: this run has no pictures; texts and runs without answers have none.")
    width = min(_WIDEST, _NAME + _INCHES * max(map(len, rows)))
    return picture_grid(rows, names=names, columns=(), captions=captions, width_inches=width)


def _are_same(rows: Sequence[Row], truths: Sequence[Tensor | None]) -> bool:
    """Return whether these truths stand in a row already."""
    return any(
        len(row) == len(truths)
        and all(a is not None and b is not None and torch.equal(a, b) for a, b in zip(row, truths, strict=True))
        for row in rows
    )


def _name(pictures: Pictures) -> str:
    """Return the name of an attack with its threshold."""
    threshold = "" if pictures.tau is None else f", {way_name(pictures.thresholding)}, tau {pictures.tau:g}"
    return attack_name(pictures) + threshold


def _scaled(pictures: Pictures, kind: str, at: int) -> Tensor:
    low, high = pictures.limits_of(kind, at)
    return in_unit_range(pictures.images[kind][at], low, high)


def in_unit_range(picture: Tensor, low: float, high: float) -> Tensor:
    """Return a picture, or several, with black at 0 and white at 1."""
    return ((picture.float() - low) / (high - low)).nan_to_num(0.0).clamp(0.0, 1.0)


def _search(pictures: Pictures, at: int) -> dict[str, Any]:
    """Return the pictures of a search as fields of a pair, if it kept any."""
    steps = tuple(pictures.steps_of(at))
    if pictures.snapshots is None or not steps:
        return {}
    return searched(pictures.snapshots[at], steps, *pictures.limits_of(ANSWER, at))


def searched(snapshots: Tensor, steps: Sequence[int], low: float, high: float) -> dict[str, Any]:
    """Return pictures (S, C, H, W) of a search as fields of a `Pair`, of which those after the last step are none."""
    taken = tuple(step for step in steps if step >= 0)
    return {"snapshots": in_unit_range(snapshots[: len(taken)], low, high), "steps": taken}
