"""What a run of model inversions found, as values made from its numbers alone; `sentences` puts them into words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from judges.report.model_inversion.tables import beside, last_rounds
from judges.report.model_inversion.tables_rounds import federations
from judges.runs.identity import CLASS_MEAN
from judges.runs.names import attack_name, model_name
from judges.summaries.class_verdicts import BLIND, DIVERGED, FAILED, FOOLED, PARTLY, RECOVERED, TRACES
from judges.summaries.model_inversion import Inversions, InversionSummary, TargetSummary

CAME_BACK = (RECOVERED, PARTLY)
SAYS_NOTHING = (FAILED, DIVERGED, BLIND)
"""Verdicts from which nothing follows about the model."""

KEPT = (FAILED, DIVERGED, FOOLED, TRACES, BLIND)
"""Verdicts of attacks that brought no class back, in the order in which they are told."""


@dataclass(frozen=True)
class Pair:
    """The strongest attack, by the judge, on an ANN and on its spiking twin.

    Attributes:
        dataset, source: what both were trained on, and whether in a federation.
        family: what both have in common; "" where the data set has no other architecture.
        ann, snn: None where that network was not attacked.
        controls: {control: attack accuracy} beside each of those that were attacked.
    """

    dataset: str
    source: str
    family: str
    ann: InversionSummary | None
    snn: InversionSummary | None
    controls: tuple[Mapping[str, float | None], ...]

    @property
    def cells(self) -> list[InversionSummary]:
        """Return the networks that were attacked."""
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


@dataclass(frozen=True)
class Headline:
    """The main result: all pairs; none where no attack was scored."""

    pairs: tuple[Pair, ...]


@dataclass(frozen=True)
class Kept:
    """The attacks of one verdict that brought no class back."""

    verdict: str
    cells: tuple[InversionSummary, ...]


@dataclass(frozen=True)
class Remembered:
    """Attacks whose answers came back and are nearer to training examples than chance and class means are."""

    cells: tuple[InversionSummary, ...]


@dataclass(frozen=True)
class NoCopies:
    """The least and the greatest share of answers that are nearer to a training example, none of them remarkable."""

    low: float
    high: float


@dataclass(frozen=True)
class Followed:
    """One attack from the first to the last round of a federation: the targets, and the attack on each."""

    targets: tuple[TargetSummary, TargetSummary]
    cells: tuple[InversionSummary, InversionSummary]


Finding = Headline | Pair | Kept | Remembered | NoCopies | Followed


def find(summary: Inversions) -> list[Finding]:
    """Return what was found; the first is the main result."""
    last = last_rounds(summary)
    attacks = [cell for cell in summary.cells if not cell.control and cell.target in last]
    pairs = tuple(_pairs(attacks, summary))
    kept = ((verdict, tuple(cell for cell in attacks if cell.verdict == verdict)) for verdict in KEPT)
    return [
        Headline(pairs),
        *pairs,
        *(Kept(verdict, own) for verdict, own in kept if own),
        *_memory(summary, attacks),
        *(_followed(summary) if attacks else ()),
    ]


def _pairs(attacks: Sequence[InversionSummary], summary: Inversions) -> Iterator[Pair]:
    """Yield each data set and architecture with the strongest attack on either network."""
    kinds = dict.fromkeys((cell.dataset, cell.source, cell.family) for cell in attacks)
    for kind in kinds:
        own = [cell for cell in attacks if (cell.dataset, cell.source, cell.family) == kind]
        ann, snn = (
            max((cell for cell in own if cell.spiking == spiking), key=_strength, default=None)
            for spiking in (False, True)
        )
        alone = sum(other[:2] == kind[:2] for other in kinds) == 1
        controls = tuple(beside(cell, summary) for cell in (ann, snn) if cell is not None)
        yield Pair(kind[0], kind[1], "" if alone else kind[2], ann, snn, controls)


def _strength(cell: InversionSummary) -> tuple[bool, float, float]:
    """Return what the strongest attack has most of; one from which nothing follows is the weakest."""
    return cell.verdict not in SAYS_NOTHING, cell.accuracy.share, cell.daa.share


def _memory(summary: Inversions, attacks: Sequence[InversionSummary]) -> Iterator[Remembered | NoCopies]:
    """Yield whether the answers that came back are copies of training examples."""
    told = [cell for cell in attacks if cell.verdict in CAME_BACK]
    means = {cell.target: cell.nearer_train.share for cell in summary.cells if cell.control == CLASS_MEAN}
    near = [cell for cell in told if cell.nearer_train.low > max(0.5, means.get(cell.target, 0.5))]
    if near:
        yield Remembered(tuple(near))
    elif told:
        shares = [cell.nearer_train.share for cell in told]
        yield NoCopies(min(shares), max(shares))


def _followed(summary: Inversions) -> Iterator[Followed]:
    """Yield how each attack went from the first to the last round of a federation."""
    for told in federations(summary):
        targets = {target.target: target for target in told.targets}
        lines: dict[tuple[str, str], list[InversionSummary]] = {}
        for cell in told.cells:
            lines.setdefault((model_name(cell), attack_name(cell)), []).append(cell)
        for own in lines.values():
            if len(own) > 1:
                first, last = own[0], own[-1]
                yield Followed((targets[first.target], targets[last.target]), (first, last))
