"""Comparison of two runs: their configs, the versions that made them, and their rows. Wall times are ignored."""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from fl_sim.config import read_toml
from fl_sim.errors import DataError
from judges.runs.manifest import read_manifest
from judges.runs.tables import Frame, read_frame

KEYS = ("cell", "round", "target_seed", "attack_seed", "repeat", "capture_id", "example", "label")
"""Columns that identify a row, if the table has them."""
TIMES = ("seconds",)
Indexed: TypeAlias = "dict[tuple[str | int, ...], list[str]]"
"""The texts of rows by those that identify them and a number among rows in which these are equal."""
MADE_BY = ("versions", "python", "git_commit", "threads", "device", "machine", "datasets")


@dataclass(frozen=True)
class CellDifference:
    """How the rows of one cell differ.

    Attributes:
        cell: name of the cell.
        rows: number of rows in both runs.
        differing: number of these that differ in any column.
        only_first, only_second: number of rows in only one of the runs.
        columns: {column: largest absolute difference}, infinite for values that are not numbers.
    """

    cell: str
    rows: int
    differing: int
    only_first: int
    only_second: int
    columns: Mapping[str, float]

    @property
    def is_equal(self) -> bool:
        """Return whether both runs have the same rows."""
        return not (self.differing or self.only_first or self.only_second)


@dataclass(frozen=True)
class Comparison:
    """How two runs differ.

    Attributes:
        config, made_by: {key: (value in the first, value in the second)} where they differ.
        cells: all cells, in the order of the first run.
    """

    config: Mapping[str, tuple[str, str]]
    made_by: Mapping[str, tuple[str, str]]
    cells: tuple[CellDifference, ...]

    @property
    def is_equal(self) -> bool:
        """Return whether both runs have the same scores, to the last digit."""
        return all(cell.is_equal for cell in self.cells)


def compare(first: Path, second: Path) -> Comparison:
    """Return how two runs differ.

    Raises:
        DataError: a folder holds no run, or their rows are of different kinds.
    """
    ours, theirs = _rows(first), _rows(second)
    if ours.columns != theirs.columns:
        raise DataError(f"{second}: expected rows of the same kind as those of {first}: their columns differ.")
    parts = [_by_cell(frame) for frame in (ours, theirs)]
    cells = list(dict.fromkeys([*parts[0], *parts[1]]))
    configs = [read_toml(folder / "config.toml") for folder in (first, second)]
    manifests = [read_manifest(folder) for folder in (first, second)]
    return Comparison(
        _differences(*configs),
        _differences(*({key: one[key] for key in MADE_BY if key in one} for one in manifests)),
        tuple(_cell(cell, ours.columns, *(part.get(cell, {}) for part in parts)) for cell in cells),
    )


def scores_digest(folder: Path) -> str:
    """Return the SHA-256 of a run's rows without their wall times; a DataError if the folder holds no run."""
    frame, text = _rows(folder), io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([frame.columns, *frame.rows])
    return hashlib.sha256(text.getvalue().encode()).hexdigest()


def _by_cell(frame: Frame) -> dict[str, Indexed]:
    """Return {cell: its rows by their keys}. Rows with the same keys are distinguished by their order."""
    keys = [place for place, name in enumerate(frame.columns) if name in KEYS]
    cell = frame.columns.index("cell")
    cells: dict[str, Indexed] = {}
    counts: Counter[tuple[str, ...]] = Counter()
    for row in frame.rows:
        key = tuple(row[place] for place in keys)
        cells.setdefault(row[cell], {})[*key, counts[key]] = row
        counts[key] += 1
    return cells


def _cell(name: str, columns: Sequence[str], ours: Indexed, theirs: Indexed) -> CellDifference:
    """Return how the rows of a cell differ."""
    both = [(row, theirs[key]) for key, row in ours.items() if key in theirs]
    unequal: dict[str, list[float]] = {column: [] for column in columns}
    for mine, other in both:
        for column, own, another in zip(columns, mine, other, strict=True):
            if own != another:
                unequal[column].append(_distance(own, another))
    return CellDifference(
        name,
        rows=len(both),
        differing=sum(mine != other for mine, other in both),
        only_first=len(ours) - len(both),
        only_second=len(theirs) - len(both),
        columns={column: max(distances) for column, distances in unequal.items() if distances},
    )


def _distance(ours: str, theirs: str) -> float:
    """Return the absolute difference of two texts; infinite if one is not a number."""
    try:
        return abs(float(ours) - float(theirs))
    except ValueError:
        return math.inf


def _rows(folder: Path) -> Frame:
    """Return the rows of a run as texts, without their wall times."""
    path = folder / "scores.csv"
    frame = read_frame(path)
    if "cell" not in frame.columns:
        raise DataError(f"{path}: expected a table of scores with a column 'cell'.")
    return frame.without(TIMES)


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield (dotted key, text) of a nested table."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)


def _differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return the differences of two nested tables by dotted key; "-" stands for a missing value."""
    ours, theirs = dict(_flat(first)), dict(_flat(second))
    pairs = {key: (ours.get(key, "-"), theirs.get(key, "-")) for key in ours | theirs}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}
