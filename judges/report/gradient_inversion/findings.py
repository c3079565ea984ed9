"""What a run found, as values made from its numbers alone; `sentences` puts them into words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from judges.report.gradient_inversion.events import SpikeTable, nearness, spike_tables
from judges.report.gradient_inversion.tables import by_group
from judges.runs.identity import Group
from judges.runs.names import attack_name, line_name
from judges.summaries.gradient_inversion import CellSummary, Summary
from judges.summaries.verdicts import FAILED, NO_BETTER, VERDICTS


@dataclass(frozen=True)
class Scored:
    """How much was attacked: examples, of which some diverged, in cells; 0 cells where nothing was."""

    examples: int
    cells: int
    diverged: int


@dataclass(frozen=True)
class OfVerdict:
    """The attacks of one verdict, among all attacks without thresholding."""

    verdict: str
    cells: tuple[CellSummary, ...]
    among: tuple[CellSummary, ...]


@dataclass(frozen=True)
class Missed:
    """Groups on which no attack found anything.

    Attributes:
        groups: what was attacked.
        failed: (verdict, attacks) of those that failed of themselves.
        all_failed: whether every attack did, so that nothing follows.
    """

    groups: tuple[Group, ...]
    failed: tuple[tuple[str, tuple[str, ...]], ...]
    all_failed: bool


@dataclass(frozen=True)
class BestControls:
    """The best controls by mean SSIM of all groups: their names, and how far the means go."""

    names: tuple[str, ...]
    low: float
    high: float


@dataclass(frozen=True)
class Thresholded:
    """What attacks with thresholding found on one group.

    Attributes:
        group: what was attacked.
        cells: how many.
        asr: least and greatest; None without a judge.
        chance: of the judge.
        closer: in how many of the cells that can be compared the l2 is less than of answers that need no gradient.
        compared: how many can.
    """

    group: Group
    cells: int
    asr: tuple[float, float] | None
    chance: float | None
    closer: int
    compared: int


@dataclass(frozen=True)
class Observed:
    """What the l2 of one way of thresholding equals ("guess", "empty") or beats ("closer"), each with its taus."""

    thresholding: str
    rows: int
    taus: tuple[tuple[str, tuple[float, ...]], ...]


Finding = Scored | OfVerdict | Missed | BestControls | Thresholded | Observed


def find(summary: Summary) -> list[Finding]:
    """Return what was found; the first is how much was attacked."""
    attacks = tuple(cell for cell in summary.cells if not cell.control)
    lost = sum(cell.diverged for cell in attacks)
    scored = Scored(sum(cell.n for cell in attacks), len(attacks), lost)
    if not attacks:
        return [scored]
    plain = tuple(cell for cell in attacks if cell.tau is None)
    known = {name: place for place, name in enumerate(VERDICTS)}  # a summary of an older version may have others
    verdicts = sorted({cell.verdict for cell in plain}, key=lambda name: (known.get(name, len(known)), name))
    own = {verdict: tuple(cell for cell in plain if cell.verdict == verdict) for verdict in verdicts}
    return [
        scored,
        *(OfVerdict(verdict, cells, plain) for verdict, cells in own.items()),
        *_missed(plain),
        *_best_controls(summary),
        *(_thresholded(table) for table in spike_tables(summary)),
    ]


def observe(table: SpikeTable) -> Iterator[Observed]:
    """Yield what the l2 of each way of thresholding equals or beats, and in which rows of Table V."""
    for name in table.ways:
        rows = [row for row in table.rows if name in row.cells]
        near = [(row.tau, nearness(row.cells[name], row.guess, table.norm)) for row in rows]
        told = {
            "guess": tuple(tau for tau, one in near if one.guess),
            "empty": tuple(tau for tau, one in near if one.empty),
            "closer": tuple(tau for tau, one in near if one.closer),
        }
        if any(told.values()):
            yield Observed(name, len(rows), tuple((relation, taus) for relation, taus in told.items() if taus))


def _missed(attacks: tuple[CellSummary, ...]) -> Iterator[Missed]:
    """Yield the groups where no attack found anything, those with the same outcome together.

    Groups without controls are left out: nothing was there to be better than.
    """
    groups: dict[tuple[tuple[tuple[str, tuple[str, ...]], ...], bool], list[Group]] = {}
    for group, cells in by_group(attacks).items():
        verdicts = {cell.verdict for cell in cells}
        if verdicts <= {NO_BETTER, *FAILED}:
            named = ((name, tuple(attack_name(cell) for cell in cells if cell.verdict == name)) for name in FAILED)
            failed = tuple((verdict, names) for verdict, names in named if names)
            groups.setdefault((failed, NO_BETTER not in verdicts), []).append(group)
    for (failed, every), own in groups.items():
        yield Missed(tuple(own), failed, every)


def _best_controls(summary: Summary) -> Iterator[BestControls]:
    """Yield the best control of each group without thresholding, where there are controls."""
    best = [
        max((cell.ssim.mean or 0.0, line_name(cell)) for cell in own if cell.control)
        for own in by_group(summary.cells).values()
        if all(cell.tau is None for cell in own) and any(cell.control for cell in own)
    ]
    if best:
        yield BestControls(tuple(dict.fromkeys(name for _, name in best)), min(best)[0], max(best)[0])


def _thresholded(table: SpikeTable) -> Thresholded:
    """Return what attacks with thresholding found on the group of a table."""
    pairs = [(cell, row.guess) for row in table.rows for cell in row.cells.values()]
    shares = [cell.asr for cell, _ in pairs if cell.asr is not None]
    near = [nearness(cell, guess, table.norm).closer for cell, guess in pairs]
    known = [flag for flag in near if flag is not None]
    asr = (min(shares), max(shares)) if shares else None
    return Thresholded(table.group, len(pairs), asr, table.chance, sum(known), len(known))
