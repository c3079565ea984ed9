"""What membership inferences are made of: a trained model, a federation's global models, its clients' updates.

Each is stored in the folder observed/ of the run, as the attack gets it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from attacks.contracts import Observed
from fl_sim.captures import CaptureStore
from fl_sim.contents import read_contents
from fl_sim.global_models import global_models
from fl_sim.records import CapturedUpdate, TrainedModel, load_record, record_bytes, save_record
from judges.bench.membership.jobs import NULL, TARGET, Recipe
from judges.plans.membership import MemberPlan
from judges.runs.rows.classes import CENTRAL, FEDERATION
from judges.runs.rows.membership import CLIENT
from judges.scoring.membership.asked import Asked, Held
from judges.scoring.membership.null import null_update
from judges.scoring.membership.recorded import Questions

ROOM = "observed"
_ID_DIGITS = 12


@dataclass(frozen=True)
class Evidence:
    """A model or an update under attack.

    Attributes:
        plan: of targets of its kind.
        seed: of the target.
        asked: who is asked about.
        name: of the record in observed/.
        id: its id, which answers repeat.
        source, round, client: columns of its rows.
        after: what the names of cells say of the round.
        changes: whether an update is known, and not a model alone.
        null: whether it is the control that never saw a candidate.
        accuracies: on test data and on the members, as far as they are known.
    """

    plan: MemberPlan
    seed: int
    asked: Questions
    name: str
    id: str
    source: str
    round: int
    client: int = -1
    after: str = ""
    changes: bool = False
    null: bool = False
    accuracies: tuple[float | None, float | None] = (None, None)

    @property
    def kind(self) -> str:
        """Return the name that cells use for evidence of its kind."""
        return f"{self.plan.label}{self.after}"


def path_of(folder: Path, name: str) -> Path:
    """Return the path of what is observed in the folder of a run."""
    return folder / ROOM / f"{name}.safetensors"


def central_evidence(plan: MemberPlan, seed: int, asked: Asked, folder: Path) -> Iterator[Evidence]:
    """Yield the target of a seed and the model that never saw a candidate, both of which are trained."""
    for kind in (TARGET, NULL):
        trained = Recipe(plan.config, asked, kind).train()
        name = f"{plan.name(seed)}{'' if kind == TARGET else f'-{NULL}'}"
        known = keep_observed(Observed(name, trained.model.model, trained.model.parameters), folder)
        accuracies = trained.model.test_accuracy, trained.train_accuracy
        yield Evidence(
            plan, seed, asked, name, known, CENTRAL, trained.model.round, null=kind == NULL, accuracies=accuracies
        )  # fmt: skip


def federated_evidence(plan: MemberPlan, seed: int, asked: Asked, folder: Path) -> Iterator[Evidence]:
    """Yield the global models of a federation that has run, its updates, and an update that saw no candidate.

    Args:
        plan, seed: of the federation.
        asked: who is asked about, without captures.
        folder: of the run.
    """
    name, store = plan.name(seed), CaptureStore(folder / "captures")
    keys = store.listed(name)
    models = {number: load_record(TrainedModel, path)
              for number, path in global_models(folder / "models", name).items()}  # fmt: skip
    for number in sorted(models.keys() - {0}):
        model, until = models[number], tuple(key.id for key in keys if key.round <= number)
        if not until:
            continue
        before = models[number - 1].parameters if number - 1 in models else {}
        place = f"{name}@r{number:03d}"
        known = keep_observed(Observed(place, model.model, model.parameters, before), folder)
        members = replace(asked, captures=until, held=_held(plan, name, folder, number))
        yield Evidence(
            plan, seed, members, place, known, FEDERATION, number, after=f"@r{number:03d}",
            changes=bool(before), accuracies=(model.test_accuracy, None),
        )  # fmt: skip
    for key in keys:
        place = f"{name}@r{key.round:03d}-c{key.client:03d}"
        known = keep_observed(replace(_as_observed(store.load(key.id)), id=place), folder)
        yield Evidence(
            plan, seed, replace(asked, captures=(key.id,)), place, known, CLIENT, key.round, key.client,
            after=f"@r{key.round:03d}-clients", changes=True,
        )  # fmt: skip
    last, place, first = max(models), f"{name}-{NULL}", models[0]
    asked = replace(asked, captures=tuple(key.id for key in keys), held=_held(plan, name, folder, last))
    known = keep_observed(
        null_update(plan.simulation(seed).federation, first.model, first.parameters, asked.own(), place), folder
    )
    yield Evidence(
        plan, seed, asked, place, known, FEDERATION, last, after=f"@r{last:03d}", changes=True, null=True
    )  # fmt: skip


def _held(plan: MemberPlan, name: str, folder: Path, number: int) -> Held | None:
    """Return who has trained a global model on all that they hold; None where the sealed examples tell the members.

    They do not where only the clients with few examples are captured, and those hardly move the model. That all who
    were asked have answered is certain without dropout.
    """
    federation, contents = plan.config.federation, read_contents(folder, name)
    if contents is None or not (federation.capture_most and federation.local_epochs) or federation.dropout:
        return None
    trained = {client for asked in contents.sampled[:number] for client in asked}
    return Held(federation.clients, tuple(sorted(trained)))


def _as_observed(capture: CapturedUpdate) -> Observed:
    """Return a captured update as the models before and after it; of a gradient, after a step against it."""
    step = 1.0 if capture.kind == "delta" else -(capture.learning_rate or 1.0)
    after = {name: tensor + step * capture.update[name] for name, tensor in capture.parameters.items()
             if name in capture.update}  # fmt: skip
    return Observed(capture.id, capture.model, {**capture.parameters, **after}, capture.parameters)


def keep_observed(observed: Observed, folder: Path) -> str:
    """Store what is observed, unless the same is there, and return its id: its name and a hash of its parameters."""
    digest = hashlib.sha256(record_bytes(observed)).hexdigest()[:_ID_DIGITS]
    path, identified = path_of(folder, observed.id), replace(observed, id=f"{observed.id}-{digest}")
    if not path.is_file() or path.read_bytes() != record_bytes(identified):
        save_record(identified, path)
    return identified.id
