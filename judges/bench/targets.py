"""The models under attack: trained centrally, or the global models of a federation. Each is stored in the run.

And what the server of a federation captures of its clients, before there are any.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from attacks.posterior import model_id
from attacks.preflight.stand_in import stand_in
from fl_sim.central import CentralTraining, central_training
from fl_sim.config import SimulationConfig
from fl_sim.config.federation import EACH_CLIENT
from fl_sim.datasets.examples import Dataset
from fl_sim.global_models import global_models, trained_model_path
from fl_sim.records import CapturedUpdate, TrainedModel, load_record, record_bytes, save_record
from fl_sim.simulation import as_sampled, examples_of, sampled_clients, shared_names
from judges.bench.federations import federate
from judges.plans.model_inversion import TargetPlan
from judges.progress import Advance
from judges.runs.rows.classes import CENTRAL, FEDERATION, TargetFacts


@dataclass(frozen=True)
class Trained:
    """A model under attack: the path of its record in the run, its `attacks.posterior.model_id`, and facts about it."""

    path: Path
    id: str
    facts: TargetFacts


@dataclass(frozen=True)
class Attackable:
    """A trained model, and the plan of targets of its kind."""

    plan: TargetPlan
    trained: Trained

    @property
    def after(self) -> str:
        """Return the suffix of names of a federation's model after a round; "" for a central training."""
        facts = self.trained.facts
        return f"@r{facts.round:03d}" if facts.source == FEDERATION else ""

    @property
    def kind(self) -> str:
        """Return the name that cells use for models of its kind."""
        return f"{self.plan.label}{self.after}"

    @property
    def name(self) -> str:
        """Return the name of its folder."""
        return f"{self.plan.label}-{self.trained.facts.seed:03d}{self.after}"


@dataclass(frozen=True)
class TargetJob:
    """The training of the target of a seed; the result goes to the run's folder or to the cache.

    Attributes:
        plan, seed: the target.
        folder: of the run.
        done: whether its federation has run and is whole, so that there is nothing to do.
    """

    plan: TargetPlan
    seed: int
    folder: Path
    done: bool = False

    def run(self, advance: Advance) -> None:
        """Train it, unless it exists."""
        if self.plan.config.target == CENTRAL:
            central(self.plan, self.seed, advance)
        elif not self.done:
            federate(self.plan.simulation(self.seed), self.folder, self.plan.federation(self.seed), observe=False)

    def smaller(self) -> None:
        """Return None: a training cannot be split."""


def central(plan: TargetPlan, seed: int, advance: Advance | None = None) -> CentralTraining:
    """Return the target of a seed, trained on the whole train split or read from the cache."""
    config, dataset = plan.config, target_data(plan)
    return central_training(
        config.model.spec(dataset.spec), dataset, config.training, seed=seed, device=config.device, progress=advance
    )


def target_data(plan: TargetPlan) -> Dataset:
    """Return the data set on which targets are trained."""
    return data_of(plan.config)


def trained_targets(plan: TargetPlan, seed: int, folder: Path, *, spent: Mapping[str, float]) -> Iterator[Trained]:
    """Yield the target of a seed; for a federation, its stored global models in the order of their rounds.

    Args:
        plan: plan of the targets of one kind.
        seed: seed of the target, whose `TargetJob` is done.
        folder: folder of the run; models go to FOLDER/models.
        spent: wall time of each federation in seconds, by "federation NAME".
    """
    name, models = plan.federation(seed), folder / "models"
    path = trained_model_path(models, name)
    if plan.config.target == CENTRAL:
        done = central(plan, seed)
        if not path.is_file() or path.read_bytes() != record_bytes(done.model):
            save_record(done.model, path)
        yield _with_facts(plan, seed, done.model, path, train_accuracy=done.train_accuracy, seconds=done.seconds)
        return
    seconds = spent.get(f"federation {name}", 0.0)
    for one in (global_models(models, name) or {plan.config.federation.rounds: path}).values():
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


def client_of(config: SimulationConfig) -> CapturedUpdate:
    """Return what the server of a federation would capture of a client, with zeros in place of its update."""
    federation, spec = config.federation, data_of(config).spec
    mu = config.strategy.arguments.get("proximal_mu", 0.0)
    capture = stand_in(
        config.model.spec(spec),
        config.client.filled({"proximal_mu": mu}),
        kind="gradient" if config.strategy.name == "FedSGD" else "delta",
        seed=config.seed,
    )
    shared = shared_names(config)
    capture = replace(
        capture,
        parameters={name: value for name, value in capture.parameters.items() if name in shared},
        update={name: value for name, value in capture.update.items() if name in shared},
    )
    capture = replace(capture, learning_rate=federation.learning_rate, batch_size=federation.batch_size)
    clients = 1 if federation.observer == EACH_CLIENT else federation.summed_clients or sampled_clients(config)
    capture = as_sampled(config, replace(capture, clients=clients))
    if federation.local_epochs:
        return replace(capture, epochs=federation.local_epochs, num_examples=clients * examples_of(config, 0))
    used = federation.batch_size * federation.local_steps * clients
    return replace(capture, local_steps=federation.local_steps, num_examples=used)


def data_of(config: SimulationConfig) -> Dataset:
    """Return the data set of a federation, or of a training."""
    return config.dataset.load()
