"""The pictures of a report on model inversions: sheets of at most ten columns, and spikes over time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from fl_sim.records import load_record
from judges.report.figures import picture_uri
from judges.report.formats import percent
from judges.report.model_inversion.figures import gif_uri, raster_figure
from judges.report.model_inversion.tables import last_rounds
from judges.runs.class_rows import FEDERATION
from judges.runs.names import attack_name, model_name, network_name
from judges.runs.pictures import Album
from judges.summaries.model_inversion import Inversions

COLUMNS = 10
"""Classes, or rounds, in a row."""

MOST_FOLLOWED = 2
"""Classes whose answers are shown after every round of a federation."""


@dataclass(frozen=True)
class Shot:
    """A picture and what stands under it."""

    uri: str
    alt: str
    caption: tuple[str, ...]


@dataclass(frozen=True)
class ShotRow:
    """Pictures side by side: what they are, and of which network."""

    title: str
    note: str
    shots: tuple[Shot, ...]


@dataclass(frozen=True)
class Sheet:
    """Rows of pictures under at most ten headings."""

    headings: tuple[str, ...]
    rows: tuple[ShotRow, ...]


@dataclass(frozen=True)
class Motion:
    """One spiking answer over time.

    Attributes:
        title: attack, network and class.
        note: number of steps and share of voxels that spike.
        alt: of the film and its still.
        film, still, raster: data URIs.
    """

    title: str
    note: str
    alt: str
    film: str
    still: str
    raster: str


@dataclass(frozen=True)
class PictureBlock:
    """All pictures of one data set whose targets were trained in one way. All are empty where they are hidden.

    Attributes:
        name: data set, and the round where it was a federation.
        hidden: whether it may show people.
        sheets: truth, then the answers of every attack; ten classes each.
        nearest: each attack's answers beside the training examples that are nearest to them.
        rounds: answers after each round; none of a central training.
        motions: one for each spiking attack.
    """

    name: str
    hidden: bool
    sheets: tuple[Sheet, ...] = ()
    nearest: tuple[Sheet, ...] = ()
    rounds: tuple[Sheet, ...] = ()
    motions: tuple[Motion, ...] = ()


def load_albums(folder: Path, summary: Inversions) -> list[Album]:
    """Return the albums of a folder in the order of the summary's cells; those of no cell last."""
    places = {cell.cell: place for place, cell in enumerate(summary.cells)}
    albums = [load_record(Album, path) for path in sorted(folder.glob("*.safetensors"))]
    return sorted(albums, key=lambda album: places.get(album.cell, len(places)))


def picture_blocks(albums: Sequence[Album], summary: Inversions, shown: Callable[[str], bool]) -> list[PictureBlock]:
    """Return the pictures by data set and source.

    Args:
        albums: of a run.
        summary: of the same run.
        shown: whether the pictures of a data set may be shown.
    """
    last, blocks = last_rounds(summary), []
    for dataset, source in dict.fromkeys((album.dataset, album.source) for album in albums):
        every = [album for album in albums if (album.dataset, album.source) == (dataset, source)]
        own = [album for album in every if album.target in last] or every
        if not shown(dataset):
            blocks.append(PictureBlock(_name(own[0]), hidden=True))
            continue
        answered = [(_answers(album), _nearest(album)) for album in own]
        blocks.append(
            PictureBlock(
                _name(own[0]),
                hidden=False,
                sheets=tuple(_sheets([_truth(own[0]), *(answers for answers, _ in answered)], own[0])),
                nearest=tuple(_sheets([row for pair in answered for row in pair], own[0])),
                rounds=tuple(_followed(every)) if source == FEDERATION else (),
                motions=tuple(_motion(album) for album in _moving(own)),
            )
        )
    return blocks


def _moving(albums: Sequence[Album]) -> Iterable[Album]:
    """Return the first album with spikes of each attack, whatever its settings."""
    first: dict[str, Album] = {}
    for album in albums:
        if len(album.spikes):
            first.setdefault(album.attack, album)
    return first.values()


def _sheets(rows: Sequence[ShotRow], album: Album) -> Iterator[Sheet]:
    """Yield the rows of all classes, ten at a time."""
    for start in range(0, len(album.labels), COLUMNS):
        part = slice(start, start + COLUMNS)
        yield Sheet(album.names[part], tuple(ShotRow(row.title, row.note, row.shots[part]) for row in rows))


def _truth(album: Album) -> ShotRow:
    """Return the first training example of each class."""
    shots = [
        Shot(_uri(picture), f"training example of class {name}, {album.dataset}", ())
        for picture, name in zip(album.truth, album.names, strict=True)
    ]
    return ShotRow("Ground truth", "first training example", tuple(shots))


def _answers(album: Album) -> ShotRow:
    """Return the answers of an attack."""
    return ShotRow(attack_name(album), _note(album), tuple(_shot(album, at) for at in range(len(album.labels))))


def _nearest(album: Album) -> ShotRow:
    """Return the training examples that are nearest to the answers of an attack."""
    names = _names(album)
    shots = [
        Shot(
            _uri(picture),
            f"training example of class {names.get(label, label)} that is nearest to the answer for {name}",
            () if label == own else (f"of {names.get(label, label)}",),
        )
        for picture, label, own, name in zip(
            album.nearest, album.nearest_labels, album.labels, album.names, strict=True
        )
    ]
    return ShotRow("Nearest training example", f"to {attack_name(album)}", tuple(shots))


def _followed(albums: Sequence[Album]) -> Iterator[Sheet]:
    """Yield the answers for one or two classes after each round."""
    rounds = sorted({album.round for album in albums})
    for start in range(0, len(rounds), COLUMNS):
        part = rounds[start : start + COLUMNS]
        rows = []
        for line in dict.fromkeys(map(_line, albums)):
            own = {album.round: album for album in albums if _line(album) == line}
            some = next(iter(own.values()))
            for at in _places(some):
                shots = [_shot(own[number], at) if number in own else Shot("", "", ()) for number in part]
                rows.append(ShotRow(f"{attack_name(some)}, {some.names[at]}", _note(some), tuple(shots)))
        yield Sheet(tuple(f"round {number}" for number in part), tuple(rows))


def _places(album: Album) -> list[int]:
    """Return which classes are followed: the first, and the one whose spikes are shown."""
    chosen = dict.fromkeys((0, album.labels.index(album.spikes_label)))
    return list(chosen)[:MOST_FOLLOWED]


def _shot(album: Album, at: int) -> Shot:
    """Return one answer."""
    names, seen = _names(album), album.predicted[at]
    caption = [f"judge {percent(album.confidence[at])}", f"target {percent(album.target_confidence[at])}"]
    if seen != album.labels[at]:
        caption.append(f"seen as {names.get(seen, seen)}" if seen >= 0 else "seen as nothing")
    alt = f"answer of {attack_name(album)} for class {album.names[at]}, {album.dataset}, {model_name(album)}"
    return Shot(_uri(album.answers[at]), alt, tuple(caption))


def _motion(album: Album) -> Motion:
    """Return one spiking answer over time."""
    at = album.labels.index(album.spikes_label)
    title = f"{attack_name(album)}, class {album.names[at]}"
    density = float(album.spikes.float().mean())
    return Motion(
        title,
        f"{len(album.spikes)} steps, {100 * density:.1f}\N{NO-BREAK SPACE}% of the voxels spike",
        f"spikes of the answer of {title}, {album.dataset}, over {len(album.spikes)} time steps",
        gif_uri(album.spikes),
        _uri(album.answers[at]),
        raster_figure(album.spikes),
    )


def _uri(picture: Tensor) -> str:
    """Return a picture, scaled by its own least and largest value."""
    low, high = float(picture.min()), float(picture.max())
    return picture_uri(picture, low=low, high=high if high > low else low + 1.0)


def _names(album: Album) -> Mapping[int, str]:
    return dict(zip(album.labels, album.names, strict=True))


def _note(album: Album) -> str:
    return network_name(album) + (", mean over time" if album.spiking else "")


def _line(album: Album) -> tuple[str, str]:
    return model_name(album), attack_name(album)


def _name(album: Album) -> str:
    return f"{album.dataset}, federation after round {album.round}" if album.source == FEDERATION else album.dataset
