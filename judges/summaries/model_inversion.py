"""Rows of model inversions -> one line for each cell, with its controls, its target, its judge and the paper's row."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, median, stdev

import pydantic

from fl_sim.errors import DataError
from fl_sim.files import atomic_write
from fl_sim.specs import Scalar
from judges.intervals import Rate
from judges.runs.identity import REAL, SHUFFLED, Approach, Pairs, columns_of
from judges.runs.rows.classes import CENTRAL, AttackedModel, ClassScore, InversionScores, Repeated, Target, TargetFacts
from judges.scoring.class_metrics import over_attacks
from judges.summaries import published_inversions as published
from judges.summaries.class_verdicts import CONVINCED, verdict_on
from judges.summaries.published_inversions import PublishedInversion
from judges.summaries.transfer import Transfer, class_rate, transfer_of


@dataclass(frozen=True, kw_only=True)
class TargetSummary(AttackedModel):
    """The targets of one kind, trained with different seeds.

    Attributes:
        seeds: number of seeds.
        accuracy: mean accuracy on data that they were not trained on, in [0, 1].
        accuracy_std: standard deviation over the seeds (ddof 1); None for one seed.
        train_accuracy: mean accuracy; None for the models of federations.
        seconds: mean wall time of a training.
        classes, n_test: numbers of classes and of test examples of the data set.
        published: the paper's accuracy; None if it has no such target.
    """

    seeds: int
    accuracy: float
    accuracy_std: float | None
    train_accuracy: float | None
    seconds: float
    classes: int
    n_test: int
    published: float | None


@dataclass(frozen=True, kw_only=True)
class InversionSummary(Approach, AttackedModel):
    """One line: an attack, or a control, on the targets of one kind.

    Attributes:
        cell, judge: as in the rows.
        targets, repeats: numbers of targets, and of attacks on each, so that their product counts the attacks.
        classes: K.
        scores: mean and deviation over all attacks.
        draws: mean and deviation over Bernoulli draws of the first attack's answer; None if it has none.
        accuracy, daa: shares of all answers, with 95 % intervals over the classes as units.
        convinced: share of answers for which the target's posterior exceeds a half; None for a control.
        target_confidence: the target's mean posterior of the attacked class; None for a control.
        diverged: number of diverged answers.
        density: mean share of voxels that spike; None for images.
        zeros: mean share of exact zeros.
        nearest_train, nearest_test: median distance to the nearest example.
        nearer_train: share of answers nearer to one of as many training examples as there are test examples.
        iterations, seconds: means for one class.
        verdict, reason: texts of `judges.summaries.class_verdicts`.
        published: the paper's column; None if it has no such cell.
        nearest_ssim: median SSIM to the nearest training example; None for pictures smaller than 7x7.
        transfer: what the attacked and further targets make of the answers; None where there are no further ones.
    """

    cell: str
    judge: str
    targets: int
    repeats: int
    classes: int
    scores: Repeated
    draws: Repeated | None
    accuracy: Rate
    daa: Rate
    convinced: float | None
    target_confidence: float | None
    diverged: int
    density: float | None
    zeros: float
    nearest_train: float
    nearest_test: float
    nearer_train: Rate
    iterations: float
    seconds: float
    verdict: str
    reason: str
    published: PublishedInversion | None
    nearest_ssim: float | None = None
    transfer: Transfer | None = None


@dataclass(frozen=True)
class Inversions:
    """A whole run.

    Attributes:
        targets: in the order of the rows.
        cells: the lines, attacks before controls for each target.
        judges: {"DATASET JUDGE": facts}, see `judges.classifiers.cache.Judge.facts`.
        seed: seed of the intervals.
    """

    targets: tuple[TargetSummary, ...]
    cells: tuple[InversionSummary, ...]
    judges: Mapping[str, Mapping[str, Scalar]]
    seed: int


def judge_key(dataset: str, judge: str) -> str:
    """Return the key of a judge in `Inversions.judges`."""
    return f"{dataset} {judge}"


def summarise(
    rows: Sequence[ClassScore],
    targets: Sequence[TargetFacts],
    *,
    judges: Mapping[str, Mapping[str, Scalar]],
    draws: Mapping[str, Repeated],
    seed: int,
) -> Inversions:
    """Return the summary of all rows of a run.

    Args:
        rows: rows of attacks and controls.
        targets: all targets of the rows.
        judges, seed: as in `Inversions`.
        draws: {cell: scores over draws of its first answer}.
    """
    kinds: dict[Target, list[TargetFacts]] = defaultdict(list)
    for facts in targets:
        kinds[facts.target].append(facts)
    cells: dict[Target, dict[str, list[ClassScore]]] = {target: defaultdict(list) for target in kinds}
    for row in rows:
        cells[row.target][row.cell].append(row)
    lines = []
    for target, own in cells.items():
        shape = kinds[target][0].shape
        attacks_first = sorted(own.values(), key=lambda part: part[0].is_control)
        lines += [_line(part, own, shape, draws.get(part[0].cell), seed) for part in attacks_first]
    return Inversions(tuple(_target(own) for own in kinds.values()), tuple(lines), judges, seed)


def write_inversions(summary: Inversions, path: Path) -> Path:
    """Write a summary as JSON, atomically."""
    return atomic_write(path, json.dumps(asdict(summary), indent=1) + "\n")


def read_inversions(path: Path) -> Inversions:
    """Read the summary that `write_inversions` wrote; a DataError if the file is missing or invalid."""
    try:
        return pydantic.TypeAdapter(Inversions).validate_json(path.read_bytes())
    except (OSError, pydantic.ValidationError) as error:
        raise DataError(f"{path}: expected a summary of model inversions ({error}).") from error


def attack_scores(rows: Sequence[ClassScore]) -> list[InversionScores]:
    """Return the scores of each attack among the rows of a cell, from the ranks and confidences of its classes."""
    attacks: dict[tuple[int, int], list[ClassScore]] = defaultdict(list)
    for row in rows:
        attacks[row.target_seed, row.attack_seed].append(row)
    return [
        InversionScores(
            attack_accuracy=mean(row.rank == 1 for row in own),
            top3=mean(row.rank <= 3 for row in own),
            confidence=mean(row.confidence for row in own),
            daa=mean(row.distinctive for row in own),
        )
        for own in attacks.values()
    ]


def _target(own: Sequence[TargetFacts]) -> TargetSummary:
    """Return the summary of the targets of one kind."""
    first = own[0]
    accuracies = [facts.test_accuracy for facts in own]
    paper = _as_the_paper(first, first.shape)
    return TargetSummary(
        **columns_of(first, AttackedModel),
        seeds=len(own),
        accuracy=mean(accuracies),
        accuracy_std=stdev(accuracies) if len(own) > 1 else None,
        train_accuracy=_mean(facts.train_accuracy for facts in own),
        seconds=mean(facts.seconds for facts in own),
        classes=first.classes,
        n_test=first.n_test,
        published=published.TARGETS.get((first.dataset, first.model)) if paper else None,
    )


def _line(
    rows: Sequence[ClassScore],
    cells: Mapping[str, Sequence[ClassScore]],
    shape: tuple[int, int, int],
    draws: Repeated | None,
    seed: int,
) -> InversionSummary:
    """Return the line of one cell; `cells` holds the rows of all cells of its target."""
    first = rows[0]
    accuracy = class_rate([row.rank == 1 for row in rows], rows, seed, f"{first.cell} accuracy")
    daa = class_rate([row.distinctive for row in rows], rows, seed, f"{first.cell} daa")
    noise = _share_first(cells, (SHUFFLED, *first.approach[1:]))
    ceiling = _share_first(cells, (REAL, "", ()))
    verdict, reason = verdict_on(rows, accuracy, daa, noise=noise, ceiling=ceiling)
    beliefs = [row.target_confidence for row in rows if row.target_confidence is not None]
    paper = _as_the_paper(first, shape) and not (first.is_control or first.attack_settings)
    return InversionSummary(
        **columns_of(first, Approach, AttackedModel),
        cell=first.cell,
        judge=first.judge,
        targets=len({row.target_seed for row in rows}),
        repeats=len({row.attack_seed for row in rows}),
        classes=len({row.label for row in rows}),
        scores=over_attacks(attack_scores(rows)),
        draws=draws,
        accuracy=accuracy,
        daa=daa,
        convinced=mean(belief > CONVINCED for belief in beliefs) if beliefs else None,
        target_confidence=_mean(beliefs),
        diverged=sum(row.diverged for row in rows),
        density=_mean(row.density for row in rows),
        zeros=mean(row.zeros for row in rows),
        nearest_train=median(row.nearest_train for row in rows),
        nearest_test=median(row.nearest_test for row in rows),
        nearer_train=class_rate([row.nearer_train for row in rows], rows, seed, f"{first.cell} nearer train"),
        iterations=mean(row.iterations for row in rows),
        seconds=mean(row.seconds for row in rows),
        verdict=verdict,
        reason=reason,
        published=published.INVERSIONS.get((first.dataset, first.attack)) if paper else None,
        nearest_ssim=_median(row.nearest_ssim for row in rows),
        transfer=transfer_of(rows, seed),
    )


def _median(values: Iterable[float | None]) -> float | None:
    """Return the median of values; None if any is None."""
    found = list(values)
    known = [value for value in found if value is not None]
    return median(known) if len(known) == len(found) else None


def _mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that are not None; None if there are none."""
    known = [value for value in values if value is not None]
    return mean(known) if known else None


def _share_first(cells: Mapping[str, Sequence[ClassScore]], approach: tuple[str, str, Pairs]) -> float | None:
    """Return the attack accuracy of a control; None if there is no such control."""
    rows = [row for own in cells.values() for row in own if row.approach == approach]
    return mean(row.rank == 1 for row in rows) if rows else None


def _as_the_paper(target: AttackedModel, shape: tuple[int, int, int]) -> bool:
    """Return whether a target is of the paper's kind: its architecture, trained centrally, on inputs of its size."""
    untouched = target.source == CENTRAL and target.model in published.ARCHITECTURES and not target.varied
    return untouched and target.defence == "none" and published.SHAPES.get(target.dataset) == shape
