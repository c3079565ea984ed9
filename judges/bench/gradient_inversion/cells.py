"""The attacks of a run: splits cells into jobs, and returns answers or failures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from attacks import ATTACKS
from attacks.answers import AttackError, Call
from attacks.contracts import Reconstruction
from attacks.thresholding import thresholded
from fl_sim.captures import CaptureStore, StoredUpdate
from fl_sim.errors import lack_of_memory
from fl_sim.observed import assuming
from fl_sim.records import CapturedUpdate, load_record
from fl_sim.seeding import attacker_seed
from fl_sim.specs import Scalar
from judges.auxiliary import Source, source_of
from judges.bench.apart.calls import Apart, answers
from judges.bench.engines import Engine, Started
from judges.bench.jobs import AttackJob, kept_answer, offset, reconstruction_path
from judges.plans.gradient_inversion import Cell
from judges.progress import Watch
from judges.scoring.controls import NO_LABEL
from judges.scoring.truths import Evidence
from judges.scoring.updates import sanity

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
        apart: how attacks are kept apart; None for not at all.

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
        apart: Apart | None = None,
    ) -> None:
        self.captures = CaptureStore(folder / "captures")
        self.seconds = 0.0
        self.pieces: dict[str, int] = {}
        self._folder, self._engine, self._watch = folder, engine, watch
        self._chunk, self._device, self._assumed, self._public = chunk, device, dict(assumed or {}), public
        self._apart = apart
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
            if not self._is_done(kept, chunk, attacker_seed(evidence.seed))
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

    def untouched(self, evidence: Evidence, cell: Cell, ids: Sequence[str]) -> tuple[list[Reconstruction], str]:
        """Return the initial guesses of an attack, and the reason if there are none because it fails, else "".

        They are taken before any step and have no labels, which are inferred from the update. There are none, for no
        other reason, if memory does not suffice for a single guess.
        """
        settings = ATTACKS[cell.attack].settings(**cell.settings).untouched().model_dump()
        call = Call.of(cell.attack, settings, seed=attacker_seed(evidence.seed))
        try:
            guesses = self._answers(call, ids, self._capture, self.auxiliary(evidence, cell))
        except AttackError as error:
            return [], str(error)
        no_labels = [torch.full_like(guess.labels, NO_LABEL) for guess in guesses]
        return [replace(one, labels=none, seconds=0.0) for one, none in zip(guesses, no_labels, strict=True)], ""

    def again(self, evidence: Evidence, cell: Cell, ids: Sequence[str], how: str) -> tuple[list[Reconstruction], str]:
        """Return an attack's answers to disturbed captures, or to each alone, and why there are none, else "".

        Args:
            evidence: the captures.
            cell: the attack.
            ids: of some of the captures.
            how: `ALONE`, or see `judges.scoring.updates.sanity.disturbed`.
        """
        call = Call.of(cell.attack, cell.kept.settings, seed=attacker_seed(evidence.seed), device=self._device)
        source, is_alone = self.auxiliary(evidence, cell), how == sanity.ALONE

        def load(name: str) -> CapturedUpdate:
            capture = self._capture(name)
            return capture if is_alone else sanity.disturbed(capture, how, seed=evidence.seed)

        try:
            found = [
                answer
                for group in ([[name] for name in ids] if is_alone else [ids])
                for answer in self._answers(call, group, load, source)
            ]
        except AttackError as error:  # such as a system of equations that noise makes singular
            return [], f"on a {how} update the {str(error).splitlines()[0]}"
        if cell.kept is not cell and cell.tau is not None:
            found = [thresholded(answer, cell.tau) for answer in found]
        return (found, "") if len(found) == len(ids) else ([], "not enough memory")

    def _capture(self, capture_id: str) -> CapturedUpdate:
        """Return a capture with all facts that an attack assumes."""
        return assuming(self.captures.load(capture_id), self._assumed)

    def _answers(
        self, call: Call, ids: Sequence[str], load: Callable[[str], CapturedUpdate], source: Source | None
    ) -> list[Reconstruction]:
        """Return the answers to captures, without a job; [] if memory does not suffice for one alone."""
        size = self._chunk
        found: list[Reconstruction] = []
        while len(found) < len(ids) and size:
            part = ids[len(found) : len(found) + size]
            try:
                found += answers(call, list(map(load, part)), source, self._apart)
            except (MemoryError, RuntimeError, OSError) as error:
                if not lack_of_memory(error):
                    raise
                size //= 2
        return found if len(found) == len(ids) else []

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
            apart=self._apart,
        )

    def auxiliary(self, evidence: Evidence, cell: Cell) -> Source | None:
        """Return where the auxiliary data of a cell come from; None if it has none."""
        return source_of(cell.all_settings, evidence.spec, evidence.dataset, seed=evidence.seed, public=self._public)

    def _is_done(self, kept: Cell, chunk: Sequence[str], seed: int) -> bool:
        """Return whether all answers of a chunk exist, are sound, and have the cell's settings and this seed."""
        paths = [reconstruction_path(self._folder, kept.source, capture_id) for capture_id in chunk]
        found = (kept_answer(Reconstruction, path, self._watch) for path in paths)
        settings = kept.all_settings
        return all(one is not None and (one.settings, one.seed) == (settings, seed) for one in found)


def starts_of(cells: Sequence[Cell]) -> dict[Start, Cell]:
    """Return {way in which an attack starts: the first cell that starts so}."""
    return {(cell.guess, cell.tau): cell for cell in reversed(cells)}


def match_updates(cells: Iterable[Cell]) -> bool:
    """Return whether any of these attacks looks for inputs whose update equals the captured one."""
    return any(ATTACKS[cell.attack].matching for cell in cells)
