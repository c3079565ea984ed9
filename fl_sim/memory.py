"""How a lack of memory is told from other errors: torch has no exception of its own for it on a CPU."""

from __future__ import annotations

_SAID = ("out of memory", "not enough memory", "allocate memory", "bad_alloc", "errno 12]")
"""What torch, C++, NumPy and the system say, in lower case."""

_LONGEST = 200


def lack_of_memory(error: BaseException) -> str:
    """Return one line where an error is a lack of memory; "" where it is of another kind."""
    reason = f"{type(error).__name__}: {error}"
    if isinstance(error, MemoryError) or any(words in reason.lower() for words in _SAID):
        return f"not enough memory ({reason.splitlines()[0][:_LONGEST]})"
    return ""
