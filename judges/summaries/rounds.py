"""The runs of several threats to the same federations -> their numbers against the rounds of training, as rows."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean
from typing import TypeVar

import pydantic

from fl_sim.errors import DataError
from fl_sim.files import atomic_write
from judges.intervals import bootstrap_mean, rate
from judges.runs.identity import Approach, Attacked, columns_of
from judges.runs.names import attack_name, group_name, line_name
from judges.runs.rows import Score, read_scores
from judges.runs.rows.classes import FEDERATION, FILE
from judges.runs.rows.membership import CLIENT, NULL
from judges.runs.rows.rounds import ACCURACY, AUC, RECOGNISED, SOLVED, SSIM, RoundScore
from judges.summaries.comparison import units_of
from judges.summaries.gradient_inversion import read_summary, stream_of
from judges.summaries.membership import Area, MembershipSummary, read_memberships
from judges.summaries.model_inversion import read_inversions
from judges.summaries.verdicts import NOT_ATTEMPTED

One = TypeVar("One")


def points_of_updates(folder: Path, experiment: str) -> Iterator[RoundScore]:
    """Yield the numbers of a run of gradient inversion, attack by attack and round after round.

    An update of round r + 1 was made from the global model of r rounds, so it stands at r. Controls have no attack: of
    the update's own answers swapped, of no step, of black, grey and mean pictures. What no attack looked
    for is left out.
    """
    seed = read_summary(folder / "summary.json").seed
    looked = (row for row in read_scores(folder / "scores.csv") if row.stop_reason != NOT_ATTEMPTED)
    own = _by(looked, lambda row: (row.group, row.approach, row.guess, row.tau, row.round))
    for rows in own.values():
        first = rows[0]
        units, stream = units_of(rows), "/".join((*stream_of(first), first.cell, str(first.round)))
        values = [row.ssim for row in rows if row.ssim is not None]
        if len(values) == len(rows) and all(map(math.isfinite, values)):
            ends = bootstrap_mean(values, units, seed=seed, stream=stream)
            yield _point(first, experiment, first.round - 1, SSIM, mean(values), ends, len(rows))
        solved = rate([row.solved for row in rows], units, seed=seed, stream=stream)
        yield _point(first, experiment, first.round - 1, SOLVED, solved.share, (solved.low, solved.high), len(rows))


def points_of_models(folder: Path, experiment: str) -> Iterator[RoundScore]:
    """Yield the numbers of a run of model inversion, attack by attack and round after round, and those of controls."""
    for cell in read_inversions(folder / "summary.json").cells:
        share = cell.accuracy
        yield RoundScore(
            **columns_of(cell, Approach, Attacked),
            experiment=experiment,
            cell=f"model_inversion: {cell.cell}",
            threat="model_inversion",
            line=attack_name(cell),
            round=cell.round,
            measure=RECOGNISED,
            value=share.share,
            low=share.low,
            high=share.high,
            n=share.of,
        )


def points_of_memberships(folder: Path, experiment: str) -> Iterator[RoundScore]:
    """Yield the areas of a run of membership inference, attack by attack and round after round, and those of controls.

    A global model stands at its own round, an update of round r + 1 at r, as in `points_of_updates`. The control that
    never saw a candidate is one model, which stands beside each round.
    """
    for cell in read_memberships(folder / "summary.json").cells:
        if cell.control != NULL:
            yield _area(cell, experiment, cell.auc)
        if cell.null is not None:
            yield _area(replace(cell, control=NULL), experiment, cell.null)


def accuracies_of_updates(folder: Path, experiment: str) -> Iterator[RoundScore]:
    """Yield the accuracy of the global models as the judges of a run of gradient inversion measured it."""
    measured = read_summary(folder / "summary.json").accuracies
    for own in _by(measured, lambda one: (one.group, one.round)).values():
        shares = [one.accuracy for one in own]
        ends = (min(shares), max(shares)) if len(shares) > 1 else None
        first = own[0]
        yield _of_model(first, experiment, first.round, mean(shares), ends, first.examples * len(own))


def accuracies_of_models(folder: Path, experiment: str) -> Iterator[RoundScore]:
    """Yield the accuracy of the global models as the federation's server measured it, where no update is attacked."""
    for target in read_inversions(folder / "summary.json").targets:
        yield _of_model(target, experiment, target.round, target.accuracy, None, target.n_test * target.seeds)


def accuracies_of_memberships(folder: Path, experiment: str) -> Iterator[RoundScore]:
    """Yield the accuracy of the models as it was measured for the attacks, where only members are told."""
    cells = [one for one in read_memberships(folder / "summary.json").cells if one.source in (FEDERATION, FILE)]
    for cell in {one.target: one for one in cells if not one.is_control}.values():
        if cell.test_accuracy is not None:
            yield _of_model(cell, experiment, cell.round, cell.test_accuracy, None, cell.units)


POINTS: Mapping[str, Callable[[Path, str], Iterator[RoundScore]]] = {
    "gradient_inversion": points_of_updates,
    "model_inversion": points_of_models,
    "membership": points_of_memberships,
}
"""{threat: what gives its numbers}."""

ACCURACIES: Mapping[str, Callable[[Path, str], Iterator[RoundScore]]] = {
    "gradient_inversion": accuracies_of_updates,
    "model_inversion": accuracies_of_models,
    "membership": accuracies_of_memberships,
}
"""{threat: what gives the accuracy of the models in its run}; that of the first threat that knows it is taken."""


@dataclass(frozen=True)
class RoundPoint:
    """A point of a curve; its fields are those of `RoundScore`."""

    round: int
    value: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True, kw_only=True)
class Curve(Approach, Attacked):
    """One measure of one attack, control or global model against the rounds of training.

    Attributes:
        cell, threat, line, measure, source: as in the rows.
        points: in the order of the rounds.
    """

    cell: str
    threat: str
    line: str
    measure: str
    points: tuple[RoundPoint, ...]
    source: str = ""


@dataclass(frozen=True)
class Rounds:
    """A whole run over rounds: the curves of all threats, the accuracy of the global models first."""

    curves: tuple[Curve, ...]


def summarise_rounds(rows: Iterable[RoundScore]) -> Rounds:
    """Return the curves of rows."""
    curves = []
    for own in _by(rows, lambda row: (row.threat, row.measure, row.group, row.approach, row.line)).values():
        first, points = own[0], sorted(own, key=lambda row: row.round)
        curves.append(
            Curve(
                **columns_of(first, Approach, Attacked),
                cell=first.cell,
                threat=first.threat,
                line=first.line,
                measure=first.measure,
                source=first.source,
                points=tuple(RoundPoint(row.round, row.value, row.low, row.high, row.n) for row in points),
            )
        )
    return Rounds(tuple(curves))


def write_rounds(summary: Rounds, path: Path) -> Path:
    """Write a summary as JSON, atomically."""
    return atomic_write(path, json.dumps(asdict(summary), indent=1, allow_nan=False) + "\n")


def read_rounds(path: Path) -> Rounds:
    """Read the summary that `write_rounds` wrote; a DataError if the file is missing or invalid."""
    try:
        return pydantic.TypeAdapter(Rounds).validate_json(path.read_bytes())
    except (OSError, pydantic.ValidationError) as error:
        raise DataError(f"{path}: expected a summary as written by spikeleak ({error}).") from error


def round_scores(folders: Mapping[str, Path], experiment: str) -> list[RoundScore]:
    """Return the rows of all threats; the accuracy of the global models comes first.

    Args:
        folders: {threat: folder of its run}.
        experiment: name of the run over rounds.
    """
    if not folders:
        return []
    measured = (list(ACCURACIES[threat](folder, experiment)) for threat, folder in folders.items())
    rows = next(filter(None, measured), [])
    for threat, folder in folders.items():
        rows += POINTS[threat](folder, experiment)
    return rows


def _point(
    row: Score, experiment: str, after: int, measure: str, value: float, ends: tuple[float, float] | None, n: int
) -> RoundScore:
    low, high = ends or (None, None)
    return RoundScore(
        **columns_of(row, Approach, Attacked),
        experiment=experiment,
        cell=f"gradient_inversion: {row.cell}",
        threat="gradient_inversion",
        line=line_name(row),
        round=after,
        measure=measure,
        value=value,
        low=low,
        high=high,
        n=n,
    )


def _area(cell: MembershipSummary, experiment: str, area: Area) -> RoundScore:
    is_update = cell.source == CLIENT
    return RoundScore(
        **columns_of(cell, Approach, Attacked),
        experiment=experiment,
        cell=f"membership: {cell.cell}{f', {NULL}' if cell.control == NULL else ''}",
        threat="membership",
        line=f"{attack_name(cell)}, {'updates' if is_update else 'global model'}",
        round=cell.round - 1 if is_update else cell.round,
        measure=AUC,
        value=area.mean,
        low=area.low,
        high=area.high,
        n=cell.members + cell.non_members,
        source=cell.source,
    )


def _of_model(
    model: Attacked, experiment: str, after: int, value: float, ends: tuple[float, float] | None, n: int
) -> RoundScore:
    low, high = ends or (None, None)
    return RoundScore(
        **columns_of(model, Attacked),
        experiment=experiment,
        cell=f"global model: {group_name(model)}",
        threat="",
        line="global model",
        round=after,
        measure=ACCURACY,
        value=value,
        low=low,
        high=high,
        n=n,
    )


def _by(items: Iterable[One], key: Callable[[One], Hashable]) -> dict[Hashable, list[One]]:
    """Return items by a key, in the order in which the keys first occur."""
    found: dict[Hashable, list[One]] = defaultdict(list)
    for item in items:
        found[key(item)].append(item)
    return found
