"""What an attack answered where nobody kept the truth: pictures, beliefs and losses, and no score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fl_sim.records import InputSpec, load_record, save_record
from judges.report.figures import picture_uri

if TYPE_CHECKING:  # a report is written without the room of the attacks
    from attacks.contracts import Reconstruction

FOLDER = "answers"
CAPTURES = "captures"
"""What an audit calls the data set: nobody has told its name."""

MOST_SHOWN = 24
_SIDE = 96


@dataclass(frozen=True)
class Answers:
    """The first answers of one attack on captures without a sealed truth.

    Attributes:
        cell: the name of the model and the attack.
        captures: how many were attacked, of which the first pictures are here.
        low, high: value range of the pictures.
        capture_ids, labels, stop_reasons, losses: of each picture; the label is what the attack believes, -1 where it
            believes none, the loss the matching loss of its batch.
        pictures: (K, C, H, W); events are summed over time and scaled to the brightest pixel.
    """

    cell: str
    captures: int
    low: float
    high: float
    capture_ids: tuple[str, ...]
    labels: tuple[int, ...]
    stop_reasons: tuple[str, ...]
    losses: tuple[float, ...]
    pictures: Tensor


@dataclass(frozen=True)
class Shown:
    """A picture of the page: data URI, whose it is, and what the attack says of it."""

    picture: str
    capture_id: str
    label: int
    stop_reason: str
    loss: float


@dataclass(frozen=True)
class AnswerPanel:
    """The answers of one cell; `pictures` is empty where they are hidden."""

    cell: str
    captures: int
    pictures: tuple[Shown, ...]


def save_answers(cell: str, results: Sequence[Reconstruction], spec: InputSpec, run_dir: Path) -> Path:
    """Keep the first answers of a cell in a run folder."""
    pairs = [(result, place) for result in results for place in range(len(result.labels))][:MOST_SHOWN]
    answers = Answers(
        cell=cell,
        captures=len(results),
        low=spec.low,
        high=spec.high,
        capture_ids=tuple(result.capture_id for result, _ in pairs),
        labels=tuple(int(result.labels[place]) for result, place in pairs),
        stop_reasons=tuple(str(result.stop_reason) for result, _ in pairs),
        losses=tuple(float(result.matching_loss) for result, _ in pairs),
        pictures=torch.stack([_picture(result.inputs, place) for result, place in pairs]),
    )
    return save_record(answers, run_dir / FOLDER / f"{cell.replace('/', '-')}.safetensors")


def answer_panels(run_dir: Path, *, shown: bool) -> list[AnswerPanel]:
    """Return what a page shows of the answers in a run folder.

    Args:
        run_dir: of the run.
        shown: whether pictures may be shown.
    """
    kept = [load_record(Answers, path) for path in sorted((run_dir / FOLDER).glob("*.safetensors"))]
    return [AnswerPanel(one.cell, one.captures, tuple(_shown(one)) if shown else ()) for one in kept]


def _shown(answers: Answers) -> list[Shown]:
    texts = zip(answers.capture_ids, answers.labels, answers.stop_reasons, answers.losses, strict=True)
    return [
        Shown(picture_uri(picture, low=answers.low, high=answers.high, side=_SIDE), *told)
        for picture, told in zip(answers.pictures, texts, strict=True)
    ]


def _picture(inputs: Tensor, place: int) -> Tensor:
    """Return one example of (N, C, H, W), or of events (T, N, C, H, W), as a picture (C, H, W)."""
    if inputs.ndim == 5:
        summed = inputs[:, place].sum(dim=0)
        return (summed / summed.max().clamp(min=1e-12)).float()
    return inputs[place].float()
