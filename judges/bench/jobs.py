"""The jobs of a run: a federation, an attack on a chunk of captures or on a trained model.

A job is a value that can be sent to another process. It reads its inputs from the run's folder or the cache, and
writes its results there atomically. It draws from named streams only, so its results are the same bytes wherever and
whenever it runs, unless it had to be split for lack of memory.
"""

from __future__ import annotations

import dataclasses
import gc
import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self, TypeVar

import torch

from attacks import build_inversion
from attacks.answers import AttackError, Call, inversion_of
from attacks.contracts import Inversion
from fl_sim.captures import CaptureStore
from fl_sim.config import SimulationConfig
from fl_sim.errors import DataError, IncompleteError, lack_of_memory
from fl_sim.observed import assuming
from fl_sim.records import TrainedModel, load_record, save_record
from fl_sim.seeding import attacker_seed
from fl_sim.specs import Scalar
from judges.auxiliary import Source
from judges.bench.apart.calls import Apart, answers
from judges.bench.federations import federate
from judges.progress import Advance, Watch

_CLASSES = -4
"""Axis of the classes in images (K, C, H, W) and in spikes (T, K, C, H, W)."""

Item = TypeVar("Item")
Cut = TypeVar("Cut", bound="AttackJob | InversionJob")


def kept_answer(kind: type[Item], path: Path, watch: Watch) -> Item | None:
    """Return the answer that an earlier call left at a path; None if there is none, or a damaged one, which is named.

    Args:
        kind: type of the record.
        path: of its file.
        watch: told of the damage.
    """
    if not path.is_file():
        return None
    try:
        return load_record(kind, path)
    except DataError as error:
        watch.say(f"note: {error} It is computed again.")
        return None


class Job(Protocol):
    """A unit of work of a run."""

    def run(self, advance: Advance) -> None:
        """Do it; `advance` is called with (done, total)."""

    def smaller(self) -> Job | None:
        """Return the same job in smaller pieces, which takes less memory; None if it cannot be split."""


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        seconds: wall time.
        failure: why results are missing: a lack of memory, an attack that failed, or a client that did not answer; ""
            if the results are complete.
        pieces: number of pieces into which the job was split in the end. The victims of one call share its sums, so
            splitting changes the last digits.
        lasting: whether smaller pieces would fail too.
    """

    seconds: float
    failure: str = ""
    pieces: int = 1
    lasting: bool = False


def perform(job: Job, advance: Advance) -> Outcome:
    """Do a job.

    A lack of memory, an attack that fails and an incomplete result are outcomes; every other error is raised.
    """
    started, failure = time.perf_counter(), ""
    try:
        job.run(advance)
    except AttackError as error:
        return Outcome(time.perf_counter() - started, str(error), lasting=True)
    except IncompleteError as error:
        failure = str(error)
    except (MemoryError, RuntimeError, OSError) as error:
        failure = lack_of_memory(error)
        if not failure:
            raise
    if failure:  # not in the handler, where the error still holds the frames and thus the allocated memory
        gc.collect()
    return Outcome(time.perf_counter() - started, failure)


@dataclass(frozen=True)
class FederationJob:
    """One federation; its captures, sealed batches and models go to the run's folder.

    Attributes:
        config: config of the federation.
        folder: folder of the run.
        name: name of the federation in that folder.
        observe: whether updates are captured.
    """

    config: SimulationConfig
    folder: Path
    name: str
    observe: bool = True

    def run(self, advance: Advance) -> None:
        """Run it."""
        federate(self.config, self.folder, self.name, observe=self.observe)
        advance(1, 1)

    def smaller(self) -> None:
        """Return None: a federation cannot be split."""


@dataclass(frozen=True)
class AttackJob:
    """A gradient inversion of a chunk of a run's captures.

    Attributes:
        attack, settings, device: the attack.
        seed: root seed, from which that of the attack follows.
        folder: folder of the run.
        source: path of the reconstructions below FOLDER/reconstructions.
        captures: ids of the chunk.
        pieces: number of calls of the attack over which the chunk is split.
        assumed: facts about the clients to assume where their captures do not state them.
        auxiliary: where the attack's auxiliary data come from.
        apart: how the attack is kept apart; None for not at all.
    """

    attack: str
    settings: Mapping[str, Scalar]
    seed: int
    device: str
    folder: Path
    source: str
    captures: tuple[str, ...]
    pieces: int = 1
    assumed: Mapping[str, Scalar] = dataclasses.field(default_factory=dict)
    auxiliary: Source | None = None
    apart: Apart | None = None

    def run(self, advance: Advance) -> None:
        """Attack the chunk and save the answers of each piece as soon as it is done."""
        store = CaptureStore(self.folder / "captures")
        call = Call.of(self.attack, self.settings, seed=attacker_seed(self.seed), device=self.device)
        done = 0
        for piece in _cut(self.captures, self.pieces):
            captures = [assuming(store.load(key), self.assumed) for key in piece]
            progress = offset(advance, done, len(self.captures))
            for result in answers(call, captures, self.auxiliary, self.apart, progress):
                save_record(result, reconstruction_path(self.folder, self.source, result.capture_id))
            done += len(piece)

    def smaller(self) -> Self | None:
        """Return the chunk in twice as many pieces; None if each is already a single capture."""
        return _in_more_pieces(self, len(self.captures))


@dataclass(frozen=True)
class InversionJob:
    """A model inversion of all classes of a trained model.

    Attributes:
        attack, settings, seed, device: the attack.
        model: path of the trained model.
        classes: number of its classes.
        path: path of the answer.
        pieces: number of calls of the attack over which the classes are split.
    """

    attack: str
    settings: Mapping[str, Scalar]
    seed: int
    device: str
    model: Path
    classes: int
    path: Path
    pieces: int = 1

    def run(self, advance: Advance) -> None:
        """Invert the model and save the answer."""
        model, attack = load_record(TrainedModel, self.model), build_inversion(self.attack, self.settings)
        call = Call.of(self.attack, self.settings, seed=self.seed, device=self.device)
        parts: list[Inversion] = []
        for piece in _cut(range(self.classes), self.pieces):
            progress = offset(advance, piece[0], self.classes)
            parts.append(inversion_of(attack, model, piece, call, progress))
        save_record(_joined(parts), self.path)

    def smaller(self) -> Self | None:
        """Return the classes in twice as many pieces; None if each is already a single class."""
        return _in_more_pieces(self, self.classes)


def reconstruction_path(folder: Path, source: str, capture_id: str) -> Path:
    """Return the path of an attack's answer to a capture in the folder of a run."""
    return folder / "reconstructions" / source / f"{capture_id}.safetensors"


def _in_more_pieces(job: Cut, most: int) -> Cut | None:
    """Return the job in twice as many pieces, at most `most`; None if it has that many already."""
    return dataclasses.replace(job, pieces=min(2 * job.pieces, most)) if job.pieces < most else None


def _cut(items: Sequence[Item], pieces: int) -> list[Sequence[Item]]:
    """Return items in the given number of pieces of nearly equal size, without empty ones."""
    ends = [round(len(items) * number / pieces) for number in range(pieces + 1)]
    return [items[start:end] for start, end in itertools.pairwise(ends) if end > start]


def offset(advance: Advance, done: int, total: int) -> Advance:
    """Return a callback that reports the progress of a piece as that of the whole."""
    return lambda now, _: advance(done + now, total)


def _joined(parts: Sequence[Inversion]) -> Inversion:
    """Return the answers of one attack to different classes of one model as one."""
    if len(parts) == 1:
        return parts[0]
    probabilities = [part.probabilities for part in parts if part.probabilities is not None]
    return dataclasses.replace(
        parts[0],
        classes=torch.cat([part.classes for part in parts]),
        inputs=torch.cat([part.inputs for part in parts], _CLASSES),
        probabilities=torch.cat(probabilities, _CLASSES) if probabilities else None,
        confidence=torch.cat([part.confidence for part in parts]),
        iterations=torch.cat([part.iterations for part in parts]),
        stop_reasons=tuple(reason for part in parts for reason in part.stop_reasons),
        seconds=sum(part.seconds for part in parts),
    )
