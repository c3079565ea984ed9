"""The same victims under every network and attack: one row of truth, and beneath it a row for each that answered."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from judges.report.formats import grouped, joined
from judges.report.victims.folds import Key, Seen
from judges.report.victims.glance import MOST_SETTINGS, ways
from judges.runs.identity import Group
from judges.runs.names import defence_name, in_words, init_name, model_name
from judges.runs.pictures import TRUTH
from judges.runs.rows import Score
from judges.summaries.contrast import example_of

MOST_ROWS, MOST_COLUMNS = 12, 10
"""How many rows of answers one line-up has before it is cut by initialisation and defence, and how many victims."""

_Example = tuple[object, ...]


class Row(NamedTuple):
    """An attack on a network, and where its answer to each victim is; None where the run kept no picture of it."""

    attack: str
    network: str  # with what else tells the rows of the line-up apart; "" where nothing does
    answers: tuple[Seen | None, ...]


class Lineup(NamedTuple):
    """Victims that are the same in all rows.

    Attributes:
        dataset: its name in the table.
        name: what all rows have in common, in words.
        victims: where the truth of each is.
        labels: the true ones.
        rows: at least one.
        known: where the answers to all victims of which every row has a picture are, of each row, for means.
    """

    dataset: str
    name: str
    victims: tuple[Seen, ...]
    labels: tuple[int, ...]
    rows: tuple[Row, ...]
    known: tuple[tuple[Seen, ...], ...]


def lineups(seen: Mapping[Key, Sequence[Seen]], scores: Sequence[Score]) -> list[Lineup]:
    """Return the victims of a run that several networks, settings or attacks have in common, and those of the others.

    Victims are the same where seed, repetition, round, client and place in the batch are, and the pictures are equal.
    Those that most cells have come first, then the order of the rows; none is chosen by its looks.

    Args:
        seen: where the pictures of each victim are, see `judges.report.victims.folds.find_seen`.
        scores: rows of the run.
    """
    examples = {(row.group, row.capture_id, row.example): (example_of(row), row.label) for row in scores}
    groups: dict[Group, dict[_Example, tuple[int, Sequence[Seen]]]] = {}
    for key in examples:
        if key in seen and not seen[key][0].pictures.texts:
            example, label = examples[key]
            groups.setdefault(key[0], {})[example] = label, seen[key]
    families: list[list[Group]] = []
    for group in groups:
        home = next((own for own in families if _are_same(groups[own[0]], groups[group])), None)
        families.append([group]) if home is None else home.append(group)
    found = [_lineup(part, {group: groups[group] for group in part}) for own in families for part in _cut(own, groups)]
    return found[:MOST_SETTINGS]


def _are_same(
    ours: Mapping[_Example, tuple[int, Sequence[Seen]]], theirs: Mapping[_Example, tuple[int, Sequence[Seen]]]
) -> bool:
    """Return whether two groups have an example in common, and the truth of all that they have in common is equal."""
    both = [(ours[example][1][0], theirs[example][1][0]) for example in ours if example in theirs]
    return bool(both) and all(
        one.pictures.dataset == other.pictures.dataset and torch.equal(truth_of(one), truth_of(other))
        for one, other in both
    )


def truth_of(seen: Seen) -> Tensor:
    """Return the truth (C, H, W) as the run keeps it."""
    return seen.pictures.images[TRUTH][seen.at]


def _cut(
    own: Sequence[Group], groups: Mapping[Group, Mapping[_Example, tuple[int, Sequence[Seen]]]]
) -> list[list[Group]]:
    """Return groups in parts of few rows: all of them, or those of one initialisation and defence, or fewer."""

    def rows(part: Sequence[Group]) -> int:
        return sum(max(len(ways(seen)) for _, seen in groups[group].values()) for group in part)

    if rows(own) <= MOST_ROWS:
        return [list(own)]
    parts = []
    for alike in grouped(own, lambda group: (group.init, group.defence, group.defence_settings)).values():
        part: list[Group] = []
        for group in alike:
            if part and rows([*part, group]) > MOST_ROWS:
                parts.append(part)
                part = []
            part.append(group)
        parts.append(part)
    return parts


def _lineup(part: Sequence[Group], groups: Mapping[Group, Mapping[_Example, tuple[int, Sequence[Seen]]]]) -> Lineup:
    """Return groups on the same victims as one line-up."""
    first = groups[part[0]]
    counts = {example: sum(len(own[example][1]) for own in groups.values() if example in own) for example in first}
    most = max(counts.values())
    shown = [example for example, count in counts.items() if count == most]
    common, told = _names(part)
    rows, known = [], []
    for group in part:
        answers = [dict(ways(groups[group][example][1])) if example in groups[group] else {} for example in shown]
        for attack in dict.fromkeys(name for own in answers for name in own):
            line = [own.get(attack) for own in answers]
            rows.append(Row(attack, told[group], tuple(line[:MOST_COLUMNS])))
            known.append(tuple(one for one in line if one is not None))
    labels = tuple(first[example][0] for example in shown[:MOST_COLUMNS])
    victims = tuple(first[example][1][0] for example in shown[:MOST_COLUMNS])
    name = joined(in_words(part[0].dataset), common)
    return Lineup(part[0].dataset, name, victims, labels, tuple(rows), tuple(known))


def _names(part: Sequence[Group]) -> tuple[str, Mapping[Group, str]]:
    """Return what groups have in common in words, and by what each differs from the others."""
    aspects: tuple[Callable[[Group], str], ...] = (model_name, init_name, _defence)
    differ = [aspect for aspect in aspects if len(set(map(aspect, part))) > 1]
    common = joined(*(aspect(part[0]) for aspect in aspects if aspect not in differ))
    brief = [_init if aspect is init_name else aspect for aspect in differ]
    return common, {group: joined(*(aspect(group) for aspect in brief)) for group in part}


def _init(group: Group) -> str:
    return group.init


def _defence(group: Group) -> str:
    return "" if group.defence == "none" else defence_name(group)


def filmed(lineup: Lineup) -> Iterator[tuple[Row, Sequence[Seen]]]:
    """Yield the rows whose searches kept pictures, and where those of all their answers are."""
    for row, known in zip(lineup.rows, lineup.known, strict=True):
        own = [seen for seen in known if len(steps_of(seen))]
        if own:
            yield row, own


def steps_of(seen: Seen) -> list[int]:
    """Return after how many steps of its search each picture of an answer was taken; [] where there are none."""
    return seen.pictures.steps_of(seen.at)
