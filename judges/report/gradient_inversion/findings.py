"""What a run found, as values made from its numbers alone; `sentences` puts them into words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from judges.report.gradient_inversion.events import SpikeTable, nearness, spike_tables
from judges.report.gradient_inversion.tables import by_group, plain_groups
from judges.report.gradient_inversion.tables_leaks import outcomes
from judges.report.ladder import Climb, climbs
from judges.runs.identity import Group
from judges.runs.measures import SanityCheck
from judges.runs.names import attack_name, line_name
from judges.summaries.gradient_inversion import CellSummary, Summary
from judges.summaries.verdicts import NOTHING, OPEN, PARTLY, RECOVERED, TRACES, VERDICTS


class Scored(NamedTuple):
    """How much was attacked: examples, of which some diverged, in cells; 0 cells where nothing was."""

    examples: int
    cells: int
    diverged: int  # and count as failures
    published: int = 0  # cells under the paper's own protocol
    kept: int = 0  # examples that diverged there, where they are scored like others
    unattempted: int = 0  # examples that their attack did not look for


class OfVerdict(NamedTuple):
    """The attacks with one verdict, among all attacks without thresholding."""

    verdict: str
    cells: Sequence[CellSummary]
    among: Sequence[CellSummary]


class Missed(NamedTuple):
    """Groups on which no attack found anything, with (verdict, attacks) of those from which nothing follows."""

    groups: tuple[Group, ...]
    open: tuple[tuple[str, tuple[str, ...]], ...]
    all_open: bool
    adversaries: tuple[str, ...]  # the letters of those who tried, as far as they are known


class BestControls(NamedTuple):
    """The best controls of all groups by mean SSIM: their names, and the least and greatest mean."""

    names: tuple[str, ...]
    low: float
    high: float


class OtherwiseByPsnr(NamedTuple):
    """The attacks that found something by SSIM, each with the control whose mean PSNR on the same victims is higher."""

    pairs: tuple[tuple[CellSummary, CellSummary], ...]


class SmallPictures(NamedTuple):
    """That pictures of some groups are smaller than the window of SSIM, which is not defined for them."""


class FailedCheck(NamedTuple):
    """A sanity check that an attack failed: what should hold, and the numbers that say otherwise."""

    check: SanityCheck
    claim: str
    numbers: str


class Thresholded(NamedTuple):
    """What attacks with thresholding found on one group."""

    group: Group
    cells: int
    asr: tuple[float, float] | None  # least and greatest; None without a judge
    chance: float | None
    closer: int  # how many cells have a smaller l2 than the answers that need no gradient
    compared: int  # how many could be compared


class Observed(NamedTuple):
    """What the l2 of one way of thresholding equals ("guess", "empty") or beats ("closer"), each with its taus."""

    thresholding: str
    rows: int
    taus: tuple[tuple[str, tuple[float, ...]], ...]


Finding = (
    Scored | OfVerdict | Missed | BestControls | OtherwiseByPsnr | SmallPictures | FailedCheck | Thresholded | Observed
    | Climb
)  # fmt: skip


def find(summary: Summary) -> list[Finding]:
    """Return what was found; how much was attacked comes first."""
    attacks = [cell for cell in summary.cells if not cell.control]
    scored = _scored(attacks)
    if not attacks:
        return [scored]
    plain = [cell for cell in attacks if cell.tau is None]
    known = {name: place for place, name in enumerate(VERDICTS)}  # a summary of an older version may have others
    verdicts = sorted({cell.verdict for cell in plain}, key=lambda name: (known.get(name, len(known)), name))
    return [
        scored,
        *(OfVerdict(verdict, [cell for cell in plain if cell.verdict == verdict], plain) for verdict in verdicts),
        *climbs(summary),
        *_missed(plain),
        *_best_controls(summary),
        *_otherwise_by_psnr(summary),
        *(
            [SmallPictures()]
            if any(cell.ssim is None and cell.token_accuracy is None for cell in summary.cells)
            else []
        ),
        *map(_thresholded, spike_tables(summary)),
        *(
            FailedCheck(check, one.claim, one.numbers)
            for check in summary.checks
            for one in outcomes(check)
            if one.holds is False
        ),
    ]


def observe(table: SpikeTable) -> Iterator[Observed]:
    """Yield what the l2 of each way of thresholding equals or beats, and in which rows of Table V."""
    for way in table.ways:
        rows = [row for row in table.rows if way in row.cells]
        near = [(row.tau, nearness(row.cells[way], row.guess, table.norm)) for row in rows]
        relations = (
            (name, tuple(tau for tau, one in near if getattr(one, name))) for name in ("guess", "empty", "closer")
        )
        if taus := tuple((name, own) for name, own in relations if own):
            yield Observed(way, len(rows), taus)


def _scored(attacks: Sequence[CellSummary]) -> Scored:
    """Return how much was attacked."""
    theirs = [cell for cell in attacks if cell.as_published]
    kept = sum(cell.diverged for cell in theirs)
    lost = sum(cell.diverged for cell in attacks) - kept
    unattempted = sum(cell.unattempted for cell in attacks)
    return Scored(sum(cell.n for cell in attacks), len(attacks), lost, len(theirs), kept, unattempted)


def _missed(attacks: Sequence[CellSummary]) -> Iterator[Missed]:
    """Yield the groups where no attack found anything, those with the same outcome together.

    Groups without controls are left out: there was nothing to be better than.
    """
    outcomes: dict[tuple[Any, ...], list[Group]] = defaultdict(list)
    for group, cells in by_group(attacks).items():
        verdicts = {cell.verdict for cell in cells}
        if verdicts <= {NOTHING, *OPEN} and all(cell.comparison for cell in cells):
            named = ((name, tuple(attack_name(cell) for cell in cells if cell.verdict == name)) for name in OPEN)
            letters = tuple(sorted({cell.adversary for cell in cells if cell.adversary and cell.is_attempted}))
            outcomes[tuple(one for one in named if one[1]), NOTHING not in verdicts, letters].append(group)
    for outcome, groups in outcomes.items():
        yield Missed(tuple(groups), *outcome)


def _best_controls(summary: Summary) -> Iterator[BestControls]:
    """Yield the best control of each group without thresholding, where there are controls with an SSIM."""
    means = [
        [(cell.ssim.mean or 0.0, line_name(cell)) for cell in own if cell.control and cell.ssim]
        for own in plain_groups(summary).values()
    ]
    best = [max(own) for own in means if own]
    if best:
        yield BestControls(tuple(dict.fromkeys(name for _, name in best)), min(best)[0], max(best)[0])


def _otherwise_by_psnr(summary: Summary) -> Iterator[OtherwiseByPsnr]:
    """Yield the attacks without thresholding that found something by SSIM, where a control's mean PSNR is higher."""
    pairs = []
    for own in plain_groups(summary).values():
        known = [(cell.psnr_db.mean, cell) for cell in own if cell.psnr_db and cell.psnr_db.mean is not None]
        best = max((one for one in known if one[1].control), key=lambda one: one[0], default=None)
        for mean, cell in known:
            if best and not cell.control and cell.verdict in (RECOVERED, PARTLY, TRACES) and mean < best[0]:
                pairs.append((cell, best[1]))
    if pairs:
        yield OtherwiseByPsnr(tuple(pairs))


def _thresholded(table: SpikeTable) -> Thresholded:
    """Return what attacks with thresholding found on the group of a table."""
    pairs = [(cell, row.guess) for row in table.rows for cell in row.cells.values()]
    shares = [cell.asr for cell, _ in pairs if cell.asr is not None]
    near = [nearness(cell, guess, table.norm).closer for cell, guess in pairs]
    asr = (min(shares), max(shares)) if shares else None
    return Thresholded(table.group, len(pairs), asr, table.chance, near.count(True), len(near) - near.count(None))
