"""The pictures of a report on model inversions: all classes, searches, nearest training examples, spikes over time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from judges.figures.files import WIDTHS, Draw
from judges.figures.grid import picture_grid
from judges.report.figures import picture_uri, thinned
from judges.report.formats import counted, percent
from judges.report.model_inversion.figures import gif_uri, raster_figure
from judges.report.model_inversion.tables import last_rounds
from judges.report.model_inversion.wording import WORDS
from judges.report.pictures import COLUMNS, Block, Part, Sheet, Shot, ShotRow, in_sheets, shot, together
from judges.report.table import Drawing, Section
from judges.runs.manifest import GALLERY
from judges.runs.names import attack_name, in_words, model_name, network, network_name
from judges.runs.pictures import ANSWER, NEAREST, TRUTH, Pictures, load_pictures
from judges.runs.rows.classes import FEDERATION, Target
from judges.summaries.model_inversion import Inversions

_NARROW, _WIDE = 5, COLUMNS
"""How many pictures of a search stand in one column of an article, and in two or on a page."""

Filmed = tuple[Pictures, Tensor]
"""An album and the pictures (K, S, C, H, W) of its searches."""


def albums_in(run_dir: Path, summary: Inversions) -> list[Pictures]:
    """Return the pictures of a run."""
    return load_pictures(run_dir / GALLERY, [(cell.group, cell.cell) for cell in summary.cells])


def pictures_section(albums: Sequence[Pictures], summary: Inversions, shown: Callable[[str], bool]) -> Section:
    """Return the section of the pictures; the arguments are those of `picture_blocks`."""
    drawing = Drawing("pictures.html.j2", picture_blocks(albums, summary, shown))
    lead = WORDS.notes["pictures"]
    return Section("pictures", "Truth beside answers", [drawing], reference="Figures 3 and 4", lead=lead)


def picture_blocks(albums: Sequence[Pictures], summary: Inversions, shown: Callable[[str], bool]) -> list[Block]:
    """Return the pictures by data set and by how the targets were trained.

    Args:
        albums: of a run.
        summary: of the same run.
        shown: whether the pictures of a data set may be shown.
    """
    last, blocks = last_rounds(summary), []
    for (dataset, source), every in together(albums, lambda album: (album.dataset, album.source)).items():
        own = [album for album in every if Target(album.group, source, album.round) in last] or every
        name = in_words(dataset) + (f", federation after round {own[0].round}" if source == FEDERATION else "")
        parts = tuple(_parts(own, every)) if shown(dataset) else ()
        blocks.append(Block(name, "", not shown(dataset), parts))
    return blocks


def album_drawings(albums: Sequence[Pictures], summary: Inversions) -> Iterator[tuple[str, Draw]]:
    """Yield the truth above the answers of each data set as drawings for files: of five classes, or of ten."""
    last = last_rounds(summary)
    groups = together(albums, lambda album: (album.dataset, album.source))
    for place, every in enumerate(groups.values(), start=1):
        own = [album for album in every if Target(album.group, album.source, album.round) in last] or every
        yield f"gallery-{place}", partial(_gallery, own)
        yield from _search_drawings(own, f"search-{place}")


def _gallery(albums: Sequence[Pictures], width: float) -> Figure:
    most = 5 if width <= WIDTHS["1col"] else COLUMNS
    rows = [_scaled(albums[0], TRUTH)[:most], *(_scaled(album, ANSWER)[:most] for album in albums)]
    names = ["example", *(f"{attack_name(album)}, {network(album)}" for album in albums)]
    return picture_grid(rows, names=names, columns=albums[0].subjects[:most], width_inches=width)


def _scaled(album: Pictures, kind: str) -> list[Tensor]:
    """Return pictures from 0, black, to 1, white."""
    limits = [album.limits_of(kind, at) for at in range(len(album.subjects))]
    return [(picture - low) / (high - low) for picture, (low, high) in zip(album.images[kind], limits, strict=True)]


def _parts(own: Sequence[Pictures], every: Sequence[Pictures]) -> Iterator[Part]:
    """Yield the parts of a block.

    Args:
        own: albums after the last round.
        every: those of all rounds.
    """
    answers, classes = [_answers(album) for album in own], own[0].subjects
    sheets = in_sheets(classes, [_truth(own[0]), *answers])
    yield Part(sheets=sheets[:2])
    if sheets[2:]:
        yield Part("The other classes", sheets[2:], folded=True)
    if own[0].source == FEDERATION:
        yield Part("The same class after each round", _followed(every))
    yield from _search_parts(own)
    moving: dict[str, Pictures] = {}
    for album in own:
        if len(album.spikes):
            moving.setdefault(album.attack, album)  # one of each attack, whatever its settings
    if moving:
        yield Part("One answer over time", figures=tuple(_motion(album) for album in moving.values()))
    beside = [row for album, answered in zip(own, answers, strict=True) for row in (answered, _nearest(album))]
    yield Part("Nearest training examples", in_sheets(classes, beside), folded=True)


def _truth(album: Pictures) -> ShotRow:
    """Return the first training example of each class."""
    shots = [
        shot(album, TRUTH, at, f"training example of class {name}, {in_words(album.dataset)}")
        for at, name in enumerate(album.subjects)
    ]
    return ShotRow("Ground truth", "first training example", tuple(shots))


def _answers(album: Pictures) -> ShotRow:
    """Return the answers of an attack."""
    return ShotRow(attack_name(album), _note(album), tuple(_answer(album, at) for at in range(len(album.subjects))))


def _nearest(album: Pictures) -> ShotRow:
    """Return the training examples that are nearest to the answers of an attack."""
    shots = []
    for at, (name, own) in enumerate(zip(album.words["nearest"], album.subjects, strict=True)):
        alt = f"training example of class {name} that is nearest to the answer for {own}"
        shots.append(shot(album, NEAREST, at, alt, *(() if name == own else (f"of {name}",))))
    return ShotRow("Nearest training example", f"to {attack_name(album)}", tuple(shots))


def _followed(albums: Sequence[Pictures]) -> tuple[Sheet, ...]:
    """Return the answers for the first class, and for the one whose spikes are shown, after each round."""
    rounds, rows = sorted({album.round for album in albums}), []
    for line in together(albums, lambda album: (model_name(album), attack_name(album))).values():
        after, some = {album.round: album for album in line}, line[0]
        for at in dict.fromkeys((0, some.spikes_of)):
            shots = [_answer(after[number], at) if number in after else Shot() for number in rounds]
            rows.append(ShotRow(f"{attack_name(some)}, {some.subjects[at]}", _note(some), tuple(shots)))
    return in_sheets([f"round {number}" for number in rounds], rows)


def _answer(album: Pictures, at: int) -> Shot:
    """Return one answer, how much the judge and the target believe in it, and what else the judge sees."""
    name, seen = album.subjects[at], album.words["seen"][at]
    beliefs = (("judge", "confidence"), ("target", "target_confidence"))
    caption = [f"{who} {percent(album.numbers[belief][at])}" for who, belief in beliefs]
    alt = f"answer of {attack_name(album)} for class {name}, {in_words(album.dataset)}, {model_name(album)}"
    return shot(album, ANSWER, at, alt, *caption, *(() if seen == name else (f"seen as {seen}",)))


def _motion(album: Pictures) -> ShotRow:
    """Return one spiking answer over time: a film, with its mean for readers who want no motion, and a raster plot."""
    steps, density = len(album.spikes), 100 * float(album.spikes.float().mean())
    title = f"{attack_name(album)}, class {album.subjects[album.spikes_of]}"
    alt = f"spikes of the answer of {title}, {in_words(album.dataset)}, over {steps} time steps"
    film = Shot(gif_uri(album.spikes), alt, still=shot(album, ANSWER, album.spikes_of, alt).uri)
    raster = Shot(raster_figure(album.spikes), f"raster plot, pixel index against time step, of the {alt}")
    return ShotRow(title, f"{steps} steps, {density:.1f}\N{NO-BREAK SPACE}% of the voxels spike", (film, raster))


def _note(album: Pictures) -> str:
    """Return what was attacked."""
    return network_name(album) + (", mean over time" if album.spiking else "")


def _search_parts(albums: Sequence[Pictures]) -> Iterator[Part]:
    """Yield the searches for the class of which reports show the spikes, and folded those for the others."""
    filmed = _filmed(albums)
    if not filmed:
        return
    first, classes = filmed[0][0].spikes_of, range(len(filmed[0][0].subjects))
    yield Part("From the first step to the last", (_search_sheet(filmed, first),))
    others = tuple(_search_sheet(filmed, at) for at in classes if at != first)
    if others:
        yield Part("The searches for the other classes", others, folded=True)


def _search_drawings(albums: Sequence[Pictures], name: str) -> Iterator[tuple[str, Draw]]:
    """Yield the searches for the same class as a drawing for files, if any kept pictures."""
    filmed = _filmed(albums)
    if filmed:
        yield name, partial(_search, filmed)


def _filmed(albums: Sequence[Pictures]) -> list[Filmed]:
    return [(album, album.snapshots) for album in albums if album.snapshots is not None]


def _search_sheet(filmed: Sequence[Filmed], at: int) -> Sheet:
    """Return the searches for one class, a row for each attack."""
    rows = tuple(ShotRow(attack_name(one), network_name(one), tuple(_taken(one, taken[at], at)))
                 for one, taken in filmed)  # fmt: skip
    most = max(len(row.shots) for row in rows)
    return Sheet(("starting point", *("later",) * (most - 1)), rows, f"class {filmed[0][0].subjects[at]}")


def _taken(album: Pictures, taken: Tensor, at: int) -> Iterator[Shot]:
    """Yield the pictures (S, C, H, W) of a search, as bright as its answer."""
    (low, high), steps = album.limits_of(ANSWER, at), album.steps_of(at)
    for place in thinned(np.arange(len(steps)), _WIDE):
        told = f"{attack_name(album)} for class {album.subjects[at]} after {counted(steps[place], 'step')}"
        yield Shot(picture_uri(taken[place], low=low, high=high), told, (f"step {steps[place]}",))


def _search(filmed: Sequence[Filmed], width: float) -> Figure:
    """Draw the searches for one class, a row for each attack."""
    rows, captions, at = [], [], filmed[0][0].spikes_of
    for album, taken in filmed:
        (low, high), steps = album.limits_of(ANSWER, at), album.steps_of(at)
        shown = thinned(np.arange(len(steps)), _NARROW if width <= WIDTHS["1col"] else _WIDE)
        rows.append([(taken[at, place] - low) / (high - low) for place in shown])
        captions.append([f"step {steps[place]}" for place in shown])
    names = [f"{attack_name(album)}\n{network(album)}" for album, _ in filmed]
    return picture_grid(rows, names=names, columns=(), width_inches=width, captions=captions)
