"""What an attack answered where nobody kept the truth: pictures, beliefs and losses, and no score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fl_sim.records import load_record
from judges.report.figures import picture_uri
from judges.runs.pictures import ANSWERS, Answers

_SIDE = 96


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


def answer_panels(run_dir: Path, shown: Callable[[str], bool]) -> list[AnswerPanel]:
    """Return what a page shows of the answers in a run folder.

    Args:
        run_dir: of the run.
        shown: whether the pictures of a data set may be shown.
    """
    kept = [load_record(Answers, path) for path in sorted((run_dir / ANSWERS).glob("*.safetensors"))]
    return [AnswerPanel(one.cell, one.captures, tuple(_shown(one)) if shown(one.dataset) else ()) for one in kept]


def _shown(answers: Answers) -> list[Shown]:
    texts = zip(answers.capture_ids, answers.labels, answers.stop_reasons, answers.losses, strict=True)
    return [
        Shown(picture_uri(picture, low=answers.low, high=answers.high, side=_SIDE), *told)
        for picture, told in zip(answers.pictures, texts, strict=True)
    ]
