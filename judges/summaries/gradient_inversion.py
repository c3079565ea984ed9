"""Rows -> one line for each cell: distributions, intervals, success rates, comparison with controls, and a verdict."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import pydantic

from fl_sim.errors import DataError
from fl_sim.files import atomic_write
from fl_sim.records import Scalar
from judges.intervals import Distribution, Rate, bootstrap_mean, distribution, rate
from judges.runs.identity import PROTOCOL, SWAPPED, Approach, Attacked, Group, columns_of
from judges.runs.measures import Claimed, ClassDistances, Health, ModelAccuracy, Readable, SanityCheck
from judges.runs.names import CONTROL, attack_key, defence_key, model_key
from judges.runs.rows import Score
from judges.runs.timelines import Timelines
from judges.summaries.comparison import Best, Comparison, best_controls, compare, units_of
from judges.summaries.contrast import Contrast, contrasts
from judges.summaries.published import PUBLISHED, Published
from judges.summaries.timelines import TimeSummary, summarise_timelines
from judges.summaries.verdicts import NOT_ATTEMPTED, chance_of_labels, verdict_on

_METRICS = ("ssim", "psnr_db", "mse", "l2")


@dataclass(frozen=True, kw_only=True)
class CellSummary(Approach, Attacked):
    """One line: an attack, or a control, on one group of victims.

    Attributes:
        cell, guess, adversary, auxiliary, thresholding, tau: as in the rows.
        n: number of examples.
        ssim, psnr_db, mse, l2: distributions over the answers; ssim is None where it is not defined, for pictures
            smaller than 7x7, and so is recognisable. ssim and psnr_db are None for texts.
        intervals: bootstrap 95 % intervals of the means of ssim, psnr_db, mse, l2 and asr (for asr see
            `judges.intervals.rate`), by name; None for one victim, and if a value is missing or not finite.
        last: means over the last iterates of ssim, psnr_db, mse, l2 and asr, by name; None where one is not defined.
        solved, recognisable: success rates, see `judges.runs.rows.Score`.
        diverged: number of diverged attacks.
        label_accuracy: share of labels that the attack found in each batch, in any order, see `label_found` of
            `judges.runs.rows.Score`; None if it names none.
        label_accuracy_paired: share of examples whose own answer, paired with them by MSE, has their label; None if the
            attack names none, and if each batch has one example, where the two are equal.
        asr: share of answers in which the judge sees the true label; None without a judge.
        ceiling: share of true inputs in which the judge sees the true label.
        seconds, gradient_evaluations: medians.
        comparison: comparison with the controls; None for a control, or without controls.
        verdict, reason: texts of `judges.summaries.verdicts`.
        published: the paper's row, if it has one.
        token_accuracy, tokens_found: means over the answers, see `judges.runs.rows.Score`; None for pictures.
        label_chance: label_accuracy of a guess without the update; None if it is not known.
        unattempted: number of examples that the attack did not look for; answers to them stand for none.
    """

    cell: str
    guess: str
    adversary: str
    auxiliary: str
    thresholding: str
    tau: float | None
    n: int
    ssim: Distribution | None
    psnr_db: Distribution | None
    mse: Distribution
    l2: Distribution
    intervals: Mapping[str, tuple[float, float] | None]
    last: Mapping[str, float | None]
    solved: Rate
    recognisable: Rate | None
    diverged: int
    label_accuracy: float | None
    label_accuracy_paired: float | None
    asr: float | None
    ceiling: float | None
    seconds: float
    gradient_evaluations: float
    comparison: Comparison | None
    verdict: str
    reason: str
    published: Published | None
    token_accuracy: float | None = None
    tokens_found: float | None = None
    unattempted: int = 0
    label_chance: float | None = None

    @property
    def is_attempted(self) -> bool:
        """Return whether any example was looked for."""
        return self.unattempted < self.n


@dataclass(frozen=True)
class Summary:
    """All cells of a run, attacks before controls in each group, and the judges.

    Attributes:
        cells: the lines.
        judges: {data set: facts}, see `judges.classifiers.cache.Judge.facts`.
        seed: seed of the bootstrap.
        distances: {data set: distances between its examples}, as far as they were requested.
        health: health of the models under attack, in the order of the groups, as far as it was measured.
        reads: what can be read off the updates of each group of victims, scored or not.
        checks: the sanity checks of the attacks, as far as they were requested, in the order of the cells.
        claims: what the defences claim, group by group; () where none defends.
        contrasts: each attack on a spiking network beside the same one on its ordinary twin, on the same examples.
        timelines: how the answers to recordings of events fare over time; () for still images.
        accuracies: of the global models that `federation.keep_every` keeps, in the order of the groups and rounds.
    """

    cells: tuple[CellSummary, ...]
    judges: Mapping[str, Mapping[str, Scalar]]
    seed: int
    distances: Mapping[str, ClassDistances]
    health: tuple[Health, ...] = ()
    reads: tuple[Readable, ...] = ()
    checks: tuple[SanityCheck, ...] = ()
    contrasts: tuple[Contrast, ...] = ()
    timelines: tuple[TimeSummary, ...] = ()
    accuracies: tuple[ModelAccuracy, ...] = ()
    claims: tuple[Claimed, ...] = ()


class Line(NamedTuple):
    """A key that all rows of a line of a summary share: the cell of an attack or its own control, or a shared one."""

    group: Group
    is_control: bool
    name: object


def line_of(one: Score | CellSummary) -> Line:
    """Return the line of a row or of a summary."""
    of_cell = one.control in ("", SWAPPED)
    return Line(one.group, one.is_control, one.cell if of_cell else (one.approach, one.guess, one.tau))


def summarise(
    scores: Sequence[Score],
    *,
    judges: Mapping[str, Mapping[str, Scalar]] | None = None,
    distances: Mapping[str, ClassDistances] | None = None,
    health: Sequence[Health] = (),
    timelines: Sequence[Timelines] = (),
    seed: int = 0,
) -> Summary:
    """Return the summary of all rows of a run, which does not depend on the order of the rows of a cell.

    Args:
        scores: rows of attacks and controls. All cells of a group share a control, so equal rows of one victim's
            control count once.
        judges, distances, seed: as in `Summary`.
        health: health of the models under attack, at most one for each group; groups without a row are left out.
        timelines: those of the rows' cells, in the order of the rows.
    """
    best_control = best_controls(scores)
    cells: dict[Line, dict[object, Score]] = defaultdict(dict)
    for index, score in enumerate(scores):
        cells[line_of(score)][(score.victim, score.mse, score.ssim) if score.is_control else index] = score
    groups = list(dict.fromkeys(line.group for line in cells))
    ordered = sorted(cells, key=lambda line: (groups.index(line.group), line.is_control))
    known = {one.group: one for one in health}
    lines = [
        _cell(sorted(cells[line].values(), key=_by_victim), best_control, known.get(line.group), seed=seed)
        for line in ordered
    ]
    examined = tuple(known[group] for group in groups if group in known)
    return Summary(
        tuple(lines),
        dict(judges or {}),
        seed,
        dict(distances or {}),
        examined,
        contrasts=contrasts(scores, seed=seed),
        timelines=summarise_timelines(timelines, seed=seed),
    )


def write_summary(summary: Summary, path: Path) -> Path:
    """Write a summary as JSON, atomically."""
    return atomic_write(path, json.dumps(dataclasses.asdict(summary), indent=1, allow_nan=False) + "\n")


def read_summary(path: Path) -> Summary:
    """Read the summary that `write_summary` wrote; a DataError if the file is missing or invalid."""
    try:
        return pydantic.TypeAdapter(Summary).validate_json(path.read_bytes())
    except (OSError, pydantic.ValidationError) as error:
        raise DataError(f"{path}: expected a summary as written by spikeleak ({error}).") from error


def _by_victim(score: Score) -> tuple[str, float]:
    return repr(score.victim), score.mse


def _cell(rows: Sequence[Score], best_control: Best, health: Health | None, *, seed: int) -> CellSummary:
    """Return the line of a cell's rows."""
    first = rows[0]
    units = units_of(rows)
    stream = "/".join((*stream_of(first), first.cell))
    comparison = None if first.is_control else compare(rows, best_control, seed=seed, stream=stream)
    successes = rate([row.success for row in rows], units, seed=seed, stream=stream)
    verdict, reason = verdict_on(rows, successes, comparison, health)
    values = {name: _defined(rows, name) for name in _METRICS}
    columns: dict[str, Any] = columns_of(first, Approach, Attacked)
    same = ("cell", "guess", "adversary", "auxiliary", "thresholding", "tau")
    columns |= {name: getattr(first, name) for name in same}
    columns |= {name: distribution(column) if column else None for name, column in values.items()}
    columns |= _label_accuracies(rows) | {"label_chance": chance_of_labels(rows, health)}
    columns |= {name: _mean(_defined(rows, name)) for name in ("token_accuracy", "tokens_found")}
    in_paper = first.defence == "none" and not first.is_control
    in_paper &= not (set(first.varied) - {PROTOCOL} or first.attack_settings)
    return CellSummary(
        **columns,
        n=len(rows),
        intervals=_intervals(rows, values, units, seed=seed, stream=stream),
        last=_last(rows),
        solved=rate([row.solved for row in rows], units, seed=seed, stream=stream),
        recognisable=None if first.recognisable is None else successes,
        diverged=sum(row.diverged for row in rows),
        unattempted=sum(row.stop_reason == NOT_ATTEMPTED for row in rows),
        asr=_share([row.judge_correct for row in rows]),
        ceiling=_share([row.truth_judge_correct for row in rows]),
        seconds=median(row.seconds for row in rows),
        gradient_evaluations=float(median(row.gradient_evaluations for row in rows)),
        comparison=comparison,
        verdict=verdict,
        reason=reason,
        published=PUBLISHED.get((first.attack, first.dataset, first.model)) if in_paper else None,
    )


def _last(rows: Sequence[Score]) -> dict[str, float | None]:
    """Return the means over the last iterates, by name; None where one of these is not finite."""
    columns = {name: _defined(rows, f"last_{name}") for name in _METRICS}
    means = {name: _mean(column) if all(map(math.isfinite, column)) else None for name, column in columns.items()}
    return {**means, "asr": _share([row.last_judge_correct for row in rows])}


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def stream_of(row: Score) -> tuple[str, ...]:
    """Return the name of the random stream of a cell's bootstrap."""
    attack = f"{CONTROL}{row.control}" if row.is_control else attack_key(row.attack, row.attack_settings)
    return row.dataset, model_key(row), row.init, defence_key(row), attack


def _defined(rows: Sequence[Score], name: str) -> list[float]:
    """Return a column of metrics; [] where it is not defined, as SSIM is for small pictures."""
    values = [getattr(row, name) for row in rows]
    return [] if None in values else values


def _label_accuracies(rows: Sequence[Score]) -> dict[str, float | None]:
    """Return the shares of labels that were found in their batch, and in the answer that is paired with them."""
    if all(row.label_recovered < 0 for row in rows):
        return dict.fromkeys(("label_accuracy", "label_accuracy_paired"))
    alone = max(Counter((row.seed, row.repeat, row.capture_id) for row in rows).values()) == 1
    return {
        "label_accuracy": sum(row.label_found for row in rows) / len(rows),
        "label_accuracy_paired": None if alone else sum(row.label_correct for row in rows) / len(rows),
    }


def _intervals(
    rows: Sequence[Score],
    columns: Mapping[str, Sequence[float]],
    units: Sequence[object],
    *,
    seed: int,
    stream: str,
) -> dict[str, tuple[float, float] | None]:
    """Return the bootstrap intervals of a cell's means."""
    intervals = {
        name: bootstrap_mean(values, units, seed=seed, stream=stream)
        if values and all(map(math.isfinite, values))
        else None
        for name, values in columns.items()
    }
    if any(row.judge_correct is None for row in rows):
        return {**intervals, "asr": None}
    seen = rate([row.judge_correct is True for row in rows], units, seed=seed, stream=stream)
    return {**intervals, "asr": (seen.low, seen.high)}


def _share(flags: Sequence[bool | None]) -> float | None:
    """Return the share of set flags; None if every flag is None. A None among others counts as not set."""
    if all(flag is None for flag in flags):
        return None
    return sum(flag is True for flag in flags) / len(flags)
