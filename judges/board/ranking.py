"""Submissions in a folder -> which are sound, and the order of their entries."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from fl_sim.errors import DataError
from fl_sim.specs import Scalar
from judges.board.checks import flaw
from judges.board.fixed import fixed_sets
from judges.board.submission import Entry, Submission, VictimSet, read_submission
from judges.report.formats import grouped


class Place(NamedTuple):
    """An entry on the board: its rank, from 1, its file, and the settings that tell it from its attack's others."""

    rank: int
    file: str
    submission: Submission
    entry: Entry
    settings: Mapping[str, Scalar]


@dataclass(frozen=True)
class Standing:
    """The attacks of one adversary's letter on one fixed victim set, the best first."""

    victims: VictimSet
    adversary: str
    places: Sequence[Place]


@dataclass(frozen=True)
class Board:
    """A whole board.

    Attributes:
        standings: by victim set and letter.
        refused: {file: why it is not on the board}.
        files: number of files on the board.
    """

    standings: Sequence[Standing]
    refused: Mapping[str, str]
    files: int


def board_of(folder: Path) -> Board:
    """Return the board of all files FOLDER/*.json.

    Raises:
        DataError: there are none.
    """
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise DataError(f"{folder}: expected submissions, JSON files as `spikeleak submit` writes them, found none.")
    sets, known = fixed_sets(), dict[str, str]()
    sound: dict[str, Submission] = {}
    refused: dict[str, str] = {}
    for path in paths:
        try:
            submission = read_submission(path)
        except DataError as error:
            refused[path.name] = str(error).removeprefix(f"{path.name}: ")
            continue
        why = flaw(submission, sets)
        twin = known.setdefault(submission.hashes.scores, path.name) if not why else path.name
        if why or twin != path.name:
            refused[path.name] = f"{why or f'it is the same run as {twin}'}."
        else:
            sound[path.name] = submission
    return Board(_standings(sound, sets), refused, len(sound))


def _standings(submissions: Mapping[str, Submission], sets: Mapping[str, VictimSet]) -> list[Standing]:
    """Return the standings, by the order of the fixed sets and of the letters."""
    entries = [(file, one, entry) for file, one in submissions.items() for entry in one.entries]
    by_place = grouped(entries, lambda item: (item[2].victims.set, item[2].adversary))
    order = list(sets)
    standings = []
    for (name, letter), own in sorted(by_place.items(), key=lambda item: (order.index(item[0][0]), item[0][1])):
        own.sort(key=lambda item: (_strength(item[2]), item[0], item[2].cell))
        ranks = [_strength(entry) for _, _, entry in own]
        told = differing([entry for _, _, entry in own])
        places = [
            Place(ranks.index(_strength(entry)) + 1, file, one, entry, settings)
            for (file, one, entry), settings in zip(own, told, strict=True)
        ]
        standings.append(Standing(sets[name], letter, places))
    return standings


def _strength(entry: Entry) -> tuple[float, float, float]:
    """Return what entries are ordered by, the least first: share recovered, SSIM (else MSE), evaluations."""
    distance = math.inf if entry.mse is None else entry.mse.mean
    return -entry.found.share, distance if entry.ssim is None else -entry.ssim.mean, entry.evaluations


def differing(entries: Sequence[Entry]) -> list[dict[str, Scalar]]:
    """Return for each entry the settings in which it differs from another entry of the same attack."""
    own = grouped(entries, lambda entry: entry.attack)
    varied = {
        attack: {key for one in same for key in one.settings if any(_unlike(one, other, key) for other in same)}
        for attack, same in own.items()
    }
    return [{key: value for key, value in one.settings.items() if key in varied[one.attack]} for one in entries]


def _unlike(one: Entry, other: Entry, key: str) -> bool:
    return one.settings.get(key) != other.settings.get(key)
