"""The models that are attacked: trained centrally, or the global models of a federation. Each is kept in the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from attacks.posterior import model_id
from fl_sim.central import CentralTraining, central_training
from fl_sim.datasets import load_dataset
from fl_sim.datasets.examples import Dataset
from fl_sim.global_models import global_models, trained_model_path
from fl_sim.records import TrainedModel, load_record, save_record
from fl_sim.simulation import run_federation
from judges.plans.model_inversion import TargetPlan
from judges.progress import Advance
from judges.runs.class_rows import CENTRAL, TargetFacts


@dataclass(frozen=True)
class Trained:
    """A model under attack, and how well it does what it was trained for.

    Attributes:
        path: of its record in the run.
        id: `attacks.posterior.model_id` of it.
        facts: on it.
    """

    path: Path
    id: str
    facts: TargetFacts


@dataclass(frozen=True)
class TargetJob:
    """The training of a target, where it is not there: what comes out is in the run's folder, or the cache of targets.

    Attributes:
        plan: of targets of its kind.
        seed: of this one.
        folder: of the run.
    """

    plan: TargetPlan
    seed: int
    folder: Path

    def run(self, advance: Advance) -> None:
        """Train it, unless it is there."""
        if self.plan.config.target == CENTRAL:
            central(self.plan, self.seed, advance)
        else:
            federate(self.plan, self.seed, self.folder)

    def smaller(self) -> None:
        """Return nothing: a training is one piece."""


def central(plan: TargetPlan, seed: int, advance: Advance) -> CentralTraining:
    """Return the target of a seed that is trained on the whole train split; the cache is asked first."""
    config = plan.config
    dataset = target_data(plan)
    return central_training(
        config.model.spec(dataset.spec), dataset, config.training, seed=seed, device=config.device, progress=advance
    )


def federate(plan: TargetPlan, seed: int, folder: Path) -> None:
    """Run the federation of a seed, unless its model is there."""
    name = f"{plan.label}-{seed:03d}"
    if not trained_model_path(folder / "models", name).is_file():
        run_federation(plan.simulation(seed), output=folder, federation_id=name, observe=False)


def target_data(plan: TargetPlan) -> Dataset:
    """Return the data set that targets are trained on."""
    settings = plan.config.dataset
    return load_dataset(settings.name, root=settings.root, size=settings.size, framing=settings.framing)


def trained_targets(plan: TargetPlan, seed: int, folder: Path, *, spent: Mapping[str, float]) -> Iterator[Trained]:
    """Yield the target of a seed; of a federation, its global model after each round that is kept, in their order.

    Args:
        plan: of targets of one kind.
        seed: of this one, whose `TargetJob` is done.
        folder: of the run; models go to FOLDER/models.
        spent: wall time of each federation in seconds, by "federation NAME".
    """
    name, models = f"{plan.label}-{seed:03d}", folder / "models"
    path = trained_model_path(models, name)
    if plan.config.target == CENTRAL:
        done = central(plan, seed, lambda _done, _total: None)
        if not path.is_file() or model_id(load_record(TrainedModel, path)) != model_id(done.model):
            save_record(done.model, path)
        yield _with_facts(plan, seed, done.model, path, train_accuracy=done.train_accuracy, seconds=done.seconds)
        return
    seconds = spent.get(f"federation {name}", 0.0)
    kept = global_models(models, name) or {plan.config.federation.rounds: path}
    for one in kept.values():
        yield _with_facts(plan, seed, load_record(TrainedModel, one), one, train_accuracy=None, seconds=seconds)


def _with_facts(
    plan: TargetPlan, seed: int, model: TrainedModel, path: Path, *, train_accuracy: float | None, seconds: float
) -> Trained:
    """Return a model with its facts."""
    dataset = target_data(plan)
    return Trained(
        path,
        model_id(model),
        TargetFacts(
            **vars(plan.attacked),
            source=plan.config.target,
            round=model.round,
            seed=seed,
            test_accuracy=model.test_accuracy,
            train_accuracy=train_accuracy,
            seconds=seconds,
            classes=dataset.spec.classes,
            n_test=len(dataset.test),
            shape=dataset.spec.frame,
        ),
    )
