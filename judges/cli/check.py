"""The command `spikeleak check`: whether and how a client can be attacked, before anything is computed for it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fl_sim.config import ModelSettings, Raw, override, validate
from fl_sim.errors import ConfigError, unknown_name
from fl_sim.models import MODELS
from fl_sim.specs import Settings
from judges.cli.checkpoints import InputSettings
from judges.cli.preflight.facts import facts_of
from judges.cli.preflight.own_model import input_of, register
from judges.cli.terminal import Imports, imported, print_facts
from judges.plans.audit import Assumptions

if TYPE_CHECKING:
    from attacks.preflight.inputs import Inferred
    from fl_sim.records import CapturedUpdate

# Modules that load torch are imported inside the functions that need them, so that a wrong setting fails at once.

_PLACE = re.compile(r"[^\W\d][\w.]*:[^\W\d]\w*")


class ClientFacts(Assumptions):
    """Facts about the client.

    Attributes:
        kind: what the client shares: the "gradient" of one batch, or its weights after local steps ("delta"), which is
            meant if their number, epochs or a learning rate are given.
    """

    kind: Literal["gradient", "delta"] | None = None


class CheckTask(Settings):
    """What to examine.

    Attributes:
        model: settings of a model of the table.
        input: what one input looks like; of captures, they say it themselves.
        assumed: facts about the client.
    """

    model: ModelSettings = ModelSettings()
    input: InputSettings = InputSettings()
    assumed: ClientFacts = ClientFacts()


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


def check(
    target: Annotated[
        str,
        typer.Argument(
            help="module:name of your model (a module, its class, or a function that returns it), a model of the "
            "table, or a folder with captures/."
        ),
    ],
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="input.KEY (channels, height, width, classes, low, high, timesteps, vocabulary), assumed.KEY (what "
            "the client does; see `spikeleak config reference`), or model.KEY for a model of the table.",
        ),
    ] = None,
    imports: Imports = None,
) -> None:
    """Say whether and how a client can be attacked; exit code 2 if it cannot. Nothing is written."""
    imported(imports)
    found = list(subjects(target, assignments or []))
    from attacks.preflight import examine

    refusals = []
    for number, subject in enumerate(found):
        if number:
            typer.echo()
        examined = examine(subject.assumed)
        print_facts(facts_of(examined, subject.captured, subject.inferred), width=120)
        refusals += [examined.refusal] if examined.refusal else []
    if refusals:
        more = f" ({len(refusals)} of {len(found)} kinds of client cannot be attacked)" if len(found) > 1 else ""
        raise ConfigError(f"{target}: cannot be attacked. {refusals[0]}{more}")


def subjects(target: str, assignments: Sequence[str]) -> Iterator[Subject]:
    """Yield the clients that a target stands for.

    Args:
        target: "module:name", a name in the table of models, or a folder with captures/.
        assignments: "input.KEY=VALUE", "assumed.KEY=VALUE" or "model.KEY=VALUE".

    Raises:
        ConfigError: the target is nothing of these, a key or value is wrong, or a fact is missing.
        DataError: there are no captures, or a file is corrupt.
    """
    is_place = _PLACE.fullmatch(target) is not None
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


def read_check(model: str, assignments: Iterable[str]) -> CheckTask:
    """Return what to examine of a model of the table.

    Args:
        model: its name, or the place of a user's own, whose parameters stay as they are built.
        assignments: as of `subjects`.

    Raises:
        ConfigError: a key or value is wrong.
    """
    raw = override({}, assignments, ("model",))
    settings: Raw = raw.pop("model", {})
    if "name" in settings:
        raise ConfigError(f"model.name: the target says which model is examined, '{model}'; leave it out.")
    own = {"init": "torch"} if _PLACE.fullmatch(model) else {}
    return validate(CheckTask, {**raw, "model": {**own, **settings, "name": model}})


def _captured(folder: Path, raw: Raw) -> Iterator[Subject]:
    """Yield one client of each kind in a folder of captures."""
    for table in ("input", "model"):
        if table in raw:
            raise ConfigError(f"{table}: the captures in {folder} say it themselves; leave it out.")
    task = validate(CheckTask, raw)
    from judges.bench.audit.stored import clients_in

    for captured, assumed in clients_in(folder, task.assumed.model_dump(exclude_none=True)):
        yield Subject(captured, assumed, {})
