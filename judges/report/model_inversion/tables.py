"""The tables of a report on model inversions, filled with a run's summary: what stands in them, not how it looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass

from judges.report.gradient_inversion.wording import rate_interval
from judges.report.model_inversion.wording import over, over_draws, spread
from judges.runs.class_rows import CENTRAL, FEDERATION, InversionScores, Target
from judges.runs.identity import CLASS_MEAN, REAL, SHUFFLED, Group
from judges.runs.names import attack_name, target_name
from judges.summaries.model_inversion import Inversions, InversionSummary, TargetSummary

BESIDE = "brainleaks_v2"
"""The attack on a spiking network that stands beside those on an ANN in Table 4."""

OURS, DRAWS, PAPER = "ours", "draws", "paper"


@dataclass(frozen=True)
class Line:
    """Numbers of one attack that are of one kind, so that none is taken for another.

    Attributes:
        kind: "ours", "draws" or "paper".
        label: what they are over.
        values: attack accuracy, top-3, average confidence, DAA, out of 100.
        intervals: of each, or "".
    """

    kind: str
    label: str
    values: tuple[str, ...]
    intervals: tuple[str, ...] = ("",) * 4


@dataclass(frozen=True)
class AttackRow:
    """An attack on the targets of one kind.

    Attributes:
        cell: our numbers.
        title: name of the attack.
        lines: ours, then over draws, then the paper's, those that there are.
        beside: attack accuracy of {control: share}, and of chance.
    """

    cell: InversionSummary
    title: str
    lines: tuple[Line, ...]
    beside: Mapping[str, float | None]


@dataclass(frozen=True)
class AttackBlock:
    """Attacks that stand together, under a name."""

    name: str
    rows: tuple[AttackRow, ...]


@dataclass(frozen=True)
class ControlBlock:
    """The controls of the targets of one kind, and the attack accuracy of chance."""

    name: str
    cells: tuple[InversionSummary, ...]
    chance: float


@dataclass(frozen=True)
class Federation:
    """The global models of federations on one data set, after each round that was kept.

    Attributes:
        dataset: its name.
        family: architecture of both networks.
        targets: of each round and network, in the order of the rounds.
        rows: (target, attack on it), in the same order.
    """

    dataset: str
    family: str
    targets: tuple[TargetSummary, ...]
    rows: tuple[tuple[TargetSummary, AttackRow], ...]


def spiking_blocks(summary: Inversions) -> list[AttackBlock]:
    """Return Table 3: attacks on spiking targets that were trained centrally."""
    rows = [row for row in _central_rows(summary) if row.cell.spiking]
    return [AttackBlock(*item) for item in _blocks(rows)]


def compared_blocks(summary: Inversions) -> list[AttackBlock]:
    """Return Table 4: attacks on ANNs that were trained centrally, beside BrainLeaks-v2 on their spiking twins."""
    rows = _central_rows(summary)
    blocks = []
    for dataset, own in _blocks(rows):
        ann = tuple(row for row in own if not row.cell.spiking)
        snn = tuple(row for row in own if row.cell.spiking and row.cell.attack == BESIDE)
        if ann:
            blocks.append(AttackBlock(dataset, ann + snn))
    return blocks


def control_blocks(summary: Inversions) -> list[ControlBlock]:
    """Return the controls of all targets; of a federation's, those of the last round."""
    last = last_rounds(summary)
    controls = [cell for cell in summary.cells if cell.control and cell.target in last]
    return [
        ControlBlock(target_name(target), tuple(own), chance_of(summary, target))
        for target, own in _by_target(controls).items()
    ]


def record_blocks(summary: Inversions) -> list[AttackBlock]:
    """Return every attack, by what was attacked."""
    attacks = [cell for cell in summary.cells if not cell.control]
    return [
        AttackBlock(target_name(target), tuple(attack_row(cell, summary) for cell in own))
        for target, own in _by_target(attacks).items()
    ]


def memory_blocks(summary: Inversions) -> list[AttackBlock]:
    """Return what memorisation is read off: attacks, class means and real examples, of the last rounds."""
    last = last_rounds(summary)
    shown = [
        cell
        for cell in summary.cells
        if cell.target in last and (not cell.control or cell.control in (CLASS_MEAN, REAL))
    ]
    return [
        AttackBlock(target_name(target), tuple(attack_row(cell, summary) for cell in own))
        for target, own in _by_target(shown).items()
        if not all(cell.control for cell in own)
    ]


def federations(summary: Inversions) -> list[Federation]:
    """Return the targets of federations with the attacks on them, by data set and architecture."""
    targets = sorted(
        (target for target in summary.targets if target.source == FEDERATION),
        key=lambda target: (target.round, target.spiking),
    )
    found = []
    for dataset, name in dict.fromkeys((target.dataset, target.family) for target in targets):
        own = [target for target in targets if (target.dataset, target.family) == (dataset, name)]
        rows = [
            (target, attack_row(cell, summary))
            for target in own
            for cell in summary.cells
            if cell.target == target.target and not cell.control
        ]
        found.append(Federation(dataset, name, tuple(own), tuple(rows)))
    return found


def attack_row(cell: InversionSummary, summary: Inversions) -> AttackRow:
    """Return a cell with its lines of numbers and what stands beside it."""
    return AttackRow(cell, attack_name(cell), tuple(_lines(cell)), beside(cell, summary))


def beside(cell: InversionSummary, summary: Inversions) -> dict[str, float | None]:
    """Return the attack accuracy of the controls of a cell, and of chance."""
    same = [other for other in summary.cells if other.target == cell.target]
    controls = {other.approach: other.accuracy.share for other in same if other.is_control}
    return {
        "shuffled": controls.get((SHUFFLED, *cell.approach[1:])),
        "class mean": controls.get((CLASS_MEAN, "", ())),
        "real": controls.get((REAL, "", ())),
        "chance": chance_of(summary, cell.target),
    }


def chance_of(summary: Inversions, target: Target) -> float:
    """Return the attack accuracy of guessing: 1 / classes of the data set."""
    return next(1.0 / told.classes for told in summary.targets if told.target == target)


def last_rounds(summary: Inversions) -> set[Target]:
    """Return all targets but those of a federation's earlier rounds."""
    last: dict[Group, int] = {}
    for target in summary.targets:
        if target.source == FEDERATION:
            last[target.group] = max(target.round, last.get(target.group, 0))
    return {
        target.target for target in summary.targets if target.source == CENTRAL or target.round == last[target.group]
    }


def _central_rows(summary: Inversions) -> list[AttackRow]:
    return [attack_row(cell, summary) for cell in summary.cells if cell.source == CENTRAL and not cell.control]


def _lines(cell: InversionSummary) -> list[Line]:
    """Return the lines of numbers of a cell, each of one kind."""
    ours = _values(cell.scores.mean, cell.scores.std)
    lines = [Line(OURS, over(cell), ours, (rate_interval(cell.accuracy), "", "", rate_interval(cell.daa)))]
    if cell.draws:
        lines.append(Line(DRAWS, over_draws(cell), _values(cell.draws.mean, cell.draws.std)))
    paper = cell.published
    if paper:
        label = "paper" if paper.accuracy_std is None else "paper, mean \N{PLUS-MINUS SIGN} over its draws"
        values = (
            spread(paper.attack_accuracy, paper.accuracy_std),
            spread(paper.top3, paper.top3_std),
            spread(paper.confidence, None),
            spread(paper.daa, None),
        )
        lines.append(Line(PAPER, label, values))
    return lines


def _values(mean: InversionScores, std: InversionScores | None) -> tuple[str, ...]:
    """Return four means with their deviations."""
    deviations = astuple(std) if std else (None,) * 4
    return tuple(spread(*pair) for pair in zip(astuple(mean), deviations, strict=True))


def _blocks(rows: Sequence[AttackRow]) -> list[tuple[str, tuple[AttackRow, ...]]]:
    """Return the rows of each data set."""
    names = dict.fromkeys(row.cell.dataset for row in rows)
    return [(name, tuple(row for row in rows if row.cell.dataset == name)) for name in names]


def _by_target(cells: Sequence[InversionSummary]) -> dict[Target, list[InversionSummary]]:
    """Return cells by what was attacked, in their order."""
    targets = dict.fromkeys(cell.target for cell in cells)
    return {target: [cell for cell in cells if cell.target == target] for target in targets}
