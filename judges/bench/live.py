"""The server-side attack plugin: attacks and scores every captured update while the federation goes on.

    from judges.bench.live import LiveAttack

    with LiveAttack("runs/mine", attack="idlg") as sink:
        grid = CuriousGrid(grid, sink, model=spec)

Each capture is stored first, so nothing is lost if the attack is slow or dies; the attack itself runs in one worker
process of its own. A round waits for a file to be written, never for an attack.
"""

from __future__ import annotations

import importlib
import json
import logging
import multiprocessing
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from attacks import build_attack
from fl_sim.captures import CaptureStore, SealedStore
from fl_sim.errors import SpikeleakError
from fl_sim.files import atomic_write
from fl_sim.records import CapturedUpdate, save_record

log = logging.getLogger(__name__)


class LiveAttack:
    """A sink of `CuriousGrid` and `CuriousStrategy`.

    Writes FOLDER/captures/ID, FOLDER/reconstructions/ATTACK/ID and, for each update, FOLDER/live/ID.json: its scores
    where FOLDER/sealed holds the truth, or why the attack failed.

    Args:
        folder: of the results.
        attack: name in the table of attacks.
        settings: of the attack; its defaults where not given.
        seed: of the initial guesses.
        imports: modules that the worker imports first, such as one that adds your own model to `MODELS`.

    Raises:
        ConfigError: no such attack, or a setting that it does not have.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        attack: str = "idlg",
        settings: Mapping[str, Any] | None = None,
        seed: int = 0,
        imports: Sequence[str] = (),
    ) -> None:
        self.folder = Path(folder)
        self._attack, self._settings, self._seed = attack, dict(settings or {}), seed
        build_attack(attack, self._settings)  # a wrong setting is refused now, not in the worker
        self._store = CaptureStore(self.folder / "captures")
        self._imports = tuple(imports)
        self._pool = self._start_worker()
        self._jobs: dict[str, Future[None]] = {}

    def __call__(self, capture: CapturedUpdate) -> None:
        """Store a capture and queue its attack; returns at once."""
        self._store(capture)
        work = partial(attack_one, self.folder, capture.id, self._attack, self._settings, self._seed)
        try:
            job = self._pool.submit(work)
        except BrokenProcessPool:  # an earlier attack took the worker down with it
            self._pool = self._start_worker()
            job = self._pool.submit(work)
        job.add_done_callback(lambda done, key=capture.id: self._report(key, done))  # type: ignore[misc]
        self._jobs[capture.id] = job

    def _start_worker(self) -> ProcessPoolExecutor:
        """Return a pool of one process, started anew: torch's and Ray's threads do not survive a fork."""
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(1, mp_context=context, initializer=_import_all, initargs=(self._imports,))

    def _report(self, capture_id: str, job: Future[None]) -> None:
        """Write down why a job failed; runs in the pool's thread, so it must not raise."""
        error = None if job.cancelled() else job.exception()
        if error is not None:
            log.warning("live attack on %s failed: %s", capture_id, error)
            _write(self.folder, capture_id, {"failed": f"{type(error).__name__}: {error}"})

    @property
    def pending(self) -> int:
        """Return how many updates still wait for their attack."""
        return sum(not job.done() for job in self._jobs.values())

    def close(self) -> None:
        """Wait for all attacks and end the worker."""
        self._pool.shutdown(wait=True)

    def __enter__(self) -> LiveAttack:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for all attacks."""
        self.close()


def _import_all(modules: Sequence[str]) -> None:
    for module in modules:
        importlib.import_module(module)


def attack_one(folder: Path, capture_id: str, attack: str, settings: Mapping[str, Any], seed: int) -> None:
    """Attack and score one stored capture; what a worker does."""
    from judges.bench.process import prepare_process
    from judges.scoring.gradient_inversion import score

    prepare_process(threads=1)
    capture = CaptureStore(folder / "captures").load(capture_id)
    result = build_attack(attack, settings).reconstruct([capture], seed=seed)[0]
    save_record(result, folder / "reconstructions" / attack / f"{capture_id}.safetensors")
    told: dict[str, Any] = {
        "attack": attack,
        "matching_loss": result.matching_loss,
        "stop_reason": result.stop_reason.value,
        "seconds": result.seconds,
        "labels": result.labels.tolist(),
    }
    try:
        sealed = SealedStore(folder / "sealed").load(capture_id)
    except SpikeleakError:
        told["scores"] = []  # a user's own federation seals nothing; the reconstruction is the result
    else:
        rows = score(result, sealed, spec=capture.model.input, judge=None, context={})
        told["scores"] = [{"ssim": row.ssim, "psnr_db": row.psnr_db, "mse": row.mse, "l2": row.l2} for row in rows]
    _write(folder, capture_id, told)


def _write(folder: Path, capture_id: str, told: Mapping[str, Any]) -> None:
    atomic_write(folder / "live" / f"{capture_id}.json", json.dumps(told, indent=1) + "\n")
