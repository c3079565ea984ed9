"""Pictures as a page shows them: sheets of at most ten columns under headings, and figures, in blocks of parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from judges.report.figures import PICTURE_SIDE, picture_uri
from judges.runs.pictures import ANSWER, Pictures
from judges.runs.rows import DIVERGED

COLUMNS = 10
"""Pictures in a row."""

Key = TypeVar("Key")


@dataclass(frozen=True)
class Shot:
    """A picture and what stands under it.

    Attributes:
        uri: data URI; "" where there is no picture.
        alt: what it is of, in words.
        caption: lines of text.
        diverged: whether it is the answer of an attack that diverged.
        still: data URI that stands for a film in print, and for readers who want no motion.
        link: id of the fold on the page with all about its victim; "" for none.
    """

    uri: str = ""
    alt: str = ""
    caption: tuple[str, ...] = ()
    diverged: bool = False
    still: str = ""
    link: str = ""


@dataclass(frozen=True)
class ShotRow:
    """Pictures or figures side by side: what they are, and a note; `tone` is how loudly that is printed."""

    title: str
    note: str
    shots: tuple[Shot, ...]
    tone: str = ""


@dataclass(frozen=True)
class Sheet:
    """Rows of pictures under at most ten headings."""

    headings: tuple[str, ...]
    rows: tuple[ShotRow, ...]
    title: str = ""


@dataclass(frozen=True)
class Part:
    """Sheets or figures under one title. `folded` ones are shown on request; the legend is {tone: what has it}."""

    title: str = ""
    sheets: tuple[Sheet, ...] = ()
    figures: tuple[ShotRow, ...] = ()
    folded: bool = False
    note: str = ""
    legend: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Block:
    """All pictures of one data set, or of one cell; where they may show people and are hidden, there are no sheets."""

    title: str
    note: str
    hidden: bool
    parts: tuple[Part, ...]


def shot(pictures: Pictures, kind: str, at: int, alt: str, *caption: str, side: int = PICTURE_SIDE) -> Shot:
    """Return one of a run's pictures.

    Args:
        pictures: of a cell.
        kind, at: which picture, as `pictures.images[kind][at]`.
        alt, caption: as `Shot` has them.
        side: about how many pixels wide it is.
    """
    low, high = pictures.limits_of(kind, at)
    uri = picture_uri(pictures.images[kind][at], low=low, high=high, side=side)
    return Shot(uri, alt, caption, kind == ANSWER and pictures.words["stop_reason"][at] == DIVERGED)


def in_sheets(headings: Sequence[str], rows: Iterable[ShotRow]) -> tuple[Sheet, ...]:
    """Return rows of any length as sheets of at most ten columns."""
    parts = [slice(start, start + COLUMNS) for start in range(0, len(headings), COLUMNS)]
    kept = list(rows)
    return tuple(
        Sheet(tuple(headings[part]), tuple(replace(row, shots=row.shots[part]) for row in kept)) for part in parts
    )


def together(gallery: Iterable[Pictures], key: Callable[[Pictures], Key]) -> dict[Key, list[Pictures]]:
    """Return {key: its pictures}, in the order in which each key comes first."""
    found: dict[Key, list[Pictures]] = {}
    for one in gallery:
        found.setdefault(key(one), []).append(one)
    return found
