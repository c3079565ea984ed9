"""The attacks of a run: its cells cut into jobs, started, waited for; what they found, and which could not be done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from attacks import ATTACKS, build_attack
from attacks.contracts import Reconstruction
from attacks.settings import POST, UNTHRESHOLDED
from attacks.thresholding import thresholded
from fl_sim.captures import CaptureStore
from fl_sim.errors import DataError, lack_of_memory
from fl_sim.records import CapturedUpdate, load_record
from judges.bench.engines import Engine, Started
from judges.bench.jobs import AttackJob, offset, reconstruction_path
from judges.plans.gradient_inversion import Cell, Federation, Plan
from judges.progress import Watch
from judges.scoring.gradient_inversion import NO_LABEL

_Key = tuple[str, str]
"""A federation's label and a path of reconstructions."""


class Attacks:
    """The attacks of one run.

    Attributes:
        seconds: wall time of the attacks that were run now, added up over all processes.
        pieces: {cell: into how many pieces a chunk of it had to be cut}, for a lack of memory.
    """

    def __init__(self, plan: Plan, folder: Path, engine: Engine, watch: Watch) -> None:
        self.plan, self.folder, self.engine, self.watch = plan, folder, engine, watch
        self.seconds = 0.0
        self.pieces: dict[str, int] = {}
        self._captures = CaptureStore(folder / "captures")
        self._started: dict[_Key, list[tuple[int, Started]]] = {}
        self._ended: dict[_Key, str] = {}

    def start(self, federation: Federation, cell: Cell) -> None:
        """Start the jobs of a cell that are not done: one for each chunk of the captures.

        A chunk that an earlier call left half done is done again, whole: the victims of one call share its sums, so
        in another company their last digits would be others.
        """
        source = _source(cell)
        key = federation.label, source.source
        if key in self._started:
            return
        size = self.plan.base.chunk
        keys = self.keys(federation)
        chunks = [tuple(keys[at : at + size]) for at in range(0, len(keys), size)]
        self._started[key] = [
            (len(chunk), Started(self.engine, self._job(federation, source, chunk)))
            for chunk in chunks
            if not self._is_done(source, chunk)
        ]

    def results(self, federation: Federation, cell: Cell) -> tuple[list[Reconstruction], str]:
        """Return the answers of a cell that was started, and "" or why there are none.

        Post-optimisation thresholding is of the answers of the attack without it.
        """
        source = _source(cell)
        key = federation.label, source.source
        if key not in self._ended:
            self._ended[key] = self._finish(federation, source)
        if self._ended[key]:
            return [], self._ended[key]
        results = [load_record(Reconstruction, self._path(source, key)) for key in self.keys(federation)]
        if source is not cell:
            results = [thresholded(result, float(cell.all_settings["tau"])) for result in results]
        return results, ""

    def untouched(self, federation: Federation, cell: Cell) -> list[Reconstruction]:
        """Return the initial guesses of an attack, no step taken, no label read off the update.

        None are returned where the memory does not suffice for a single one.
        """
        settings = ATTACKS[cell.attack].settings(**cell.settings).untouched().model_dump()
        attack, size = build_attack(cell.attack, settings), self.plan.base.chunk
        captures = self.captures(federation)
        guesses: list[Reconstruction] = []
        while len(guesses) < len(captures) and size:
            part = captures[len(guesses) : len(guesses) + size]
            try:
                guesses += attack.reconstruct(part, seed=federation.config.seed)
            except (MemoryError, RuntimeError) as error:
                if not lack_of_memory(error):
                    raise
                size //= 2
        whole = guesses if len(guesses) == len(captures) else []
        return [replace(guess, labels=torch.full_like(guess.labels, NO_LABEL), seconds=0.0) for guess in whole]

    def captures(self, federation: Federation) -> list[CapturedUpdate]:
        """Return all captures of a federation."""
        return [self._captures.load(key) for key in self.keys(federation)]

    def keys(self, federation: Federation) -> list[str]:
        """Return the ids of all captures of a federation.

        Raises:
            DataError: there are none.
        """
        names = {federation.repetition(repeat)[0] for repeat in range(federation.repeats)}
        keys = [key for key in self._captures.ids() if key.partition("/")[0] in names]
        if not keys:
            raise DataError(f"{self._captures.folder}: expected captures of {federation.label}, found none.")
        return keys

    def _finish(self, federation: Federation, source: Cell) -> str:
        """Wait for the jobs of a cell; return "" or why one could not be done."""
        started = self._started[federation.label, source.source]
        if not started:
            return ""
        done, total = 0, sum(count for count, _ in started)
        with self.watch.task(f"{source.label} on {federation.label}") as advance:
            for count, job in started:
                outcome = job.finish(offset(advance, done, total))
                self.seconds += outcome.seconds
                if outcome.failure:
                    return outcome.failure
                if outcome.pieces > 1:
                    self.pieces[source.name] = max(outcome.pieces, self.pieces.get(source.name, 1))
                done += count
                advance(done, total)
        return ""

    def _job(self, federation: Federation, source: Cell, chunk: tuple[str, ...]) -> AttackJob:
        return AttackJob(
            attack=source.attack,
            settings=dict(source.settings),
            seed=federation.config.seed,
            device=self.plan.base.device,
            folder=self.folder,
            source=source.source,
            captures=chunk,
        )

    def _is_done(self, source: Cell, chunk: Sequence[str]) -> bool:
        """Return whether all answers of a chunk are there, and of the same settings."""
        paths, settings = [self._path(source, key) for key in chunk], source.all_settings
        return all(path.is_file() for path in paths) and all(
            load_record(Reconstruction, path).settings == settings for path in paths
        )

    def _path(self, source: Cell, key: str) -> Path:
        return reconstruction_path(self.folder, source.source, key)


def guesses_of(results: Sequence[Reconstruction]) -> dict[str, Tensor]:
    """Return {capture id: initial guess} of `Attacks.untouched`."""
    return {result.capture_id: result.inputs for result in results}


def beginning(cell: Cell) -> str:
    """Return how an attack's first candidate is drawn and, where it is thresholded, at which tau."""
    settings = cell.all_settings
    kind = str(settings.get("guess", cell.attack))
    spikes = settings.get("thresholding", UNTHRESHOLDED) != UNTHRESHOLDED
    return f"{kind}, tau {settings['tau']:g}" if spikes else kind


def _source(cell: Cell) -> Cell:
    """Return the cell whose answers are kept: of post-optimisation thresholding, the same attack without it."""
    if cell.settings.get("thresholding") != POST:
        return cell
    plain: Mapping[str, Any] = {
        key: value for key, value in cell.settings.items() if key not in ("thresholding", "tau")
    }
    return replace(cell, label=cell.source, settings=plain)
