"""Programs in processes of their own that start at once.

A new interpreter spends its first seconds on importing torch and its like. Here one process imports them, once, and
nothing of ours; a program is forked off it, with its own folder, environment and streams, and runs as it would in an
interpreter that has just got so far. What a test says of the start itself needs a new interpreter all the same.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import types
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any, NamedTuple

COMMAND = "spikeleak"

_PACKAGES = (
    "torch", "torchvision", "safetensors.torch", "spikingjelly._ops.if_", "spikingjelly._ops.lif",
    "spikingjelly.activation_based.neuron", "spikingjelly.activation_based.surrogate", "flwr.serverapp",
    "flwr.clientapp", "scipy.stats", "skimage.metrics", "sklearn.datasets", "matplotlib.figure",
    "matplotlib.backends.backend_svg", "PIL.Image", "jinja2", "pydantic.dataclasses", "typer", "pebble",
)  # fmt: skip
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(list(_PACKAGES))


class _Stream:
    """An open file that goes to another process with whatever holds it."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __getstate__(self) -> Any:
        return DupFd(self.number)

    def __setstate__(self, twin: Any) -> None:
        self.number = twin.detach()


class _Start(NamedTuple):
    arguments: tuple[str, ...]
    folder: str
    environment: dict[str, str]
    streams: tuple[_Stream, _Stream, _Stream]
    session: bool


def start(
    *arguments: str | Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: int | None = None,
    stdout: int = 1,
    stderr: int = 2,
    session: bool = False,
) -> ForkServerProcess:
    """Start a program.

    Args:
        arguments: `COMMAND` and its arguments, or what would follow `python`: a script, "-c" and code, or "-m" and a
            module, and their arguments.
        cwd: its folder; by default that of this process.
        env: its environment; by default that of this process. A PYTHONPATH in it is followed.
        stdin, stdout, stderr: open files for its streams; by default those of this process, and nothing to read.
        session: whether it leads a session, and so a group of processes, of its own.
    """
    with Path(os.devnull).open() as nothing:
        streams = _Stream(nothing.fileno() if stdin is None else stdin), _Stream(stdout), _Stream(stderr)
        environment = dict(os.environ if env is None else env)
        asked = _Start(tuple(map(str, arguments)), str(cwd or Path.cwd()), environment, streams, session)
        process = _PROCESSES.Process(target=_become, args=(asked,))
        process.start()
    return process


def run(*arguments: str | Path, timeout: float = 480.0, **how: Any) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, and return its exit code and what it wrote.

    Args:
        arguments, how: as of `start`, without streams.
        timeout: seconds.

    Raises:
        subprocess.TimeoutExpired: it did not end in time; it is killed.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = start(*arguments, stdout=out.fileno(), stderr=err.fileno(), **how)
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(arguments, timeout)
        written = []
        for stream in (out, err):
            stream.seek(0)
            written.append(stream.read().decode())
    return subprocess.CompletedProcess(arguments, process.exitcode, *written)


def _become(asked: _Start) -> None:
    """Be the program, in the process that was forked for it."""
    if asked.session:
        os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(asked.folder)
    os.environ.clear()
    os.environ.update(asked.environment)
    for place, stream in enumerate(asked.streams):
        os.dup2(stream.number, place)
        os.close(stream.number)
    sys.stdin, sys.stdout, sys.stderr = (
        open(place, mode, encoding="utf-8", closefd=False)  # noqa: SIM115 - they last as long as the process
        for place, mode in enumerate("rww")
    )
    sys.path[:0] = filter(None, asked.environment.get("PYTHONPATH", "").split(os.pathsep))
    try:
        _execute(*asked.arguments[:2], rest=asked.arguments)
    finally:
        sys.stdout.flush()


def _execute(first: str, second: str = "", *, rest: Sequence[str]) -> None:
    """Do what `python` does with these arguments, or the command `spikeleak`."""
    if first == COMMAND:
        from judges.cli import main

        sys.argv = list(rest)
        main()
    elif first == "-m":
        sys.path.insert(0, "")
        sys.argv = list(rest[1:])
        runpy.run_module(second, run_name="__main__", alter_sys=True)
    elif first == "-c":
        sys.path.insert(0, "")
        sys.argv = ["-c", *rest[2:]]
        sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(second, "<string>", "exec"), vars(sys.modules["__main__"]))  # noqa: S102 - the test's own
    else:
        sys.argv = list(rest)
        sys.path.insert(0, str(Path(first).parent))
        runpy.run_path(first, run_name="__main__")
