"""Runs an experiment: federations, attacks, judgement, report. The only place where all rooms meet.

A run folder holds config.toml, manifest.json, captures/, sealed/, models/, reconstructions/, gallery/, scores.csv,
summary.json, report.html and report.md. Every file is written whole or not at all, after each federation and each
attack, so that whatever was finished survives.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from attacks import ATTACKS, build_attack
from attacks.contracts import Reconstruction
from attacks.settings import POST, UNTHRESHOLDED
from attacks.thresholding import thresholded
from fl_sim.captures import CaptureStore, SealedStore
from fl_sim.config import read_toml, validate
from fl_sim.errors import ConfigError, DataError
from fl_sim.records import CapturedUpdate, load_record, save_record
from fl_sim.simulation import check_federation, run_federation
from fl_sim.specs import Scalar
from judges.court import Court
from judges.experiment import Cell, ExperimentConfig, Federation, Plan, make_plan, override_attack
from judges.gallery import build_gallery, save_gallery
from judges.hashes import write_hashes
from judges.manifest import claim_folder, describe_run, manifest_so_far, remove_run, write_manifest
from judges.process import prepare_process
from judges.progress import Watch
from judges.report import write_report
from judges.rows import CONTROL_PREFIX, Score, read_scores, write_scores
from judges.scoring import NO_LABEL
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
        self.court = Court(plan, self.sealed, watch)
        self._before = manifest_so_far(folder)
        self._seconds: dict[str, float] = dict(self._before.get("seconds", {}))
        self._added_cells: dict[str, Mapping[str, Scalar]] = dict(self._before.get("added", {}))
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
        self._prepare()
        for federation in self.plan.federations:
            check_federation(federation.config)
        if fresh:
            remove_run(self.folder)
            self._before, self._seconds, self._added_cells = {}, {}, {}
        claim_folder(self.plan, self.folder)
        planned = {cell.name for cell in self.plan.cells}
        self._added = [row for row in self._rows_so_far() if not row.is_control and row.cell not in planned]
        for federation in self.plan.federations:
            self._federate(federation)
            self.court.measure_distances(federation)
            for cell in self._cells(federation):
                self._attack(federation, cell)
            if self._cells(federation):
                self._controls(federation)
            self._write_tables()
        page = write_report(self.folder, show_faces=show_faces)
        write_hashes(self.folder)
        return page

    def attack(self, cells: Iterable[Cell]) -> Path:
        """Run further attacks on the captures of a finished run; other rows stay as they are."""
        self._prepare()
        federations = {federation.label: federation for federation in self.plan.federations}
        fresh = list(cells)
        replaced, planned = {cell.name for cell in fresh}, {cell.name for cell in self.plan.cells}
        self._scores = [row for row in read_scores(self.folder / "scores.csv") if row.cell not in replaced]
        for federation in federations.values():
            self.court.judge(federation)
            self.court.measure_distances(federation)
        for cell in fresh:
            federation = federations[cell.federation]
            self._attack(federation, cell)
            if cell.name not in planned:
                self._added_cells[cell.name] = cell.settings
            known = {_beginning(own) for own in self._cells(federation)}
            if _beginning(cell) not in known:
                name = f"{CONTROL_PREFIX}no-op ({_beginning(cell)})"
                self._scores = [row for row in self._scores if row.cell != f"{federation.label}/{name}"]
                self._untouched(federation, cell, name)
            self._write_tables()
        page = write_report(self.folder)
        write_hashes(self.folder)
        return page

    def _prepare(self) -> None:
        """Set up the process; refuse a device that is not there."""
        base = self.plan.base
        if base.device == "cuda" and not torch.cuda.is_available():
            raise ConfigError("device: 'cuda' was asked for, but torch finds no such device here; use 'cpu'.")
        prepare_process(base.threads)

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
        results = self._reconstructions(federation, cell)
        rows = self.court.rows(federation, cell.told, cell.name, results)
        self._scores += rows
        sealed = [self.sealed.load(result.capture_id) for result in results]
        save_gallery(build_gallery(rows, results, sealed, spec=self.court.spec(federation)), self.folder)

    def _reconstructions(self, federation: Federation, cell: Cell) -> list[Reconstruction]:
        """Return the answers of a cell; post-optimisation thresholding is of those of the attack without it."""
        if cell.settings.get("thresholding") == POST:
            plain = {key: value for key, value in cell.settings.items() if key not in ("thresholding", "tau")}
            tau = float(_settings(cell)["tau"])
            base = replace(cell, label=cell.source, settings=plain)
            return [thresholded(result, tau) for result in self._reconstructions(federation, base)]
        captures = self._captures(federation)
        results = self._stored(cell, captures)
        if results is None:
            started = time.perf_counter()
            with self.watch.task(f"{cell.label} on {federation.label}") as advance:
                attack = build_attack(cell.attack, cell.settings)
                seed, device = federation.config.seed, self.plan.base.device
                results = attack.reconstruct(captures, seed=seed, device=device, progress=advance)
            for result in results:
                save_record(result, self._path(cell, result.capture_id))
            self._clock("attacks", started)
        return results

    def _stored(self, cell: Cell, captures: Sequence[CapturedUpdate]) -> list[Reconstruction] | None:
        """Return the reconstructions of an earlier call, where all are there and of the same settings."""
        paths = [self._path(cell, capture.id) for capture in captures]
        if not all(path.is_file() for path in paths):
            return None
        results = [load_record(Reconstruction, path) for path in paths]
        return results if all(result.settings == _settings(cell) for result in results) else None

    def _path(self, cell: Cell, capture_id: str) -> Path:
        return self.folder / "reconstructions" / cell.source / f"{capture_id}.safetensors"

    def _controls(self, federation: Federation) -> None:
        """Score what needs no attack: the initial guess of each kind, black, grey and the means."""
        kinds = {_beginning(cell): cell for cell in reversed(self._cells(federation))}
        for kind, cell in kinds.items():
            self._untouched(federation, cell, f"{CONTROL_PREFIX}no-op" + (f" ({kind})" if len(kinds) > 1 else ""))
        for capture in self._captures(federation):
            self._score_control(federation, self.court.plain_controls(federation, capture.id))

    def _untouched(self, federation: Federation, cell: Cell, name: str) -> None:
        """Score the initial guess of an attack: no step taken, no label read off the update."""
        entry = ATTACKS[cell.attack]
        attack = build_attack(cell.attack, entry.settings(**cell.settings).untouched().model_dump())
        for result in attack.reconstruct(self._captures(federation), seed=federation.config.seed):
            labels = torch.full_like(result.labels, NO_LABEL)
            self._score_control(federation, [replace(result, attack=name, labels=labels, seconds=0.0)])

    def _score_control(self, federation: Federation, results: Sequence[Reconstruction]) -> None:
        for result in results:
            self._scores += self.court.rows(federation, result.attack, f"{federation.label}/{result.attack}", [result])

    def _write_tables(self) -> None:
        write_scores([*self._scores, *self._added], self.folder / "scores.csv")
        write_summary(self._summary(), self.folder / "summary.json")
        seconds = {**self._seconds, "judges": self._seconds.get("judges", 0.0) + self.court.seconds}
        told = describe_run(self.plan, self.court.datasets, seconds, self._added_cells, self._before)
        write_manifest(self.folder, told)

    def _summary(self) -> Summary:
        rows = [*self._scores, *self._added]
        seed = self.plan.base.seed
        return summarise(rows, judges=self.court.facts(), distances=self.court.distances, seed=seed)

    def _captures(self, federation: Federation) -> list[CapturedUpdate]:
        names = {federation.repetition(repeat)[0] for repeat in range(federation.repeats)}
        captures = [self.captures.load(key) for key in self.captures.ids() if key.partition("/")[0] in names]
        if not captures:
            raise DataError(f"{self.captures.folder}: expected captures of {federation.label}, found none.")
        return captures

    def _cells(self, federation: Federation) -> list[Cell]:
        return [cell for cell in self.plan.cells if cell.federation == federation.label]

    def _clock(self, part: str, started: float) -> None:
        self._seconds[part] = self._seconds.get(part, 0.0) + time.perf_counter() - started


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


def attack_run(folder: Path, assignments: Sequence[str], watch: Watch, *, device: str = "") -> Path:
    """Run another attack on the captures of the run in `folder` and return the path of the report.

    Args:
        folder: of a finished run.
        assignments: "key=value", of the attack only.
        watch: shows progress.
        device: where the attack computes; "" for the run's own.

    Raises:
        ConfigError: an assignment is wrong, or changes anything but the attack.
        DataError: the folder holds no run.
    """
    if not (folder / "config.toml").is_file():
        raise DataError(f"{folder}: expected the folder of a run, found no config.toml in it.")
    old = read_toml(folder / "config.toml")
    if "task" in old:
        raise ConfigError(
            f"{folder}: holds model inversions, not captures; for another attack on one of its models use "
            f"`spikeleak invert {folder / 'models'}/NAME.safetensors --set attack=...`."
        )
    done, new = make_plan(old), override_attack(old, assignments)
    cells = make_plan(new, named=[assignment.partition("=")[0].strip() for assignment in assignments]).cells
    for cell in cells:
        if any(known.name == cell.name and known.settings != cell.settings for known in done.cells):
            raise ConfigError(
                f"--set: the run has an attack called '{cell.label}' with other settings already, and its results "
                "stay; name a setting that differs with --set attack.KEY=VALUE, so that the new one has its own name."
            )
    if device:
        base = validate(ExperimentConfig, {**done.base.model_dump(), "device": device})
        done = replace(done, base=base)
    return Run(done, folder, watch).attack(cells)


def _settings(cell: Cell) -> dict[str, Any]:
    """Return all settings of a cell's attack."""
    return ATTACKS[cell.attack].settings(**cell.settings).model_dump()


def _beginning(cell: Cell) -> str:
    """Return how an attack's first candidate is drawn and, where it is thresholded, at which tau."""
    settings = _settings(cell)
    kind = str(settings.get("guess", cell.attack))
    spikes = settings.get("thresholding", UNTHRESHOLDED) != UNTHRESHOLDED
    return f"{kind}, tau {settings['tau']:g}" if spikes else kind
