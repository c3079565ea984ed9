"""What all further threats of an audit have in common, each in a folder of its own in that of the audit."""

from __future__ import annotations

from typing import Any

from judges.bench.execution import Execution
from judges.bench.folder import others_results
from judges.runs.integrity import Finished


class WithinAudit(Execution[Any, Any, Any]):
    """An execution that an audit starts, and whose folder is the audit's to replace."""

    def check(self) -> None:
        """Do nothing: the audit has checked all of it, and says what lacks before it attacks."""

    def claim(self, *, fresh: bool) -> None:
        """Claim the folder; results of other captures, pictures, candidates or settings are removed."""
        other = others_results(self.plan.raw, self.folder)
        self.finished = Finished() if other else self.finished
        super().claim(fresh=fresh or other)
