"""Imports of other people's modules: within a time limit, and without a change to the state of the process.

Whatever such a module does when it is imported becomes one error that the caller can name. Nothing here imports torch.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

LONGEST_SECONDS = 60.0
"""Time that an import may take, in the main thread of a process; elsewhere there is no limit."""

_LONGEST_REASON = 300


class ImportRefusedError(Exception):
    """A module raised something, took too long or changed the state of the process; the message says which."""


class _TooLong(BaseException):
    """The time limit is over."""


class _State(NamedTuple):
    """A part of the state of the process.

    Attributes:
        what: its name in messages.
        module: the module that holds it.
        read: function of that module that returns it.
        restore: function of that module and a value that sets it.
        fresh: function of a module that was just imported and returns its value before anybody changes it; None if that
            differs from process to process.
    """

    what: str
    module: str
    read: Callable[[Any], Any]
    restore: Callable[[Any, Any], object]
    fresh: Callable[[Any], Any] | None = None


_STATES = (
    _State("the state of Python's generator `random`", "random", lambda _: random.getstate(),
           lambda _, value: random.setstate(value)),
    _State("the working folder", "os", lambda _: Path.cwd(), lambda _, value: os.chdir(value)),
    _State("the state of NumPy's global generator", "numpy", lambda numpy: _numpy_state(numpy.random.get_state()),
           lambda numpy, value: numpy.random.set_state(value)),
    _State("torch's default dtype", "torch", lambda torch: str(torch.get_default_dtype()),
           lambda torch, value: torch.set_default_dtype(getattr(torch, value.removeprefix("torch."))),
           lambda _: "torch.float32"),
    _State("torch's default device", "torch", lambda torch: str(torch.get_default_device()),
           lambda torch, value: torch.set_default_device(value), lambda _: "cpu"),
    _State("whether torch records gradients", "torch", lambda torch: torch.is_grad_enabled(),
           lambda torch, value: torch.set_grad_enabled(value), lambda _: True),
    _State("the state of torch's global generator", "torch", lambda torch: torch.get_rng_state().numpy().tobytes(),
           lambda torch, value: torch.set_rng_state(torch.frombuffer(bytearray(value), dtype=torch.uint8))),
)  # fmt: skip


@contextlib.contextmanager
def guarded_import(*, seconds: float | None = None) -> Iterator[None]:
    """Import something within the context.

    What it changes of the state of the process is undone, and refused. A Ctrl-C of the user stays one.

    Args:
        seconds: time limit; `LONGEST_SECONDS` by default.

    Raises:
        ImportRefusedError: the import raised anything, took longer, or changed the state of the process.
    """
    before = _read_states()
    pressed: list[bool] = []
    limit = LONGEST_SECONDS if seconds is None else seconds
    try:
        with _limited(limit, pressed):
            yield
    except _TooLong as error:
        raise ImportRefusedError(f"its import takes longer than {limit:g} s") from error
    except (Exception, SystemExit, KeyboardInterrupt, GeneratorExit) as error:
        if pressed:
            raise
        raise ImportRefusedError(one_line(error)) from error
    finally:
        changed = _restored(before)
    if changed:
        raise ImportRefusedError(f"its import changes {' and '.join(changed)}, which is undone")


def one_line(error: BaseException) -> str:
    """Return the type and the message of an error in one line of limited length."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}..."


def _numpy_state(state: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the state of NumPy's generator as values that can be compared."""
    kind, keys, *rest = state
    return (kind, tuple(keys.tolist()), *rest)


def _read_states() -> dict[str, Any]:
    """Return {what: value} of the states whose modules are imported."""
    return {state.what: state.read(sys.modules[state.module]) for state in _STATES if state.module in sys.modules}


def _restored(before: dict[str, Any]) -> list[str]:
    """Restore the states, and return those that had changed."""
    changed = []
    for state in _STATES:
        module = sys.modules.get(state.module)
        if module is None or (state.what not in before and state.fresh is None):
            continue
        expected = before[state.what] if state.fresh is None or state.what in before else state.fresh(module)
        if state.read(module) != expected:
            state.restore(module, expected)
            changed.append(state.what)
    return changed


@contextlib.contextmanager
def _limited(seconds: float, pressed: list[bool]) -> Iterator[None]:
    """Raise `_TooLong` when the time is over, and note a Ctrl-C in `pressed`; only the main thread gets signals."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def over(_number: int, _frame: FrameType | None) -> None:
        raise _TooLong

    def noted(number: int, frame: FrameType | None) -> None:
        pressed.append(True)
        if callable(interrupted):
            interrupted(number, frame)

    started = time.monotonic()
    interrupted = signal.getsignal(signal.SIGINT)
    alarmed = signal.signal(signal.SIGALRM, over)
    if callable(interrupted):
        signal.signal(signal.SIGINT, noted)
    rest, every = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, alarmed)
        if callable(interrupted):
            signal.signal(signal.SIGINT, interrupted)
        if rest:  # somebody else's timer goes on
            signal.setitimer(signal.ITIMER_REAL, max(rest - (time.monotonic() - started), 1e-3), every)
