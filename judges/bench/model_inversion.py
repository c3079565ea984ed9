"""Runs an experiment of model inversion: targets, attacks, judgement.

A run folder holds config.toml, manifest.json, models/, inversions/, gallery/, scores.csv, summary.json and the report.
Every file is written atomically. An answer is saved as soon as it is computed, and its judgement beside it, so that an
interruption loses no finished work.
"""

from __future__ import annotations

import dataclasses
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attacks import MODEL_INVERSIONS
from attacks.contracts import Inversion
from fl_sim.datasets.examples import Dataset
from fl_sim.errors import ConfigError
from fl_sim.records import TrainedModel, load_record
from fl_sim.simulation import check_federation
from judges.bench.engine_options import EngineOptions
from judges.bench.engines import Engine, Started
from judges.bench.execution import Execution, refuse_ray_in_ray
from judges.bench.jobs import InversionJob, kept_answer
from judges.bench.targets import Attackable, TargetJob, Trained, target_data, trained_targets
from judges.classifiers import JudgeOptions, check_judge, get_judge
from judges.classifiers.cache import Judge
from judges.plans.model_inversion import InversionCell, InversionPlan, TargetPlan
from judges.progress import Watch
from judges.runs.identity import SHUFFLED, columns_of
from judges.runs.manifest import FEDERATIONS
from judges.runs.names import control_cell
from judges.runs.pictures import save_pictures
from judges.runs.rows.classes import CENTRAL, FEDERATION, AttackedModel, ClassScore, Repeated, TargetFacts
from judges.runs.tables import write_rows
from judges.scoring.gallery import build_album
from judges.scoring.judgement import judgement
from judges.scoring.model_inversion import Shown, class_scores, plain_controls, shuffled_answer
from judges.scoring.models.transfer import tried
from judges.summaries.model_inversion import judge_key, summarise, write_inversions


@dataclass(frozen=True)
class Answer:
    """One attack on one model.

    Attributes:
        cell, seed: the attack.
        path: path of its answer.
        first: whether its answer is redrawn and shown.
        job: the job that computes it; None if it exists.
    """

    cell: InversionCell
    seed: int
    path: Path
    first: bool
    job: Started | None


class InversionRun(Execution[InversionPlan, Attackable, Sequence[Answer]]):
    """One experiment of model inversion in one folder; see `Execution`."""

    def __init__(self, plan: InversionPlan, folder: Path, watch: Watch, options: EngineOptions | None = None) -> None:
        super().__init__(plan, folder, watch, options)
        self._datasets: dict[str, Dataset] = {}
        self._judges: dict[str, Judge] = {}
        self._rows: list[ClassScore] = []
        self._targets: list[TargetFacts] = []
        self._draws: dict[str, Repeated] = {}
        self._plain: dict[tuple[str, int], list[tuple[Shown, list[ClassScore]]]] = {}
        self._unseen: dict[str, list[TrainedModel]] = defaultdict(list)

    def check(self) -> None:
        """Reject missing data sets, and federations that cannot be run."""
        refuse_ray_in_ray(self.plan.base.federation.engine, self.options)
        if self.options.isolate:
            raise ConfigError("--isolate: keeps gradient inversions apart; this is an experiment of model inversion.")
        for target in self.plan.targets:
            check_judge(self._options(target), self._dataset(target), device=self.plan.base.device)
            if self.plan.base.target == FEDERATION:
                check_federation(target.simulation(target.config.seed))

    def tasks(self) -> int:
        """Return the number of targets, of answers and of their judgements, if each target is one model."""
        targets = sum(len(one.seeds) + len(one.unseen) for one in self.plan.targets)
        attacks = [(one, cell) for one in self.plan.targets for cell in self.plan.attacks_on(one)]
        answers = sum(len(one.seeds) * len(self._attack_seeds(cell)) for one, cell in attacks)
        return targets + 2 * answers if self.plan.base.target != FEDERATION else 0

    def makes(self, path: str) -> bool:
        """Return whether a path is that of an answer, of its judgement or of a target."""
        return path.startswith(("inversions/", "models/"))

    def gather(self, engine: Engine) -> Iterator[Attackable]:
        """Train the missing targets, and yield every model under attack; the others only try its answers."""
        wanted = [(target, seed) for target in self.plan.targets for seed in (*target.seeds, *target.unseen)]
        jobs = [Started(engine, self._training(target, seed)) for target, seed in wanted]
        for (target, seed), job in zip(wanted, jobs, strict=True):
            name = target.federation(seed)
            with self.watch.task(f"target {name}") as advance:
                outcome = job.finish(advance)
            if outcome.failure:
                parts = [cell.name for cell in self.plan.attacks_on(target)]
                parts = parts if seed in target.seeds else [f"{target.label}, transfer"]
                self.failed |= {f"{part}, target seed {seed}": outcome.failure for part in parts}
                continue
            if target.config.target == FEDERATION:
                self.federations.check(name)
                self.seconds.setdefault(f"federation {name}", outcome.seconds)
                self.write_tables()  # so that a resumed run knows how long the federation took
            for trained in trained_targets(target, seed, self.folder, spent=self.seconds):
                if seed in target.seeds:
                    yield Attackable(target, trained)
                else:
                    self._targets.append(trained.facts)
                    self._unseen[target.label].append(load_record(TrainedModel, trained.path))

    def start(self, engine: Engine, evidence: Attackable) -> Sequence[Answer]:
        """Start all unfinished attacks on a model."""
        folder, base = self.folder / "inversions" / evidence.name, self.plan.base
        trained, answers = evidence.trained, []
        for cell in self.plan.attacks_on(evidence.plan):
            for number, seed in enumerate(self._attack_seeds(cell)):
                first = trained.facts.seed == evidence.plan.config.seed and number == 0
                path = folder / f"{cell.label}-{seed:03d}.safetensors"
                job = InversionJob(
                    attack=cell.attack,
                    settings=dict(cell.settings),
                    seed=seed,
                    device=base.device,
                    model=trained.path,
                    classes=trained.facts.classes,
                    path=path,
                )
                started = (
                    None if _is_done(cell, trained, kept_answer(Inversion, path, self.watch)) else Started(engine, job)
                )
                answers.append(Answer(cell, seed, path, first=first, job=started))
        return answers

    def judge(self, evidence: Attackable, work: Sequence[Answer]) -> None:
        """Wait for the attacks on a model, and judge their answers and the controls."""
        self._targets.append(evidence.trained.facts)
        for answer in work:
            if self._finished(evidence, answer):
                self._judge_answer(evidence, answer)
        self._judge_controls(evidence)

    def write_rows(self) -> None:
        """Write the rows and their summary."""
        facts = {key: judge.facts() for key, judge in self._judges.items()}
        summary = summarise(self._rows, self._targets, judges=facts, draws=self._draws, seed=self.plan.base.seed)
        write_rows(ClassScore, self._rows, self.folder / "scores.csv")
        write_inversions(summary, self.folder / "summary.json")

    def datasets(self) -> Mapping[str, Dataset]:
        """Return the data sets that were read, by name."""
        return self._datasets

    def facts(self) -> Mapping[str, Any]:
        """Return further entries of the manifest."""
        base = self.plan.base
        targets = {plan.label: _training(plan) for plan in self.plan.targets}
        facts = {"repeats": base.repeats, "engine": base.federation.engine, "targets": targets}
        return facts | ({FEDERATIONS: self.federations.facts()} if base.target == FEDERATION else {})

    def _training(self, target: TargetPlan, seed: int) -> TargetJob:
        """Return the job that trains a target; one that an earlier call has trained in a federation is done."""
        name = target.federation(seed)
        done = target.config.target == FEDERATION and not self.federations.flaw(name)
        if target.config.target == FEDERATION and not done:
            self.federations.tell(name, self.watch)
        return TargetJob(target, seed, self.folder, done)

    def _finished(self, evidence: Attackable, answer: Answer) -> bool:
        """Wait for an answer; return whether it exists."""
        if answer.job is None:
            return True
        with self.watch.task(_described(evidence, answer)) as advance:
            outcome = answer.job.finish(advance)
        self.clock("attacks", outcome.seconds)
        cell = f"{evidence.kind}/{answer.cell.label}"
        if outcome.failure:
            seeds = f"target seed {evidence.trained.facts.seed}, seed {answer.seed}"
            self.failed[f"{cell}, {seeds}"] = outcome.failure
            return False
        if outcome.pieces > 1:
            self.pieces[cell] = outcome.pieces
        return True

    def _judge_answer(self, evidence: Attackable, answer: Answer) -> None:
        """Judge an answer, and its values in random order as a control."""
        cell, dataset = answer.cell, self._dataset(evidence.plan)
        inversion = load_record(Inversion, answer.path)
        with self.watch.task(f"judging {_described(evidence, answer)}"):
            judged = judgement(
                inversion,
                self._judge(evidence.plan),
                dataset,
                varied=cell.varied,
                context=self._context(evidence, f"{evidence.kind}/{cell.label}"),
                control_cell=control_cell(evidence.kind, f"{SHUFFLED} {cell.label}"),
                draws=self.plan.base.draws if answer.first else 0,
                path=answer.path.with_suffix(".json"),
            )
        self._rows += self._tried(evidence, Shown.answer(inversion, cell.varied), judged.rows)
        self._rows += self._tried(evidence, shuffled_answer(inversion, cell.varied), judged.control)
        if judged.draws is not None:
            self._draws[judged.rows[0].cell] = judged.draws
        if answer.first:
            save_pictures(build_album(inversion, judged.rows, judged.nearest, dataset), self.folder)

    def _attack_seeds(self, cell: InversionCell) -> range:
        """Return the seeds of the attacks on one target; a single seed if the attack draws nothing."""
        base = self.plan.base
        return range(base.seed, base.seed + (base.attack_repeats if MODEL_INVERSIONS[cell.attack].draws else 1))

    def _judge_controls(self, evidence: Attackable) -> None:
        """Score the controls that need no attack, which are the same for all seeds and rounds of a target."""
        target, base = evidence.plan, self.plan.base
        judge, dataset = self._judge(target), self._dataset(target)
        spiking = target.config.model.timesteps if target.spiking else 0
        key = judge_key(dataset.name, judge.name), spiking
        if key not in self._plain:
            classes = range(dataset.spec.classes)
            self._plain[key] = [
                (shown, class_scores(shown, judge, dataset, self._context(evidence, ""))[0])
                for seed in range(base.seed, base.seed + base.attack_repeats)
                for shown in plain_controls(dataset, classes, timesteps=spiking, seed=seed)
            ]
        for shown, judged in self._plain[key]:
            context = self._context(evidence, control_cell(evidence.kind, shown.control))
            rows = [dataclasses.replace(row, **context) for row in judged]
            self._rows += self._tried(evidence, shown, rows)

    def _tried(self, evidence: Attackable, shown: Shown, rows: Sequence[ClassScore]) -> Sequence[ClassScore]:
        """Return rows with what the further targets make of the answers, if there are any."""
        others = self._unseen.get(evidence.plan.label)
        if not others:
            return rows
        own = load_record(TrainedModel, evidence.trained.path)
        return tried(rows, shown, own, others, device=self.plan.base.device)

    def _context(self, evidence: Attackable, cell: str) -> dict[str, Any]:
        """Return the columns of a row that identify the model under attack."""
        facts = evidence.trained.facts
        attacked = columns_of(facts, AttackedModel)
        return {**attacked, "experiment": self.plan.base.name, "cell": cell, "target_seed": facts.seed}

    def _dataset(self, target: TargetPlan) -> Dataset:
        """Return the data set on which the targets are trained."""
        data = target_data(target)
        self._datasets[data.name] = data
        return data

    def _judge(self, target: TargetPlan) -> Judge:
        """Return the evaluation network of the targets, which is trained unless it is cached."""
        dataset = self._dataset(target)
        key = judge_key(dataset.name, target.judge)
        if key not in self._judges:
            started, options = time.perf_counter(), self._options(target)
            with self.watch.task(f"judge of {dataset.name}: {target.judge}", aside=True) as advance:
                self._judges[key] = get_judge(options, dataset, device=self.plan.base.device, progress=advance)
            self.clock("judges", time.perf_counter() - started)
        return self._judges[key]

    def _options(self, target: TargetPlan) -> JudgeOptions:
        return JudgeOptions(name=target.judge, **self.plan.base.judge.model_dump())


def _described(evidence: Attackable, answer: Answer) -> str:
    return f"{answer.cell.label} on {evidence.name}, seed {answer.seed}"


def _training(target: TargetPlan) -> dict[str, Any]:
    """Return the settings with which the targets of one kind were trained."""
    config = target.config
    training = config.training if config.target == CENTRAL else config.federation
    model = config.model.model_dump() if target.spiking else {"name": config.model.name, "init": config.model.init}
    return {"model": model, "training": training.model_dump(), "data": config.dataset.framing.model_dump()}


def _is_done(cell: InversionCell, trained: Trained, earlier: Inversion | None) -> bool:
    """Return whether an earlier call left an answer for the same model and settings."""
    return earlier is not None and earlier.settings == cell.all_settings and earlier.model_id == trained.id
