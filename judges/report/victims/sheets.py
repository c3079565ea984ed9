"""Line-ups as a page shows them: truths above the answers of each network and attack, and searches step by step."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from judges.report.curves import Panel, Sweep, lines_figure
from judges.report.figures import Point, picture_uri, thinned
from judges.report.formats import counted, joined, number
from judges.report.pictures import Block, Part, Sheet, Shot, ShotRow, shot
from judges.report.victims.folds import Links, Seen
from judges.report.victims.glance import nearness
from judges.report.victims.lineup import Lineup, Row, filmed, steps_of
from judges.report.words import tone
from judges.runs.pictures import ANSWER, TRUTH

MOST_TAKEN, MOST_FILMED = 9, 2
"""How many pictures of a search a page shows, and of how many victims."""


def lineup_blocks(lineups: Sequence[Lineup], shown: Callable[[str], bool], links: Links) -> list[Block]:
    """Return the line-ups of more than one row.

    Args:
        lineups: of a run.
        shown: whether the pictures of a data set may be shown.
        links: {(key of a gallery, place in it): id of the fold about that victim}.
    """
    several = [one for one in lineups if len(one.rows) > 1 or any(filmed(one))]
    return [
        Block(one.name, "", not shown(one.dataset), tuple(_parts(one, links)) if shown(one.dataset) else ())
        for one in several
    ]


def search_panel(lineup: Lineup) -> Panel | None:
    """Return the mean SSIM of searches against their steps, over all victims of a line-up; None where none is known."""
    lines = [Sweep(row.attack, row.network, points) for row, own in filmed(lineup) if (points := _means(own))]
    victims = counted(max((len(own) for _, own in filmed(lineup)), default=0), "victim")
    return Panel("step of the search", f"SSIM, mean of {victims}", lines) if lines else None


def _parts(lineup: Lineup, links: Links) -> Iterator[Part]:
    """Yield the parts of a line-up: the answers, and the searches where they kept pictures."""
    truths = tuple(_truth(lineup, at, links) for at in range(len(lineup.victims)))
    answers = [ShotRow("Truth", "what the client trained on", truths)]
    answers += [_answers(row, links) for row in lineup.rows]
    yield Part(sheets=(Sheet(tuple(f"label {label}" for label in lineup.labels), tuple(answers)),))
    panel, films = search_panel(lineup), tuple(_films(lineup, links))
    if films:
        yield Part("The search, step by step", sheets=films)
    if panel is not None:
        drawn = Shot(lines_figure([panel], width=4.4, height=2.4), f"{panel.up} against the step, {lineup.name}")
        yield Part("Does the search improve?", figures=(ShotRow(lineup.name, panel.up, (drawn,)),))


def _truth(lineup: Lineup, at: int, links: Links) -> Shot:
    seen = lineup.victims[at]
    told = f"truth, label {lineup.labels[at]}, of {seen.pictures.subjects[seen.at]}"
    return replace(shot(seen.pictures, TRUTH, seen.at, told), link=links.get((seen.pictures.key, seen.at), ""))


def _answers(row: Row, links: Links) -> ShotRow:
    """Return the answers of an attack on a network, with how near each is."""
    cell = next(seen.cell for seen in row.answers if seen is not None)
    shots = tuple(Shot() if seen is None else _answer(row, seen, links) for seen in row.answers)
    return ShotRow(row.attack, row.network, shots, tone(cell.verdict) if cell.tau is None else "")


def _answer(row: Row, seen: Seen, links: Links) -> Shot:
    told = f"answer of {joined(row.attack, row.network)} to {seen.pictures.subjects[seen.at]}"
    return replace(
        shot(seen.pictures, ANSWER, seen.at, told, nearness(seen)), link=links.get((seen.pictures.key, seen.at), "")
    )


def _films(lineup: Lineup, links: Links) -> Iterator[Sheet]:
    """Yield the searches for each of the first victims: the truth, and pictures from the guess to the last step."""
    for at in range(min(MOST_FILMED, len(lineup.victims))):
        rows = [(row, row.answers[at]) for row, _ in filmed(lineup)]
        kept = [(row, seen) for row, seen in rows if seen is not None and len(steps_of(seen))]
        if not kept:
            continue
        most = max(min(len(steps_of(seen)), MOST_TAKEN) for _, seen in kept)
        headings = ("truth", "first guess", *("later",) * (most - 1))
        sheet = [
            ShotRow(row.attack, row.network, (_truth(lineup, at, links), *_taken(row, seen))) for row, seen in kept
        ]
        yield Sheet(headings, tuple(sheet), f"victim {at + 1}, label {lineup.labels[at]}")


def _taken(row: Row, seen: Seen) -> Iterator[Shot]:
    """Yield the pictures of a search, with the step of each and its SSIM."""
    pictures, steps = seen.pictures, steps_of(seen)
    if pictures.snapshots is None:
        return
    low, high = pictures.limits_of(ANSWER, seen.at)
    for at in thinned(np.arange(len(steps)), MOST_TAKEN):
        near = [] if pictures.snapshot_ssim is None else [number(float(pictures.snapshot_ssim[seen.at, at]))]
        uri = picture_uri(pictures.snapshots[seen.at, at], low=low, high=high)
        told = f"{joined(row.attack, row.network)} after {counted(steps[at], 'step')}"
        yield Shot(uri, told, (f"step {steps[at]}", *near))


def _means(own: Sequence[Seen]) -> list[Point]:
    """Return the mean SSIM of searches at the steps of the longest; each counts with its latest picture by then."""
    lines = []
    for seen in own:
        if seen.pictures.snapshot_ssim is None:
            return []
        steps = steps_of(seen)
        lines.append((steps, seen.pictures.snapshot_ssim[seen.at, : len(steps)].tolist()))
    longest, _ = max(lines, key=lambda line: line[0][-1])
    latest = [[values[bisect_right(steps, step) - 1] for steps, values in lines] for step in longest]
    return [Point(step, sum(values) / len(values), None) for step, values in zip(longest, latest, strict=True)]
