"""The self-check of an experiment: whether its clients can be attacked, before anything is computed for them."""

from __future__ import annotations

from collections.abc import Iterable

from attacks.engines.choice import choose
from fl_sim.errors import lack_of_memory
from fl_sim.observed import same_problem
from fl_sim.records import CapturedUpdate


def check_attackable(captures: Iterable[CapturedUpdate]) -> None:
    """Let each different problem among captures pass the self-check of attacks that match updates.

    Raises:
        ConfigError: no attack can be pointed at one of them.
    """
    for capture in {same_problem(capture): capture for capture in captures}.values():
        try:
            choose([capture])
        except (MemoryError, RuntimeError) as error:
            if not lack_of_memory(error):  # the attack is tried in smaller pieces, and named if these lack it too
                raise
