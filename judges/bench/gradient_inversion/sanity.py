"""The sanity checks of the attacks of a run: which are made, and which an earlier call made."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from fl_sim.errors import DataError
from judges.bench.gradient_inversion.cells import Attacks
from judges.plans.gradient_inversion import Cell
from judges.progress import Watch
from judges.runs.measures import SanityCheck
from judges.runs.rows import Score
from judges.scoring.session import Session
from judges.scoring.truths import Evidence
from judges.scoring.updates import sanity
from judges.summaries.gradient_inversion import Summary, read_summary


class SanityChecks:
    """The sanity checks of the attacks of a run, see `judges.scoring.updates.sanity`.

    Args:
        session: scores the answers.
        most: number of victims of each group; 0 for no checks.
        watch: shows progress.

    Attributes:
        seconds: wall time of the checks that this call made.
    """

    def __init__(self, session: Session, most: int, watch: Watch) -> None:
        self.seconds = 0.0
        self._session, self._most, self._watch = session, most, watch
        self._found: dict[str, SanityCheck] = {}

    def recall(self, path: Path) -> None:
        """Read the checks in the summary of an earlier call, if there is one that can be read."""
        try:
            self._found = {check.cell: check for check in read_summary(path).checks}
        except DataError:
            self._found = {}

    def forget(self, cells: Iterable[str]) -> None:
        """Remove the checks of cells whose answers are made anew."""
        for cell in cells:
            self._found.pop(cell, None)

    def make(self, evidence: Evidence, cell: Cell, rows: Sequence[Score], attacks: Attacks) -> None:
        """Make the checks of an attack that was scored, unless an earlier call made them.

        Args:
            evidence: the captures, which have been opened.
            cell: the attack.
            rows: of the run, with those of the cell and of its controls.
            attacks: those of the run.
        """
        own = sanity.attempted((row for row in rows if row.cell == cell.name), self._most)
        if not own:
            self.forget([cell.name])
            return
        check = sanity.sanity_check(own, rows, evidence.spec, swapped=cell.swapped)
        if sanity.known_before(check, self._found.get(cell.name)):
            return
        started, context = time.perf_counter(), self._session.context(evidence, cell.name)
        ways = (sanity.RANDOM, sanity.NOISY, *([sanity.ALONE] if len(evidence.ids) > 1 else []))
        scored: dict[str, list[Score]] = {}
        failures = []
        with self._watch.task(f"sanity checks of {cell.label} on {evidence.name}", aside=True) as advance:
            for done, how in enumerate(ways, start=1):
                answers, failure = attacks.again(evidence, cell, check.victims, how)
                if answers:
                    scored[how] = self._session.rows(evidence, context, answers, kept=False)
                failures += [failure] if failure else []
                advance(done, len(ways))
        alone = scored.pop(sanity.ALONE, None)
        self._found[cell.name] = sanity.completed(
            check,
            {how: sanity.mean_similarity(rows, evidence.spec) for how, rows in scored.items()},
            None if alone is None else sanity.moved_by_company(own, alone),
            "; ".join(failures),
        )
        self.seconds += time.perf_counter() - started

    def of(self, summary: Summary) -> tuple[SanityCheck, ...]:
        """Return the checks of the attacks of a summary, in the order of its cells."""
        attacks = [line.cell for line in summary.cells if not line.is_control]
        return tuple(self._found[name] for name in attacks if name in self._found)
