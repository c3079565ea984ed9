"""DVS128 Gesture as its authors ship it: a recording of all gestures of a person, and a table of when each was made."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from fl_sim.datasets.events import FramePlan, Recording
from fl_sim.datasets.events.cache import Splits, cached_splits
from fl_sim.datasets.events.checking import Sensor, checked
from fl_sim.datasets.events.formats import AEDAT_3, aedat3_columns
from fl_sim.datasets.reading.integrity import corrupt, read_bytes, subfolders
from fl_sim.errors import ConfigError
from fl_sim.files import sha256

LISTS = ("trials_to_train.txt", "trials_to_test.txt")
SENSOR = Sensor(128, 128)
CLASSES = 11
_COLUMNS = ["class", "startTime_usec", "endTime_usec"]
_TABLE = f"a table with the columns {', '.join(_COLUMNS)}, classes 1 to {CLASSES} and a start before the end"


class Gesture(NamedTuple):
    """Its class from 0, and its start and end in microseconds."""

    label: int
    start: int
    end: int


class Trial(NamedTuple):
    """The recording of a person under one light, and the gestures in it."""

    path: Path
    gestures: tuple[Gesture, ...]


def trials_in(where: Path) -> Path | None:
    """Return the folder of the lists of trials, which is `where` or lies in it; None if there is none."""
    if not where.is_dir():
        return None
    folders = [where, *subfolders(where, "a folder")]
    return next((one for one in folders if any((one / name).is_file() for name in LISTS)), None)


def splits_of_trials(name: str, folder: Path, plan: FramePlan) -> tuple[Splits, str]:
    """Return the frames of both splits, and what they are, in words.

    A gesture lasts from its start to its end in the table; it starts with its first event and ends after its last.

    Args:
        name: of the data set.
        folder: the folder of the lists, recordings (`user01_led.aedat`) and tables (`user01_led_labels.csv`).
        plan: how events become frames; the first `plan.classes` classes are taken.

    Raises:
        ConfigError: a split has no gesture of these classes, or none that is long enough.
        DataError: a file is missing or damaged, or an entry of a table holds no event.
    """
    parts, content = [], hashlib.sha256()
    for listed in LISTS:
        trials = [_trial(folder / one) for one in _names(folder / listed)]
        for trial in trials:
            content.update(f"{trial.path.name} {sha256(trial.path)} {trial.gestures}\n".encode())
        kept = [trial._replace(gestures=tuple(g for g in trial.gestures if g.label < plan.classes)) for trial in trials]
        parts.append([trial for trial in kept if trial.gestures])
        content.update(b"\n")
        if not parts[-1]:
            raise ConfigError(
                f"dataset.classes: expected gestures of the first {plan.classes} classes in both splits, found none "
                f"among the trials of {folder / listed}."
            )
    train, test = (sum(len(trial.gestures) for trial in part) for part in parts)
    told = (
        f"{train:,} train and {test:,} test recordings, no hash to verify them by; split by person, as the authors did"
    )
    return cached_splits(name, plan, content.hexdigest(), parts, _recordings), told


def _recordings(trials: Sequence[Trial]) -> Iterator[Recording]:
    for path, gestures in trials:
        content = read_bytes(path, AEDAT_3)
        events = checked(aedat3_columns(content, path), path, SENSOR, AEDAT_3, content)
        for label, start, end in gestures:
            own = events[(events["t"] >= start) & (events["t"] < end)]
            if not len(own):
                raise corrupt(path, f"events from {start} to {end} us, as its table says", "none")
            yield Recording.of(label, own)


def _names(path: Path) -> list[str]:
    """Return the names of the recordings in a list of trials."""
    expected = "a list of recordings such as user01_led.aedat, one a line"
    text = _text(path, expected)
    names = [line.strip() for line in text.splitlines() if line.strip()]
    foreign = [name for name in names if Path(name).name != name or not name.endswith(".aedat")]
    if foreign or not names:
        raise corrupt(path, expected, f"'{foreign[0]}'" if foreign else "nothing")
    return names


def _trial(path: Path) -> Trial:
    """Return a recording with its gestures, from the table beside it."""
    if not path.is_file():
        raise corrupt(path, AEDAT_3, "no such file")
    table = path.with_name(f"{path.stem}_labels.csv")
    rows = [row for row in csv.reader(io.StringIO(_text(table, _TABLE))) if row]
    if not rows or [cell.strip() for cell in rows[0]] != _COLUMNS:
        raise corrupt(table, _TABLE, f"the first line '{','.join(rows[0]) if rows else ''}'")
    gestures = []
    for number, row in enumerate(rows[1:], start=2):
        try:
            label, start, end = (int(cell) for cell in row)
        except ValueError:
            raise corrupt(table, _TABLE, f"'{','.join(row)}' in line {number}") from None
        if not 1 <= label <= CLASSES or start >= end:
            raise corrupt(table, _TABLE, f"'{','.join(row)}' in line {number}")
        gestures.append(Gesture(label - 1, start, end))
    return Trial(path, tuple(gestures))


def _text(path: Path, expected: str) -> str:
    try:
        return read_bytes(path, expected).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise corrupt(path, expected, "no text") from None
