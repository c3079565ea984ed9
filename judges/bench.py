"""Runs an experiment: federations, attacks, judgement, report. The only place where all rooms meet.

A run folder holds config.toml, manifest.json, captures/, sealed/, models/, reconstructions/, gallery/, scores.csv,
summary.json, report.html and report.md. Every file is written whole or not at all, after each federation and each
attack, so that whatever was finished survives.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from attacks import ATTACKS, build_attack
from attacks.contracts import Reconstruction
from fl_sim.captures import CaptureStore, SealedStore
from fl_sim.config import read_toml
from fl_sim.datasets import load_dataset
from fl_sim.datasets.images import ImageDataset
from fl_sim.errors import ConfigError, DataError
from fl_sim.federation.strategies import strategy_arguments
from fl_sim.records import CapturedUpdate, InputSpec, load_record, save_record
from fl_sim.simulation import run_federation
from fl_sim.specs import Scalar
from judges.classifiers import get_judge
from judges.classifiers.cache import Judge
from judges.experiment import Cell, Federation, Plan, make_plan, override_attack
from judges.gallery import build_gallery, save_gallery
from judges.manifest import claim_folder, describe_run, remove_run, seconds_so_far, write_manifest
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
        self._added: list[Score] = []

    def execute(self, *, fresh: bool = False, show_faces: bool = False) -> Path:
        """Run all federations and all attacks and return the path of the report.

        What an earlier call with the same config has finished is not done again, and what `attack` added stays.
        What can be refused is refused before anything is removed or written.

        Raises:
            ConfigError: the folder holds another experiment.
            DataError: a data set or a file of the run is missing or corrupt.
        """
        prepare_process(self.plan.base.threads)
        for federation in self.plan.federations:
            strategy_arguments(federation.config)
            self._dataset(federation)
        if fresh:
            remove_run(self.folder)
        claim_folder(self.plan, self.folder)
        self.seconds = seconds_so_far(self.folder)
        planned = {cell.name for cell in self.plan.cells}
        self._added = [row for row in self._rows_so_far() if not row.is_control and row.cell not in planned]
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
        self.seconds = seconds_so_far(self.folder)
        fresh = list(cells)
        replaced = {cell.name for cell in fresh}
        self._scores = [row for row in read_scores(self.folder / "scores.csv") if row.cell not in replaced]
        for cell in fresh:
            self._attack(federations[cell.federation], cell)
            self._write_tables()
        return write_report(self.folder)

    def _rows_so_far(self) -> list[Score]:
        """Return the rows of an earlier call; none where there was none."""
        path = self.folder / "scores.csv"
        return read_scores(path) if path.is_file() else []

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
        rows = self._judge(federation, cell.label, cell.name, results)
        self._scores += rows
        sealed = [self.sealed.load(result.capture_id) for result in results]
        save_gallery(build_gallery(rows, results, sealed, spec=self._spec(federation)), self.folder)

    def _reconstruct(self, cell: Cell, captures: Sequence[CapturedUpdate], **extra: Any) -> list[Reconstruction]:  # noqa: ANN401
        advance = extra.pop("advance", None)
        attack = build_attack(cell.attack, {**cell.settings, **extra})
        base = self.plan.base
        return attack.reconstruct(captures, seed=base.seed, device=base.device, progress=advance)

    def _stored(self, cell: Cell, captures: Sequence[CapturedUpdate]) -> list[Reconstruction] | None:
        """Return the reconstructions of an earlier call, where all are there and of the same settings."""
        paths = [self._path(cell, capture.id) for capture in captures]
        if not all(path.is_file() for path in paths):
            return None
        results = [load_record(Reconstruction, path) for path in paths]
        settings = ATTACKS[cell.attack].settings(**cell.settings).model_dump()
        return results if all(result.settings == settings for result in results) else None

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
            self._score_control(federation, [replace(result, attack=name, seconds=0.0) for result in untouched])
        mean, spec = mean_image(self._dataset(federation).train), self._spec(federation)
        for capture in captures:
            self._score_control(federation, control_reconstructions(self.sealed.load(capture.id), spec, mean))

    def _score_control(self, federation: Federation, results: Sequence[Reconstruction]) -> None:
        for result in results:
            cell = f"{federation.label}/{result.attack}"
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
        write_scores([*self._scores, *self._added], self.folder / "scores.csv")
        write_summary(self._summary(), self.folder / "summary.json")
        write_manifest(self.folder, describe_run(self.plan, self._datasets, self.seconds))

    def _summary(self) -> Summary:
        facts = {judge.dataset: judge.facts() for judge in self._judges.values()}
        return summarise([*self._scores, *self._added], judges=facts, seed=self.plan.base.seed)

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
        fresh: remove what an earlier run left there, and nothing else; see `remove_run`.
        show_faces: whether the report shows pictures of real people.
    """
    return Run(plan, folder, watch).execute(fresh=fresh, show_faces=show_faces)


def attack_run(folder: Path, assignments: Sequence[str], watch: Watch) -> Path:
    """Run another attack on the captures of the run in `folder` and return the path of the report.

    Raises:
        ConfigError: an assignment is wrong, or changes anything but the attack.
        DataError: the folder holds no run.
    """
    if not (folder / "config.toml").is_file():
        raise DataError(f"{folder}: expected the folder of a run, found no config.toml in it.")
    old = read_toml(folder / "config.toml")
    done, new = make_plan(old), override_attack(old, assignments)
    cells = make_plan(new, named=[assignment.partition("=")[0].strip() for assignment in assignments]).cells
    for cell in cells:
        if any(known.name == cell.name and known.settings != cell.settings for known in done.cells):
            raise ConfigError(
                f"--set: the run has an attack called '{cell.label}' with other settings already, and its results "
                "stay; name a setting that differs with --set attack.KEY=VALUE, so that the new one has its own name."
            )
    return Run(done, folder, watch).attack(cells)
