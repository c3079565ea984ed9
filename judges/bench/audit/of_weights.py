"""Audits a model's file: what the trained model alone gives away of its classes, and of who was in its training.

The folder of the results holds the runs of the threats in folders of their own, their rows together, and one report.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from fl_sim.config import read_toml
from fl_sim.datasets.reading.public import PublicPictures, read_public
from fl_sim.errors import ConfigError, DataError
from fl_sim.files import sha256
from fl_sim.models import MODELS
from judges.bench.audit.inversion import RecordedInversion
from judges.bench.audit.membership import RecordedMembership
from judges.bench.audit.models import RecordedModel
from judges.bench.audit.stored import check_dataset
from judges.bench.audit.threats import taken
from judges.bench.audit.weights import answers_of, read_checkpoint
from judges.bench.engine_options import EngineOptions
from judges.bench.folder import facts_of_datasets, remove_run
from judges.bench.several import SeveralThreats
from judges.plans.audit.threats import MEMBERSHIP, MEMBERSHIP_TASK, MODEL, MODEL_TASK, NAMES, threat_config
from judges.plans.audit.weights import TASK, TRAIN, WeightsAuditPlan
from judges.progress import Watch
from judges.runs.identity import Attacked
from judges.runs.integrity import Finished
from judges.runs.manifest import PUBLIC, UNTRIED
from judges.scoring.audit.judged import judged_by, lack_of_pictures
from judges.scoring.audit.public import public_facts
from judges.scoring.membership.recorded import Members, Others

OWN = "own data"
"""Stands for the data set of a model of which none is named."""

_TASKS = {NAMES[MODEL]: MODEL_TASK, NAMES[MEMBERSHIP]: MEMBERSHIP_TASK}
_MOST_NAMED = 4
_SOURCE = "whoever trained the model"


class WeightsAudit(SeveralThreats[WeightsAuditPlan]):
    """The audit of a model's file; see `SeveralThreats`."""

    def __init__(
        self, plan: WeightsAuditPlan, folder: Path, watch: Watch, options: EngineOptions | None = None
    ) -> None:
        super().__init__(plan, folder, watch, options, name=Path(plan.base.file).name)
        self._untried: dict[str, str] = {}

    def check(self) -> None:
        """Read the model and what is known of its training, before anything is written.

        Raises:
            ConfigError: the file does not say of which model it is and nobody else does, or its inputs cannot be
                pictures of the folders that are given; or no threat can be attempted.
            DataError: the file, the data set or a picture is missing or corrupt.
        """
        super().check()
        base, spec = self.plan.base, self._model.spec
        for one in (self._members_folder, base.public):
            if one and Path(one).resolve() == self.folder:
                raise ConfigError(f"--out {self.folder}: holds the pictures that are given; choose another folder.")
        check_dataset(base.data.load() if base.data else None, spec)
        if spec.input.timesteps and (self._members_folder or self.plan.base.public):
            raise ConfigError(
                f"{'members' if self._members_folder else 'public'}: the model takes recordings of events, which "
                "pictures are not; name its data set, --set dataset=NAME, if it is in the table."
            )
        self._check_classes()
        for threat in base.further:
            reason = self._lack(threat)
            if not reason:
                part = self._part(threat)
                reason = part.lack()
                self.parts |= {} if reason else {threat: part}
            self._untried |= {threat: reason} if reason else {}
        if not self.parts:
            raise ConfigError(
                f"{self.plan.base.file}: nothing can be attempted: "
                f"{'; '.join(f'{_words(threat)}: {why}' for threat, why in self._untried.items())}."
            )
        for threat, why in self._untried.items():
            self.watch.say(f"note: {_words(threat)}: not attempted, since {why}.")

    def _check_classes(self) -> None:
        """Raise a ConfigError if the members' pictures have no classes, or others than what they stand beside."""
        members, base = self._pictures_of_members, self.plan.base
        if members is None:
            return
        if not members.classes:
            raise ConfigError(
                f"members: the pictures in '{base.members}' have no classes; give the folder one subfolder for each."
            )
        numbers = tuple(str(label) for label in range(self._model.spec.input.classes))
        beside = self._public.classes if self._public else base.data.load().class_names if base.data else numbers
        if members.classes not in (tuple(beside), numbers):
            raise ConfigError(
                f"members: the subfolders of '{base.members}' ({', '.join(members.classes[:_MOST_NAMED])}) are the "
                f"model's classes by another name than beside them ({', '.join(beside[:_MOST_NAMED])}), so that labels "
                "might be mixed up; give both the same names, or the labels 0, 1, 2."
            )

    def claim(self, *, fresh: bool) -> None:
        """Claim the folder; a threat's results that depend on other settings are replaced by its own run.

        Raises:
            ConfigError: the folder holds something else than an audit of a file of this name.
        """
        path = self.folder / "config.toml"
        if path.is_file():
            earlier = read_toml(path)
            if earlier.get("task") != TASK:
                raise ConfigError(
                    f"{self.folder}: holds something else than the audit of a model's file; choose another folder with "
                    "--out."
                )
            was, name = Path(str(earlier.get("file"))).name, Path(self.plan.base.file).name
            if was != name and not fresh:
                raise ConfigError(
                    f"{self.folder}: holds the audit of '{was}', not of '{name}'; choose another folder with --out, or "
                    "remove that audit with --fresh."
                )
            for threat, task in _TASKS.items():
                if (fresh or threat not in self.parts) and not taken(self.folder / threat, task):
                    remove_run(self.folder / threat)
            if earlier != self.plan.raw:
                fresh, self.finished = True, Finished()
        super().claim(fresh=fresh)

    def facts(self) -> Mapping[str, Any]:
        """Return further entries of the manifest."""
        told = {"file_sha256": self._model_and_hash[1]}
        told |= {"members": self._told_members} if self._told_members else {}
        untried = {UNTRIED: self._untried} if self._untried else {}
        return {**super().facts(), **told, **self._facts, **untried}

    @property
    def _model(self) -> RecordedModel:
        return self._model_and_hash[0]

    @cached_property
    def _model_and_hash(self) -> tuple[RecordedModel, str]:
        """Return the model of the file, and the hash of the file that it was read from."""
        base = self.plan.base
        path = Path(base.file)
        before = sha256(path) if path.is_file() else ""
        model = read_checkpoint(path, base, self.watch.say, besides=("dataset",))
        if sha256(path) != before:
            raise DataError(f"{path}: has changed while it was read; audit it again when nobody writes it.")
        broken = [name for name, one in model.parameters.items() if not bool(one.isfinite().all())]
        if broken:
            raise DataError(f"{path}: expected finite weights, found others in '{broken[0]}'.")
        entry = MODELS[model.model.architecture]
        attacked = Attacked(
            dataset=base.data.name if base.data else OWN,
            model=model.model.architecture,
            family=entry.family or model.model.architecture,
            spiking=entry.spiking,
            varied={},
            init="",
            defence="none",
        )
        return RecordedModel(0, attacked, model, {}, None, None, ()), before

    @property
    def _told_members(self) -> str:
        """Return what the model was trained on, as its owner says, in words; "" if nobody says."""
        base = self.plan.base
        if self._members_folder:
            return f"the pictures in '{self._members_folder}', as the owner of the model says"
        named = base.data is not None and base.members
        return f"the train split of {base.dataset.name}, as the owner of the model says" if named else ""

    @property
    def _members_folder(self) -> str:
        return "" if self.plan.base.members == TRAIN else self.plan.base.members

    @cached_property
    def _pictures_of_members(self) -> PublicPictures | None:
        """Return the pictures that the model was trained on; None where they are a split of a data set."""
        return read_public(Path(self._members_folder), self._model.spec.input) if self._members_folder else None

    @cached_property
    def _public(self) -> PublicPictures | None:
        """Return the pictures that the model was not trained on; None without any."""
        folder = self.plan.base.public
        return read_public(Path(folder), self._model.spec.input) if folder else None

    @property
    def _others(self) -> Others:
        return Others(self._model.spec.input, self.plan.base.data, self.plan.base.public)

    @property
    def _members(self) -> Members | None:
        """Return where the examples come from that the model was trained on; None if nobody says."""
        base = self.plan.base
        if not base.members:
            return None
        return Members(self._model.spec.input, None if self._members_folder else base.data, self._members_folder)

    @cached_property
    def _facts(self) -> dict[str, Any]:
        """Return what manifests say of the data."""
        base = self.plan.base
        if base.data is not None:
            data = base.data.load()
            return {"datasets": facts_of_datasets({data.name: data})}
        told: dict[str, Any] = {"datasets": {OWN: {"people": base.people, "source": _SOURCE}}}
        return told | ({PUBLIC: public_facts(self._public, base.public)} if self._public else {})

    def _lack(self, threat: str) -> str:
        """Return what a threat lacks, or ""."""
        base, spec = self.plan.base, self._model.spec.input
        if spec.vocabulary:
            return "the model reads texts, and these attacks ask for inputs of real numbers"
        if spec.classes < 2:
            return "the model has no output for each class"
        of_models = threat == NAMES[MODEL]
        if not of_models and not base.members:
            return (
                "nobody says what the model was trained on; give --members train, if that is the train split of the "
                "data set that you name, or --members FOLDER of pictures"
            )
        held = taken(self.folder / threat, _TASKS[threat])
        if held:
            return held
        if base.data is None and self._public is None:
            what = "no judge can be trained" if of_models else "there is nobody who is known not to be a member"
            return f"{what}; give --set dataset=NAME, or --public FOLDER, pictures with one subfolder for each class"
        return lack_of_pictures(self._public, judge=of_models) if self._public is not None else ""

    def _part(self, threat: str) -> RecordedInversion | RecordedMembership:
        """Return what carries out a threat."""
        base, folder = self.plan.base, self.folder / threat
        told = base.model_dump(include={"seed", "threads", "device"})
        of_models = threat == NAMES[MODEL]
        raw = threat_config(threat, told, base.model_inversion if of_models else base.membership, self._evidence)
        own = dataclasses.replace(self.options_of_parts, isolate=False)
        if of_models:
            data = base.data.load() if base.data else judged_by(
                base.public, self._model.spec.input, OWN, people=base.people, seed=base.seed
            )  # fmt: skip
            return RecordedInversion(raw, folder, [self._model], self._others, data, self._facts, self.watch, own)
        return RecordedMembership(
            raw,
            folder,
            [self._model],
            {},
            self._others,
            self._facts,
            self.watch,
            own,
            members=self._members,
            digest=self._evidence,
        )

    @cached_property
    def _evidence(self) -> str:
        """Return a hash of all that the threats attack and are given; a model's code counts by what it answers."""
        base, (one, digest) = self.plan.base, self._model_and_hash
        lines = [digest, answers_of(one.model), str(one.spec), str(base.data), str(base.members), str(base.people)]
        lines += [pictures.digest if pictures else "" for pictures in (self._public, self._pictures_of_members)]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _words(threat: str) -> str:
    return threat.replace("_", " ")
