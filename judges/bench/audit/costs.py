"""What an audit's attacks cost at most, and whose inputs they do not look for, said before they begin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attacks import ATTACKS
from attacks.budgets import most_evaluations, most_examples
from attacks.preflight.evaluation import seconds_of
from fl_sim.observed import batch_size
from fl_sim.records import CapturedUpdate
from judges.bench.forecast import several
from judges.plans.gradient_inversion import Cell
from judges.progress import duration

_WHO = "the attacks"
_LESS = "a lower attack.most_examples leaves the largest updates to what can be read without a search"


def out_of_reach(cells: Sequence[Cell], counts: Sequence[tuple[CapturedUpdate, int]]) -> Iterator[str]:
    """Yield which updates tell of more examples than an attack looks for, as sentences.

    Args:
        cells: the attacks.
        counts: one update of each problem, and the number of updates of it.
    """
    total = sum(count for _, count in counts)
    told = dict.fromkeys((cell.attack, most_examples(cell.attack, cell.settings)) for cell in cells)
    for attack, limit in told:
        beyond = [(batch_size(capture), count) for capture, count in counts if batch_size(capture) > (limit or 2**63)]
        if beyond:
            largest, number = max(size for size, _ in beyond), sum(count for _, count in beyond)
            yield (
                f"{attack} does not look for the inputs behind {number} of {several(total, 'update')}, which tell of "
                f"up to {largest:,} examples each (limit: attack.most_examples={limit}). What can be read without a "
                "search, such as labels, is reported; that no input was found says nothing."
            )


def cost(
    cells: Sequence[Cell], counts: Sequence[tuple[CapturedUpdate, int]], *, who: str = _WHO, less: str = _LESS
) -> str:
    """Return how long the attacks take at most on this machine, as a sentence; "" if they search for nothing.

    It is the time of an evaluation of the attacks' loss, measured here and now, times the most evaluations that they
    make. Answers do not depend on it.

    Args:
        cells, counts: see `out_of_reach`.
        who: the attacks in words.
        less: what makes them take less time.

    Raises:
        ConfigError: a model cannot be attacked.
    """
    seconds, evaluations, unknown = 0.0, 0, set[str]()
    for capture, count in counts:
        wanted = 0
        for cell in cells:
            bound = most_evaluations(
                cell.attack, cell.settings, spiking=capture.model.spiking is not None, examples=batch_size(capture)
            )
            if bound is None:
                unknown.add(ATTACKS.origin(cell.attack))
            wanted += bound or 0
        if wanted:
            seconds += wanted * count * seconds_of(capture, count)
            evaluations = max(evaluations, wanted)
    if not evaluations:
        return ""
    besides = f", besides attacks of {', '.join(sorted(unknown))}" if unknown else ""
    return (
        f"{who} take at most {duration(seconds)} of one core here ({evaluations:,} evaluations an update at most)"
        f"{besides}; {less}."
    )
