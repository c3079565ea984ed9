"""The clients that the target of `spikeleak check` stands for."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fl_sim.config import Raw, override, validate
from fl_sim.errors import ConfigError, unknown_name
from fl_sim.models import MODELS
from judges.cli.preflight.own_model import input_of, register
from judges.cli.tasks import PLACE, CheckTask, read_check

if TYPE_CHECKING:
    from attacks.preflight.inputs import Inferred
    from fl_sim.records import CapturedUpdate

# Modules that load torch are imported inside the functions that need them, so that a wrong setting fails at once.


@dataclass(frozen=True)
class Subject:
    """A client to examine.

    Attributes:
        captured: what is known of it: an update, or one that stands in for it.
        assumed: the same with what is assumed.
        inferred: fields of the input that follow from the model's layers.
    """

    captured: CapturedUpdate
    assumed: CapturedUpdate
    inferred: Inferred


def subjects(target: str, assignments: Sequence[str]) -> Iterator[Subject]:
    """Yield the clients that a target stands for.

    Args:
        target: "module:name", a name in the table of models, or a folder with captures/.
        assignments: "input.KEY=VALUE", "assumed.KEY=VALUE" or "model.KEY=VALUE".

    Raises:
        ConfigError: the target is nothing of these, a key or value is wrong, or a fact is missing.
        DataError: there are no captures, or a file is corrupt.
    """
    is_place = PLACE.fullmatch(target) is not None
    if not is_place and Path(target).is_dir() and target not in MODELS:
        yield from _captured(Path(target), override({}, assignments, ("model",)))
        return
    if is_place:
        register(target)
    elif target not in MODELS:
        raise unknown_name("check", target, [*MODELS, "module:name of your model", "a folder with captures/"])
    task = read_check(target, assignments)
    spec, inferred = input_of(target, task.input)
    from attacks.preflight.stand_in import stand_in
    from fl_sim.client_training import ClientTraining
    from judges.scoring.audit.checks import filled

    steps = task.assumed.learning_rate or task.assumed.local_steps or task.assumed.epochs
    kind, seed = task.assumed.kind or ("delta" if steps else "gradient"), None if is_place else 0
    capture = stand_in(task.model.spec(spec), ClientTraining(), kind=kind, seed=seed)
    capture = dataclasses.replace(capture, id=target)
    facts = task.assumed.model_dump(exclude_none=True, exclude={"kind"})
    whole = filled(capture, facts)
    # What is frozen leaves the update.
    update = stand_in(task.model.spec(spec), whole.training, kind=kind, seed=seed).update
    yield Subject(capture, dataclasses.replace(whole, update=update), inferred)


def _captured(folder: Path, raw: Raw) -> Iterator[Subject]:
    """Yield one client of each kind in a folder of captures."""
    for table in ("input", "model"):
        if table in raw:
            raise ConfigError(f"{table}: the captures in {folder} say it themselves; leave it out.")
    task = validate(CheckTask, raw)
    from judges.bench.audit.stored import clients_in

    for captured, assumed in clients_in(folder, task.assumed.model_dump(exclude_none=True)):
        yield Subject(captured, assumed, {})
