"""Runs an experiment of model inversion: targets, attacks, judgement, report.

A run folder holds config.toml, manifest.json, models/, inversions/, gallery/, scores.csv, summary.json, report.html and
report.md. Every file is written whole or not at all. An answer is kept as soon as it is found, and what was judged of
it beside it, so that whatever was finished survives.
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import torch

from attacks import MODEL_INVERSIONS, build_inversion
from attacks.contracts import Inversion
from attacks.posterior import model_id
from fl_sim.datasets import load_dataset
from fl_sim.datasets.examples import Dataset
from fl_sim.errors import ConfigError
from fl_sim.records import load_record, save_record
from fl_sim.simulation import check_federation
from judges.classifiers import JudgeOptions, get_judge
from judges.classifiers.cache import Judge
from judges.csv_rows import write_rows
from judges.hashes import write_hashes
from judges.inversion.album import build_album, save_album
from judges.inversion.judgement import judgement
from judges.inversion.metrics import Repeated
from judges.inversion.plan import InversionCell, InversionPlan, TargetPlan
from judges.inversion.report import write_inversion_report
from judges.inversion.rows import CENTRAL, FEDERATION, ClassScore, TargetFacts
from judges.inversion.scoring import class_scores, plain_controls
from judges.inversion.summary import judge_key, summarise, write_inversions
from judges.inversion.targets import Trained, trained_targets
from judges.manifest import claim_folder, describe_run, manifest_so_far, remove_run, write_manifest
from judges.process import prepare_process
from judges.progress import Watch


class InversionRun:
    """One experiment in one folder.

    Args:
        plan: the experiment.
        folder: of its results; made where it is missing.
        watch: shows progress.
    """

    def __init__(self, plan: InversionPlan, folder: Path, watch: Watch) -> None:
        self.plan, self.folder, self.watch = plan, folder, watch
        self._before = manifest_so_far(folder)
        self._seconds: dict[str, float] = dict(self._before.get("seconds", {}))
        self._datasets: dict[str, Dataset] = {}
        self._judges: dict[str, Judge] = {}
        self._rows: list[ClassScore] = []
        self._targets: list[TargetFacts] = []
        self._draws: dict[str, Repeated] = {}
        self._plain: dict[str, list[ClassScore]] = {}

    def execute(self, *, fresh: bool = False, show_faces: bool = False) -> Path:
        """Train all targets, attack them and return the path of the report.

        What an earlier call with the same config has finished is not done again. What can be refused is refused before
        anything is removed or written.

        Raises:
            ConfigError: the folder holds another experiment.
            DataError: a data set or a file of the run is missing or corrupt.
        """
        base = self.plan.base
        if base.device == "cuda" and not torch.cuda.is_available():
            raise ConfigError("device: 'cuda' was asked for, but torch finds no such device here; use 'cpu'.")
        prepare_process(base.threads)
        for target in self.plan.targets:
            self._dataset(target)
            if base.target == FEDERATION:
                check_federation(target.simulation(base.seed))
        if fresh:
            remove_run(self.folder)
            self._before, self._seconds = {}, {}
        claim_folder(self.plan, self.folder)
        for target in self.plan.targets:
            for seed in target.seeds:
                self._attack_all(target, seed)
        page = write_inversion_report(self.folder, show_faces=show_faces)
        write_hashes(self.folder)
        return page

    def _attack_all(self, target: TargetPlan, seed: int) -> None:
        """Attack the target of a seed in every way, after every round that was kept."""
        dataset = self._dataset(target)
        for trained in trained_targets(target, seed, dataset, self.folder, spent=self._seconds, watch=self.watch):
            self._targets.append(trained.facts)
            for cell in self.plan.attacks_on(target):
                for number, attack_seed in enumerate(self._attack_seeds(cell)):
                    first = seed == target.config.seed and number == 0
                    self._attack(target, cell, trained, attack_seed, first=first)
            self._controls(target, trained)
            self._write_tables()

    def _attack(self, target: TargetPlan, cell: InversionCell, trained: Trained, seed: int, *, first: bool) -> None:
        """Attack a target once, and judge the answer and its values in random order.

        Args:
            target: of which kind.
            cell: the attack.
            trained: the model.
            seed: of the attack.
            first: whether this is the attack whose answer is drawn again and shown.
        """
        path = self.folder / "inversions" / _name(target, trained) / f"{cell.label}-{seed:03d}.safetensors"
        inversion = self._inversion(cell, trained, seed, path)
        with self.watch.task(f"judging {cell.label} on {path.parent.name}, seed {seed}"):
            found = judgement(
                inversion,
                self._judge(target),
                self._dataset(target),
                name=cell.label,
                context=self._context(target, trained, cell.label),
                draws=self.plan.base.draws if first else 0,
                path=path.with_suffix(".json"),
            )
        self._rows += [*found.rows, *found.control]
        if found.draws is not None:
            self._draws[found.rows[0].cell] = found.draws
        if first:
            save_album(build_album(inversion, found.rows, found.nearest, self._dataset(target)), self.folder)

    def _inversion(self, cell: InversionCell, trained: Trained, seed: int, path: Path) -> Inversion:
        """Return the answer of an attack: that of an earlier call, where it is of the same model and settings."""
        settings = MODEL_INVERSIONS[cell.attack].settings.model_validate(cell.settings).model_dump()
        if path.is_file():
            kept = load_record(Inversion, path)
            if kept.settings == settings and kept.model_id == model_id(trained.model):
                return kept
        started = time.perf_counter()
        with self.watch.task(f"{cell.label} on {path.parent.name}, seed {seed}") as advance:
            attack = build_inversion(cell.attack, cell.settings)
            classes = range(trained.facts.classes)
            found = attack.invert(trained.model, classes, seed=seed, device=self.plan.base.device, progress=advance)
        self._clock("attacks", started)
        save_record(found, path)
        return found

    def _attack_seeds(self, cell: InversionCell) -> range:
        """Return the seeds of the attacks on one target; one where nothing is drawn."""
        base = self.plan.base
        return range(base.seed, base.seed + (base.attack_repeats if MODEL_INVERSIONS[cell.attack].draws else 1))

    def _controls(self, target: TargetPlan, trained: Trained) -> None:
        """Score the controls that need no attack; they are the same whatever the target's seed and round."""
        judge, dataset, base = self._judge(target), self._dataset(target), self.plan.base
        key = judge_key(dataset.name, judge.name)
        if key not in self._plain:
            spiking = target.config.model.timesteps if target.spiking else 0
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
        settings = target.config.dataset
        data = load_dataset(settings.name, root=settings.root, size=settings.size, framing=settings.framing)
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
            self._clock("judges", started)
        return self._judges[key]

    def _write_tables(self) -> None:
        """Write what is known so far."""
        facts = {key: judge.facts() for key, judge in self._judges.items()}
        summary = summarise(self._rows, self._targets, judges=facts, draws=self._draws, seed=self.plan.base.seed)
        write_rows(ClassScore, self._rows, self.folder / "scores.csv")
        write_inversions(summary, self.folder / "summary.json")
        told = describe_run(self.plan, self._datasets, self._seconds, {}, self._before)
        write_manifest(self.folder, {**told, "targets": {plan.label: _training(plan) for plan in self.plan.targets}})

    def _clock(self, part: str, started: float) -> None:
        self._seconds[part] = self._seconds.get(part, 0.0) + time.perf_counter() - started


def run_inversions(
    plan: InversionPlan, folder: Path, watch: Watch, *, fresh: bool = False, show_faces: bool = False
) -> Path:
    """Run `plan` in `folder` and return the path of the report.

    Args:
        plan: the experiment.
        folder: of its results.
        watch: shows progress.
        fresh: remove what an earlier run left there, and nothing else; see `judges.manifest.remove_run`.
        show_faces: whether the report shows pictures of real people.
    """
    return InversionRun(plan, folder, watch).execute(fresh=fresh, show_faces=show_faces)


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
