"""The judgement of one answer, stored beside it, since judging a thousand draws of spike trains takes minutes."""

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
from judges.runs.identity import Varied
from judges.runs.rows.classes import ClassScore, InversionScores, Repeated
from judges.scoring.class_metrics import over_draws, score_draws
from judges.scoring.model_inversion import Shown, class_scores, shuffled_answer

CODE_VERSION = 4
"""Part of the key. Increase it when the same answer would be judged differently."""


@dataclass(frozen=True)
class Judgement:
    """The judgement of one answer.

    Attributes:
        key: hash of all that it depends on.
        rows: rows of the answer, one for each class.
        control: rows of its values in random order.
        nearest: index of the training example nearest to each answer.
        draws: mean and deviation over draws of its Bernoulli parameters; None if none were requested.
    """

    key: str
    rows: tuple[ClassScore, ...]
    control: tuple[ClassScore, ...]
    nearest: tuple[int, ...]
    draws: Repeated | None


_FILE = pydantic.TypeAdapter(Judgement)
_CHECKSUM, _CONTENT = "sha256", "judgement"


def judgement(
    inversion: Inversion,
    judge: Judge,
    dataset: Dataset,
    *,
    varied: Varied,
    context: Mapping[str, Any],
    control_cell: str,
    draws: int,
    path: Path,
) -> Judgement:
    """Return the judgement stored at a path, or judge now and store it there.

    Args:
        inversion: the answer.
        judge: a judge that reads the answer's inputs.
        dataset: the data set whose train split is private.
        varied: settings of the attack that vary.
        context: common columns of the answer's rows, see `class_scores`.
        control_cell: cell of the control that shuffles the answer.
        draws: number of draws to judge; 0 for none.
        path: path of the file.
    """
    key = _key(inversion, judge, dataset, {**context, "varied": varied, "draws": draws})
    stored = _read(path)
    if stored is not None and stored.key == key:
        return stored
    rows, remembered = class_scores(Shown.answer(inversion, varied), judge, dataset, context)
    shuffled = shuffled_answer(inversion, varied)
    scores: tuple[InversionScores, ...] = ()
    if draws and inversion.probabilities is not None:
        scores = score_draws(inversion.probabilities, inversion.classes, judge, seed=inversion.seed, draws=draws)
    made = Judgement(
        key,
        tuple(rows),
        tuple(class_scores(shuffled, judge, dataset, {**context, "cell": control_cell})[0]),
        tuple(remembered.index.tolist()),
        over_draws(scores) if scores else None,
    )
    told = asdict(made)
    atomic_write(path, json.dumps({_CHECKSUM: _hash(told), _CONTENT: told}, indent=1) + "\n")
    return made


def _key(inversion: Inversion, judge: Judge, dataset: Dataset, context: Mapping[str, Any]) -> str:
    """Return the hash of all that a judgement depends on."""
    facts = {
        "code": CODE_VERSION,
        "answer": hashlib.sha256(record_bytes(inversion)).hexdigest(),
        "judge": judge.facts(),
        "data": dataset.digest,
        "context": dict(context),
    }
    return _hash(facts)


def _hash(facts: Mapping[str, Any]) -> str:
    """Return the SHA-256 over plain values."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _read(path: Path) -> Judgement | None:
    """Return the judgement in a file; None if there is no sound one."""
    try:
        told = json.loads(path.read_bytes())
        content = told[_CONTENT]
        return _FILE.validate_python(content) if told[_CHECKSUM] == _hash(content) else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
