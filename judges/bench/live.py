"""The server-side attack plugin: attacks and scores every captured update while the federation goes on.

    from judges.live import LiveAttack

    with LiveAttack("runs/mine", attack="idlg") as sink:
        grid = CuriousGrid(grid, sink, model=spec)

Each capture is stored first, so nothing is lost if the attack is slow or dies; the attack itself is a job of one worker
process. A round waits for a file to be written, never for an attack.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from attacks import build_attack
from attacks.contracts import Reconstruction
from fl_sim.captures import CaptureStore, StoredUpdate
from fl_sim.files import atomic_write
from fl_sim.models import MODELS
from fl_sim.records import CapturedUpdate, load_record
from fl_sim.specs import Scalar
from judges.bench.engine_options import EngineOptions
from judges.bench.engines import Wait, open_engine
from judges.bench.jobs import AttackJob, reconstruction_path
from judges.classifiers.settings import NONE, JudgeOptions
from judges.progress import Advance, Watch
from judges.runs.identity import Attacked
from judges.runs.rows import Context
from judges.scoring.session import Evidence, Session, Victim

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LiveJob:
    """The attack on one stored capture, and its score where the truth is there.

    Attributes:
        attack: the attack's job.
    """

    attack: AttackJob

    def run(self, advance: Advance) -> None:
        """Attack, score, and write FOLDER/live/ID.json."""
        self.attack.run(advance)
        folder, (capture_id,) = self.attack.folder, self.attack.captures
        path = reconstruction_path(folder, self.attack.source, capture_id)
        result = load_record(Reconstruction, path)
        facts = {
            "attack": result.attack,
            "matching_loss": result.matching_loss,
            "stop_reason": result.stop_reason.value,
            "seconds": result.seconds,
            "labels": result.labels.tolist(),
            "scores": _scores(folder, CaptureStore(folder / "captures").stored(capture_id), result),
        }
        _write(folder, capture_id, facts)

    def smaller(self) -> None:
        """Return nothing: one capture is one piece."""


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
        self._stack = contextlib.ExitStack()
        options = EngineOptions(imports=tuple(imports))
        self._engine = self._stack.enter_context(open_engine(options, threads=1, apart=True))
        self._waiting: list[threading.Thread] = []

    def __call__(self, capture: CapturedUpdate) -> None:
        """Store a capture and queue its attack; returns at once."""
        self._store(capture)
        attack = AttackJob(
            attack=self._attack,
            settings=self._settings,
            seed=self._seed,
            device="cpu",
            folder=self.folder,
            source=self._attack,
            captures=(capture.id,),
        )
        wait = self._engine.start(LiveJob(attack))
        waiting = threading.Thread(target=self._report, args=(capture.id, wait), daemon=True)
        waiting.start()
        self._waiting.append(waiting)

    @property
    def pending(self) -> int:
        """Return how many updates still wait for their attack."""
        return sum(waiting.is_alive() for waiting in self._waiting)

    def close(self) -> None:
        """Wait for all attacks and end the worker."""
        for waiting in self._waiting:
            waiting.join()
        self._stack.close()

    def _report(self, capture_id: str, wait: Wait) -> None:
        """Wait for a job and write down why it failed, where it does."""
        try:
            failure = wait(lambda _done, _total: None).failure
        except Exception as error:  # noqa: BLE001 - whatever an attack raises must not end the federation
            failure = f"{type(error).__name__}: {error}"
        if failure:
            log.warning("live attack on %s failed: %s", capture_id, failure)
            _write(self.folder, capture_id, {"failed": failure})

    def __enter__(self) -> LiveAttack:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for all attacks."""
        self.close()


def _scores(folder: Path, capture: StoredUpdate, result: Reconstruction) -> list[dict[str, Scalar]]:
    """Return the metrics of an answer, example by example; none where nobody sealed the truth."""
    session = Session("live", folder, JudgeOptions(name=NONE), device="cpu", distances=0, watch=Watch.silent())
    spiking = MODELS[capture.model.architecture].spiking
    attacked = Attacked(model=capture.model.architecture, spiking=spiking)
    victims = (Victim(capture.id, capture.round),)
    evidence = Evidence("live", attacked, victims, seed=result.seed, model=capture.model)
    if not session.open(evidence, complete=False):
        return []
    rows = session.rows(evidence, Context(attack=result.attack), [result])
    return [{"ssim": row.ssim, "psnr_db": row.psnr_db, "mse": row.mse, "l2": row.l2} for row in rows]


def _write(folder: Path, capture_id: str, facts: Mapping[str, Any]) -> None:
    atomic_write(folder / "live" / f"{capture_id}.json", json.dumps(facts, indent=1) + "\n")
