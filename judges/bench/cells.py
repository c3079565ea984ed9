"""The attacks of a run: splits cells into jobs, starts them, waits for them, and returns their answers or failures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from attacks import ATTACKS, build_attack
from attacks.contracts import Reconstruction
from attacks.thresholding import thresholded
from fl_sim.captures import CaptureStore, StoredUpdate
from fl_sim.errors import lack_of_memory
from fl_sim.observed import assuming
from fl_sim.records import load_record
from fl_sim.specs import Scalar
from judges.auxiliary import Source, informed, source_of
from judges.bench.engines import Engine, Started
from judges.bench.jobs import AttackJob, offset, reconstruction_path
from judges.plans.gradient_inversion import Cell
from judges.progress import Watch
from judges.scoring.controls import NO_LABEL
from judges.scoring.session import Evidence

Start = tuple[str, float | None]
"""How an attack's first candidate is drawn, and the threshold."""

_Key = tuple[str, str]
"""Name of the evidence and path of the reconstructions."""


def at_least(letter: str, attack: str, capture: StoredUpdate) -> str:
    """Return the letter of an attack's adversary on a captured update.

    To match a difference of weights it replays the client's steps, so the adversary then knows how the client trains: C
    at least.
    """
    return max(letter, "C") if ATTACKS[attack].matching and capture.kind == "delta" else letter


class Attacks:
    """The attacks of one run.

    Args:
        folder: folder of the run.
        engine: executes the jobs.
        watch: shows progress.
        chunk: number of captures in one call of an attack.
        device: device on which attacks compute.
        assumed: facts about the clients to assume where their captures do not state them.
        public: folder of the public pictures of an audit.

    Attributes:
        seconds: wall time of the attacks that this call ran, summed over all processes.
        pieces: {cell: number of pieces into which one of its chunks was split for lack of memory}.
    """

    def __init__(
        self,
        folder: Path,
        engine: Engine,
        watch: Watch,
        *,
        chunk: int,
        device: str,
        assumed: Mapping[str, Scalar] | None = None,
        public: str = "",
    ) -> None:
        self.captures = CaptureStore(folder / "captures")
        self.seconds = 0.0
        self.pieces: dict[str, int] = {}
        self._folder, self._engine, self._watch = folder, engine, watch
        self._chunk, self._device, self._assumed, self._public = chunk, device, dict(assumed or {}), public
        self._started: dict[_Key, list[tuple[int, Started]]] = {}
        self._ended: dict[_Key, str] = {}

    def start(self, evidence: Evidence, cell: Cell) -> None:
        """Start the unfinished jobs of a cell: one for each chunk of the captures.

        A chunk that an earlier call left incomplete is repeated as a whole: the victims of one call share its sums, so
        another batch would change their last digits.
        """
        kept, ids = cell.kept, evidence.ids
        key = evidence.name, kept.source
        if key in self._started:
            return
        chunks = [tuple(ids[at : at + self._chunk]) for at in range(0, len(ids), self._chunk)]
        self._started[key] = [
            (len(chunk), Started(self._engine, self._job(evidence, kept, chunk)))
            for chunk in chunks
            if not self._is_done(kept, chunk)
        ]

    def results(self, evidence: Evidence, cell: Cell) -> tuple[list[Reconstruction], str]:
        """Return the answers of a cell that was started, and the reason if there are none, else "".

        Post-optimisation thresholding is applied to the answers of the attack without it.
        """
        kept = cell.kept
        key = evidence.name, kept.source
        if key not in self._ended:
            self._ended[key] = self._finish(evidence, kept)
        if self._ended[key]:
            return [], self._ended[key]
        paths = [reconstruction_path(self._folder, kept.source, capture_id) for capture_id in evidence.ids]
        results = [load_record(Reconstruction, path) for path in paths]
        if kept is not cell and cell.tau is not None:
            results = [thresholded(result, cell.tau) for result in results]
        return results, ""

    def untouched(self, evidence: Evidence, cell: Cell, ids: Sequence[str]) -> list[Reconstruction]:
        """Return the initial guesses of an attack, before any step and without labels inferred from the update.

        The list is empty if memory does not suffice for a single guess.
        """
        settings = ATTACKS[cell.attack].settings(**cell.settings).untouched().model_dump()
        attack, size = informed(build_attack(cell.attack, settings), self.auxiliary(evidence, cell)), self._chunk
        guesses: list[Reconstruction] = []
        while len(guesses) < len(ids) and size:
            part = ids[len(guesses) : len(guesses) + size]
            try:
                captures = [assuming(self.captures.load(capture_id), self._assumed) for capture_id in part]
                guesses += attack.reconstruct(captures, seed=evidence.seed)
            except (MemoryError, RuntimeError) as error:
                if not lack_of_memory(error):
                    raise
                size //= 2
        whole = guesses if len(guesses) == len(ids) else []
        return [replace(guess, labels=torch.full_like(guess.labels, NO_LABEL), seconds=0.0) for guess in whole]

    def _finish(self, evidence: Evidence, kept: Cell) -> str:
        """Wait for the jobs of a cell; return why one failed, or ""."""
        started = self._started[evidence.name, kept.source]
        if not started:
            return ""
        done, total = 0, sum(count for count, _ in started)
        with self._watch.task(f"{kept.label} on {evidence.name}") as advance:
            for count, job in started:
                outcome = job.finish(offset(advance, done, total))
                self.seconds += outcome.seconds
                if outcome.failure:
                    return outcome.failure
                if outcome.pieces > 1:
                    self.pieces[kept.name] = max(outcome.pieces, self.pieces.get(kept.name, 1))
                done += count
                advance(done, total)
        return ""

    def _job(self, evidence: Evidence, kept: Cell, chunk: tuple[str, ...]) -> AttackJob:
        return AttackJob(
            attack=kept.attack,
            settings=dict(kept.settings),
            seed=evidence.seed,
            device=self._device,
            folder=self._folder,
            source=kept.source,
            captures=chunk,
            assumed=self._assumed,
            auxiliary=self.auxiliary(evidence, kept),
        )

    def auxiliary(self, evidence: Evidence, cell: Cell) -> Source | None:
        """Return where the auxiliary data of a cell come from; None if it has none."""
        return source_of(cell.all_settings, evidence.spec, evidence.dataset, seed=evidence.seed, public=self._public)

    def _is_done(self, kept: Cell, chunk: Sequence[str]) -> bool:
        """Return whether all answers of a chunk exist and have the cell's settings."""
        paths = [reconstruction_path(self._folder, kept.source, capture_id) for capture_id in chunk]
        settings = kept.all_settings
        return all(path.is_file() and load_record(Reconstruction, path).settings == settings for path in paths)


def starts_of(cells: Sequence[Cell]) -> dict[Start, Cell]:
    """Return {way in which an attack starts: the first cell that starts so}."""
    return {(cell.guess, cell.tau): cell for cell in reversed(cells)}


def match_updates(cells: Iterable[Cell]) -> bool:
    """Return whether any of these attacks looks for inputs whose update equals the captured one."""
    return any(ATTACKS[cell.attack].matching for cell in cells)
