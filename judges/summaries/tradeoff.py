"""A summary -> utility beside leak: what each setting of a defence costs in accuracy, and what attacks still find.

Both are of the same federations: the accuracy of the global model after its last kept round, and the answers to the
updates that its clients sent.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import TypeVar

from fl_sim.defences import NO_DEFENCE
from fl_sim.defences.claims import SERVER
from judges.intervals import Rate, bootstrap_mean, clopper_pearson
from judges.runs.identity import Attacked, Group, columns_of
from judges.runs.measures import Claimed, ModelAccuracy
from judges.runs.names import defence_key, model_key
from judges.summaries.gradient_inversion import CellSummary, Summary
from judges.summaries.verdicts import PARTLY, RECOVERED, TRACES, VERDICTS

PICTURES = (RECOVERED, PARTLY, TRACES)
"""Verdicts by which an update was shown to give something of its pictures away."""

One = TypeVar("One")
Key = TypeVar("Key", bound=Hashable)
Bounds = tuple[float, float]


@dataclass(frozen=True)
class Leak:
    """What the strongest attack of an adversary's letter found: the one with the greatest mean similarity.

    Attributes:
        adversary: the letter; "" where it is not known.
        cell: the line of that attack.
        similarity: mean SSIM of its answers, or their recovered share where SSIM is not defined for all victims.
        interval: its 95 % interval; None if there is none.
        found: how many victims are recognisable and above their best control, or recognisable if there is none.
    """

    adversary: str
    cell: CellSummary
    similarity: float
    interval: Bounds | None
    found: Rate

    @property
    def finds(self) -> bool:
        """Return whether the verdict says that updates give something of their pictures away."""
        return self.cell.verdict in PICTURES


@dataclass(frozen=True, kw_only=True)
class Setting(Attacked):
    """A defence at one strength, or none.

    Attributes:
        round: rounds of training behind the accuracy.
        accuracy: share of the held-out examples whose label the global model finds, mean over the repetitions.
        interval: its 95 % interval: over federations (bootstrap); of a single one, or of several that agree, over the
            examples of one (exact).
        examples, repeats: numbers of held-out examples, and of federations.
        leaks: by letter.
        claim: what the defence claims against the server; None without an epsilon.
        on_front: whether no other setting on the same network is as good in both, and better in one.
    """

    round: int
    accuracy: float
    interval: Bounds
    examples: int
    repeats: int
    leaks: tuple[Leak, ...]
    claim: Claimed | None
    on_front: bool = False

    @property
    def undefended(self) -> bool:
        """Return whether no defence was applied."""
        return self.defence == NO_DEFENCE

    @property
    def strongest(self) -> Leak:
        """Return the leak by whichever letter found most: by the verdict's kind first, then by similarity."""
        return max(self.leaks, key=lambda one: (one.finds, one.similarity))

    @property
    def verdict(self) -> str:
        """Return the verdict that says most of all letters."""
        known = {name: place for place, name in enumerate(VERDICTS)}
        return min((one.cell.verdict for one in self.leaks), key=lambda name: known.get(name, len(known)))


@dataclass(frozen=True)
class Tradeoff:
    """All settings of defences on one network.

    Attributes:
        network: what was attacked, whatever the defence.
        settings: in the order of the config.
        band: the least and the greatest mean similarity of the controls, over all settings; None without controls.
        by_ssim: whether similarity is SSIM; if not, the share of victims that are recovered.
    """

    network: Group
    settings: tuple[Setting, ...]
    band: Bounds | None
    by_ssim: bool

    @property
    def undefended(self) -> Setting | None:
        """Return the setting without a defence, if there is one."""
        return next((one for one in self.settings if one.undefended), None)

    @property
    def front(self) -> list[Setting]:
        """Return the settings on the Pareto front, from the least accurate to the most accurate."""
        return sorted((one for one in self.settings if one.on_front), key=lambda one: one.accuracy)


def pareto_front(points: Sequence[tuple[float, tuple[bool, float]]]) -> list[bool]:
    """Return which points no other dominates; of equal points, all or none are on the front.

    Args:
        points: (accuracy, leak); a point dominates another if its accuracy is no less, its leak no more, and one of
            these is better.
    """
    return [not any(other[0] >= one[0] and other[1] <= one[1] and other != one for other in points) for one in points]


def tradeoffs(summary: Summary) -> list[Tradeoff]:
    """Return utility beside leak for each network of which at least two settings of defences have both.

    Leaks count as equal where no attack found anything: there, similarities differ by chance and by what the controls
    score as well. Whatever was found counts as more than that, and by its similarity, if that is above the controls'.
    """
    cells = _by((cell for cell in summary.cells if cell.tau is None), lambda cell: cell.group)
    measured = _by(summary.accuracies, lambda one: one.group)
    found = []
    for network, groups in _by((group for group in cells if group in measured), _without_defence).items():
        own = [cell for group in groups for cell in cells[group]]
        by_ssim = all(cell.ssim is not None for cell in own)
        settings = [
            _setting(measured[group], leaks, _claim(summary, group), seed=summary.seed)
            for group in groups
            if (leaks := _leaks(cells[group], by_ssim=by_ssim))
        ]
        if len(settings) < 2:
            continue
        controls = [_similarity(cell, by_ssim=by_ssim) for cell in own if cell.is_control]
        band = (min(controls), max(controls)) if controls else None
        floor = band[1] if band else 0.0
        most = [one.strongest for one in settings]
        ranks = [(one.finds, max(one.similarity, floor) if one.finds else floor) for one in most]
        fronts = pareto_front([(one.accuracy, rank) for one, rank in zip(settings, ranks, strict=True)])
        kept = [dataclasses.replace(one, on_front=front) for one, front in zip(settings, fronts, strict=True)]
        found.append(Tradeoff(network, tuple(kept), band, by_ssim))
    return found


def _without_defence(group: Group) -> Group:
    return dataclasses.replace(group, defence=NO_DEFENCE, defence_settings=())


def _setting(models: Sequence[ModelAccuracy], leaks: tuple[Leak, ...], claim: Claimed | None, *, seed: int) -> Setting:
    """Return a setting with the accuracy of the models of its last kept round."""
    last = max(one.round for one in models)
    shares = [(one.accuracy, one.repeat) for one in models if one.round == last]
    first, values = models[0], [share for share, _ in shares]
    stream = "/".join(("accuracy", first.dataset, model_key(first), first.init, defence_key(first)))
    ends = bootstrap_mean(values, [repeat for _, repeat in shares], seed=seed, stream=stream)
    if ends is None or ends[0] == ends[1]:
        ends = clopper_pearson(round(values[0] * first.examples), first.examples)
    return Setting(
        **columns_of(first, Attacked),
        round=last,
        accuracy=mean(values),
        interval=ends,
        examples=first.examples,
        repeats=len(values),
        leaks=leaks,
        claim=claim,
    )


def _leaks(cells: Iterable[CellSummary], *, by_ssim: bool) -> tuple[Leak, ...]:
    """Return what the strongest attack of each letter found."""
    by_letter = _by((cell for cell in cells if not cell.is_control), lambda cell: cell.adversary)
    every = {letter: [_leak(cell, by_ssim=by_ssim) for cell in own] for letter, own in by_letter.items()}
    return tuple(max(own, key=lambda one: (one.finds, one.similarity)) for _, own in sorted(every.items()))


def _leak(cell: CellSummary, *, by_ssim: bool) -> Leak:
    found = cell.comparison.succeeded if cell.comparison else cell.recognisable or cell.solved
    ends = cell.intervals["ssim"] if by_ssim else (found.low, found.high)
    return Leak(cell.adversary, cell, _similarity(cell, by_ssim=by_ssim), ends, found)


def _similarity(cell: CellSummary, *, by_ssim: bool) -> float:
    if by_ssim:
        return (cell.ssim.mean or 0.0) if cell.ssim else 0.0
    if cell.comparison is not None:
        return cell.comparison.succeeded.share
    return (cell.recognisable or cell.solved).share


def _claim(summary: Summary, group: Group) -> Claimed | None:
    known = (one for one in summary.claims if one.group == group and one.against == SERVER)
    return next((one for one in known if one.epsilon is not None), None)


def _by(items: Iterable[One], key: Callable[[One], Key]) -> dict[Key, list[One]]:
    """Return items by a key, in the order in which the keys first occur."""
    found: dict[Key, list[One]] = defaultdict(list)
    for item in items:
        found[key(item)].append(item)
    return found
