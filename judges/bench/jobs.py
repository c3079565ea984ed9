"""What a run consists of, cut into jobs: a federation, a chunk of the victims of an attack, the training of a target.

A job is a value that another process can get. It reads what it needs from the run's folder, or the cache, and leaves
its results there, each file whole or not at all. It draws from named streams only, so its results are the same bytes
wherever and whenever it is done, unless it had to be cut for a lack of memory.
"""

from __future__ import annotations

import dataclasses
import gc
import itertools
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self, TypeVar

import torch
from torch import Tensor

from attacks import build_attack, build_inversion
from attacks.contracts import Inversion
from fl_sim.captures import CaptureStore
from fl_sim.config import SimulationConfig
from fl_sim.errors import lack_of_memory
from fl_sim.observed import assuming
from fl_sim.records import TrainedModel, load_record, save_record
from fl_sim.simulation import run_federation
from fl_sim.specs import Scalar
from judges.progress import Advance

_CLASSES = -4
"""The axis of the classes in images (K, C, H, W) and in spikes (T, K, C, H, W)."""

Item = TypeVar("Item")
Cut = TypeVar("Cut", bound="AttackJob | InversionJob")


class Job(Protocol):
    """A piece of a run."""

    def run(self, advance: Advance) -> None:
        """Do it; `advance` is called with (done, total)."""

    def smaller(self) -> Job | None:
        """Return the same job in smaller pieces, which takes less memory; None where it cannot be cut."""


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        seconds: wall time.
        failure: why there are no results, or no more of them: a lack of memory; "" where all are there.
        pieces: into how many the job was cut in the end. The victims of one call share its sums, so the last digits of
            a job that was cut differ.
    """

    seconds: float
    failure: str = ""
    pieces: int = 1


def perform(job: Job, advance: Advance) -> Outcome:
    """Do a job. A lack of memory is an outcome; every other error is raised."""
    started, failure = time.perf_counter(), ""
    try:
        job.run(advance)
    except (MemoryError, RuntimeError, OSError) as error:
        failure = lack_of_memory(error)
        if not failure:
            raise
    if failure:  # only here is the error gone, and with it the frames that hold what was allocated
        gc.collect()
    return Outcome(time.perf_counter() - started, failure)


@dataclass(frozen=True)
class FederationJob:
    """One federation; its captures, sealed batches and models go to the run's folder.

    Attributes:
        config: of the federation.
        folder: of the run.
        name: of the federation there.
        observe: whether updates are captured.
    """

    config: SimulationConfig
    folder: Path
    name: str
    observe: bool = True

    def run(self, advance: Advance) -> None:
        """Run it."""
        run_federation(self.config, output=self.folder, federation_id=self.name, observe=self.observe)
        advance(1, 1)

    def smaller(self) -> None:
        """Return nothing: a federation is one piece."""


@dataclass(frozen=True)
class AttackJob:
    """A gradient inversion of a chunk of a run's captures.

    Attributes:
        attack, settings: which.
        seed, device: of the attack.
        folder: of the run.
        source: path of the reconstructions below FOLDER/reconstructions.
        captures: ids of the chunk.
        pieces: into how many calls of the attack the chunk is cut.
        assumed: of the clients, where their captures leave it open.
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

    def run(self, advance: Advance) -> None:
        """Attack the chunk and keep the answers, those of a piece as soon as it is done."""
        store, attack = CaptureStore(self.folder / "captures"), build_attack(self.attack, self.settings)
        done = 0
        for piece in _cut(self.captures, self.pieces):
            results = attack.reconstruct(
                [assuming(store.load(key), self.assumed) for key in piece],
                seed=self.seed,
                device=self.device,
                progress=offset(advance, done, len(self.captures)),
            )
            for result in results:
                save_record(result, reconstruction_path(self.folder, self.source, result.capture_id))
            done += len(piece)

    def smaller(self) -> Self | None:
        """Return the chunk in twice as many pieces; None where each is one capture already."""
        return _in_more_pieces(self, len(self.captures))


@dataclass(frozen=True)
class InversionJob:
    """A model inversion of all classes of a trained model.

    Attributes:
        attack, settings: which.
        seed, device: of the attack.
        model: path of the trained model.
        classes: how many it has.
        path: of the answer.
        pieces: into how many calls of the attack the classes are cut.
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
        """Invert the model and keep the answer."""
        model, attack = load_record(TrainedModel, self.model), build_inversion(self.attack, self.settings)
        parts: list[Inversion] = []
        for piece in _cut(range(self.classes), self.pieces):
            told = offset(advance, piece[0], self.classes)
            parts.append(attack.invert(model, piece, seed=self.seed, device=self.device, progress=told))
        save_record(_joined(parts), self.path)

    def smaller(self) -> Self | None:
        """Return the classes in twice as many pieces; None where each is one class already."""
        return _in_more_pieces(self, self.classes)


def reconstruction_path(folder: Path, source: str, capture_id: str) -> Path:
    """Return where the answer of an attack to a capture lies in the folder of a run."""
    return folder / "reconstructions" / source / f"{capture_id}.safetensors"


def _in_more_pieces(job: Cut, most: int) -> Cut | None:
    """Return the job in twice as many pieces, `most` at most; None where there are so many already."""
    return dataclasses.replace(job, pieces=min(2 * job.pieces, most)) if job.pieces < most else None


def _cut(items: Sequence[Item], pieces: int) -> list[Sequence[Item]]:
    """Return items in so many pieces of nearly equal size, none of them empty."""
    ends = [round(len(items) * number / pieces) for number in range(pieces + 1)]
    return [items[start:end] for start, end in itertools.pairwise(ends) if end > start]


def offset(advance: Advance, done: int, total: int) -> Advance:
    """Return the progress of a piece as that of the whole."""
    return lambda now, _: advance(done + now, total)


def _joined(parts: Sequence[Inversion]) -> Inversion:
    """Return the answers of one attack to different classes of one model as one."""
    if len(parts) == 1:
        return parts[0]

    def together(tensors: Iterable[Tensor], axis: int = 0) -> Tensor:
        return torch.cat(list(tensors), axis)

    drawn = [part.probabilities for part in parts if part.probabilities is not None]
    return dataclasses.replace(
        parts[0],
        classes=together(part.classes for part in parts),
        inputs=together((part.inputs for part in parts), _CLASSES),
        probabilities=together(drawn, _CLASSES) if drawn else None,
        confidence=together(part.confidence for part in parts),
        iterations=together(part.iterations for part in parts),
        stop_reasons=tuple(reason for part in parts for reason in part.stop_reasons),
        seconds=sum(part.seconds for part in parts),
    )
