"""Contract checks as promises by name, each a function that raises AssertionError with one sentence.

They need no test runner, so the author of a plugin can run them under any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from fl_sim.errors import unknown_name

Subject = TypeVar("Subject")


def require(holds: bool, sentence: str) -> None:
    """Raise AssertionError with `sentence` if a condition does not hold; `python -O` does not skip this."""
    if not holds:
        raise AssertionError(sentence)


def keep_promises(
    name: str,
    subject: Subject,
    promises: Mapping[str, Callable[[Subject], None]],
    only: Iterable[str] | None = None,
) -> None:
    """Check a subject's promises one after another.

    Args:
        name: name of the subject.
        subject: the argument of each promise.
        promises: promises by name.
        only: names of the promises to check; None for all.

    Raises:
        AssertionError: a promise is broken; any other exception from the subject counts as a broken promise too.
        ConfigError: a name in `only` is not that of a promise.
    """
    for promise in promises if only is None else only:
        if promise not in promises:
            raise unknown_name("promise", promise, promises)
        try:
            promises[promise](subject)
        except AssertionError as broken:
            raise AssertionError(f"'{name}' ({promise}): {broken}") from broken
        except Exception as error:  # a plugin may raise anything
            raise AssertionError(f"'{name}' ({promise}): it raised {type(error).__name__}: {error}") from error


def by_name(*promises: Callable[[Subject], None]) -> dict[str, Callable[[Subject], None]]:
    """Return promises by the names of their functions, with spaces in place of underscores."""
    return {promise.__name__.replace("_", " "): promise for promise in promises}
