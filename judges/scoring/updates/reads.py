"""What can be read off the updates of a group, which no truth is needed for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import fmean, median

from attacks.reading.reads import Reads, read
from fl_sim.errors import lack_of_memory
from fl_sim.observed import batch_size, why_not_searched
from fl_sim.records import CapturedUpdate
from judges.runs.identity import Attacked
from judges.runs.measures import Readable

_NOTHING = Reads(labels=None, how="", certain=False, head=None, input=None, examples=None)


def readable(attacked: Attacked, captures: Iterable[CapturedUpdate]) -> Readable:
    """Return what can be read off the updates of a group of victims.

    An update of a model whose code fails on other inputs than its client's tells nothing, nor does one of an unknown
    number of examples.

    Args:
        attacked: the group's columns in the rows.
        captures: at least one, with all facts that an attack assumes.
    """
    found, examples = [], 0
    for capture in captures:
        found.append(_read(capture))
        examples += batch_size(capture)
    heads = [one.head for one in found if one.head is not None]
    inputs = [one.input for one in found if one.input is not None]
    bounds = [one.examples for one in found if one.examples is not None]
    return Readable(
        **vars(attacked),
        updates=len(found),
        examples=examples,
        how=dict(Counter(one.how for one in found)),
        certain=fmean(one.certain for one in found),
        histogram=_histogram(found),
        residual=len(heads) / len(found),
        residual_error=median(head.error for head in heads) if heads else None,
        active=fmean(head.active for head in heads) if heads else None,
        inputs=dict(Counter(one.seen for one in inputs)),
        input_error=median(one.error for one in inputs) if inputs else None,
        fewest=min(bounds, default=None),
        most=max(bounds, default=None),
        unmodified=len(bounds) / len(found),
    )


def _read(capture: CapturedUpdate) -> Reads:
    if why_not_searched(capture):
        return _NOTHING
    try:
        return read(capture)
    except Exception as error:
        if lack_of_memory(error):
            raise
        return _NOTHING


def _histogram(found: Sequence[Reads]) -> dict[str, int]:
    """Return {class: number of examples}, by class."""
    counts: Counter[int] = Counter()
    for one in found:
        counts.update([] if one.labels is None else one.labels.long().tolist())
    return {str(label): counts[label] for label in sorted(counts)}
