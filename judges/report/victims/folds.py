"""A fold for each victim: what it is, what every attack answered, its loss curves and its numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from judges.report.formats import DASH, counted, error, grouped, joined, number, percent, tenths
from judges.report.pictures import Shot, shot
from judges.report.victims.sketches import curves
from judges.report.words import unique_name
from judges.runs.identity import Group
from judges.runs.names import group_name
from judges.runs.pictures import ANSWER, TRUTH, Pictures
from judges.runs.rows import Score
from judges.summaries.comparison import best_beside, best_controls
from judges.summaries.gradient_inversion import CellSummary, Summary

SIDE = 112
"""About how wide a picture of a fold is, in pixels."""

MOST_FOLDS, MOST_ANSWERS = 100, 24
"""How many victims, and how many answers to each, a page shows."""

Key = tuple[Group, str, int]
"""Of a victim: what was attacked, the capture, and the place in its batch."""


Links = Mapping[tuple[tuple[Group, str], int], str]
"""{(key of a gallery, place in it): id of the fold about that victim}."""


class Seen(NamedTuple):
    """Where an answer of a cell is in the run's pictures, and what its attack is called among those of the group."""

    name: str
    cell: CellSummary
    pictures: Pictures
    at: int


class Answered(NamedTuple):
    """What an attack answered to a victim: the picture, and the numbers in the order of `COLUMNS`."""

    name: str
    tone: str  # of its success
    shot: Shot
    numbers: tuple[str, ...]
    colour: int  # place of its loss curve among those of the victim; -1 where it has none


COLUMNS = ("SSIM", "best control", "PSNR, dB", "MSE", "label", "judge sees", "loss", "evaluations", "seconds", "ended")


@dataclass(frozen=True)
class Victim:
    """One attacked example.

    Attributes:
        id: on the page.
        key: what was attacked, the capture, and the place in its batch.
        name: what was attacked, in words.
        label: the true one.
        seen: where its pictures are, a cell after the other.
        truth: what the client trained on; without a picture where there is none, or where it may not be shown.
        answers: what the attacks answered.
        curves: their loss curves as a data URI; "" where there are none.
        more: how many answers are left out.
    """

    id: str
    key: Key
    name: str
    label: int
    seen: tuple[Seen, ...]
    truth: Shot
    answers: tuple[Answered, ...]
    curves: str
    more: int

    @property
    def columns(self) -> Sequence[str]:
        """Return the headings of the numbers."""
        return COLUMNS

    @property
    def summary(self) -> str:
        """Return what stands on the closed fold."""
        _, capture, example = self.key
        found = sum(answer.tone == "yes" for answer in self.answers)
        of = f"{found} of {counted(len(self.answers), 'answer')} recognisable or solved"
        return joined(f"label {self.label}", capture, f"example {example}") + f": {of}"


class Victims(NamedTuple):
    """The victims of a page, and how many others there are."""

    shown: tuple[Victim, ...]
    more: int

    @property
    def links(self) -> Links:
        """Return the fold about the victim of each picture."""
        return {(seen.pictures.key, seen.at): victim.id for victim in self.shown for seen in victim.seen}


def keys_of(pictures: Pictures, scores: Mapping[Key, Sequence[Score]]) -> list[Key | None]:
    """Return the victim of each picture of a cell; None where runs of older versions do not tell which example it is.

    Args:
        pictures: of a cell.
        scores: the rows of each victim.
    """
    examples = pictures.numbers.get("example", (0,) * len(pictures.subjects))
    told = "example" in pictures.numbers
    pairs = ((pictures.group, subject, int(at)) for subject, at in zip(pictures.subjects, examples, strict=True))
    return [key if key in scores and (told or (*key[:2], 1) not in scores) else None for key in pairs]


def by_victim(scores: Sequence[Score]) -> dict[Key, list[Score]]:
    """Return the rows of each victim."""
    return grouped(scores, lambda row: (row.group, row.capture_id, row.example))


def find_seen(gallery: Sequence[Pictures], summary: Summary, scores: Sequence[Score]) -> dict[Key, list[Seen]]:
    """Return where the answers to each victim are of which the run keeps pictures or texts, a cell after the other."""
    rows, attacks = by_victim(scores), [cell for cell in summary.cells if not cell.is_control]
    named = {
        (cell.group, cell.cell): (unique_name(cell, own), cell)
        for own in grouped(attacks, lambda cell: cell.group).values()
        for cell in own
    }
    seen: dict[Key, list[Seen]] = {}
    for one in gallery:
        for at, key in enumerate(keys_of(one, rows)):
            if key is not None and one.key in named:
                seen.setdefault(key, []).append(Seen(*named[one.key], one, at))
    return seen


def find_victims(
    gallery: Sequence[Pictures], summary: Summary, scores: Sequence[Score], shown: Callable[[str], bool]
) -> Victims:
    """Return the victims of which the run keeps pictures or texts, of each group the same number at most.

    Those that most cells have come first.

    Args:
        gallery, summary, scores: of a run.
        shown: whether the inputs of a data set may be shown.
    """
    rows, seen = by_victim(scores), find_seen(gallery, summary, scores)
    own = grouped(seen, lambda key: key[0])
    most = max(1, MOST_FOLDS // len(own)) if own else 0
    chosen = {key for keys in own.values() for key in sorted(keys, key=lambda key: -len(seen[key]))[:most]}
    kept = [key for key in rows if key in chosen]
    best = best_controls(scores)
    victims = (
        _victim(f"victim-{place}", key, seen[key], rows[key], best, shown(key[0].dataset))
        for place, key in enumerate(kept, start=1)
    )
    attacked = {key for key, lines in rows.items() if not all(row.is_control for row in lines)}
    return Victims(tuple(victims), len(attacked) - len(kept))


def _victim(
    name: str, key: Key, seen: Sequence[Seen], rows: Sequence[Score], best: Mapping[tuple[object, ...], float],
    allowed: bool,
) -> Victim:  # fmt: skip
    """Return a victim from its rows; pictures and texts only if they are allowed."""
    lines = {row.cell: row for row in rows if not row.is_control}
    known = [one for one in seen if one.cell.cell in lines]
    drawn = known[:MOST_ANSWERS]
    losses = {one.cell.cell: line for one in drawn if (line := _losses(one.pictures, key[1]))}
    places = {cell: place for place, cell in enumerate(losses)}
    answers = tuple(
        _answered(one, lines[one.cell.cell], best, places.get(one.cell.cell, -1), allowed=allowed) for one in drawn
    )
    label = next(iter(lines.values())).label if lines else rows[0].label
    first = known[0] if known else seen[0]
    truth = _shown(first, TRUTH, f"truth of {key[1]}, label {label}", allowed=allowed)
    more = len(lines) - len(drawn)
    curve = curves(list(losses.values()))
    return Victim(name, key, group_name(key[0]), label, tuple(known), truth, answers, curve, more)


def _losses(pictures: Pictures, capture: str) -> list[float]:
    """Return the matching losses of a capture, [] where the run does not keep them."""
    if capture not in pictures.curve_subjects:
        return []
    line = [float(value) for value in pictures.loss_curves[pictures.curve_subjects.index(capture)]]
    return line if any(value > 0 for value in line) else []


def _answered(
    one: Seen, row: Score, best: Mapping[tuple[object, ...], float], colour: int, *, allowed: bool
) -> Answered:
    """Return an answer with its numbers."""
    control = best_beside(row, best)
    beside = DASH if control is None or row.ssim is None else number(control)
    label = f"{row.label_recovered}" if row.label_recovered >= 0 else DASH
    judged = DASH if row.judge_label is None else f"{row.judge_label} ({percent(row.judge_confidence)})"
    numbers = (
        DASH if row.ssim is None else number(row.ssim), beside, DASH if row.psnr_db is None else tenths(row.psnr_db),
        error(row.mse), label, judged, error(row.matching_loss), str(row.gradient_evaluations), f"{row.seconds:.2f}",
        row.stop_reason,
    )  # fmt: skip
    picture = _shown(one, ANSWER, f"answer of {one.name} to {row.capture_id}", allowed=allowed)
    return Answered(one.name, "yes" if row.success else "no", picture, numbers, colour)


def _shown(one: Seen, kind: str, alt: str, *, allowed: bool) -> Shot:
    """Return a picture, or a text as its caption; an empty one where it may not be shown."""
    if not allowed:
        return Shot()
    if one.pictures.texts:
        return Shot(caption=(one.pictures.texts[kind][one.at],))
    return shot(one.pictures, kind, one.at, alt, side=SIDE)


def in_folds(victims: Victims) -> Iterator[tuple[str, list[Victim]]]:
    """Yield the victims of each group under what was attacked."""
    yield from grouped(victims.shown, lambda victim: victim.name).items()
