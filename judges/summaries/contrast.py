"""The same examples behind updates of an ordinary network and of its spiking twin: what the network alone changes."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from judges.intervals import bootstrap_mean
from judges.runs.identity import Approach, Attacked, columns_of
from judges.runs.rows import Score

_Key = tuple[object, ...]
_Pair = tuple[Score, Score]


@dataclass(frozen=True)
class Difference:
    """The mean of ordinary minus spiking over pairs, with its 95 % bootstrap interval.

    The interval is None of a single unit, and where all differ alike, since no resample would then differ either.
    """

    mean: float
    interval: tuple[float, float] | None


@dataclass(frozen=True, kw_only=True)
class Contrast(Approach, Attacked):
    """One attack on a spiking network, against the same attack on its ordinary twin, pair by pair.

    The columns of `Attacked` are those of the spiking network.

    Attributes:
        twin: name of the ordinary network.
        pairs: number of examples that were attacked in both.
        ssim_drop, psnr_db_drop, asr_drop: how much less the spiking network gives away, as far as that is defined; the
            attack success rate is the judge's.
        asr_twin, asr_spiking: the rates themselves.
    """

    twin: str
    pairs: int
    ssim_drop: Difference | None = None
    psnr_db_drop: Difference | None = None
    asr_drop: Difference | None = None
    asr_twin: float | None = None
    asr_spiking: float | None = None

    @property
    def asr_ratio(self) -> float | None:
        """Return the spiking network's ASR as a share of its twin's; None where that is 0 or unknown."""
        return self.asr_spiking / self.asr_twin if self.asr_twin and self.asr_spiking is not None else None


def contrasts(scores: Sequence[Score], *, seed: int) -> tuple[Contrast, ...]:
    """Return the contrast of each attack that was tried on both networks of a family, as far as examples can be paired.

    Examples are the same where seed, repetition, round, client and place in the batch are, since clients draw them
    whatever the model. Examples that one side lacks are left out.

    Args:
        scores: rows of a run; controls are ignored.
        seed: of the bootstrap.
    """
    sides: dict[bool, dict[_Key, list[Score]]] = {False: defaultdict(list), True: defaultdict(list)}
    for row in scores:
        if not row.is_control and row.family:
            sides[row.spiking][_setting(row)].append(row)
    found = []
    for key, own in sides[True].items():
        twins = [other for setting, other in sides[False].items() if _is_twin(setting, key)]
        pairs = list(_pairs(twins[0], own)) if len(twins) == 1 else []
        if pairs:
            found.append(_contrast(pairs, seed))
    return tuple(found)


def _setting(row: Score) -> _Key:
    """Return all that makes rows one side of a contrast, the varied settings of the federation last."""
    defence = row.defence, tuple(row.defence_settings.items())
    way = row.thresholding, row.tau, row.adversary, row.auxiliary
    return row.dataset, row.family, row.init, defence, row.approach, way, row.model, tuple(row.varied.items())


def _is_twin(ordinary: _Key, spiking: _Key) -> bool:
    """Return whether two sides differ in the network alone, which may have settings that its twin has not."""
    *same, _, varied = ordinary
    *wanted, _, more = spiking
    assert isinstance(varied, tuple)  # noqa: S101 - as `_setting` makes them
    assert isinstance(more, tuple)  # noqa: S101
    return same == wanted and set(varied) <= set(more)


def _pairs(ordinary: Sequence[Score], spiking: Sequence[Score]) -> Iterator[_Pair]:
    """Yield the rows of both sides on the same examples."""
    twins = {example_of(row): row for row in ordinary}
    for row in sorted(spiking, key=lambda row: (row.capture_id, row.example)):
        twin = twins.get(example_of(row))
        if twin is not None and twin.label == row.label:
            yield twin, row


def example_of(row: Score) -> _Key:
    """Return what an example keeps whatever the model: all but the federation's name in the id of its capture."""
    return row.seed, row.repeat, row.round, row.capture_id.rpartition("/")[2], row.example


def _contrast(pairs: Sequence[_Pair], seed: int) -> Contrast:
    ordinary, spiking = pairs[0]
    shares = [_mean(pairs, side, lambda row: row.judge_correct) for side in (0, 1)]
    return Contrast(
        **columns_of(spiking, Approach, Attacked),
        twin=ordinary.model,
        pairs=len(pairs),
        ssim_drop=_difference(pairs, lambda row: row.ssim, seed),
        psnr_db_drop=_difference(pairs, lambda row: row.psnr_db, seed),
        asr_drop=_difference(pairs, lambda row: row.judge_correct, seed),
        asr_twin=shares[0],
        asr_spiking=shares[1],
    )


def _clients(rows: Sequence[Score]) -> list[object]:
    """Return which client each row of a federation is of: one that is attacked round after round is one unit.

    Clients of a round are in the order of their captures; where rounds have other numbers of them, each capture is one.
    """
    rounds: dict[int, list[str]] = defaultdict(list)
    for row in rows:
        if row.capture_id not in rounds[row.round]:
            rounds[row.round].append(row.capture_id)
    if len({len(own) for own in rounds.values()}) > 1:
        return [row.capture_id for row in rows]
    return [rounds[row.round].index(row.capture_id) for row in rows]


def _mean(pairs: Sequence[_Pair], side: int, value: Callable[[Score], float | None]) -> float | None:
    """Return the mean of one side's values; None if any is missing."""
    found = [value(pair[side]) for pair in pairs]
    known = [float(one) for one in found if one is not None]
    return sum(known) / len(known) if len(known) == len(found) else None


def _difference(pairs: Sequence[_Pair], value: Callable[[Score], float | None], seed: int) -> Difference | None:
    """Return the mean difference with its interval; None unless all values are finite."""
    both = [(value(ordinary), value(spiking)) for ordinary, spiking in pairs]
    known = [float(first) - float(second) for first, second in both if first is not None and second is not None]
    if len(known) < len(both) or not all(map(math.isfinite, known)):
        return None
    one = pairs[0][1]
    units: list[object] = [(row.seed, row.repeat) for row, _ in pairs]
    if len(set(units)) == 1:
        units = _clients([row for row, _ in pairs])
    stream = f"contrast of {one.cell}"
    ends = bootstrap_mean(known, units, seed=seed, stream=stream)
    return Difference(sum(known) / len(known), None if ends is None or ends[0] == ends[1] else ends)
