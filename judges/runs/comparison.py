"""Comparison of two runs: their configs, the versions that made them, and their rows. Wall times are ignored."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from fl_sim.config import read_toml
from fl_sim.errors import DataError
from judges.runs.manifest import read_manifest
from judges.runs.tables import read_frame

KEYS = ("cell", "round", "target_seed", "attack_seed", "repeat", "capture_id", "example", "label")
"""Columns that identify a row, if the table has them."""
TIMES = ("seconds",)
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
    if list(ours.columns) != list(theirs.columns):
        raise DataError(f"{second}: expected rows of the same kind as those of {first}: their columns differ.")
    keys = [name for name in KEYS if name in ours.columns]
    cells = list(dict.fromkeys([*ours["cell"], *theirs["cell"]]))
    parts = [(ours[ours["cell"] == cell], theirs[theirs["cell"] == cell]) for cell in cells]
    configs = [read_toml(folder / "config.toml") for folder in (first, second)]
    manifests = [read_manifest(folder) for folder in (first, second)]
    return Comparison(
        _differences(*configs),
        _differences(*({key: one[key] for key in MADE_BY if key in one} for one in manifests)),
        tuple(_cell(cell, own, other, keys) for cell, (own, other) in zip(cells, parts, strict=True)),
    )


def scores_digest(folder: Path) -> str:
    """Return the SHA-256 of a run's rows without their wall times; a DataError if the folder holds no run."""
    return hashlib.sha256(_rows(folder).to_csv(index=False).encode()).hexdigest()


def _cell(name: str, ours: pd.DataFrame, theirs: pd.DataFrame, keys: list[str]) -> CellDifference:
    """Return how the rows of a cell differ. Rows with the same keys are distinguished by their order."""
    ours, theirs = (_indexed(rows, keys) for rows in (ours, theirs))
    both = ours.index.intersection(theirs.index)
    mine, other = ours.loc[both], theirs.loc[both]
    unequal = mine.ne(other)
    return CellDifference(
        name,
        rows=len(both),
        differing=int(unequal.any(axis=1).sum()),
        only_first=len(ours) - len(both),
        only_second=len(theirs) - len(both),
        columns={
            column: max(map(_distance, mine.loc[unequal[column], column], other.loc[unequal[column], column]))
            for column in unequal.columns
            if unequal[column].any()
        },
    )


def _indexed(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return rows indexed by their keys and by their number among rows with equal keys."""
    return rows.assign(number=rows.groupby(keys).cumcount()).set_index([*keys, "number"])


def _distance(ours: str, theirs: str) -> float:
    """Return the absolute difference of two texts; infinite if one is not a number."""
    try:
        return abs(float(ours) - float(theirs))
    except ValueError:
        return math.inf


def _rows(folder: Path) -> pd.DataFrame:
    """Return the rows of a run as texts, without their wall times."""
    path = folder / "scores.csv"
    frame = read_frame(path)
    if "cell" not in frame.columns:
        raise DataError(f"{path}: expected a table of scores with a column 'cell'.")
    return frame.drop(columns=[name for name in TIMES if name in frame.columns])


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
