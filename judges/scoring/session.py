"""Scores the reconstructions of opened updates with the data sets and judges of a run."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from attacks.contracts import Reconstruction
from fl_sim.captures import CaptureStore
from fl_sim.datasets.examples import Dataset
from fl_sim.defences.claims import SERVER
from fl_sim.records import CapturedUpdate, TrainedModel, load_record
from fl_sim.specs import InputSpec, Scalar
from judges.classifiers import get_judge
from judges.classifiers.cache import Judge
from judges.classifiers.settings import NONE, JudgeOptions
from judges.progress import Watch
from judges.runs.identity import NO_OP, SWAPPED, Group
from judges.runs.measures import ClassDistances, Health, ModelAccuracy
from judges.runs.names import control_cell
from judges.runs.pictures import save_pictures
from judges.runs.rows import Context, Score
from judges.scoring.assignment import assigned
from judges.scoring.audit.checks import fits_of
from judges.scoring.controls import Means, class_distances, control_reconstructions, mean_inputs, swapped_answers
from judges.scoring.gallery import build_answers, build_gallery
from judges.scoring.gradient_inversion import score
from judges.scoring.models.accuracy import accuracies, kept_models
from judges.scoring.models.health import examine, vitals
from judges.scoring.timelines import TimelineBook
from judges.scoring.truths import Evidence, Truths


class Session(Truths):
    """Scores the reconstructions of one run, whose truth it opens; see `Truths`.

    Args:
        experiment: name of the experiment.
        folder: folder of the run, with captures/ and sealed/.
        judge: the classifier that tells what a reconstruction shows.
        device: device of the judge.
        distances: number of examples of a data set that are compared with each other; 0 for none.
        watch: shows progress.

    Attributes:
        datasets: data sets that were read, by name.
        judges: judges that were used, by the digest of their data.
        distances: distances between the examples of a data set, by name.
        public: mean inputs of public pictures, for captures whose data set is not known, by what their model takes.
        timelines: how the answers of attacks and controls fare over time, until they are written.
        seconds: wall time spent on judges.
    """

    def __init__(
        self, experiment: str, folder: Path, judge: JudgeOptions, *, device: str, distances: int, watch: Watch
    ) -> None:
        super().__init__(folder)
        self.folder, self.watch = folder, watch
        self.datasets: dict[str, Dataset] = {}
        self.judges: dict[str, Judge] = {}
        self.distances: dict[str, ClassDistances] = {}
        self.public: dict[InputSpec, Means] = {}
        self.timelines = TimelineBook()
        self.seconds = 0.0
        self._experiment, self._options, self._device, self._most = experiment, judge, device, distances
        self._means: dict[str, Means] = {}
        self._health: dict[Group, Health] = {}
        self._accuracies: dict[Group, tuple[ModelAccuracy, ...]] = {}

    def context(self, evidence: Evidence, cell: str) -> Context:
        """Return the columns that the rows of a cell share, except those of the attack."""
        claim = next((one for one in evidence.claims if one.against == SERVER and one.epsilon is not None), None)
        return Context(
            **vars(evidence.attacked),
            epsilon=claim.epsilon if claim is not None else None,
            delta=claim.delta if claim is not None else None,
            privacy_unit=claim.unit if claim is not None else "",
            experiment=self._experiment,
            cell=cell,
            seed=evidence.seed,
            timesteps=evidence.timesteps,
        )

    def rows(
        self,
        evidence: Evidence,
        context: Context,
        results: Sequence[Reconstruction],
        *,
        guesses: Mapping[str, Tensor] | None = None,
        captures: Sequence[CapturedUpdate] = (),
        pictures: bool = False,
        kept: bool = True,
    ) -> list[Score]:
        """Return one row for each example, in the order of `results`.

        Args:
            evidence: the attacked captures, which have been opened.
            context: columns of the cell.
            results: answers of an attack or a control, for captures whose truth is known.
            guesses: {capture id: the attack's initial guess, with the shape of its answer}, as far as they are known.
            captures: the updates to which these are the answers, to measure how far the updates of answers are away.
            pictures: whether to write a gallery into the run's folder.
            kept: whether these are rows of the run, so that `timelines` has them too.
        """
        fits = fits_of(captures, results)
        judge, victims = self.judge(evidence), {victim.id: victim for victim in evidence.victims}
        rows: list[Score] = []
        orders = []
        for result in results:
            victim, truth = victims[result.capture_id], self.truth(result.capture_id)
            orders.append(assigned(result.inputs, truth.inputs, evidence.spec))
            own = replace(context, repeat=victim.repeat, round=victim.round)
            guess = (guesses or {}).get(result.capture_id)
            rows += score(result, truth, spec=evidence.spec, judge=judge, context=own, guess=guess, order=orders[-1],
                          mismatch=self.mismatches.get(result.capture_id),
                          answer_mismatch=fits.get(result.capture_id))  # fmt: skip
            if kept:
                self.timelines.add(rows[-1], result, truth, orders[-1], evidence.spec)
        if pictures and results:
            truths = [self.truth(result.capture_id) for result in results]
            save_pictures(build_gallery(rows, results, truths, orders, spec=evidence.spec), self.folder)
        return rows

    def show(self, evidence: Evidence, context: Context, results: Sequence[Reconstruction]) -> None:
        """Write pictures of answers whose truth is not known, if there are any."""
        if results:
            save_pictures(build_answers(context, results, spec=evidence.spec), self.folder)

    def plain_controls(self, evidence: Evidence) -> list[Score]:
        """Return the rows of the controls that need no attack; mean images need a data set or public pictures."""
        rows = []
        for capture_id in self._truths:
            controls = control_reconstructions(self.truth(capture_id), evidence.spec, self._mean_inputs(evidence))
            for kind, answer in controls.items():
                context = replace(self.context(evidence, control_cell(evidence.name, kind)), control=kind)
                rows += self.rows(evidence, context, [answer])
        return rows

    def no_op(
        self, evidence: Evidence, results: Sequence[Reconstruction], *, attack: str, guess: str, name: str
    ) -> list[Score]:
        """Return the rows of initial guesses before any step.

        Args:
            evidence: the captures, which have been opened.
            results: the guesses.
            attack: the attack that draws them; "" if several attacks start alike.
            guess: how they are drawn.
            name: name of the control.
        """
        context = self.context(evidence, control_cell(evidence.name, name))
        return self.rows(evidence, replace(context, control=NO_OP, attack=attack, guess=guess), results)

    def swapped(self, evidence: Evidence, context: Context, results: Sequence[Reconstruction]) -> list[Score]:
        """Return the rows of an attack's answers to other updates as a control, whose columns are in `context`."""
        answers = list(swapped_answers(results, self._truths))
        return self.rows(evidence, replace(context, control=SWAPPED), answers)

    def examine(self, evidence: Evidence, captures: CaptureStore) -> None:
        """Measure the health of the models behind the captured updates, and add it to `health`."""
        if not self._truths or evidence.attacked.group in self._health:
            return
        found = [vitals(captures.load(capture_id), truth.inputs) for capture_id, truth in self._truths.items()]
        accuracies = [
            load_record(TrainedModel, path).test_accuracy for path in evidence.models.values() if path.is_file()
        ]
        self._health[evidence.attacked.group] = examine(
            evidence.attacked, found, accuracies=accuracies, classes=evidence.spec.classes
        )

    @property
    def health(self) -> tuple[Health, ...]:
        """Return the health of the examined models, in the order of their examination."""
        return tuple(self._health.values())

    def measure_accuracies(self, evidence: Evidence) -> None:
        """Measure the global models that were kept on all examples that no client holds, and add it to `accuracies`."""
        settings, dataset = evidence.dataset, self.dataset(evidence)
        kept = kept_models(list(evidence.models.values()))
        if settings is None or dataset is None or not kept or evidence.attacked.group in self._accuracies:
            return
        unseen = dataset.test if settings.split == "train" else dataset.train
        with self.watch.task(f"accuracy of {evidence.name}", aside=True):
            found = accuracies(evidence.attacked, kept, unseen, device=self._device)
            self._accuracies[evidence.attacked.group] = tuple(found)

    @property
    def accuracies(self) -> tuple[ModelAccuracy, ...]:
        """Return the accuracies of the kept global models, in the order of their measurement."""
        return tuple(itertools.chain(*self._accuracies.values()))

    def dataset(self, evidence: Evidence) -> Dataset | None:
        """Return the clients' data set, None if it is not known; a DataError if it is missing or corrupt."""
        settings = evidence.dataset
        if settings is None:
            return None
        dataset = settings.load()
        self.datasets[settings.name] = dataset
        return dataset

    def measure_distances(self, evidence: Evidence) -> None:
        """Compare the examples of the clients' split with each other, if the plan requests it."""
        dataset, settings = self.dataset(evidence), evidence.dataset
        if self._most and dataset is not None and settings is not None and settings.name not in self.distances:
            held = dataset.train if settings.split == "train" else dataset.test
            self.distances[settings.name] = class_distances(held, self._most, seed=evidence.seed)

    def judge(self, evidence: Evidence) -> Judge | None:
        """Return the judge of the data set, trained unless it is cached; None without a judge or a data set."""
        dataset = self.dataset(evidence)
        if self._options.name == NONE or dataset is None:
            return None
        if dataset.digest not in self.judges:
            started = time.perf_counter()
            with self.watch.task(f"judge of {dataset.name}", aside=True) as advance:
                self.judges[dataset.digest] = get_judge(self._options, dataset, device=self._device, progress=advance)
            self.seconds += time.perf_counter() - started
        return self.judges[dataset.digest]

    def facts(self) -> dict[str, dict[str, Scalar]]:
        """Return the facts about each judge, by data set."""
        return {judge.dataset: judge.facts() for judge in self.judges.values()}

    def _mean_inputs(self, evidence: Evidence) -> Means | None:
        dataset = self.dataset(evidence)
        if dataset is None:
            return self.public.get(evidence.spec)
        if dataset.digest not in self._means:
            self._means[dataset.digest] = mean_inputs(dataset.train)
        return self._means[dataset.digest]
