"""What a run of model inversions found, in sentences made from its numbers alone. Plain text: templates escape it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from judges.report.gradient_inversion.wording import percent, rate_interval
from judges.report.model_inversion.tables import beside, federations, last_rounds
from judges.runs.class_rows import FEDERATION, Target
from judges.runs.identity import CLASS_MEAN
from judges.runs.names import ANN, SNN, attack_name, network
from judges.summaries.class_verdicts import BLIND, DIVERGED, FAILED, FOOLED, PARTLY, RECOVERED, TRACES
from judges.summaries.model_inversion import Inversions, InversionSummary, TargetSummary

CAME_BACK = (RECOVERED, PARTLY)
SAYS_NOTHING = (FAILED, DIVERGED, BLIND)
"""Verdicts from which nothing follows about the model."""

_WHY: tuple[tuple[str, str], ...] = (
    (FAILED, "Failed by their own aim, so nothing follows about these models"),
    (DIVERGED, "Diverged, so nothing follows about these models"),
    (FOOLED, "Only fools the target, which is no proof that another attack would find nothing"),
    (TRACES, "Not recognised, but answers of different classes are told apart"),
    (BLIND, "The judge knows real examples hardly better than noise or chance, so it cannot tell"),
)


@dataclass(frozen=True)
class Pair:
    """The strongest attack, by the judge, on an ANN and on its spiking twin.

    Attributes:
        name: data set, and whether it was a federation.
        ann, snn: None where that network was not attacked.
    """

    name: str
    ann: InversionSummary | None
    snn: InversionSummary | None

    @property
    def comparable(self) -> bool:
        """Return whether both were attacked, and something follows about each."""
        return all(cell is not None and cell.verdict not in SAYS_NOTHING for cell in (self.ann, self.snn))

    @property
    def safer(self) -> bool:
        """Return whether the SNN gave away less, by more than chance: the intervals do not meet."""
        return self.ann is not None and self.snn is not None and self.snn.accuracy.high < self.ann.accuracy.low

    @property
    def no_safer(self) -> bool:
        """Return whether the SNN gave away as much as the ANN, or more."""
        return self.ann is not None and self.snn is not None and self.snn.accuracy.share >= self.ann.accuracy.share


def findings(summary: Inversions) -> list[str]:
    """Return what was found, one sentence each; the first is the main result."""
    last = last_rounds(summary)
    attacks = [cell for cell in summary.cells if not cell.control and cell.target in last]
    if not attacks:
        return ["No attack was scored in this run."]
    pairs = list(_pairs(attacks))
    return [
        _headline(pairs),
        *(_of_pair(pair, summary) for pair in pairs),
        *_of_verdicts(attacks),
        *_of_memory(summary, attacks),
        *_of_rounds(summary),
    ]


def _pairs(attacks: Sequence[InversionSummary]) -> Iterator[Pair]:
    """Yield each data set and architecture with the strongest attack on either network."""
    kinds = dict.fromkeys((cell.dataset, cell.source, cell.family) for cell in attacks)
    for dataset, source, name in kinds:
        own = [cell for cell in attacks if (cell.dataset, cell.source, cell.family) == (dataset, source, name)]
        best = [
            max((cell for cell in own if cell.spiking == spiking), key=_strength, default=None)
            for spiking in (False, True)
        ]
        alone = sum(kind[:2] == (dataset, source) for kind in kinds) == 1
        yield Pair(_name(own[0].target) + ("" if alone else f", {name}"), *best)


def _strength(cell: InversionSummary) -> tuple[bool, float, float]:
    """Return what the strongest attack has most of; one from which nothing follows is the weakest."""
    return cell.verdict not in SAYS_NOTHING, cell.accuracy.share, cell.daa.share


def _headline(pairs: Sequence[Pair]) -> str:
    """Return the main result."""
    told = {SNN: [(pair.name, pair.snn) for pair in pairs], ANN: [(pair.name, pair.ann) for pair in pairs]}
    attacked = {kind: {name: cell.verdict in CAME_BACK for name, cell in cells if cell} for kind, cells in told.items()}
    came = [_share(kind, names) for kind, names in attacked.items() if any(names.values())]
    kept = [_share(kind, names) for kind, names in attacked.items() if names and not any(names.values())]
    parts = [f"Classes came back {' and '.join(came)}"] if came else []
    parts += [f"{'none' if came else 'No classes'} came back {' or '.join(kept)}"] if kept else []
    silent = [
        f"the {kind} ({', '.join(names)})"
        for kind, cells in told.items()
        if (names := [name for name, cell in cells if cell and cell.verdict in SAYS_NOTHING])
    ]
    nothing = f" Nothing follows about {' or '.join(silent)}." if silent else ""
    return f"{'; '.join(parts)}.{_compared([pair for pair in pairs if pair.comparable])}{nothing}"


def _share(kind: str, names: Mapping[str, bool]) -> str:
    """Return "from the SNN in 1 of 2 cases (mnist)", or all cases where it is none."""
    came = [name for name, back in names.items() if back]
    share = "" if len(names) == 1 or not came else f" in {len(came)} of {len(names)} cases"
    return f"from the {kind}{share} ({', '.join(came or names)})"


def _compared(pairs: Sequence[Pair]) -> str:
    """Return where the SNN is safer than the ANN, and where not; nothing where the two cannot be compared."""
    outcomes = {
        "no safer than the ANN": [pair.name for pair in pairs if pair.no_safer],
        "safer against these attacks": [pair.name for pair in pairs if pair.safer],
        "not shown to be safer": [pair.name for pair in pairs if not (pair.safer or pair.no_safer)],
    }
    parts = [f"{outcome} on {', '.join(names)}" for outcome, names in outcomes.items() if names]
    return f" The SNN is {'; '.join(parts)}." if parts else ""


def _of_pair(pair: Pair, summary: Inversions) -> str:
    """Return what the judge saw of either network, and how the two compare."""
    parts = [_of_cell(cell, summary) for cell in (pair.ann, pair.snn) if cell is not None]
    return f"{pair.name}: the judge recognises {'; '.join(parts)}. {_conclusion(pair)}"


def _of_cell(cell: InversionSummary, summary: Inversions) -> str:
    """Return attack accuracy with DAA and the controls of a cell."""
    shares = beside(cell, summary)
    known = {name: shares[name] for name in ("shuffled", "real", "chance") if shares[name] is not None}
    controls = ", ".join(f"{name} {percent(share)}" for name, share in known.items())
    answers = f"{percent(cell.accuracy.share)} {rate_interval(cell.accuracy)} of the answers"
    name = f"{attack_name(cell)} on the {network(cell.spiking)}"
    return f"{answers} of {name} (DAA {percent(cell.daa.share)}; {controls})"


def _conclusion(pair: Pair) -> str:
    """Return how an ANN and its spiking twin compare, or what follows about the one that was attacked."""
    cells = [cell for cell in (pair.ann, pair.snn) if cell is not None]
    silent = [network(cell.spiking) for cell in cells if cell.verdict in SAYS_NOTHING]
    if silent:
        return f"Nothing follows about the {' or the '.join(silent)}."
    if pair.ann is None or pair.snn is None:
        (cell,) = cells
        came = {RECOVERED: "Its classes came back", PARTLY: "Some of its classes came back"}
        return f"{came.get(cell.verdict, 'Its classes did not come back to this attack')}."
    if pair.safer:
        kept = " still gives classes away, but" if pair.snn.verdict in CAME_BACK else ""
        return f"The SNN{kept} gave away less to these attacks than the ANN."
    if pair.no_safer:
        meet = "" if pair.snn.accuracy.low > pair.ann.accuracy.high else ", though the intervals meet"
        return f"The SNN is no safer: it gave away as much or more{meet}."
    return "The SNN gave away less, but the intervals meet: that it is safer does not follow."


def _of_verdicts(attacks: Sequence[InversionSummary]) -> Iterator[str]:
    """Yield which attacks did not bring a class back, and what that means."""
    for verdict, meaning in _WHY:
        own = [cell for cell in attacks if cell.verdict == verdict]
        if own:
            yield f"{meaning}: {'; '.join(_shortly(cell) for cell in own)}."


def _shortly(cell: InversionSummary) -> str:
    """Return an attack with what its target and the judge made of it."""
    return (
        f"{attack_name(cell)} on {_name(cell.target)} ({network(cell.spiking)}; target convinced by "
        f"{percent(cell.convinced)} of the answers, attack accuracy {percent(cell.accuracy.share)}, "
        f"DAA {percent(cell.daa.share)})"
    )


def _of_memory(summary: Inversions, attacks: Sequence[InversionSummary]) -> Iterator[str]:
    """Yield whether the answers that came back are copies of training examples."""
    told = [cell for cell in attacks if cell.verdict in CAME_BACK]
    means = {cell.target: cell.nearer_train.share for cell in summary.cells if cell.control == CLASS_MEAN}
    near = [cell for cell in told if cell.nearer_train.low > max(0.5, means.get(cell.target, 0.5))]
    if near:
        names = "; ".join(
            f"{attack_name(cell)} on {_name(cell.target)} ({network(cell.spiking)}) in "
            f"{percent(cell.nearer_train.share)} {rate_interval(cell.nearer_train)}"
            for cell in near
        )
        yield (
            "Nearer to training examples than to as many test examples, more often than chance (50\N{NO-BREAK SPACE}%) "
            f"and the mean of the class are: {names}. That is a sign of remembered examples, not yet of copies: see "
            "the distances."
        )
    elif told:
        shares = [cell.nearer_train.share for cell in told]
        low, high = percent(min(shares)), percent(max(shares))
        yield (
            "Nothing points to copies of training examples: the answers that came back are nearer to one of these than "
            f"to one of as many test examples in {low if low == high else f'{low} to {high}'} of cases, which is not "
            "more often than chance (50\N{NO-BREAK SPACE}%) and the mean of the class are."
        )


def _of_rounds(summary: Inversions) -> Iterator[str]:
    """Yield how each attack went from the first to the last round of a federation."""
    for told in federations(summary):
        names = dict.fromkeys((row.cell.group, row.title) for _, row in told.rows)
        for group, title in names:
            own = [(target, row.cell) for target, row in told.rows if (row.cell.group, row.title) == (group, title)]
            if len(own) > 1:
                yield _of_federation(told.dataset, title, own)


def _of_federation(dataset: str, title: str, own: Sequence[tuple[TargetSummary, InversionSummary]]) -> str:
    """Return how an attack went, beside the accuracy of what it attacked."""
    (first, begun), (last, ended) = own[0], own[-1]
    return (
        f"{dataset}, from round {first.round} to round {last.round} of the federation ({network(last.spiking)}): the "
        f"target's test accuracy {_change(first.accuracy, last.accuracy)}, the attack accuracy of {title} "
        f"{_change(begun.accuracy.share, ended.accuracy.share)} (DAA {_change(begun.daa.share, ended.daa.share)})."
    )


def _change(begun: float, ended: float) -> str:
    """Return "goes from 10 % to 20 %", or "stays at 10 %"."""
    low, high = percent(begun), percent(ended)
    return f"stays at {low}" if low == high else f"goes from {low} to {high}"


def _name(target: Target) -> str:
    """Return a data set, and whether the target was trained by a federation."""
    dataset = target.group.dataset
    return f"{dataset} in the federation" if target.source == FEDERATION else dataset
