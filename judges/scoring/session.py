"""Opens the seal of a run: its data sets, its judges, its rows."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from torch import Tensor

from attacks.contracts import Reconstruction
from fl_sim.captures import SealedStore
from fl_sim.datasets import load_dataset
from fl_sim.datasets.examples import Dataset
from fl_sim.global_models import trained_model_path
from fl_sim.models import MODELS
from fl_sim.records import CapturedUpdate, InputSpec, TrainedModel, load_record
from fl_sim.specs import Scalar
from judges.classifiers import get_judge
from judges.classifiers.cache import Judge
from judges.classifiers.settings import NONE
from judges.names import axes, defence_told
from judges.plans.gradient_inversion import TABLES, Federation, Plan
from judges.progress import Watch
from judges.runs.health import Health
from judges.runs.rows import Score
from judges.scoring.class_distances import ClassDistances, class_distances
from judges.scoring.gradient_inversion import Means, control_reconstructions, mean_inputs, score
from judges.scoring.model_health import Vitals, examine, vitals

Group = tuple[str, str, str, str]
GROUP = ("dataset", "model", "init", "defence")


class Court:
    """Scores the reconstructions of one run.

    Attributes:
        sealed: the truth behind the captures.
        datasets: those that were read, by name.
        judges: those that were called, by the digest of their data.
        distances: between the examples of a data set, by name.
        health: of the models that were examined, by group.
        seconds: wall time spent on judges.
    """

    def __init__(self, plan: Plan, sealed: SealedStore, watch: Watch) -> None:
        self.plan, self.sealed, self.watch = plan, sealed, watch
        self.datasets: dict[str, Dataset] = {}
        self.judges: dict[str, Judge] = {}
        self.distances: dict[str, ClassDistances] = {}
        self.seconds = 0.0
        self._means: dict[str, Means] = {}
        self._vitals: dict[Group, dict[str, Vitals]] = {}
        self._accuracies: dict[Group, dict[str, float]] = {}

    def rows(
        self,
        federation: Federation,
        attack: str,
        cell: str,
        results: Sequence[Reconstruction],
        *,
        guesses: Mapping[str, Tensor] | None = None,
    ) -> list[Score]:
        """Open the seal and return one row for each example, in the order of `results`.

        Args:
            federation: whose captures were attacked.
            attack: name for the rows; a control keeps its own.
            cell: name of the cell.
            results: of the attack.
            guesses: {capture id: the attack's initial guess, shaped as its answer}, where it is known.
        """
        context = {**self._context(federation), "cell": cell, "attack": attack}
        spec, judge = self.spec(federation), self.judge(federation)
        rows = []
        for result in results:
            repeat = int(result.capture_id.partition("/")[0].rpartition("-")[2])
            sealed = self.sealed.load(result.capture_id)
            guess = (guesses or {}).get(result.capture_id)
            rows += score(result, sealed, spec=spec, judge=judge, context=context | {"repeat": repeat}, guess=guess)
        return rows

    def _context(self, federation: Federation) -> dict[str, Scalar]:
        """Return the columns that all rows of a federation share."""
        config, bins = federation.config, self.spec(federation).timesteps
        return {
            "experiment": self.plan.base.name,
            "dataset": config.dataset.name,
            "model": f"{config.model.name} {federation.variant}".strip(),
            "init": config.model.init,
            "defence": defence_told(config, axes(self.plan.raw, TABLES)),
            "seed": config.seed,
            # A spiking model takes one step for each frame of a recording, whatever its own T.
            "timesteps": (bins or config.model.timesteps) if MODELS[config.model.name].spiking else 0,
        }

    def examine(self, federation: Federation, captures: Iterable[CapturedUpdate], *, models: Path) -> None:
        """Look at the models that captured updates are of; `health` then tells of them.

        Args:
            federation: whose captures they are.
            captures: with their sealed truth in `sealed`. One that was looked at before is not looked at again.
            models: folder of the models that federations trained; one that is missing has no accuracy.
        """
        dataset, model, init, defence = (str(self._context(federation)[name]) for name in GROUP)
        group = dataset, model, init, defence
        seen, accuracies = self._vitals.setdefault(group, {}), self._accuracies.setdefault(group, {})
        for capture in captures:
            if capture.id not in seen:
                seen[capture.id] = vitals(capture, self.sealed.load(capture.id).inputs)
            name = capture.id.partition("/")[0]
            path = trained_model_path(models, name)
            if name not in accuracies and path.is_file():
                accuracies[name] = load_record(TrainedModel, path).test_accuracy

    @property
    def health(self) -> tuple[Health, ...]:
        """Return what is known of the models that were examined, one entry a group, in the order in which they were."""
        told = []
        for group, seen in self._vitals.items():
            classes, accuracies = self.datasets[group[0]].spec.classes, self._accuracies[group]
            told.append(examine(group, list(seen.values()), accuracies=list(accuracies.values()), classes=classes))
        return tuple(told)

    def plain_controls(self, federation: Federation, capture_id: str) -> list[Reconstruction]:
        """Return the controls that need no attack for one capture."""
        dataset = self.dataset(federation)
        if dataset.digest not in self._means:
            self._means[dataset.digest] = mean_inputs(dataset.train)
        return control_reconstructions(self.sealed.load(capture_id), dataset.spec, self._means[dataset.digest])

    def spec(self, federation: Federation) -> InputSpec:
        """Return what the federation's inputs look like."""
        return self.dataset(federation).spec

    def dataset(self, federation: Federation) -> Dataset:
        """Return the federation's data set.

        Raises:
            DataError: it is missing or corrupt.
        """
        settings = federation.config.dataset
        dataset = load_dataset(settings.name, root=settings.root, size=settings.size, framing=settings.framing)
        self.datasets[settings.name] = dataset
        return dataset

    def measure_distances(self, federation: Federation) -> None:
        """Compare the examples of the split that the federation's clients hold, where the plan asks for it."""
        most, settings = self.plan.base.class_distances, federation.config.dataset
        if most and settings.name not in self.distances:
            dataset = self.dataset(federation)
            held = dataset.train if settings.split == "train" else dataset.test
            self.distances[settings.name] = class_distances(held, most, seed=federation.config.seed)

    def judge(self, federation: Federation) -> Judge | None:
        """Return the judge of the federation's data set, trained where it is not cached; None where none is wanted."""
        options, dataset = self.plan.base.judge, self.dataset(federation)
        if options.name == NONE:
            return None
        if dataset.digest not in self.judges:
            started = time.perf_counter()
            with self.watch.task(f"judge of {dataset.name}") as advance:
                self.judges[dataset.digest] = get_judge(
                    options, dataset, device=self.plan.base.device, progress=advance
                )
            self.seconds += time.perf_counter() - started
        return self.judges[dataset.digest]

    def facts(self) -> dict[str, dict[str, Scalar]]:
        """Return what is known of each judge, by data set."""
        return {judge.dataset: judge.facts() for judge in self.judges.values()}
