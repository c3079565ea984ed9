"""How a contract is checked: promises by name, each a function that raises AssertionError with one sentence.

No test runner is needed here, so that a plugin's author checks an entry with whatever runs the tests there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from fl_sim.errors import unknown_name

Subject = TypeVar("Subject")


def require(holds: bool, sentence: str) -> None:
    """Raise AssertionError with `sentence` where something does not hold; `python -O` does not skip this."""
    if not holds:
        raise AssertionError(sentence)


def keep_promises(
    name: str,
    subject: Subject,
    promises: Mapping[str, Callable[[Subject], None]],
    only: Iterable[str] | None = None,
) -> None:
    """Check a subject's promises, one after the other.

    Args:
        name: what the subject is called.
        subject: what each promise is asked of.
        promises: by name.
        only: names of those to check; None for all.

    Raises:
        AssertionError: the first promise that is broken; an error of the subject's own breaks it too.
        ConfigError: a name in `only` is none of a promise.
    """
    for promise in promises if only is None else only:
        if promise not in promises:
            raise unknown_name("promise", promise, promises)
        try:
            promises[promise](subject)
        except AssertionError as broken:
            raise AssertionError(f"'{name}' ({promise}): {broken}") from broken
        except Exception as error:  # whatever a plugin raises where its contract names no error
            raise AssertionError(f"'{name}' ({promise}): it raised {type(error).__name__}: {error}") from error


def by_name(*promises: Callable[[Subject], None]) -> dict[str, Callable[[Subject], None]]:
    """Return promises by the names of their functions, underscores as spaces."""
    return {promise.__name__.replace("_", " "): promise for promise in promises}
