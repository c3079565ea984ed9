"""Runs an experiment: federations, attacks, judgement, report. The only place where all rooms meet.

A run folder holds config.toml, manifest.json, captures/, sealed/, models/, reconstructions/, gallery/, scores.csv,
summary.json, report.html and report.md. Every file is written whole or not at all, after each federation and each
attack, so that whatever was finished survives.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import tomli_w

from attacks import build_attack
from attacks.contracts import Reconstruction
from fl_sim.captures import CaptureStore, SealedStore
from fl_sim.config import Raw, read_toml
from fl_sim.datasets import load_dataset
from fl_sim.datasets.images import ImageDataset
from fl_sim.errors import ConfigError, DataError
from fl_sim.files import atomic_write
from fl_sim.records import CapturedUpdate, InputSpec, load_record, save_record
from fl_sim.simulation import run_federation
from fl_sim.specs import Scalar
from judges.classifiers import get_judge
from judges.classifiers.cache import Judge
from judges.experiment import TABLES, Cell, Federation, Plan, make_plan
from judges.gallery import build_gallery, save_gallery
from judges.manifest import describe_run, write_manifest
from judges.process import prepare_process
from judges.progress import Watch
from judges.report import write_report
from judges.rows import CONTROL_PREFIX, Score, read_scores, write_scores
from judges.scoring import control_reconstructions, mean_image, score
from judges.summary import Summary, summarise, write_summary


class Run:
    """One experiment in one folder.

    Args:
        plan: the experiment.
        folder: of its results; made where it is missing.
        watch: shows progress.
    """

    def __init__(self, plan: Plan, folder: Path, watch: Watch) -> None:
        self.plan, self.folder, self.watch = plan, folder, watch
        self.captures, self.sealed = CaptureStore(folder / "captures"), SealedStore(folder / "sealed")
        self.seconds: dict[str, float] = {}
        self._datasets: dict[str, ImageDataset] = {}
        self._judges: dict[str, Judge] = {}
        self._scores: list[Score] = []

    def execute(self, *, show_faces: bool = False) -> Path:
        """Run all federations and all attacks and return the path of the report.

        What an earlier call with the same config has finished is not done again.

        Raises:
            ConfigError: the folder holds another experiment.
            DataError: a data set or a file of the run is missing or corrupt.
        """
        prepare_process(self.plan.base.threads)
        self._claim_folder()
        for federation in self.plan.federations:
            self._federate(federation)
            for cell in self._cells(federation):
                self._attack(federation, cell)
            self._controls(federation)
            self._write_tables()
        return write_report(self.folder, show_faces=show_faces)

    def attack(self, cells: Iterable[Cell]) -> Path:
        """Run further attacks on the captures of a finished run; other rows stay as they are."""
        prepare_process(self.plan.base.threads)
        federations = {federation.label: federation for federation in self.plan.federations}
        fresh = list(cells)
        replaced = {_cell_name(cell.federation, cell.label) for cell in fresh}
        self._scores = [row for row in read_scores(self.folder / "scores.csv") if row.cell not in replaced]
        for cell in fresh:
            self._attack(federations[cell.federation], cell)
            self._write_tables()
        return write_report(self.folder)

    def _claim_folder(self) -> None:
        """Write the config, or check that the folder holds the same one."""
        path = self.folder / "config.toml"
        if not path.is_file():
            atomic_write(path, tomli_w.dumps(self.plan.raw))
        elif read_toml(path) != self.plan.raw:
            raise ConfigError(
                f"{self.folder}: holds another experiment (its config.toml differs). "
                "Choose another folder with --out, or remove it with --fresh."
            )

    def _federate(self, federation: Federation) -> None:
        started = time.perf_counter()
        with self.watch.task(f"federation {federation.label}") as advance:
            for repeat in range(federation.repeats):
                name, config = federation.repetition(repeat)
                if not (self.folder / "models" / f"{name}.safetensors").is_file():
                    run_federation(config, output=self.folder, federation_id=name)
                advance(repeat + 1, federation.repeats)
        self._clock("federations", started)

    def _attack(self, federation: Federation, cell: Cell) -> None:
        """Attack, score and keep one cell."""
        captures = self._captures(federation)
        results = self._stored(cell, captures)
        if results is None:
            started = time.perf_counter()
            with self.watch.task(f"{cell.label} on {federation.label}") as advance:
                results = self._reconstruct(cell, captures, advance=advance)
            for result in results:
                save_record(result, self._path(cell, result.capture_id))
            self._clock("attacks", started)
        name = cell.label if cell.label != cell.attack else cell.attack
        rows = self._judge(federation, name, _cell_name(federation.label, cell.label), results)
        self._scores += rows
        sealed = [self.sealed.load(result.capture_id) for result in results]
        save_gallery(build_gallery(rows, results, sealed, spec=self._spec(federation)), self.folder)

    def _reconstruct(self, cell: Cell, captures: Sequence[CapturedUpdate], **extra: Any) -> list[Reconstruction]:  # noqa: ANN401
        advance = extra.pop("advance", None)
        attack = build_attack(cell.attack, {**cell.settings, **extra})
        base = self.plan.base
        return attack.reconstruct(captures, seed=base.seed, device=base.device, progress=advance)

    def _stored(self, cell: Cell, captures: Sequence[CapturedUpdate]) -> list[Reconstruction] | None:
        """Return the reconstructions of an earlier call, where all are there."""
        paths = [self._path(cell, capture.id) for capture in captures]
        return [load_record(Reconstruction, path) for path in paths] if all(path.is_file() for path in paths) else None

    def _path(self, cell: Cell, capture_id: str) -> Path:
        return self.folder / "reconstructions" / cell.label / f"{capture_id}.safetensors"

    def _controls(self, federation: Federation) -> None:
        """Score what needs no attack: the initial guess of each kind, black, and the mean image."""
        captures = self._captures(federation)
        guesses: dict[object, Cell] = {}
        for cell in self._cells(federation):
            guesses.setdefault(cell.settings.get("guess", "default"), cell)
        for kind, cell in guesses.items():
            name = f"{CONTROL_PREFIX}no-op" + (f" ({kind})" if len(guesses) > 1 else "")
            untouched = self._reconstruct(cell, captures, iterations=0)
            self._score_control(federation, [replace(result, attack=name) for result in untouched])
        mean, spec = mean_image(self._dataset(federation).train), self._spec(federation)
        for capture in captures:
            self._score_control(federation, control_reconstructions(self.sealed.load(capture.id), spec, mean))

    def _score_control(self, federation: Federation, results: Sequence[Reconstruction]) -> None:
        for result in results:
            cell = _cell_name(federation.label, result.attack)
            self._scores += self._judge(federation, result.attack, cell, [result])

    def _judge(self, federation: Federation, attack: str, cell: str, results: Sequence[Reconstruction]) -> list[Score]:
        """Open the seal and return the rows."""
        config = federation.config
        context: dict[str, Scalar] = {
            "experiment": self.plan.base.name,
            "cell": cell,
            "dataset": config.dataset.name,
            "model": config.model.name,
            "init": config.model.init,
            "attack": attack,
            "seed": config.seed,
        }
        spec, judge = self._spec(federation), self._judge_of(federation)
        rows = []
        for result in results:
            repeat = int(result.capture_id.partition("/")[0].rpartition("-")[2])
            sealed = self.sealed.load(result.capture_id)
            rows += score(result, sealed, spec=spec, judge=judge, context=context | {"repeat": repeat})
        return rows

    def _write_tables(self) -> None:
        write_scores(self._scores, self.folder / "scores.csv")
        write_summary(self._summary(), self.folder / "summary.json")
        write_manifest(self.folder, describe_run(self.plan, self._datasets, self.seconds))

    def _summary(self) -> Summary:
        facts = {judge.dataset: judge.facts() for judge in self._judges.values()}
        return summarise(self._scores, judges=facts, seed=self.plan.base.seed)

    def _captures(self, federation: Federation) -> list[CapturedUpdate]:
        names = {federation.repetition(repeat)[0] for repeat in range(federation.repeats)}
        captures = [self.captures.load(key) for key in self.captures.ids() if key.partition("/")[0] in names]
        if not captures:
            raise DataError(f"{self.captures.folder}: expected captures of {federation.label}, found none.")
        return captures

    def _cells(self, federation: Federation) -> list[Cell]:
        return [cell for cell in self.plan.cells if cell.federation == federation.label]

    def _spec(self, federation: Federation) -> InputSpec:
        return self._dataset(federation).spec

    def _dataset(self, federation: Federation) -> ImageDataset:
        settings = federation.config.dataset
        dataset = load_dataset(settings.name, root=settings.root, size=settings.size)
        self._datasets[settings.name] = dataset
        return dataset

    def _judge_of(self, federation: Federation) -> Judge | None:
        name = self.plan.base.judge.name
        dataset = self._dataset(federation)
        if name == "none":
            return None
        key = dataset.digest
        if key not in self._judges:
            started = time.perf_counter()
            with self.watch.task(f"judge {name} on {dataset.name}") as advance:
                self._judges[key] = get_judge(name, dataset, seed=0, progress=advance)
            self._clock("judges", started)
        return self._judges[key]

    def _clock(self, part: str, started: float) -> None:
        self.seconds[part] = self.seconds.get(part, 0.0) + time.perf_counter() - started


def run_experiment(plan: Plan, folder: Path, watch: Watch, *, fresh: bool = False, show_faces: bool = False) -> Path:
    """Run `plan` in `folder` and return the path of the report.

    Args:
        plan: the experiment.
        folder: of its results.
        watch: shows progress.
        fresh: remove what an earlier run left there; only a folder that holds a config.toml of ours is removed.
        show_faces: whether the report shows pictures of real people.
    """
    if fresh and (folder / "config.toml").is_file():
        shutil.rmtree(folder)
    return Run(plan, folder, watch).execute(show_faces=show_faces)


def attack_run(folder: Path, assignments: Sequence[str], watch: Watch) -> Path:
    """Run another attack on the captures of the run in `folder` and return the path of the report.

    Raises:
        ConfigError: an assignment is wrong, or changes anything but the attack.
        DataError: the folder holds no run.
    """
    if not (folder / "config.toml").is_file():
        raise DataError(f"{folder}: expected the folder of a run, found no config.toml in it.")
    old = read_toml(folder / "config.toml")
    new = override_attack(old, assignments)
    plan = make_plan(new, named=[assignment.partition("=")[0].strip() for assignment in assignments])
    done = Run(plan, folder, watch)
    return done.attack(plan.cells)


def override_attack(raw: Raw, assignments: Sequence[str]) -> Raw:
    """Return `raw` with its attack replaced by what the assignments say; a new name drops the old one's settings."""
    from fl_sim.config import override

    changed = override({key: value for key, value in raw.items() if key != "attack"}, assignments, TABLES)
    if {key: value for key, value in changed.items() if key != "attack"} != {
        k: v for k, v in raw.items() if k != "attack"
    }:
        raise ConfigError("--set: only attack settings can change here; for another federation start a new run.")
    return changed


def _cell_name(federation: str, attack: str) -> str:
    return f"{federation}/{attack}"
