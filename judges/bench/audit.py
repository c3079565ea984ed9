"""An audit of somebody's own federation: its captures are attacked, and scored where its clients sealed the truth.

The folder holds captures/, as `CuriousGrid` with a `CaptureStore` left them, and sealed/ where the clients wrote their
batches there. What the audit adds is what a run of an experiment leaves: reconstructions, rows, a report.
"""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tomli_w

from fl_sim.captures import StoredUpdate
from fl_sim.config import read_toml
from fl_sim.errors import ConfigError, DataError
from fl_sim.files import atomic_write, sha256
from fl_sim.models import MODELS
from fl_sim.specs import ModelSpec, Scalar
from judges.bench.engine_options import EngineOptions
from judges.bench.engines import Engine
from judges.bench.gradient_inversion import AttackedUpdates
from judges.plans.audit import TASK, AuditPlan
from judges.progress import Watch
from judges.runs.identity import Attacked
from judges.runs.manifest import WRITTEN, write_manifest
from judges.runs.names import group_label
from judges.runs.pictures import CAPTURES
from judges.scoring.audit_checks import check_size, doubts, filled
from judges.scoring.session import Evidence, Victim

INIT = "as sent"
GIVEN = ("captures", "sealed", "models", "live")
"""What an audit finds in the folder and leaves as it is."""

EVIDENCE = "captures_sha256"
"""Key of the manifest: a hash of the captures, which tells whether answers of an earlier call are of the same ones."""


class Audit(AttackedUpdates):
    """The audit of one folder, which holds captures/, and sealed/ where the truth was kept; see `Execution`."""

    complete = False

    def __init__(self, plan: AuditPlan, folder: Path, watch: Watch, options: EngineOptions | None = None) -> None:
        super().__init__(plan, folder, watch, options, name=folder.resolve().name)
        self.plan = plan
        self._evidence: list[Evidence] = []
        self._doubts: list[str] = []
        self._digest = ""

    def check(self) -> None:
        """Look at the captures and at the truth, before anything is written.

        Raises:
            ConfigError: a model that is in no table, or something that an attack needs is neither known nor assumed.
            DataError: there are no captures, a file is corrupt, or a truth is of another size than its update.
        """
        self._evidence = list(self._groups())
        for evidence in self._evidence:
            self._check_dataset(evidence)
        self._digest = _digest([self.captures.path(one.id) for one in self._victims()])
        assumed = self.assumed()
        for evidence in self._evidence:
            for victim in self.session.open(evidence, complete=False):
                check_size(filled(self.captures.stored(victim.id), assumed), self.session.truth(victim.id))

    def claim(self, *, fresh: bool) -> None:
        """Take the folder: what an earlier audit of the same captures in the same way has found stays.

        Where no audit was, files of the names of ours are somebody else's and stay too.

        Raises:
            ConfigError: the folder holds an experiment.
        """
        path = self.folder / "config.toml"
        if path.is_file():
            earlier = read_toml(path)
            if earlier.get("task") != TASK:
                raise ConfigError(
                    f"{self.folder}: holds an experiment, whose results an audit would replace. For another attack on "
                    f"its captures use `spikeleak attack {self.folder} --set attack=...`; or copy captures/ and "
                    "sealed/."
                )
            self.recall()
            if fresh or earlier != self.plan.raw or self.before.get(EVIDENCE, self._digest) != self._digest:
                self._clear()
        atomic_write(path, tomli_w.dumps(self.plan.raw))
        self.recall()
        write_manifest(self.folder, {**self.before, EVIDENCE: self._digest})

    def gather(self, engine: Engine) -> Iterator[Evidence]:  # noqa: ARG002 - the captures are there
        """Yield the captures that can share a call, model by model."""
        yield from self._evidence

    def assumed(self) -> Mapping[str, Scalar]:
        """Return what is assumed of the clients where their captures leave it open."""
        given: dict[str, Scalar] = self.plan.base.assumed.model_dump(exclude_none=True)
        return given

    def examine(self, evidence: Evidence, known: Sequence[Victim]) -> None:
        """Measure what stands beside the rows, and look for what speaks against them."""
        super().examine(evidence, known)
        for victim in known:
            capture = filled(self.captures.load(victim.id), self.assumed())
            self._doubts += doubts(capture, self.session.truth(victim.id))

    def facts(self) -> Mapping[str, Any]:
        """Return what else the manifest says."""
        people = {CAPTURES: {"people": self.plan.base.people, "source": "the clients of the audited federation"}}
        shown = {} if self.session.datasets else {"datasets": people}
        return {
            "experiment": f"audit of {len(self._victims())} captures",
            EVIDENCE: self._digest,
            **shown,
            **({"warnings": self._doubts} if self._doubts else {}),
        }

    def execute(self, *, fresh: bool = False, show_faces: bool = False) -> Path:
        """Attack all captures and return the path of the report; what speaks against the scores is said at the end."""
        page = super().execute(fresh=fresh, show_faces=show_faces)
        for text in self._doubts:
            self.watch.say(f"warning: {text}")
        return page

    def _victims(self) -> list[Victim]:
        return [victim for evidence in self._evidence for victim in evidence.victims]

    def _clear(self) -> None:
        """Remove what an earlier audit left."""
        for name in set(WRITTEN) - set(GIVEN):
            left = self.folder / name
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left)
            else:
                left.unlink(missing_ok=True)

    def _groups(self) -> Iterator[Evidence]:
        """Yield the captures that can share a call: of one model, and of as many examples."""
        groups: dict[tuple[ModelSpec, int | None], list[Victim]] = defaultdict(list)
        for key in self.captures.listed():
            capture = filled(self.captures.stored(key.id), self.assumed())
            self._check_model(capture)
            groups[capture.model, capture.batch_size].append(Victim(key.id, capture.round))
        if not groups:
            guess = f" Did you mean '{self.folder.parent}'?" if self.folder.name == "captures" else ""
            raise DataError(
                f"{self.folder / 'captures'}: expected captures, found none.{guess} Record them with "
                'CuriousGrid(grid, CaptureStore("FOLDER/captures"), model=spec, federation_id="mine").'
            )
        base, names = self.plan.base, Counter[str]()
        for (model, size), victims in groups.items():
            varied = _varied(model, size, groups)
            attacked = Attacked(
                dataset=base.dataset.name if base.dataset else CAPTURES,
                model=model.architecture,
                family=MODELS[model.architecture].family or model.architecture,
                spiking=MODELS[model.architecture].spiking,
                varied=varied,
                init=INIT,
                defence=base.defence,
            )
            label = group_label(attacked)
            names[label] += 1
            name = label if names[label] == 1 else f"{label}-{names[label]}"
            yield Evidence(name, attacked, tuple(victims), seed=base.seed, model=model, dataset=base.dataset)

    def _check_dataset(self, evidence: Evidence) -> None:
        """Refuse a data set whose examples are no inputs of the model."""
        dataset = self.session.dataset(evidence)
        if dataset is None:
            return
        ours, theirs = dataset.spec, evidence.spec
        if (ours.frame, ours.timesteps, ours.classes) != (theirs.frame, theirs.timesteps, theirs.classes):
            raise ConfigError(
                f"dataset.name: inputs of {dataset.name} are {ours.frame} in {ours.classes} classes, but those of the "
                f"captures' model '{evidence.model.architecture}' are {theirs.frame} in {theirs.classes}; set "
                "dataset.size and the settings of frames as the clients have them, or leave dataset out."
            )

    def _check_model(self, capture: StoredUpdate) -> None:
        if capture.model.architecture not in MODELS:
            raise ConfigError(
                f"{self.folder}: its model '{capture.model.architecture}' is in no table. Put it into "
                "fl_sim.models.MODELS in a module of yours and name that module with --import."
            )


def _varied(model: ModelSpec, size: int | None, groups: Iterable[tuple[ModelSpec, int | None]]) -> dict[str, Scalar]:
    """Return what sets a group of captures apart from the others of its architecture."""
    others = [_flat(*group) for group in groups if group[0].architecture == model.architecture]
    own = _flat(model, size)
    return {key: value for key, value in own.items() if any(other.get(key) != value for other in others)}


def _flat(model: ModelSpec, size: int | None) -> dict[str, Scalar]:
    """Return the settings of a model and the batch size, by key."""
    flat: dict[str, Scalar] = {"batch_size": size or 0}
    for key, value in asdict(model).items():
        inner = value.model_dump() if hasattr(value, "model_dump") else value
        flat |= inner if isinstance(inner, dict) else {key: "" if inner is None else inner}
    return flat


def _digest(paths: Iterable[Path]) -> str:
    """Return a hash of the content of files and of their names."""
    lines = [f"{path.parent.name}/{path.name} {sha256(path)}" for path in paths]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
