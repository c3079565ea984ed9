"""What a run of model inversions found, in sentences. Plain text: each format escapes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import singledispatch

from judges.report.formats import between, joined, percent, rate_interval
from judges.report.model_inversion import findings as found
from judges.report.model_inversion.findings import CAME_BACK, SAYS_NOTHING
from judges.runs.names import ANN, SNN, attack_name, in_words, network
from judges.runs.rows.classes import FEDERATION
from judges.summaries.class_verdicts import BLIND, DIVERGED, FAILED, FOOLED, PARTLY, RECOVERED, TRACES
from judges.summaries.model_inversion import Inversions, InversionSummary

_WHY = {
    FAILED: "Failed by their own aim, so nothing follows about these models",
    DIVERGED: "Diverged, so nothing follows about these models",
    FOOLED: "Only fools the target, which is no proof that another attack would find nothing",
    TRACES: "Not recognised, but answers of different classes are told apart",
    BLIND: "The judge knows real examples hardly better than noise or chance, so it cannot tell",
}


def findings(summary: Inversions) -> list[str]:
    """Return what was found, one sentence each; the main result comes first."""
    return list(map(sentence, found.find(summary)))


@singledispatch
def sentence(finding: found.Finding) -> str:
    """Return a finding in words."""
    raise NotImplementedError(type(finding))


@sentence.register
def _(headline: found.Headline) -> str:
    if not headline.pairs:
        return "No attack was scored in this run."
    came: list[str] = []
    kept: list[str] = []
    silent: list[str] = []
    for kind in (SNN, ANN):
        cells = {_name(pair): pair.snn if kind == SNN else pair.ann for pair in headline.pairs}
        attacked = {name: cell.verdict for name, cell in cells.items() if cell}
        back = [name for name, verdict in attacked.items() if verdict in CAME_BACK]
        share = "" if len(attacked) == 1 or not back else f" in {len(back)} of {len(attacked)} cases"
        if attacked:
            (came if back else kept).append(f"from the {kind}{share} ({', '.join(back or attacked)})")
        if unknown := [name for name, verdict in attacked.items() if verdict in SAYS_NOTHING]:
            silent.append(f"the {kind} ({', '.join(unknown)})")
    parts = joined(
        f"Classes came back {' and '.join(came)}" if came else "",
        f"{'none' if came else 'No classes'} came back {' or '.join(kept)}" if kept else "",
        by="; ",
    )
    nothing = f" Nothing follows about {' or '.join(silent)}." if silent else ""
    return f"{parts}.{_compared([pair for pair in headline.pairs if pair.comparable])}{nothing}"


def _compared(pairs: Sequence[found.Pair]) -> str:
    """Return where the SNN is safer than the ANN, and where not; nothing where the two cannot be compared."""
    outcomes = {
        "no safer than the ANN": [_name(pair) for pair in pairs if pair.no_safer],
        "safer against these attacks": [_name(pair) for pair in pairs if pair.safer],
        "not shown to be safer": [_name(pair) for pair in pairs if not (pair.safer or pair.no_safer)],
    }
    parts = [f"{outcome} on {', '.join(names)}" for outcome, names in outcomes.items() if names]
    return f" The SNN is {'; '.join(parts)}." if parts else ""


@sentence.register
def _(pair: found.Pair) -> str:
    parts = [_of_cell(cell, shares) for cell, shares in zip(pair.cells, pair.controls, strict=True)]
    return f"{_name(pair)}: the judge recognises {'; '.join(parts)}. {_conclusion(pair)}"


def _of_cell(cell: InversionSummary, shares: Mapping[str, float | None]) -> str:
    """Return attack accuracy with DAA and the controls of a cell."""
    known = {name: shares[name] for name in ("shuffled", "real", "chance") if shares[name] is not None}
    controls = ", ".join(f"{name} {percent(share)}" for name, share in known.items())
    answers = f"{percent(cell.accuracy.share)} {rate_interval(cell.accuracy)} of the answers"
    return f"{answers} of {attack_name(cell)} on the {network(cell)} (DAA {percent(cell.daa.share)}; {controls})"


def _conclusion(pair: found.Pair) -> str:
    """Return how an ANN and its spiking twin compare, or what follows about the one that was attacked."""
    silent = [network(cell) for cell in pair.cells if cell.verdict in SAYS_NOTHING]
    if silent:
        return f"Nothing follows about the {' or the '.join(silent)}."
    if pair.ann is None or pair.snn is None:
        came = {RECOVERED: "Its classes came back", PARTLY: "Some of its classes came back"}
        return f"{came.get(pair.cells[0].verdict, 'Its classes did not come back to this attack')}."
    if pair.safer:
        kept = " still gives classes away, but" if pair.snn.verdict in CAME_BACK else ""
        return f"The SNN{kept} gave away less to these attacks than the ANN."
    if pair.no_safer:
        meet = "" if pair.snn.accuracy.low > pair.ann.accuracy.high else ", though the intervals meet"
        return f"The SNN is no safer: it gave away as much or more{meet}."
    return "The SNN gave away less, but the intervals meet: that it is safer does not follow."


@sentence.register
def _(kept: found.Kept) -> str:
    cells = (
        f"{_attack_on(cell)}; target convinced by {percent(cell.convinced)} of the answers, attack accuracy "
        f"{percent(cell.accuracy.share)}, DAA {percent(cell.daa.share)})"
        for cell in kept.cells
    )
    return f"{_WHY[kept.verdict]}: {'; '.join(cells)}."


@sentence.register
def _(remembered: found.Remembered) -> str:
    shares = ((cell, cell.nearer_train) for cell in remembered.cells)
    names = "; ".join(f"{_attack_on(cell)}) in {percent(near.share)} {rate_interval(near)}" for cell, near in shares)
    return (
        f"Nearer to training examples than to as many test examples, more often than chance ({percent(0.5)}) and the "
        f"mean of the class: {names}. That is a sign of remembered examples, not yet of copies: see the distances."
    )


@sentence.register
def _(shares: found.NoCopies) -> str:
    return (
        "Nothing points to copies of training examples: the answers that came back are nearer to one of these than "
        f"to one of as many test examples in {between(percent(shares.low), percent(shares.high))} of cases, no more "
        f"often than chance ({percent(0.5)}) and the mean of the class."
    )


@sentence.register
def _(followed: found.Followed) -> str:
    (first, last), (begun, ended) = followed
    target = "the target's test accuracy"
    return (
        f"{in_words(last.dataset)}, from round {first.round} to round {last.round} of the federation "
        f"({network(last)}): "
        f"{target} {_change(first.accuracy, last.accuracy)}, the attack accuracy of {attack_name(ended)} "
        f"{_change(begun.accuracy.share, ended.accuracy.share)} (DAA {_change(begun.daa.share, ended.daa.share)})."
    )


def _attack_on(cell: InversionSummary) -> str:
    """Return an attack and what it was run on, the bracket left open: "MI-Face on MNIST (ANN"."""
    return f"{attack_name(cell)} on {_of(cell.dataset, cell.source)} ({network(cell)}"


def _change(begun: float, ended: float) -> str:
    """Return "goes from 10 % to 20 %", or "stays at 10 %"."""
    low, high = percent(begun), percent(ended)
    return f"stays at {low}" if low == high else f"goes from {low} to {high}"


def _name(pair: found.Pair) -> str:
    """Return what a pair was trained on, and its architecture where that tells it from another."""
    return _of(pair.dataset, pair.source) + (f", {in_words(pair.family)}" if pair.family else "")


def _of(dataset: str, source: str) -> str:
    """Return a data set, and whether it was a federation's."""
    return f"{in_words(dataset)} in the federation" if source == FEDERATION else in_words(dataset)
