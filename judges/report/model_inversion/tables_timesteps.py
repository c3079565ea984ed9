"""How model inversions fare against the time steps T of their targets, by how these code images: a matter of levels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from judges.figures.files import Draw, captioned
from judges.report.curves import Mark, Panel, Sweep, in_percent, lines_figure, panel_drawing
from judges.report.figures import Point
from judges.report.formats import DASH, grouped, joined, number, out_of_100, spread
from judges.report.model_inversion.tables import chance_of, count_of
from judges.report.model_inversion.wording import NOTES
from judges.report.table import Cell, Column, Drawing, Group, Section, Table, rate_cell
from judges.runs.identity import REAL
from judges.runs.names import attack_name, group_name, model_name, network
from judges.runs.rows.classes import CENTRAL
from judges.summaries.model_inversion import Inversions, InversionSummary

STEPS, CODE = "timesteps", "encoder"
"""The settings of a model that are the axis and the colour of the figures."""

_Value = Callable[[InversionSummary], Point | None]


class Swept(NamedTuple):
    """Attacks on targets that differ in T, in how they code images and in whether they spike, and real examples."""

    name: str
    cells: Sequence[InversionSummary]  # on spiking targets, by line and then by T
    level: Sequence[InversionSummary]  # on the ordinary twin, which has no T
    real: Sequence[InversionSummary]  # real examples as controls of the spiking targets
    chance: float


def swept(summary: Inversions) -> list[Swept]:
    """Return the attacks on central targets of several T, by data set and family."""
    central = [cell for cell in summary.cells if cell.source == CENTRAL]
    found = []
    for own in grouped(central, lambda cell: (cell.dataset, cell.family, cell.init)).values():
        spiking = [cell for cell in own if STEPS in cell.varied]
        if len({_steps(cell) for cell in spiking}) < 2:
            continue
        lines = grouped((cell for cell in spiking if not cell.control), lambda cell: (_code(cell), attack_name(cell)))
        cells = [cell for line in lines.values() for cell in sorted(line, key=_steps)]
        real = [cell for cell in spiking if cell.control == REAL]
        level = [cell for cell in own if not cell.spiking and not cell.control]
        chance = chance_of(summary, spiking[0].target)
        name = group_name(replace(spiking[0].group, model=spiking[0].family, varied=()), init=False)
        found.append(Swept(name, cells, level, real, chance))
    return found


def timesteps_section(summary: Inversions) -> Section:
    """Return the section on the targets' T: figures, and the numbers of every point."""
    tested = {target.target: spread(target.accuracy, target.accuracy_std) for target in summary.targets}
    real = {cell.target: cell for cell in summary.cells if cell.control == REAL}
    columns: list[Column[InversionSummary]] = [
        Column("T", _named, unit="attack, code", beside="plainly"),
        Column("n", count_of),
        Column("Target, %", lambda cell: tested[cell.target], unit="test accuracy", aligned=True),
        Column("Attack accuracy, %", lambda cell: rate_cell(cell.accuracy), unit="[95 %]"),
        Column("Real examples, %", lambda cell: _accuracy_of(real.get(cell.target)), unit="the judge's ceiling"),
        Column("DAA, %", lambda cell: out_of_100(cell.daa.share)),
        Column("Second target, %", _second, unit="[95 %]"),
        Column("SSIM", lambda cell: _number(cell.nearest_ssim), unit="to the nearest example"),
        Column("Distance", lambda cell: number(cell.nearest_train), unit="to the nearest example"),
    ]
    tables = []
    for one in swept(summary):
        drawn = []
        for pair in _pairs(one):
            told = " and ".join(panel.up for panel in pair)
            figure = lines_figure(pair, width=3.7, height=2.5)
            drawn.append((f"{told} against T, {one.name}", f"{told} against the time steps T, {one.name}", figure))
        tables.append(
            Table(
                f"Numbers of every T, {one.name}",
                columns,
                [Group([*one.level, *one.cells])],
                name=one.name,
                above=Drawing("sweep.html.j2", drawn),
                css="results layout inverted",
                apart=lambda cell: (_code(cell), attack_name(cell)),
            )
        )
    return Section("timesteps", "Against the time steps T", tables, note=NOTES["timesteps"])


def timesteps_drawings(summary: Inversions) -> Iterator[tuple[str, Draw]]:
    """Yield the panels of `timesteps_section` as drawings for files."""
    for place, one in enumerate(swept(summary), start=1):
        for name, panel in panels_of(one).items():
            yield f"timesteps-{place}-{name}", captioned(panel_drawing(panel), one.name)


def _pairs(one: Swept) -> Iterator[list[Panel]]:
    """Yield the panels two by two."""
    panels = list(panels_of(one).values())
    yield from (panels[at : at + 2] for at in range(0, len(panels), 2))


def panels_of(one: Swept) -> Mapping[str, Panel]:
    """Return {measure: what is drawn of it}, without what is not defined."""
    ceiling = grouped(sorted(one.real, key=_steps), _steps)
    seen = [Point(steps, cells[0].accuracy.share, None) for steps, cells in ceiling.items()]
    chance, share = [Mark(100 * one.chance, "chance")], (-2.0, 102.0)
    every = {
        "accuracy": (_accuracy, "attack accuracy, %"),
        "transfer": (_transferred, "success on a second target, %"),
        "ssim": (_ssim, "SSIM to the nearest example"),
        "distance": (_distance, "distance to the nearest example"),
    }
    panels = {}
    for name, (value, up) in every.items():
        lines, level = _sweeps(one.cells, value), _sweeps(one.level, value)
        if not lines:
            continue
        if name in ("accuracy", "transfer"):
            lines, level = list(map(in_percent, lines)), list(map(in_percent, level))
            beneath = in_percent(Sweep("real examples", "", seen)) if name == "accuracy" else None
            panels[name] = Panel("time steps T", up, lines, level, beneath=beneath, marks=chance, ends=share)
        else:
            panels[name] = Panel("time steps T", up, lines, level)
    return panels


def _sweeps(cells: Sequence[InversionSummary], value: _Value) -> list[Sweep]:
    """Return a line for each attack and code."""
    lines = grouped(cells, lambda cell: (attack_name(cell), _code(cell)))
    known = {line: [point for cell in own if (point := value(cell)) is not None] for line, own in lines.items()}
    return [Sweep(*line, points) for line, points in known.items() if points]


def _accuracy(cell: InversionSummary) -> Point:
    return Point(_steps(cell), cell.accuracy.share, (cell.accuracy.low, cell.accuracy.high))


def _transferred(cell: InversionSummary) -> Point | None:
    if cell.transfer is None:
        return None
    return Point(_steps(cell), cell.transfer.second.share, (cell.transfer.second.low, cell.transfer.second.high))


def _ssim(cell: InversionSummary) -> Point | None:
    return None if cell.nearest_ssim is None else Point(_steps(cell), cell.nearest_ssim, None)


def _distance(cell: InversionSummary) -> Point:
    return Point(_steps(cell), cell.nearest_train, None)


def _steps(cell: InversionSummary) -> int:
    """Return T where it varies; 0 for a network that does not spike."""
    return int(cell.varied.get(STEPS, 0))


def _code(cell: InversionSummary) -> str:
    """Return how a target codes images, with what else varies; of a network that does not spike its kind."""
    if not cell.spiking:
        return network(cell)
    others = {key: value for key, value in cell.varied.items() if key not in (STEPS, CODE)}
    code = f"{cell.varied[CODE]} code" if CODE in cell.varied else ""
    return joined(code, model_name(replace(cell.group, varied=tuple(others.items()))) if others or not code else "")


def _named(cell: InversionSummary) -> Cell:
    return Cell(str(_steps(cell) or DASH), f"{attack_name(cell)}, {_code(cell)}")


def _second(cell: InversionSummary) -> Cell:
    return rate_cell(cell.transfer.second) if cell.transfer else Cell(DASH)


def _accuracy_of(cell: InversionSummary | None) -> str:
    return out_of_100(cell.accuracy.share) if cell else DASH


def _number(value: float | None) -> str:
    return DASH if value is None else number(value)
