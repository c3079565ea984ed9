"""An audit of somebody's own federation: its captures are attacked, scored where its clients sealed the truth, told.

The folder holds captures/, as `CuriousGrid` with a `CaptureStore` left them, and sealed/ where the clients wrote their
batches there. What the audit adds is what a run of an experiment leaves: reconstructions, rows, a report.
"""

from __future__ import annotations

import importlib
import shutil
import sys
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import tomli_w
import torch
from torch import Tensor

from attacks import ATTACKS, build_attack
from attacks.contracts import Reconstruction
from fl_sim.captures import CaptureStore, SealedStore
from fl_sim.config import read_toml
from fl_sim.errors import ConfigError, DataError
from fl_sim.files import atomic_write
from fl_sim.models import MODELS
from fl_sim.records import CapturedUpdate, SealedBatch, save_record
from fl_sim.specs import ModelSpec, Scalar
from judges.bench.jobs import offset, reconstruction_path
from judges.bench.process import check_device, prepare_process
from judges.plans.audit import TASK, AuditPlan
from judges.progress import Watch
from judges.report.gradient_inversion.answers import CAPTURES, save_answers
from judges.report.gradient_inversion.report import write_report
from judges.runs.health import Health
from judges.runs.integrity import write_hashes
from judges.runs.manifest import WRITTEN, made_by, outcome, write_manifest
from judges.runs.rows import CONTROL_PREFIX, Score, write_scores
from judges.scoring.audit_checks import check_size, completed, doubts
from judges.scoring.gallery import build_gallery, save_gallery
from judges.scoring.gradient_inversion import NO_LABEL, control_reconstructions, score
from judges.scoring.model_health import examine, vitals
from judges.summaries.gradient_inversion import summarise, write_summary

INIT = "as sent"
GIVEN = ("captures", "sealed", "models", "live")
"""What an audit finds in the folder and leaves as it is."""


class Audit:
    """The audit of one folder.

    Args:
        folder: with captures/, and sealed/ where the truth was kept.
        plan: the attacks.
        watch: shows progress.
    """

    def __init__(self, folder: Path, plan: AuditPlan, watch: Watch) -> None:
        self.folder, self.plan, self.settings, self.watch = folder, plan, plan.base, watch
        self._sealed = SealedStore(folder / "sealed")
        self._known = set(self._sealed.ids())
        self._rows: list[Score] = []
        self._health: list[Health] = []
        self._doubts: list[str] = []

    def execute(self, *, show_faces: bool = False) -> Path:
        """Attack all captures and return the path of the report.

        Raises:
            ConfigError: a model that is in no table, or that the attack is not for; a device that is not there.
            DataError: there are no captures, or a file is corrupt.
        """
        check_device(self.settings.device)
        prepare_process(self.settings.threads)
        groups = self._groups()
        self._clear()
        atomic_write(self.folder / "config.toml", tomli_w.dumps(self.plan.raw))
        for name, captures in groups.items():
            self._audit(name, captures)
        write_scores(self._rows, self.folder / "scores.csv")
        summary = summarise(self._rows, judges={}, distances={}, health=tuple(self._health), seed=self.settings.seed)
        write_summary(summary, self.folder / "summary.json")
        write_manifest(self.folder, self._manifest())
        page = write_report(self.folder, show_faces=show_faces)
        write_hashes(self.folder)
        for text in self._doubts:
            self.watch.say(f"warning: {text}")
        return page

    def _clear(self) -> None:
        """Remove what an earlier audit left; where none was, files of these names are somebody else's and stay.

        Raises:
            ConfigError: the folder holds an experiment.
        """
        path = self.folder / "config.toml"
        if not path.is_file():
            return
        if read_toml(path).get("task") != TASK:
            raise ConfigError(
                f"{self.folder}: holds an experiment, whose results an audit would replace. For another attack on "
                f"its captures use `spikeleak attack {self.folder} --set attack=...`; or copy captures/ and sealed/."
            )
        for name in set(WRITTEN) - set(GIVEN):
            left = self.folder / name
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left)
            else:
                left.unlink(missing_ok=True)

    def _groups(self) -> dict[str, list[CapturedUpdate]]:
        """Return the captures that can share a call, by the name of their model."""
        captures = completed(list(CaptureStore(self.folder / "captures")), self.settings.assumed)
        if not captures:
            guess = f" Did you mean '{self.folder.parent}'?" if self.folder.name == "captures" else ""
            raise DataError(
                f"{self.folder / 'captures'}: expected captures, found none.{guess} Record them with "
                'CuriousGrid(grid, CaptureStore("FOLDER/captures"), model=spec, federation_id="mine").'
            )
        groups: dict[tuple[ModelSpec, int | None], list[CapturedUpdate]] = defaultdict(list)
        for capture in captures:
            if capture.model.architecture not in MODELS:
                raise ConfigError(
                    f"{self.folder}: its model '{capture.model.architecture}' is in no table. Put it into "
                    "fl_sim.models.MODELS in a module of yours and name that module with --import."
                )
            groups[capture.model, capture.batch_size].append(capture)
        return dict(zip(_names(model for model, _ in groups), groups.values(), strict=True))

    def _audit(self, name: str, captures: Sequence[CapturedUpdate]) -> None:
        """Attack the captures of one model in every way, and score those whose truth is there."""
        known = [capture for capture in captures if capture.id in self._known]
        truths = [self._sealed.load(capture.id) for capture in known]
        for capture, truth in zip(known, truths, strict=True):
            check_size(capture, truth)
            self._doubts += doubts(capture, truth)
        for label, attack in self.plan.attacks.items():
            results = self._attack(attack.name, attack.settings, captures, f"{label} on {name}")
            for result in results:
                save_record(result, reconstruction_path(self.folder, label, result.capture_id))
            by_id = {result.capture_id: result for result in results}
            unknown = [by_id[capture.id] for capture in captures if capture.id not in self._known]
            if unknown:
                save_answers(f"{name}/{label}", unknown, captures[0].model.input, self.folder)
            if known:
                self._score(name, label, known, [by_id[capture.id] for capture in known], truths)
        if known:
            spec = captures[0].model.input
            for truth in truths:
                for control in control_reconstructions(truth, spec, None):
                    self._rows += self._rows_of(name, control.attack, known[0].model, control, truth)
            found = [vitals(capture, truth.inputs) for capture, truth in zip(known, truths, strict=True)]
            self._health.append(examine(self._rows[-1].group, found, accuracies=(), classes=spec.classes))

    def _attack(
        self, name: str, settings: Mapping[str, Scalar], captures: Sequence[CapturedUpdate], told: str
    ) -> list[Reconstruction]:
        """Return the answers of an attack, a chunk after the other."""
        attack, size = build_attack(name, settings), self.settings.chunk
        results: list[Reconstruction] = []
        with self.watch.task(told) as advance:
            for at in range(0, len(captures), size):
                results += attack.reconstruct(
                    captures[at : at + size],
                    seed=self.settings.seed,
                    device=self.settings.device,
                    progress=offset(advance, at, len(captures)),
                )
        return results

    def _score(
        self,
        name: str,
        label: str,
        captures: Sequence[CapturedUpdate],
        results: Sequence[Reconstruction],
        truths: Sequence[SealedBatch],
    ) -> None:
        """Open the seal: rows of an attack and of its initial guesses, and pictures."""
        model, attack = captures[0].model, self.plan.attacks[label]
        untouched = ATTACKS[attack.name].settings(**attack.settings).untouched().model_dump()
        guesses = self._attack(attack.name, untouched, captures, f"initial guesses of {label}")
        rows = []
        for result, guess, truth in zip(results, guesses, truths, strict=True):
            rows += self._rows_of(name, label, model, result, truth, guess.inputs)
            no_op = replace(guess, attack=_no_op(label, self.plan.attacks), seconds=0.0)
            no_op = replace(no_op, labels=torch.full_like(guess.labels, NO_LABEL))
            self._rows += self._rows_of(name, no_op.attack, model, no_op, truth)
        self._rows += rows
        save_gallery(build_gallery(rows, results, truths, spec=model.input), self.folder)

    def _rows_of(
        self,
        name: str,
        label: str,
        model: ModelSpec,
        result: Reconstruction,
        sealed: SealedBatch,
        guess: Tensor | None = None,
    ) -> list[Score]:
        """Return the rows of one answer; `guess` is what the attack began with, where it is one."""
        steps = model.input.timesteps or (model.spiking.timesteps if model.spiking else 0)
        context: dict[str, Scalar] = {
            "experiment": self.folder.resolve().name,
            "cell": f"{name}/{label}",
            "dataset": CAPTURES,
            "model": name,
            "init": INIT,
            "attack": label,
            "defence": self.settings.defence,
            "timesteps": steps if MODELS[model.architecture].spiking else 0,
        }
        return score(result, sealed, spec=model.input, judge=None, context=context, guess=guess)

    def _manifest(self) -> dict[str, object]:
        settings = self.settings
        return {
            "title": self.folder.resolve().name,
            "experiment": f"audit of {len(CaptureStore(self.folder / 'captures').ids())} captures",
            "seed": settings.seed,
            "device": settings.device,
            "threads": settings.threads,
            **made_by({}),
            "datasets": {CAPTURES: {"people": settings.people, "source": "the clients of the audited federation"}},
            **({"warnings": self._doubts} if self._doubts else {}),
            **outcome(self.folder, {}, {}),
        }


def import_modules(names: Iterable[str]) -> None:
    """Import modules from the current folder or the environment, such as one that adds a model to `MODELS`.

    Raises:
        ConfigError: one cannot be imported.
    """
    sys.path.insert(0, str(Path.cwd()))
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:
            raise ConfigError(
                f"--import {name}: cannot be imported ({type(error).__name__}: {error}); modules are looked "
                "for in the folder that you call from."
            ) from error


def _no_op(label: str, labels: Collection[str]) -> str:
    """Return what the control is called that is the initial guess of an attack."""
    return f"{CONTROL_PREFIX}no-op" + (f" ({label})" if len(labels) > 1 else "")


def _names(models: Iterable[ModelSpec]) -> list[str]:
    """Return what the rows call models: the architecture, and a number where several share it."""
    names, seen = list[str](), Counter[str]()
    for model in models:
        seen[model.architecture] += 1
        number = seen[model.architecture]
        names.append(f"{model.architecture}#{number}" if number > 1 else model.architecture)
    return names
