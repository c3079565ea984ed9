"""The threats of an audit besides gradient inversion: what each needs, whether it is there, and carrying them out."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fl_sim.config import read_toml
from fl_sim.datasets.examples import Dataset
from fl_sim.datasets.reading.public import PublicPictures
from fl_sim.errors import ConfigError
from fl_sim.files import sha256
from judges.bench.audit.inversion import RecordedInversion
from judges.bench.audit.membership import RecordedMembership
from judges.bench.audit.models import RecordedModel
from judges.bench.engine_options import EngineOptions
from judges.bench.folder import facts_of_datasets
from judges.plans.audit import AuditPlan
from judges.plans.audit.threats import MEMBERSHIP_TASK, MODEL, MODEL_TASK, NAMES, threat_config
from judges.progress import Watch
from judges.runs.manifest import PUBLIC
from judges.runs.pictures import CAPTURES
from judges.scoring.audit.judged import judged_by, lack_of_pictures
from judges.scoring.audit.public import public_facts
from judges.scoring.membership.recorded import Others

Part = RecordedInversion | RecordedMembership
_GIVE = "give --public FOLDER, public pictures with one subfolder for each class, or --set dataset=NAME"


@dataclass(frozen=True)
class Given:
    """What an audit knows, of which its further threats are made.

    Attributes:
        plan: of the audit.
        folder: of its results.
        models: the last global models that were recorded.
        sealed: {id of a captured update: ids of the sealed batches behind it}, as far as their truth fits them.
        public: the public pictures as the first model takes them; None without any.
        digest: hash of the captures.
    """

    plan: AuditPlan
    folder: Path
    models: Sequence[RecordedModel]
    sealed: Mapping[str, Sequence[str]]
    public: PublicPictures | None
    digest: str

    @property
    def others(self) -> Others:
        """Return where examples come from that no client holds."""
        base = self.plan.base
        return Others(self.models[0].spec.input, base.dataset, base.public)

    def data(self) -> Dataset:
        """Return what trains and measures the judge of model inversions."""
        base = self.plan.base
        if base.dataset is not None:
            return base.dataset.load()
        spec = self.models[0].spec.input
        return judged_by(base.public, spec, CAPTURES, people=base.people, seed=base.seed)

    def evidence(self) -> str:
        """Return a hash of all that the further threats attack and are given."""
        base, one = self.plan.base, self.models[0]
        sealed = sorted({name for names in self.sealed.values() for name in names})
        lines = [self.digest, *(sha256(self.folder / "sealed" / f"{name}.safetensors") for name in sealed)]
        lines += [sha256(model.path) for model in self.models if model.path is not None]
        lines += [self.public.digest if self.public else "", str(base.dataset), base.defence, str(one.spec.input)]
        lines += [base.judge.model_dump_json(), str(base.people)]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def facts(self) -> dict[str, Any]:
        """Return what the manifests of the further threats say of the data."""
        base = self.plan.base
        if base.dataset is not None:
            data = base.dataset.load()
            return {"datasets": facts_of_datasets({data.name: data})}
        entry = {"people": base.people, "source": "the clients of the audited federation"}
        told: dict[str, Any] = {"datasets": {CAPTURES: entry}}
        return told | ({PUBLIC: public_facts(self.public, base.public)} if self.public else {})


@dataclass(frozen=True)
class Threats:
    """The further threats of an audit.

    Attributes:
        parts: {threat: what carries it out}.
        untried: {threat: why it is not attempted}.
    """

    parts: Mapping[str, Part] = field(default_factory=dict)
    untried: Mapping[str, str] = field(default_factory=dict)


def threats_of_audit(given: Given, watch: Watch, options: EngineOptions) -> Threats:
    """Return the further threats that an audit asks for, and why those cannot be attempted for which something lacks.

    Args:
        given: what the audit knows.
        watch: shows progress.
        options: where jobs run; attacks on models are not kept apart.
    """
    parts: dict[str, Part] = {}
    untried: dict[str, str] = {}
    for threat in given.plan.base.further:
        reason = _lack(given, threat)
        if not reason:
            part = _part(given, threat, watch, options)
            reason = part.lack()
            parts |= {} if reason else {threat: part}
        untried |= {threat: reason} if reason else {}
    return Threats(parts, untried)


def _part(given: Given, threat: str, watch: Watch, options: EngineOptions) -> Part:
    """Return what carries out a threat."""
    base, folder = given.plan.base, given.folder / threat
    audit = base.model_dump(include={"seed", "threads", "device"})
    of_models = threat == NAMES[MODEL]
    raw = threat_config(threat, audit, base.model_inversion if of_models else base.membership, given.evidence())
    own = dataclasses.replace(options, isolate=False)
    models = [one for one in given.models if one.model.round and one.spec.input == given.models[0].spec.input]
    if of_models:
        return RecordedInversion(raw, folder, models, given.others, given.data(), given.facts(), watch, own)
    return RecordedMembership(raw, folder, models, given.sealed, given.others, given.facts(), watch, own)


def _lack(given: Given, threat: str) -> str:
    """Return what a threat lacks that both further threats need, or ""."""
    spec, base = given.models[0].spec.input, given.plan.base
    if spec.vocabulary:
        return "the model reads texts, and these attacks ask for inputs of real numbers"
    if spec.classes < 2:
        return "the model has no output for each class"
    if not any(one.model.round for one in given.models):
        return (
            "the last global model that was recorded is the first one, which has seen nobody; record one round more, "
            "or keep the trained model as models/FEDERATION.safetensors"
        )
    held = taken(given.folder / threat, MODEL_TASK if threat == NAMES[MODEL] else MEMBERSHIP_TASK)
    if held:
        return held
    if base.dataset is None and given.public is None:
        what = {NAMES[MODEL]: "no judge can be trained that recognises classes in answers"}
        return f"{what.get(threat, 'there is nobody who is known not to be a member')}; {_GIVE}"
    if given.public is None or base.dataset is not None:
        return ""
    return lack_of_pictures(given.public, judge=threat == NAMES[MODEL])


def taken(folder: Path, task: str) -> str:
    """Return why a folder cannot hold a threat's results: something else is in it; "" if it can."""
    path = folder / "config.toml"
    try:
        other = path.is_file() and read_toml(path).get("task") != task
    except ConfigError:
        other = True
    return f"'{folder}' holds something else; move it away" if other else ""


def carry_out(parts: Iterable[Part], *, fresh: bool, show_faces: bool) -> None:
    """Carry out threats one after the other; what is done of one survives whatever becomes of the next."""
    for part in parts:
        part.execute(fresh=fresh, show_faces=show_faces)
