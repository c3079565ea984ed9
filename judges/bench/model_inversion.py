"""Runs an experiment of model inversion: targets, attacks, judgement, report.

A run folder holds config.toml, manifest.json, models/, inversions/, gallery/, scores.csv, summary.json, report.html and
report.md. Every file is written whole or not at all. An answer is kept as soon as it is found, and what was judged of
it beside it, so that whatever was finished survives.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attacks import MODEL_INVERSIONS
from attacks.contracts import Inversion
from fl_sim.datasets.examples import Dataset
from fl_sim.records import load_record
from fl_sim.simulation import check_federation
from judges.bench.engine_options import EngineOptions
from judges.bench.engines import Engine, Started, open_engine
from judges.bench.execution import Execution
from judges.bench.inversion_answers import Answer, inversion_job, is_done
from judges.bench.targets import TargetJob, Trained, target_data, trained_targets
from judges.classifiers import JudgeOptions, get_judge
from judges.classifiers.cache import Judge
from judges.plans.model_inversion import InversionCell, InversionPlan, TargetPlan
from judges.progress import Watch
from judges.report.model_inversion.report import write_inversion_report
from judges.runs.class_rows import CENTRAL, FEDERATION, ClassScore, TargetFacts
from judges.runs.integrity import write_hashes
from judges.runs.manifest import describe_run, outcome, write_manifest
from judges.runs.tables import write_rows
from judges.scoring.album import build_album, save_album
from judges.scoring.class_metrics import Repeated
from judges.scoring.judgement import judgement
from judges.scoring.model_inversion import class_scores, plain_controls
from judges.summaries.model_inversion import judge_key, summarise, write_inversions


class InversionRun(Execution):
    """One experiment of model inversion in one folder; see `Execution`."""

    def __init__(self, plan: InversionPlan, folder: Path, watch: Watch, options: EngineOptions | None = None) -> None:
        super().__init__(plan, folder, watch, options)
        self.plan = plan
        self._datasets: dict[str, Dataset] = {}
        self._judges: dict[str, Judge] = {}
        self._rows: list[ClassScore] = []
        self._targets: list[TargetFacts] = []
        self._draws: dict[str, Repeated] = {}
        self._plain: dict[tuple[str, int], list[ClassScore]] = {}

    def execute(self, *, fresh: bool = False, show_faces: bool = False) -> Path:
        """Train all targets, attack them and return the path of the report.

        What an earlier call has finished is not done again. A cell for which the memory does not suffice is left out,
        and the manifest says so. What can be refused is refused before anything is removed or written.

        Raises:
            ConfigError: the folder holds another experiment.
            DataError: a data set or a file of the run is missing or corrupt.
        """
        self.set_up()
        for target in self.plan.targets:
            self._dataset(target)
            if self.plan.base.target == FEDERATION:
                check_federation(target.simulation(self.plan.base.seed))
        self.claim(fresh=fresh)
        with open_engine(self.options, self.plan.base.threads) as engine:
            found = [self._start(engine, *one) for one in self._train(engine)]
            for target, trained, answers in found:
                self._targets.append(trained.facts)
                for answer in answers:
                    self._judge_answer(target, trained, answer)
                self._controls(target, trained)
                self._write_tables()
        self._write_tables()
        page = write_inversion_report(self.folder, show_faces=show_faces)
        write_hashes(self.folder)
        return page

    def _train(self, engine: Engine) -> Iterator[tuple[TargetPlan, Trained]]:
        """Train the targets that are not there, and yield every model that is attacked."""
        wanted = [(target, seed) for target in self.plan.targets for seed in target.seeds]
        jobs = [Started(engine, TargetJob(target, seed, self.folder)) for target, seed in wanted]
        for (target, seed), job in zip(wanted, jobs, strict=True):
            name = f"{target.label}-{seed:03d}"
            with self.watch.task(f"target {name}") as advance:
                outcome = job.finish(advance)
            if outcome.failure:
                attacks = self.plan.attacks_on(target)
                self.failed |= {f"{cell.name}, target seed {seed}": outcome.failure for cell in attacks}
                continue
            if target.config.target == FEDERATION:
                self.seconds.setdefault(f"federation {name}", outcome.seconds)
                self._write_tables()  # so that a resumed run knows how long it took
            for trained in trained_targets(target, seed, self.folder, spent=self.seconds):
                yield target, trained

    def _start(self, engine: Engine, target: TargetPlan, trained: Trained) -> tuple[TargetPlan, Trained, list[Answer]]:
        """Start all attacks on a model that are not done."""
        folder, base = self.folder / "inversions" / _name(target, trained), self.plan.base
        answers = []
        for cell in self.plan.attacks_on(target):
            for number, seed in enumerate(self._attack_seeds(cell)):
                first = trained.facts.seed == target.config.seed and number == 0
                job = inversion_job(cell, trained, seed, folder / f"{cell.label}-{seed:03d}.safetensors", base.device)
                started = None if is_done(cell, trained, job.path) else Started(engine, job)
                answers.append(Answer(cell, seed, job.path, first=first, job=started))
        return target, trained, answers

    def _judge_answer(self, target: TargetPlan, trained: Trained, answer: Answer) -> None:
        """Wait for an answer, and judge it and its values in random order."""
        cell, told = answer.cell, f"{answer.cell.label} on {answer.path.parent.name}, seed {answer.seed}"
        context = self._context(target, trained, cell.label)
        if answer.job is not None:
            with self.watch.task(told) as advance:
                outcome = answer.job.finish(advance)
            self.clock("attacks", outcome.seconds)
            if outcome.failure:
                name = f"{context['cell']}, target seed {trained.facts.seed}, seed {answer.seed}"
                self.failed[name] = outcome.failure
                return
            if outcome.pieces > 1:
                self.pieces[str(context["cell"])] = outcome.pieces
        inversion = load_record(Inversion, answer.path)
        with self.watch.task(f"judging {told}"):
            found = judgement(
                inversion,
                self._judge(target),
                self._dataset(target),
                name=cell.label,
                context=context,
                draws=self.plan.base.draws if answer.first else 0,
                path=answer.path.with_suffix(".json"),
            )
        self._rows += [*found.rows, *found.control]
        if found.draws is not None:
            self._draws[found.rows[0].cell] = found.draws
        if answer.first:
            save_album(build_album(inversion, found.rows, found.nearest, self._dataset(target)), self.folder)

    def _attack_seeds(self, cell: InversionCell) -> range:
        """Return the seeds of the attacks on one target; one where nothing is drawn."""
        base = self.plan.base
        return range(base.seed, base.seed + (base.attack_repeats if MODEL_INVERSIONS[cell.attack].draws else 1))

    def _controls(self, target: TargetPlan, trained: Trained) -> None:
        """Score the controls that need no attack; they are the same whatever the target's seed and round."""
        judge, dataset, base = self._judge(target), self._dataset(target), self.plan.base
        spiking = target.config.model.timesteps if target.spiking else 0
        key = judge_key(dataset.name, judge.name), spiking
        if key not in self._plain:
            classes = range(dataset.spec.classes)
            self._plain[key] = [
                row
                for seed in range(base.seed, base.seed + base.attack_repeats)
                for shown in plain_controls(dataset, classes, timesteps=spiking, seed=seed)
                for row in class_scores(shown, judge, dataset, self._context(target, trained, shown.attack))[0]
            ]
        self._rows += [
            dataclasses.replace(row, **self._context(target, trained, row.attack)) for row in self._plain[key]
        ]

    def _context(self, target: TargetPlan, trained: Trained, attack: str) -> dict[str, Any]:
        """Return the columns of a row that say what was attacked."""
        facts = trained.facts
        after = f"@r{facts.round:03d}" if facts.source == FEDERATION else ""
        return {
            "experiment": self.plan.base.name,
            "cell": f"{target.label}{after}/{attack}",
            "dataset": facts.dataset,
            "model": facts.model,
            "source": facts.source,
            "round": facts.round,
            "target_seed": facts.seed,
        }

    def _dataset(self, target: TargetPlan) -> Dataset:
        """Return the data set that the targets are trained on."""
        data = target_data(target)
        self._datasets[data.name] = data
        return data

    def _judge(self, target: TargetPlan) -> Judge:
        """Return the evaluation network of the targets, trained where it is not cached."""
        dataset = self._dataset(target)
        key = judge_key(dataset.name, target.judge)
        if key not in self._judges:
            options = JudgeOptions(name=target.judge, **self.plan.base.judge.model_dump())
            started = time.perf_counter()
            with self.watch.task(f"judge of {dataset.name}: {target.judge}") as advance:
                self._judges[key] = get_judge(options, dataset, device=self.plan.base.device, progress=advance)
            self.clock("judges", time.perf_counter() - started)
        return self._judges[key]

    def _write_tables(self) -> None:
        """Write what is known so far."""
        facts = {key: judge.facts() for key, judge in self._judges.items()}
        summary = summarise(self._rows, self._targets, judges=facts, draws=self._draws, seed=self.plan.base.seed)
        write_rows(ClassScore, self._rows, self.folder / "scores.csv")
        write_inversions(summary, self.folder / "summary.json")
        told = describe_run(self.plan, self._datasets, self.seconds, self.before)
        targets = {plan.label: _training(plan) for plan in self.plan.targets}
        write_manifest(self.folder, {**told, "targets": targets, **outcome(self.folder, self.failed, self.pieces)})


def run_inversions(
    plan: InversionPlan,
    folder: Path,
    watch: Watch,
    *,
    fresh: bool = False,
    show_faces: bool = False,
    options: EngineOptions | None = None,
) -> Path:
    """Run `plan` in `folder` and return the path of the report.

    Args:
        plan: the experiment.
        folder: of its results.
        watch: shows progress.
        fresh: remove what an earlier run left there, and nothing else; see `judges.runs.manifest.remove_run`.
        show_faces: whether the report shows pictures of real people.
        options: where its jobs are done.
    """
    return InversionRun(plan, folder, watch, options).execute(fresh=fresh, show_faces=show_faces)


def _name(target: TargetPlan, trained: Trained) -> str:
    """Return the name of a model in folders."""
    after = f"@r{trained.facts.round:03d}" if trained.facts.source == FEDERATION else ""
    return f"{target.label}-{trained.facts.seed:03d}{after}"


def _training(target: TargetPlan) -> dict[str, Any]:
    """Return how the targets of one kind were trained."""
    config = target.config
    kind = config.training if config.target == CENTRAL else config.federation
    neurons = config.model.model_dump() if target.spiking else {"name": config.model.name, "init": config.model.init}
    return {"model": neurons, "training": kind.model_dump(), "data": config.dataset.framing.model_dump()}
