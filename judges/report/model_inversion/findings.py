"""What a run of model inversions found, as values made from its numbers alone; `sentences` puts them into words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from judges.report.formats import grouped
from judges.report.model_inversion.tables import beside, last_rounds
from judges.report.model_inversion.tables_rounds import federations
from judges.runs.identity import CLASS_MEAN
from judges.runs.names import attack_name, model_name
from judges.summaries.class_verdicts import BLIND, DIVERGED, FAILED, FOOLED, PARTLY, RECOVERED, TRACES
from judges.summaries.model_inversion import Inversions, InversionSummary, TargetSummary

CAME_BACK = (RECOVERED, PARTLY)
SAYS_NOTHING = (FAILED, DIVERGED, BLIND)  # verdicts from which nothing follows about the model
KEPT = (FAILED, DIVERGED, FOOLED, TRACES, BLIND)
"""Verdicts of attacks that brought no class back, in the order in which they are reported."""


class Pair(NamedTuple):
    """The strongest attack, by the judge, on an ANN and on its spiking twin; None where that was not attacked."""

    dataset: str
    source: str  # whether both were trained in a federation
    family: str  # what both have in common; "" where the data set has no other architecture
    ann: InversionSummary | None
    snn: InversionSummary | None
    controls: Sequence[Mapping[str, float | None]]  # {control: attack accuracy} beside each that was attacked

    @property
    def cells(self) -> list[InversionSummary]:
        """Return the attacks on the networks that were attacked."""
        return [cell for cell in (self.ann, self.snn) if cell is not None]

    @property
    def comparable(self) -> bool:
        """Return whether both were attacked, and something follows about each."""
        return len(self.cells) == 2 and all(cell.verdict not in SAYS_NOTHING for cell in self.cells)

    @property
    def safer(self) -> bool:
        """Return whether the SNN gave away less, by more than chance: the intervals do not meet."""
        return self.ann is not None and self.snn is not None and self.snn.accuracy.high < self.ann.accuracy.low

    @property
    def no_safer(self) -> bool:
        """Return whether the SNN gave away as much as the ANN, or more."""
        return self.ann is not None and self.snn is not None and self.snn.accuracy.share >= self.ann.accuracy.share


class Headline(NamedTuple):
    """The main result: all pairs; none where no attack was scored."""

    pairs: tuple[Pair, ...]


class Kept(NamedTuple):
    """The attacks with one verdict that brought no class back."""

    verdict: str
    cells: Sequence[InversionSummary]


class Remembered(NamedTuple):
    """Attacks whose answers came back and are nearer to training examples than chance and class means are."""

    cells: Sequence[InversionSummary]


class NoCopies(NamedTuple):
    """The least and the greatest share of answers that are nearer to a training example, none of them remarkable."""

    low: float
    high: float


class Followed(NamedTuple):
    """An attack from the first to the last round of a federation: the two targets, and the attack on each."""

    targets: tuple[TargetSummary, TargetSummary]
    cells: tuple[InversionSummary, InversionSummary]


Finding = Headline | Pair | Kept | Remembered | NoCopies | Followed


def find(summary: Inversions) -> list[Finding]:
    """Return what was found; the main result comes first."""
    last = last_rounds(summary)
    attacks = [cell for cell in summary.cells if not cell.control and cell.target in last]
    pairs = tuple(_pairs(attacks, summary))
    kept = (Kept(verdict, [cell for cell in attacks if cell.verdict == verdict]) for verdict in KEPT)
    return [
        Headline(pairs),
        *pairs,
        *(one for one in kept if one.cells),
        *_memory(summary, attacks),
        *(_followed(summary) if attacks else ()),
    ]


def _pairs(attacks: Sequence[InversionSummary], summary: Inversions) -> Iterator[Pair]:
    """Yield each data set and architecture with the strongest attack on either network."""
    kinds = grouped(attacks, lambda cell: (cell.dataset, cell.source, cell.family))
    for (dataset, source, family), own in kinds.items():
        ann, snn = (
            max((cell for cell in own if cell.spiking == spiking), key=_strength, default=None)
            for spiking in (False, True)
        )
        alone = sum(other[:2] == (dataset, source) for other in kinds) == 1
        controls = [beside(cell, summary) for cell in (ann, snn) if cell is not None]
        yield Pair(dataset, source, "" if alone else family, ann, snn, controls)


def _strength(cell: InversionSummary) -> tuple[bool, float, float]:
    """Return what the strongest attack has most of; one from which nothing follows is the weakest."""
    return cell.verdict not in SAYS_NOTHING, cell.accuracy.share, cell.daa.share


def _memory(summary: Inversions, attacks: Sequence[InversionSummary]) -> Iterator[Remembered | NoCopies]:
    """Yield whether the answers that came back are copies of training examples."""
    back = [cell for cell in attacks if cell.verdict in CAME_BACK]
    means = {cell.target: cell.nearer_train.share for cell in summary.cells if cell.control == CLASS_MEAN}
    near = [cell for cell in back if cell.nearer_train.low > max(0.5, means.get(cell.target, 0.5))]
    if near:
        yield Remembered(near)
    elif back:
        shares = [cell.nearer_train.share for cell in back]
        yield NoCopies(min(shares), max(shares))


def _followed(summary: Inversions) -> Iterator[Followed]:
    """Yield how each attack changed from the first to the last round of a federation."""
    targets = {target.target: target for target in summary.targets}
    for federation in federations(summary):
        lines = grouped(federation.cells, lambda cell: (model_name(cell), attack_name(cell)))
        for first, *_, last in (own for own in lines.values() if len(own) > 1):
            yield Followed((targets[first.target], targets[last.target]), (first, last))
