"""The models that are attacked: trained centrally, or the global models of a federation. Each is kept in the run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fl_sim.central import central_training
from fl_sim.datasets.examples import Dataset
from fl_sim.global_models import global_models, trained_model_path
from fl_sim.records import TrainedModel, load_record, save_record
from fl_sim.simulation import run_federation
from judges.inversion.plan import TargetPlan
from judges.inversion.rows import CENTRAL, TargetFacts
from judges.progress import Watch


@dataclass(frozen=True)
class Trained:
    """A model under attack, and how well it does what it was trained for."""

    model: TrainedModel
    facts: TargetFacts


def trained_targets(
    plan: TargetPlan, seed: int, dataset: Dataset, folder: Path, *, spent: dict[str, float], watch: Watch
) -> Iterator[Trained]:
    """Yield the target of a seed; of a federation, its global model after each round that is kept, in their order.

    What is in the folder, or in the cache of targets, is not trained again.

    Args:
        plan: of targets of one kind.
        seed: of this one.
        dataset: that trains it.
        folder: of the run; models go to FOLDER/models.
        spent: wall time of each federation in seconds, by name; one that is run now is added.
        watch: shows progress.
    """
    if plan.config.target == CENTRAL:
        yield _central(plan, seed, dataset, folder, watch)
    else:
        yield from _federated(plan, seed, dataset, folder, spent=spent, watch=watch)


def _central(plan: TargetPlan, seed: int, dataset: Dataset, folder: Path, watch: Watch) -> Trained:
    """Return the target that was trained on the whole train split."""
    config = plan.config
    with watch.task(f"target {plan.label}, seed {seed}") as advance:
        done = central_training(
            config.model.spec(dataset.spec), dataset, config.training, seed=seed, device=config.device, progress=advance
        )
    path = trained_model_path(folder / "models", f"{plan.label}-{seed:03d}")
    if not path.is_file():
        save_record(done.model, path)
    return _with_facts(plan, seed, dataset, done.model, train_accuracy=done.train_accuracy, seconds=done.seconds)


def _federated(
    plan: TargetPlan, seed: int, dataset: Dataset, folder: Path, *, spent: dict[str, float], watch: Watch
) -> Iterator[Trained]:
    """Yield the global models of a federation."""
    name, models = f"{plan.label}-{seed:03d}", folder / "models"
    if not trained_model_path(models, name).is_file():
        started = time.perf_counter()
        with watch.task(f"federation {name}"):
            run_federation(plan.simulation(seed), output=folder, federation_id=name, observe=False)
        spent[f"federation {name}"] = time.perf_counter() - started
    seconds = spent.get(f"federation {name}", 0.0)
    kept = global_models(models, name) or {plan.config.federation.rounds: trained_model_path(models, name)}
    for path in kept.values():
        yield _with_facts(plan, seed, dataset, load_record(TrainedModel, path), train_accuracy=None, seconds=seconds)


def _with_facts(
    plan: TargetPlan, seed: int, dataset: Dataset, model: TrainedModel, *, train_accuracy: float | None, seconds: float
) -> Trained:
    """Return a model with its facts."""
    return Trained(
        model,
        TargetFacts(
            dataset=dataset.name,
            model=plan.model,
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
