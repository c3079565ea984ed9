"""The server-side attack plugin: attacks and scores every captured update while the federation continues.

    from judges.live import LiveAttack

    with LiveAttack("runs/mine", attack="idlg") as sink:
        grid = CuriousGrid(grid, sink, model=spec)

Each capture is stored first, so nothing is lost if the attack is slow or crashes; the attack itself is a job of one
worker process. A round waits until a file is written, never for an attack.
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

from attacks import ATTACKS, build_attack
from attacks.contracts import Reconstruction
from attacks.settings import NO_AUXILIARY
from fl_sim.accounts import Account
from fl_sim.captures import CaptureStore, StoredUpdate
from fl_sim.errors import ConfigError
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
from judges.scoring.session import Session
from judges.scoring.truths import Evidence, Victim

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LiveJob:
    """The attack on one stored capture, and its score if the truth is known."""

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
        """Return None: one capture cannot be split."""


class LiveAttack:
    """A sink of `CuriousGrid` and `CuriousStrategy`.

    Writes FOLDER/captures/ID, FOLDER/reconstructions/ATTACK/ID and, for each update, FOLDER/live/ID.json: its scores
    if FOLDER/sealed holds the truth, or why the attack failed.

    Args:
        folder: folder of the results.
        attack: name in the table of attacks.
        settings: settings of the attack; other settings have their defaults.
        seed: seed of the initial guesses.
        imports: modules that the worker imports first, such as one that adds your own model to `MODELS`.

    Raises:
        ConfigError: the attack or one of its settings is not known, or it needs auxiliary data.
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
        build_attack(attack, self._settings)  # so that a wrong setting fails now, not in the worker
        if ATTACKS[attack].needs_auxiliary or self._settings.get("auxiliary", NO_AUXILIARY) != NO_AUXILIARY:
            raise ConfigError(
                f"attack.auxiliary: a live attack has no auxiliary data, which '{attack}' needs or is given; attack "
                "the stored captures later, with `spikeleak audit FOLDER`."
            )
        self._store = CaptureStore(self.folder / "captures")
        self._stack = contextlib.ExitStack()
        options = EngineOptions(imports=tuple(imports))
        self._engine = self._stack.enter_context(open_engine(options, threads=1, apart=True))
        self._waiting: list[threading.Thread] = []

    def __call__(self, capture: CapturedUpdate) -> None:
        """Store a capture, queue its attack and return at once."""
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
        job = LiveJob(attack)
        waiting = threading.Thread(target=self._report, args=(capture.id, self._engine.start(job)), daemon=True)
        waiting.start()
        self._waiting.append(waiting)

    def note(self, federation_id: str, account: Account) -> None:
        """Keep the account of a federation beside its captures."""
        self._store.note(federation_id, account)

    @property
    def pending(self) -> int:
        """Return the number of updates that still wait for their attack."""
        return sum(waiting.is_alive() for waiting in self._waiting)

    def close(self) -> None:
        """Wait for all attacks and end the worker."""
        for waiting in self._waiting:
            waiting.join()
        self._stack.close()

    def _report(self, capture_id: str, wait: Wait) -> None:
        """Wait for a job; if it fails, log and write the reason."""
        try:
            failure = wait(lambda _done, _total: None).failure
        except Exception as error:  # noqa: BLE001 - no error of an attack may end the federation
            failure = f"{type(error).__name__}: {error}"
        if failure:
            log.warning("live attack on %s failed: %s", capture_id, failure)
            _write(self.folder, capture_id, {"failed": failure})

    def __enter__(self) -> LiveAttack:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _scores(folder: Path, capture: StoredUpdate, result: Reconstruction) -> list[dict[str, Scalar | None]]:
    """Return the metrics of each example of an answer, SSIM None if not defined; [] if its truth was not sealed."""
    session = Session("live", folder, JudgeOptions(name=NONE), device="cpu", distances=0, watch=Watch.silent())
    spiking = MODELS[capture.model.architecture].spiking
    attacked = Attacked(model=capture.model.architecture, spiking=spiking)
    victims = (Victim(capture.id, capture.round),)
    evidence = Evidence("live", attacked, victims, seed=result.seed, model=capture.model)
    if not session.open(evidence, complete=False):
        return []
    rows = session.rows(evidence, Context(attack=result.attack), [result])
    names = ("ssim", "psnr_db", "mse", "l2", "token_accuracy", "tokens_found")
    return [{name: getattr(row, name) for name in names} for row in rows]


def _write(folder: Path, capture_id: str, facts: Mapping[str, Any]) -> None:
    atomic_write(folder / "live" / f"{capture_id}.json", json.dumps(facts, indent=1) + "\n")
