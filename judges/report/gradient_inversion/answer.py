"""The answer of a run of gradient inversion, or of an audit, in words: what its report says first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from judges.report.answer import Answer, bounded, listed
from judges.report.formats import counted, grouped, percent
from judges.report.gradient_inversion import findings as found
from judges.report.gradient_inversion.sentences import sentence
from judges.report.gradient_inversion.tables_leaks import ADVERSARIES
from judges.report.ladder import Climb
from judges.report.victims.contrast import contrast_lines
from judges.report.words import tone
from judges.runs.identity import RUNG, Group
from judges.runs.names import attack_name, defence_name, group_name, in_words, init_name, model_name
from judges.runs.rows import Score
from judges.summaries.gradient_inversion import CellSummary, Summary
from judges.summaries.verdicts import LABELS, MOST, PARTLY, RECOVERED, TRACES, VERDICTS

_HEADLINES = {
    (RECOVERED,): "Inputs were recovered in {share}.",
    (PARTLY,): "Some inputs were recovered in {share}.",
    (TRACES,): "Traces of the inputs were found in {share}, no recognisable picture.",
    (LABELS,): "Labels were read in {share}, but no input.",
}
_INIT = " initialisation"
_FOR_SPIKES = "frozen_delta"
"""The member of the ensemble that was made for spiking networks."""
_KNOWN = {name: place for place, name in enumerate(VERDICTS)}


def answer(
    summary: Summary,
    warnings: Sequence[str],
    controls: Sequence[str] = (),
    threats: Sequence[str] = (),
    ladder: Sequence[str] = (),
) -> Answer:
    """Return the answer of a run.

    Args:
        summary: of the run.
        warnings: reasons to read it with care, from outside the summary.
        controls: where the controls come from, or which are lacking.
        threats: what became of further threats to the same federation.
        ladder: what the ladder in the run's folder says.
    """
    attacks = [cell for cell in summary.cells if not cell.is_control]
    if not attacks:
        lines = [("Other threats", list(threats)), ("Beware", list(warnings))]
        return Answer("No attack was scored in this run.", "open", lines)
    best = _best({group: own for group, own in grouped(attacks, lambda cell: cell.group).items()
                  if all(cell.tau is None for cell in own)})  # fmt: skip
    told = found.find(summary)
    spikes = [sentence(one) for one in told if isinstance(one, found.Thresholded)]
    beware = [sentence(one) for one in told if isinstance(one, (found.FailedCheck, found.OtherwiseByPsnr))]
    headline, shown = _headline(list(best.values())) if best else _of_spikes(told)
    lines = [
        ("ANN and SNN", bounded(list(contrast_lines(summary.contrasts, brief=True)), "networks")),
        ("Attacked", [_attacked(attacks)]),
        ("By", list(_attackers(attacks))),
        ("Leaked", [*bounded([_leaked(group, cell) for group, cell in best.items()], "settings"), *spikes]),
        ("Controls", [*(sentence(one) for one in told if isinstance(one, found.BestControls)), *controls]),
        ("Other threats", list(threats)),
        ("Ladder", [*(sentence(one) for one in told if isinstance(one, Climb)), *ladder]),
        ("Beware", [*beware, *warnings]),
    ]
    return Answer(headline, shown, lines)


def _best(groups: Mapping[Group, Sequence[CellSummary]]) -> dict[Group, CellSummary]:
    """Return the attack on each group that says most about it: of the first verdict, and of the most successes."""
    return {group: min(own, key=lambda cell: (_place(cell), -_share(cell))) for group, own in groups.items()}


def _place(cell: CellSummary) -> int:
    return _KNOWN.get(cell.verdict, len(_KNOWN))


def _share(cell: CellSummary) -> float:
    return cell.comparison.succeeded.share if cell.comparison else (cell.recognisable or cell.solved).share


def _headline(best: Sequence[CellSummary]) -> tuple[str, str]:
    """Return the main sentence of groups without thresholding, and its tone."""
    first = min(best, key=_place)
    if not any(cell.is_attempted for cell in best):
        read = sum(cell.verdict == LABELS for cell in best)
        labels = f" Labels were read in {read} of {counted(len(best), 'setting')}." if read else ""
        nothing = "and nothing follows about what an attack that does would find"
        return f"No attack looked for inputs here, {nothing}.{labels}", "some" if read else "open"
    for verdicts, text in _HEADLINES.items():
        if first.verdict in verdicts:
            count = sum(cell.verdict == first.verdict for cell in best)
            share = f"{count} of {counted(len(best), 'setting')}" if len(best) > 1 else "the setting attacked"
            return text.format(share=share), tone(first.verdict)
    if tone(first.verdict) == "no":
        return "No attack tried here found anything, which does not mean that none would.", "no"
    return "No attack found anything, and nothing follows about what another would find.", "open"


def _of_spikes(told: Sequence[found.Finding]) -> tuple[str, str]:
    """Return the main sentence of a run in which thresholding was tried on all groups, and its tone."""
    own = [one for one in told if isinstance(one, found.Thresholded)]
    closer, compared = sum(one.closer for one in own), sum(one.compared for one in own)
    if not closer:
        return "No answer is nearer to the recordings than those that need no update.", "no"
    return f"Answers are nearer than those that need no update in {closer} of {counted(compared, 'cell')}.", "some"


def passed_over(scores: Iterable[Score]) -> list[str]:
    """Return on which spiking networks the ensemble went without the attack that was made for them, as sentences."""
    groups = dict.fromkeys(
        group_name(row.group)
        for row in scores
        if row.spiking and not row.is_control and _FOR_SPIKES in (row.refused or {})
    )
    return [
        f"On {where} the ensemble went without frozen-delta matching, its member for spiking networks, because the "
        "network cannot be folded over victims or the update is of several steps (which, says the column 'refused' of "
        "scores.csv). In the first case the same layers as a SpikingTwin may give away more."
        for where in groups
    ]


def _attacked(attacks: Sequence[CellSummary]) -> str:
    """Return what was attacked, each kind of setting once."""
    names = {
        "data": [in_words(cell.dataset) for cell in attacks],
        "network": [model_name(_without_rung(cell)) for cell in attacks],
        "init": [init_name(cell).removesuffix(_INIT) for cell in attacks],
        "defence": ["no defence" if cell.defence == "none" else defence_name(cell) for cell in attacks],
    }
    told = {kind: listed([name for name in dict.fromkeys(own) if name]) for kind, own in names.items()}
    if any(init_name(cell).endswith(_INIT) for cell in attacks):
        told["init"] += _INIT
    n, unsought = sum(cell.n for cell in attacks), sum(cell.unattempted for cell in attacks)
    victims = counted(n, "scored example" if unsought else "attacked example")
    looked = f", of which the attacks looked for {n - unsought or 'none'}" if unsought else ""
    lost = sum(cell.diverged for cell in attacks)
    diverged = f", of which {lost} diverged" if lost else ""
    shown = "; ".join(text for text in told.values() if text)
    return f"{shown}. {victims} in {counted(len(attacks), 'cell')}{looked}{diverged}."


def _without_rung(cell: CellSummary) -> Group:
    """Return what was attacked, whatever the rung of a ladder."""
    rest = tuple((key, value) for key, value in cell.varied.items() if key != RUNG)
    return Group(cell.dataset, cell.model, cell.family, cell.spiking, rest, cell.init, cell.defence, ())


def _attackers(attacks: Sequence[CellSummary]) -> Iterator[str]:
    """Yield the attacks of each adversary, and what that one knows."""
    for letter, own in sorted(grouped(attacks, lambda cell: cell.adversary).items()):
        knows = f"adversary {letter}, who knows {ADVERSARIES.get(letter, 'what its package says')}" if letter else ""
        names = listed(list(dict.fromkeys(map(attack_name, own))))
        given = listed(list(dict.fromkeys(cell.auxiliary for cell in own if cell.auxiliary)))
        beside = f"; auxiliary data: {given}" if given else ""
        yield f"{names}: {knows}{beside}" if knows else f"{names}{beside}"


def _leaked(group: Group, cell: CellSummary) -> str:
    """Return the verdict on a group by the attack that says most about it, with its interval."""
    if not cell.is_attempted:
        labels = "" if cell.label_accuracy is None else f", {labels_read(cell)} of the labels right"
        return f"{group_name(group)}: no input was looked for by {attack_name(cell)}{labels}"
    rate = cell.comparison.succeeded if cell.comparison else cell.recognisable or cell.solved
    what = "all tokens named" if cell.token_accuracy is not None else "recognisable" if cell.recognisable else "solved"
    above = " above their controls" if cell.comparison else ""
    sure = f"95 % interval {100 * rate.low:.0f} to {percent(rate.high)}"
    text = f"{rate.count} of {rate.of} {what}{above}, {sure}"
    if cell.verdict == LABELS:
        text = f"{labels_read(cell)} of the labels right; {text}"
    return f"{group_name(group)}: {cell.verdict} by {attack_name(cell)}, {text}"


def labels_read(cell: CellSummary) -> str:
    """Return the share of labels that an attack names, beside that of a guess without the update if that has much."""
    text, chance = percent(cell.label_accuracy), cell.label_chance
    return text if chance is None or chance < MOST else f"{text} (a guess without the update: {percent(chance)})"
