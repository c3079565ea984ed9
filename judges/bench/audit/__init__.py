"""Audits an existing federation: attacks its captures, and scores the answers where its clients sealed the truth.

The folder holds captures/, as written by `CuriousGrid` with a `CaptureStore`, and sealed/ if the clients wrote their
batches there. The audit adds the files that a run of an experiment writes: reconstructions, rows and a report.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any

import tomli_w

from attacks.preflight.self_check import check_attackable
from fl_sim.captures import sealed_behind
from fl_sim.config import read_toml
from fl_sim.datasets.reading.public import PublicPictures
from fl_sim.defences import NO_DEFENCE
from fl_sim.errors import ConfigError
from fl_sim.files import atomic_write
from fl_sim.observed import assuming, contradictions, same_problem
from fl_sim.records import CapturedUpdate
from fl_sim.specs import InputSpec, ModelSpec, Scalar
from judges.bench.audit.costs import cost, out_of_reach
from judges.bench.audit.models import recorded_models
from judges.bench.audit.stored import (
    check_dataset,
    client_facts,
    conversions,
    digest_of,
    in_groups,
    remarks_on,
    stored_updates,
)
from judges.bench.audit.threats import Given, Threats, carry_out, threats_of_audit
from judges.bench.engine_options import EngineOptions
from judges.bench.engines import Engine
from judges.bench.execution import renew_report
from judges.bench.folder import facts_of_datasets, remove_entries
from judges.bench.gradient_inversion.cells import match_updates
from judges.bench.gradient_inversion.updates import AttackedUpdates
from judges.classifiers import check_judge
from judges.plans.audit import TASK, AuditPlan
from judges.plans.base import APART
from judges.progress import Watch
from judges.runs.lock import sole_writer
from judges.runs.manifest import CLIENTS, CONTROLS, PUBLIC, RUNS_OF_THREATS, UNTRIED, WARNINGS, WRITTEN, write_manifest
from judges.runs.pictures import CAPTURES
from judges.scoring.audit.checks import left_out, other_order, out_of_range, rounding_grew, wrong_problem
from judges.scoring.audit.public import origin, public_facts, public_means
from judges.scoring.truths import Evidence, Victim

GIVEN = ("captures", "sealed", "models", "live")
"""Entries of the folder that an audit reads and never removes."""

EVIDENCE = "captures_sha256"
"""Key of the manifest: a hash of the captures, which says whether the answers of an earlier call belong to them."""


class Audit(AttackedUpdates[AuditPlan]):
    """The audit of one folder, which holds captures/, and sealed/ where the truth is known; see `Execution`."""

    complete = False

    def __init__(self, plan: AuditPlan, folder: Path, watch: Watch, options: EngineOptions | None = None) -> None:
        super().__init__(plan, folder, watch, options, name=folder.resolve().name, public=plan.base.public)
        self._evidence: list[Evidence] = []
        self._doubts: list[str] = []
        self._giants: list[str] = []
        self._problems: dict[Hashable, list[str]] = {}
        self._digest = ""
        self._clients: list[dict[str, Any]] = []
        self._public: dict[InputSpec, PublicPictures] = {}
        self._sealed: dict[str, tuple[str, ...]] = {}
        self._threats = Threats()

    def check(self) -> None:
        """Check the captures and the truth before anything is written.

        Raises:
            ConfigError: a model is not in the table or cannot be attacked, a fact that an attack needs is neither known
                nor assumed, or public pictures cannot be inputs of a model.
            DataError: there are no captures, one of them is corrupt, or the public pictures cannot be read or are in
                other classes.
        """
        self._evidence = list(self.groups())
        for evidence in self._evidence:
            dataset = self.session.dataset(evidence)
            check_dataset(dataset, evidence.model)
            if dataset is not None:
                check_judge(self.plan.base.judge, dataset, device=self.plan.base.device)
            self._read_public(evidence.spec)
            self.auxiliary.read(self.plan.cells, evidence.spec, evidence.dataset)
        firsts = [self.captures.stored(names[0]) for names in self._problems.values()]
        self._clients = [client_facts(one, assuming(one, self.assumed())) for one in firsts]
        self._doubts = remarks_on(self.captures) + self.remarks()
        self._digest = digest_of([self.captures.path(one.id) for one in self._victims()])
        if match_updates(self.plan.cells):
            check_attackable(self.victim(names[0]) for names in self._problems.values())
        self.refuse_pairs((cell, self.victim(own[0])) for cell in self.plan.cells for own in self._problems.values())
        for evidence in self._evidence:
            for capture in self.compare(evidence, self.session.open(evidence, complete=False)):
                self._doubts += out_of_range(capture, self.session.truth(capture.id))
            self._sealed |= {victim.id: victim.seals for victim in self.session.known(evidence)}
            stored = (assuming(self.captures.stored(victim.id), self.assumed()) for victim in evidence.victims)
            found = [text for capture in stored for text in contradictions(capture)]
            more = f" So do {len(found) - 1} more." if len(found) > 1 else ""
            self._doubts += [found[0] + more] if found else []
        self._doubts += left_out(self.session.unfit.values())
        if self.plan.base.defence == NO_DEFENCE:
            self._doubts += wrong_problem(self.session.mismatches) + other_order(self.session.reordered)
            self._doubts += rounding_grew(self.session.rounding)
        self._tell_costs()
        self._warn()
        self._threats = self.threats()
        for threat, reason in self._threats.untried.items():
            self.watch.say(f"note: {threat.replace('_', ' ')}: not attempted, since {reason}.")

    def remarks(self) -> list[str]:
        """Return what is to be said of the captures as a whole, as sentences."""
        return self._giants

    def threats(self) -> Threats:
        """Return the threats besides gradient inversion that are asked for, and why some are not attempted."""
        base = self.plan.base
        if not base.further:
            return Threats()
        models = tuple(recorded_models(self.folder, self._evidence, self.assumed(), seed=base.seed))
        public = self._public.get(models[0].spec.input)
        given = Given(self.plan, self.folder, models, self._sealed, public, self._digest)
        return threats_of_audit(given, self.watch, self.options)

    def _tell_costs(self) -> None:
        """Say how long the attacks take at most; whose inputs they do not look for becomes a reason to doubt."""
        counts = [(self.victim(names[0]), len(names)) for names in self._problems.values()]
        self._doubts += out_of_reach(self.plan.cells, counts)
        told = cost(self.plan.cells, counts)
        if told:
            self.watch.say(f"note: {told}")

    def claim(self, *, fresh: bool) -> None:
        """Claim the folder, and keep the results of an earlier audit of the same captures with the same config.

        Where no audit has run, files with the names of ours belong to somebody else and stay too.

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
            learned = self._tell_of_other_pictures() and any(cell.auxiliary for cell in self.plan.cells)
            captures = self.before.get(EVIDENCE, self._digest)
            unlike = [
                {key: value for key, value in raw.items() if key not in APART} for raw in (earlier, self.plan.raw)
            ]
            other = unlike[0] != unlike[1] or captures != self._digest
            flawed = self._others(same=captures == self._digest)
            if fresh or other or learned:
                remove_entries(self.folder, set(WRITTEN) - set(GIVEN))
                self.finished = self.finished.only(flawed)
        atomic_write(path, tomli_w.dumps(self.plan.raw))
        self.recall()
        write_manifest(self.folder, {**self.before, EVIDENCE: self._digest})

    def _others(self, *, same: bool) -> list[str]:
        """Return the captures and sealed batches of the audit before that are gone or changed and keep their hashes.

        Args:
            same: whether the captures are those of the audit before. If not, that is said, and all that there is now is
                taken as given.
        """
        flawed = [path for path in self.finished.flaws if path.startswith(("captures/", "sealed/"))]
        for path in () if same else flawed:
            told = "the captures that there are now are attacked anew"
            self.watch.say(f"note: {path} {self.finished.flaws[path]}; {told}.")
        return flawed if same else []

    def _tell_of_other_pictures(self) -> bool:
        """Say, and return, that public pictures are others than those of the audit before.

        Controls are always scored anew, and attacks that had these pictures must be made anew.
        """
        before = self.before.get(PUBLIC)
        now = next((one.digest for one in self._public.values()), None)
        others = isinstance(before, dict) and now not in (None, before.get("sha256"))
        if others:
            self.watch.say(
                f"note: the public pictures in {self.plan.base.public} are others than those of the audit before in "
                "this folder; its controls are scored anew."
            )
        return others

    def gather(self, engine: Engine) -> Iterator[Evidence]:  # noqa: ARG002 - the captures exist
        """Yield the captures that can share a call, model by model."""
        yield from self.evidence()

    def evidence(self) -> list[Evidence]:
        """Return the captures that can share a call, model by model, after `check`."""
        return self._evidence

    def assumed(self) -> Mapping[str, Scalar]:
        """Return the facts about the clients to assume where their captures do not state them."""
        assumed: dict[str, Scalar] = self.plan.base.assumed.model_dump(exclude_none=True)
        return assumed

    def facts(self) -> Mapping[str, Any]:
        """Return further entries of the manifest."""
        facts: dict[str, Any] = {
            "experiment": f"audit of {len(self._victims())} captures",
            EVIDENCE: self._digest,
            CLIENTS: self._clients,
        }
        facts |= super().facts()
        if not self.session.datasets:
            source = "the clients of the audited federation"
            known = facts_of_datasets(self.datasets())
            facts["datasets"] = {CAPTURES: {"people": self.plan.base.people, "source": source}, **known}
        if self._public:
            facts[PUBLIC] = public_facts(next(iter(self._public.values())), self.plan.base.public)
        if self.rows():
            facts[CONTROLS] = self._origin()
        if self._threats.parts:
            facts[RUNS_OF_THREATS] = list(self._threats.parts)
        if self._threats.untried:
            facts[UNTRIED] = dict(self._threats.untried)
        converted = conversions(self.session.converted)
        facts |= {"converted": converted} if converted else {}
        return facts | ({WARNINGS: self._doubts} if self._doubts else {})

    def execute(self, *, fresh: bool = False, show_faces: bool = False) -> Path:
        """Attack captures, then global models, tell of conversions and doubts, and return the report's path."""
        with contextlib.ExitStack() as stack:
            if self.folder.is_dir():
                stack.enter_context(sole_writer(self.folder))
            page = super().execute(fresh=fresh, show_faces=show_faces)
            if self._threats.parts:
                carry_out(self._threats.parts.values(), fresh=fresh, show_faces=show_faces)
                page = renew_report(self.plan.raw, self.folder, show_faces=show_faces)
        for text in [*conversions(self.session.converted), *([self._origin()] if self.rows() else [])]:
            self.watch.say(f"note: {text}")
        self._warn()
        return page

    def _read_public(self, spec: InputSpec) -> None:
        """Read the public pictures, if there are any, as a model takes them."""
        if self.plan.base.public and spec not in self._public:
            self._public[spec], self.session.public[spec] = public_means(Path(self.plan.base.public), spec)

    def _origin(self) -> str:
        """Return where the controls come from that need other examples."""
        named = self.plan.base.dataset
        events = any(evidence.spec.timesteps for evidence in self._evidence)
        return origin(self._public, self.plan.base.public, dataset=named.name if named else "", events=events)

    def _warn(self) -> None:
        """Tell the reasons to doubt the scores, before the attack and beside its verdict."""
        for text in self._doubts:
            self.watch.say(f"warning: {text}")

    def _victims(self) -> list[Victim]:
        return [victim for evidence in self._evidence for victim in evidence.victims]

    def groups(self) -> Iterator[Evidence]:
        """Yield the captures that can share a call: those with the same model and batch size."""
        groups: dict[tuple[ModelSpec, int | None], list[Victim]] = defaultdict(list)
        self._giants = []
        for capture in stored_updates(self.folder, self.assumed()):
            try:
                self.note_problem(capture)
            except ConfigError as error:
                self._giants.append(f"{error} This client is left out.")
                continue
            groups[capture.model, capture.batch_size].append(
                Victim(capture.id, capture.round, sealed=sealed_behind(capture))
            )
        if not groups:
            raise ConfigError(self._giants[0])
        yield from in_groups(groups, self.plan.base)

    def note_problem(self, capture: CapturedUpdate) -> None:
        """Note that an update of its kind must pass the self-check."""
        self._problems.setdefault(same_problem(capture), []).append(capture.id)
