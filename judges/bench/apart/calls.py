"""Calls of attacks, here or in a process apart, of which the captures and the answers are files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from attacks import build_attack
from attacks.answers import AttackError, Call, answers_of, checked_answers
from attacks.contracts import Progress, Reconstruction
from fl_sim.captures import CaptureStore
from fl_sim.errors import DataError
from fl_sim.files import atomic_write
from fl_sim.records import CapturedUpdate, load_record, save_record
from judges.auxiliary import Source, examples, informed
from judges.runs.manifest import WRITTEN

JOB, OUTCOME, ANSWERS, AUXILIARY = "job.json", "outcome.json", "answers", "auxiliary.safetensors"
"""The files of the folder in which an attack works."""

_KEPT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
"""Variables of the environment that an attack keeps."""

_DATA = ("SPIKELEAK_DATA", "SPIKELEAK_CACHE", "XDG_CACHE_HOME")
_LONGEST = 2000


@dataclass(frozen=True)
class Apart:
    """How an attack is kept apart.

    Attributes:
        imports: modules that its process imports first, such as one that adds the attack to the table.
        hidden: files and folders that it may not read, where the system allows to forbid that.
    """

    imports: tuple[str, ...] = ()
    hidden: tuple[Path, ...] = ()


def hidden_from_attacks(folder: Path, roots: Iterable[str] = ()) -> tuple[Path, ...]:
    """Return what an attack has no business to read: the results of a run, which hold the truth, and the clients' data.

    Args:
        folder: of the run.
        roots: further folders with data sets; "" is none.
    """
    named = [*roots, *(os.environ.get(name, "") for name in _DATA), str(Path.home() / ".cache" / "spikeleak")]
    return (*(folder / name for name in (*WRITTEN, "ladder")), *(Path(name).resolve() for name in named if name))


def answers(
    call: Call,
    captures: Sequence[CapturedUpdate],
    source: Source | None,
    apart: Apart | None,
    progress: Progress | None = None,
) -> list[Reconstruction]:
    """Return the checked answers of an attack, from this process or from one apart.

    Args:
        call: the attack.
        captures: captured updates of one model spec.
        source: where its auxiliary data come from.
        apart: how it is kept apart; None to call it here.
        progress: called whenever a victim is finished; of an attack apart, at the end only.

    Raises:
        AttackError: the attack raised an error, or an answer is none.
        ConfigError: as `judges.auxiliary.informed`.
        MemoryError, RuntimeError: memory does not suffice.
    """
    if apart is None:
        return answers_of(informed(build_attack(call.name, call.settings), source), captures, call, progress)
    with tempfile.TemporaryDirectory(prefix="attack-") as name:
        folder = Path(name).resolve()
        _lay_out(folder, call, captures, source, apart)
        _run(folder, call)
        found = [_answer(folder, number, call) for number in range(len(captures))]
    if progress is not None:
        progress(len(captures), len(captures))
    return checked_answers(found, captures, call)


def _lay_out(folder: Path, call: Call, captures: Sequence[CapturedUpdate], source: Source | None, apart: Apart) -> None:
    """Write all that the attack gets."""
    store = CaptureStore(folder / "captures")
    for capture in captures:
        store(capture)
    if source is not None:
        save_record(examples(source), folder / AUXILIARY)
    job = {
        "call": asdict(call),
        "captures": [capture.id for capture in captures],
        "threads": torch.get_num_threads(),
        "imports": apart.imports,
        "hidden": [str(path) for path in apart.hidden],
    }
    atomic_write(folder / JOB, json.dumps(job))


def _run(folder: Path, call: Call) -> None:
    """Let a child process attack; raise what it says went wrong."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    paths = [str(Path(path or ".").resolve()) for path in sys.path]
    environment = {**kept, "PYTHONPATH": os.pathsep.join(paths), "HOME": str(folder), "TMPDIR": str(folder)}
    command = [sys.executable, "-m", "judges.bench.apart.child"]
    held, ours = os.pipe()  # the child ends when this process does, which then lets go of its end
    try:
        done = subprocess.run(  # noqa: S603 - our own module
            command,
            cwd=folder,
            env=environment,
            stdin=held,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    finally:
        os.close(held)
        os.close(ours)
    try:
        outcome = json.loads((folder / OUTCOME).read_text(encoding="utf-8"))
        kind, told = str(outcome["kind"]), str(outcome["told"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        if done.returncode < 0:
            raise MemoryError(
                f"its process was killed (signal {-done.returncode}), as where memory runs out"
            ) from error
        last = done.stderr.strip()[-_LONGEST:].splitlines()[-1:] or ["it said nothing"]
        raise AttackError(f"{call.described}: its process ended with code {done.returncode}: {last[0]}") from error
    if kind == "memory":
        raise MemoryError(told[:_LONGEST])
    if kind:
        raise AttackError(told[:_LONGEST])


def _answer(folder: Path, number: int, call: Call) -> Reconstruction:
    try:
        return load_record(Reconstruction, folder / ANSWERS / f"{number}.safetensors")
    except DataError as error:
        raise AttackError(f"{call.described}: its process left no answer that can be read ({error})") from error
