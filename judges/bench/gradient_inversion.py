"""Runs an experiment: federations, attacks, judgement, report. The only place where all rooms meet.

A run folder holds config.toml, manifest.json, captures/, sealed/, models/, reconstructions/, gallery/, scores.csv,
summary.json, report.html and report.md. Every file is written whole or not at all: the answers of a chunk of victims as
soon as there are any, the rows after each cell, so that whatever was finished survives.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from attacks.contracts import Reconstruction
from fl_sim.captures import SealedStore
from fl_sim.config import SimulationConfig, read_toml, validate
from fl_sim.errors import ConfigError, DataError
from fl_sim.global_models import trained_model_path
from fl_sim.simulation import check_federation
from judges.bench.cells import Attacks, beginning, guesses_of
from judges.bench.engine_options import EngineOptions
from judges.bench.engines import Engine, Started, open_engine
from judges.bench.execution import Execution
from judges.bench.jobs import FederationJob
from judges.plans.audit import TASK as AUDIT
from judges.plans.gradient_inversion import Cell, ExperimentConfig, Federation, Plan, make_plan, override_attack
from judges.progress import Watch
from judges.report.gradient_inversion.report import write_report
from judges.runs.integrity import write_hashes
from judges.runs.manifest import describe_run, outcome, write_manifest
from judges.runs.rows import CONTROL_PREFIX, Score, read_scores, write_scores
from judges.scoring.gallery import build_gallery, save_gallery
from judges.scoring.session import Court
from judges.summaries.gradient_inversion import Summary, summarise, write_summary


class Run(Execution):
    """One experiment of gradient inversion in one folder; see `Execution`."""

    def __init__(self, plan: Plan, folder: Path, watch: Watch, options: EngineOptions | None = None) -> None:
        super().__init__(plan, folder, watch, options)
        self.plan = plan
        self.sealed = SealedStore(self.folder / "sealed")
        self.court = Court(plan, self.sealed, watch)
        self._scores: list[Score] = []
        self._added: list[Score] = []

    def execute(self, *, fresh: bool = False, show_faces: bool = False) -> Path:
        """Run all federations and all attacks and return the path of the report.

        What an earlier call has finished is not done again, and what `attack` added stays. A cell for which the memory
        does not suffice is left out, and the manifest says so. What can be refused is refused before anything is
        removed or written.

        Raises:
            ConfigError: the folder holds another experiment.
            DataError: a data set or a file of the run is missing or corrupt.
        """
        self.set_up()
        for federation in self.plan.federations:
            check_federation(federation.config)
        self.claim(fresh=fresh)
        planned = {cell.name for cell in self.plan.cells}
        self._added = [row for row in self._rows_so_far() if _is_added(row, planned)]
        added = self.before.get("added", {}).keys() - planned
        self.failed = {name: why for name, why in self.before.get("failed", {}).items() if name in added}
        with open_engine(self.options, self.plan.base.threads) as engine:
            attacks = Attacks(self.plan, self.folder, engine, self.watch)
            sound = [federation for federation, whole in self._federate(engine) if whole]
            for federation in sound:
                for cell in self._cells(federation):
                    attacks.start(federation, cell)
            for federation in sound:
                self.court.measure_distances(federation)
                self._examine(federation, attacks)
                cells = self._cells(federation)
                self._score(federation, cells, attacks, _names_of_guesses(cells))
                for capture in attacks.keys(federation) if cells else ():
                    self._score_controls(federation, self.court.plain_controls(federation, capture))
                self._write_tables()
        return self._finish(show_faces=show_faces)

    def attack(self, cells: Iterable[Cell]) -> Path:
        """Run further attacks on the captures of a finished run; other rows stay as they are.

        A federation that the run could not do has none, and is left out.
        """
        self.set_up()
        self.recall()
        there = [federation for federation in self.plan.federations if not self._lacking(federation)]
        federations = {federation.label: federation for federation in there}
        wanted = list(cells)
        fresh = [cell for cell in wanted if cell.federation in federations]
        replaced, planned = {cell.name for cell in fresh}, {cell.name for cell in self.plan.cells}
        self._scores = [row for row in read_scores(self.folder / "scores.csv") if row.cell not in replaced]
        self.failed = {name: why for name, why in self.before.get("failed", {}).items() if name not in replaced}
        self.failed |= {cell.name: "there are no captures" for cell in wanted if cell.federation not in federations}
        added = {cell.name: dict(cell.settings) for cell in fresh if cell.name not in planned}
        self.before["added"] = {**self.before.get("added", {}), **added}
        with open_engine(self.options, self.plan.base.threads) as engine:
            attacks = Attacks(self.plan, self.folder, engine, self.watch)
            for federation in federations.values():
                self.court.judge(federation)
                self.court.measure_distances(federation)
                self._examine(federation, attacks)
            for cell in fresh:
                attacks.start(federations[cell.federation], cell)
            for federation in federations.values():
                own = [cell for cell in fresh if cell.federation == federation.label]
                known = _names_of_guesses(self._cells(federation))
                kinds = dict.fromkeys(beginning(cell) for cell in own)
                names = {kind: _name_of_guess(kind) for kind in kinds if kind not in known}
                self._score(federation, own, attacks, names)
                self._write_tables()
        return self._finish()

    def _rows_so_far(self) -> list[Score]:
        """Return the rows of an earlier call; none where there was none."""
        path = self.folder / "scores.csv"
        return read_scores(path) if path.is_file() else []

    def _federate(self, engine: Engine) -> list[tuple[Federation, bool]]:
        """Run the federations that are not there, and return each with whether all its repetitions are."""
        started = [(federation, self._start(engine, federation)) for federation in self.plan.federations]
        return [(federation, self._whole(federation, jobs)) for federation, jobs in started]

    def _start(self, engine: Engine, federation: Federation) -> list[Started]:
        """Start the repetitions of a federation that are not there."""
        return [Started(engine, FederationJob(config, self.folder, name)) for name, config in self._lacking(federation)]

    def _lacking(self, federation: Federation) -> list[tuple[str, SimulationConfig]]:
        """Return (name, config) of the repetitions of a federation that are not there."""
        repetitions = [federation.repetition(repeat) for repeat in range(federation.repeats)]
        models = self.folder / "models"
        return [(name, config) for name, config in repetitions if not trained_model_path(models, name).is_file()]

    def _whole(self, federation: Federation, jobs: Sequence[Started]) -> bool:
        """Wait for the repetitions of a federation; where one fails, so do its cells."""
        with self.watch.task(f"federation {federation.label}") as advance:
            for done, job in enumerate(jobs):
                outcome = job.finish(lambda _done, _total: None)
                self.clock("federations", outcome.seconds)
                if outcome.failure:
                    names = [cell.name for cell in self._cells(federation)] or [federation.label]
                    self.failed |= dict.fromkeys(names, outcome.failure)
                    return False
                advance(federation.repeats - len(jobs) + done + 1, federation.repeats)
        return True

    def _examine(self, federation: Federation, attacks: Attacks) -> None:
        """Measure how the victims' model was doing."""
        self.court.examine(federation, attacks.captures(federation), models=self.folder / "models")

    def _score(self, federation: Federation, cells: Sequence[Cell], attacks: Attacks, names: Mapping[str, str]) -> None:
        """Score the attacks of a federation, and beside them the initial guesses {how one is drawn: its control}."""
        kinds = {beginning(cell): cell for cell in reversed(cells)}
        guesses = {kind: attacks.untouched(federation, cell) for kind, cell in kinds.items()}
        for cell in cells:
            results, failure = attacks.results(federation, cell)
            if failure:
                self.failed[cell.name] = failure
                continue
            rows = self.court.rows(
                federation, cell.told, cell.name, results, guesses=guesses_of(guesses[beginning(cell)])
            )
            self._scores += rows
            sealed = [self.sealed.load(result.capture_id) for result in results]
            save_gallery(build_gallery(rows, results, sealed, spec=self.court.spec(federation)), self.folder)
            write_scores(self._all_rows(), self.folder / "scores.csv")
        self.pieces |= attacks.pieces
        self.clock("attacks", attacks.seconds)
        attacks.seconds = 0.0
        for kind, name in names.items():
            self._scores = [row for row in self._scores if row.cell != f"{federation.label}/{name}"]
            self._score_controls(federation, [replace(guess, attack=name) for guess in guesses[kind]])

    def _score_controls(self, federation: Federation, results: Sequence[Reconstruction]) -> None:
        for result in results:
            self._scores += self.court.rows(federation, result.attack, f"{federation.label}/{result.attack}", [result])

    def _write_tables(self) -> None:
        write_scores(self._all_rows(), self.folder / "scores.csv")
        write_summary(self._summary(), self.folder / "summary.json")
        seconds = {**self.seconds, "judges": self.seconds.get("judges", 0.0) + self.court.seconds}
        told = describe_run(self.plan, self.court.datasets, seconds, self.before)
        write_manifest(self.folder, {**told, **outcome(self.folder, self.failed, self.pieces)})

    def _finish(self, *, show_faces: bool = False) -> Path:
        """Write what a finished run has, and return the path of its report."""
        self._write_tables()
        page = write_report(self.folder, show_faces=show_faces)
        write_hashes(self.folder)
        return page

    def _summary(self) -> Summary:
        rows, seed = self._all_rows(), self.plan.base.seed
        court = self.court
        return summarise(rows, judges=court.facts(), distances=court.distances, health=court.health, seed=seed)

    def _all_rows(self) -> list[Score]:
        """Return the rows of this call, and those that `attack` added in an earlier one."""
        scored = {row.cell for row in self._scores}
        return [*self._scores, *(row for row in self._added if row.cell not in scored)]

    def _cells(self, federation: Federation) -> list[Cell]:
        return [cell for cell in self.plan.cells if cell.federation == federation.label]


def run_experiment(
    plan: Plan,
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
        fresh: remove what an earlier run left there, and nothing else; see `remove_run`.
        show_faces: whether the report shows pictures of real people.
        options: where its jobs are done.
    """
    return Run(plan, folder, watch, options).execute(fresh=fresh, show_faces=show_faces)


def attack_run(
    folder: Path, assignments: Sequence[str], watch: Watch, *, device: str = "", options: EngineOptions | None = None
) -> Path:
    """Run another attack on the captures of the run in `folder` and return the path of the report.

    Args:
        folder: of a finished run.
        assignments: "key=value", of the attack only.
        watch: shows progress.
        device: where the attack computes; "" for the run's own.
        options: where its jobs are done.

    Raises:
        ConfigError: an assignment is wrong, or changes anything but the attack.
        DataError: the folder holds no run.
    """
    if not (folder / "config.toml").is_file():
        raise DataError(f"{folder}: expected the folder of a run, found no config.toml in it.")
    old = read_toml(folder / "config.toml")
    if old.get("task") == AUDIT:
        raise ConfigError(
            f"{folder}: is an audit; for another attack call `spikeleak audit {folder}` with its --import and "
            "--set attack=..."
        )
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
    return Run(done, folder, watch, options).attack(cells)


def _names_of_guesses(cells: Sequence[Cell]) -> dict[str, str]:
    """Return {how an initial guess is drawn: what its control is called} of the cells of a federation."""
    kinds = dict.fromkeys(beginning(cell) for cell in reversed(cells))
    return {kind: _name_of_guess(kind if len(kinds) > 1 else "") for kind in kinds}


def _is_added(row: Score, planned: Collection[str]) -> bool:
    """Return whether an earlier row is none of the plan's cells: an attack that was added, or its initial guess."""
    return row.attack.startswith(f"{CONTROL_PREFIX}no-op (") if row.is_control else row.cell not in planned


def _name_of_guess(kind: str) -> str:
    """Return what the control is called that is an initial guess with no step taken."""
    return f"{CONTROL_PREFIX}no-op" + (f" ({kind})" if kind else "")
