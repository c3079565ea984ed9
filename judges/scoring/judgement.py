"""What a judge said of one answer, kept beside it: a draw of a thousand spike trains takes minutes to judge."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pydantic

from attacks.contracts import Inversion
from fl_sim.datasets.examples import Dataset
from fl_sim.files import atomic_write
from fl_sim.records import record_bytes
from judges.classifiers.cache import Judge
from judges.runs.class_rows import ClassScore, InversionScores, Repeated
from judges.runs.identity import Varied
from judges.scoring.class_metrics import over_draws, score_draws
from judges.scoring.model_inversion import Shown, class_scores, shuffled_answer

CODE_VERSION = 3
"""Raised whenever the same answer would be judged in another way."""


@dataclass(frozen=True)
class Judgement:
    """What was said of one answer.

    Attributes:
        key: a hash of all that it depends on.
        rows: one for each class, of the answer.
        control: the same of its values in random order.
        nearest: index of the training example that is nearest to each answer.
        draws: mean and deviation over draws of its Bernoulli parameters; None where none were asked for.
    """

    key: str
    rows: tuple[ClassScore, ...]
    control: tuple[ClassScore, ...]
    nearest: tuple[int, ...]
    draws: Repeated | None


_FILE = pydantic.TypeAdapter(Judgement)


def judgement(
    inversion: Inversion,
    judge: Judge,
    dataset: Dataset,
    *,
    varied: Varied,
    context: Mapping[str, Any],
    beside: str,
    draws: int,
    path: Path,
) -> Judgement:
    """Return what is kept at a path, or judge now and keep it there.

    Args:
        inversion: the answer.
        judge: of images for images; for spikes one that reads them.
        dataset: whose train split is private.
        varied: settings of the attack that vary.
        context: of the answer's rows, see `class_scores`.
        beside: name of the cell of the control that shuffles the answer.
        draws: how many are judged; 0 for none.
        path: of the file.
    """
    key = _key(inversion, judge, dataset, {**context, "varied": varied, "draws": draws})
    kept = _read(path)
    if kept is not None and kept.key == key:
        return kept
    rows, remembered = class_scores(Shown.answer(inversion, varied), judge, dataset, context)
    shuffled = shuffled_answer(inversion, varied)
    scores: tuple[InversionScores, ...] = ()
    if draws and inversion.probabilities is not None:
        scores = score_draws(inversion.probabilities, inversion.classes, judge, seed=inversion.seed, draws=draws)
    made = Judgement(
        key,
        tuple(rows),
        tuple(class_scores(shuffled, judge, dataset, {**context, "cell": beside})[0]),
        tuple(remembered.index.tolist()),
        over_draws(scores) if scores else None,
    )
    atomic_write(path, json.dumps(asdict(made), indent=1) + "\n")
    return made


def _key(inversion: Inversion, judge: Judge, dataset: Dataset, context: Mapping[str, Any]) -> str:
    """Return a hash of all that a judgement depends on."""
    facts = {
        "code": CODE_VERSION,
        "answer": hashlib.sha256(record_bytes(inversion)).hexdigest(),
        "judge": judge.facts(),
        "data": dataset.digest,
        "context": dict(context),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _read(path: Path) -> Judgement | None:
    """Return what a file holds; None where it is not there, or no judgement."""
    try:
        return _FILE.validate_json(path.read_bytes())
    except (OSError, pydantic.ValidationError):
        return None
