"""What a run would do, said before it does anything: cells, victims, time, memory, and what lacks or is trained first.

Times are upper bounds: one evaluation of the loss for several victims at a time, measured here and now, times the
budgets of the settings. Searches that succeed end early.
"""

from __future__ import annotations

import contextlib
import math
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from attacks import ATTACKS, MODEL_INVERSIONS
from attacks.budgets import most_evaluations
from attacks.preflight import examine
from attacks.preflight.evaluation import TOGETHER, seconds_together
from fl_sim.central import target_path
from fl_sim.config import SimulationConfig
from fl_sim.datasets.examples import Dataset
from fl_sim.errors import DataError
from fl_sim.models import MODELS, build_model
from fl_sim.simulation import examples_of
from fl_sim.training import local_sgd
from judges.bench.gradient_inversion.cells import match_updates
from judges.bench.targets import client_of, data_of
from judges.classifiers import JudgeOptions, kept_judge
from judges.classifiers.settings import NONE
from judges.kinds import kind_of
from judges.plans.gradient_inversion import Cell, Federation, Plan
from judges.plans.membership import MembershipConfig
from judges.plans.model_inversion import InversionConfig, InversionPlan, TargetPlan
from judges.plans.rounds import RoundsPlan
from judges.progress import duration
from judges.runs.rows.classes import CENTRAL

Fact = tuple[str, str]
"""What a line is about, and what it says."""

_MEBI = 2**20
_STEPS = 3
"""Steps of a training that are timed."""


@dataclass
class _Total:
    """Sums over all attacks.

    Attributes:
        seconds: at most, on one core.
        federations: about, of their trainings, on one core.
        unknown: labels of attacks whose cost is not known.
        megabytes: that one victim keeps at a time, at most.
    """

    seconds: float
    unknown: list[str]
    megabytes: float
    federations: float = 0.0


def forecast_attacks(plan: Plan, folder: Path) -> Iterator[Fact]:
    """Yield what an experiment of gradient inversion would do in a folder."""
    answers = sum(_victims(one) * len({cell.source for cell in plan.cells_on(one.label)}) for one in plan.federations)
    repetitions = sum(one.repeats for one in plan.federations)
    yield "experiment", f"{plan.base.name}: {several(repetitions, 'federation')}, {several(len(plan.cells), 'cell')}"
    yield "folder", there(folder, sum(1 for _ in folder.glob("reconstructions/**/*.safetensors")), answers)
    data: dict[str, Dataset | None] = {}
    for one in plan.federations:
        name = one.config.dataset.name
        if name not in data:
            data[name], text = reading(one.config)
            yield f"data {name}", text
            yield f"judge of {name}", _judge(plan.base.judge, data[name])
    total = _Total(0.0, [], 0.0)
    for one in plan.federations:
        yield from _of_federation(plan, one, data[one.config.dataset.name], total)
    yield from _in_all(total, plan)


def forecast_inversions(plan: InversionPlan, folder: Path, *, given: bool = False) -> Iterator[Fact]:
    """Yield what an experiment of model inversion would do in a folder; `given`: its federations are trained."""
    models = sum(len(one.seeds) for one in plan.targets)
    yield "experiment", f"{plan.base.name}: {several(models, 'model')} to attack, {several(len(plan.cells), 'cell')}"
    draws = {cell.attack: plan.base.attack_repeats if MODEL_INVERSIONS[cell.attack].draws else 1 for cell in plan.cells}
    answers = sum(len(one.seeds) * draws[cell.attack] for one in plan.targets for cell in plan.attacks_on(one))
    yield "folder", there(folder, sum(1 for _ in folder.glob("inversions/**/*.safetensors")), answers)
    data: dict[str, Dataset | None] = {}
    seconds: float | None = 0.0
    for one in plan.targets:
        name = one.config.dataset.name
        if name not in data:
            data[name], text = reading(one.config)
            yield f"data {name}", text
        found = data[name]
        options = JudgeOptions(name=one.judge, **plan.base.judge.model_dump())
        yield f"judge {one.judge}", _judge(options, found)
        yield f"target {one.label}", _training(one, found)
        lacking = None if found is None else _seconds_of(one, found, given=given)
        seconds = None if seconds is None or lacking is None else seconds + lacking
    yield "time", trainings_take(seconds, "inversions, which end by themselves, and the training of judges")


def forecast_rounds(plan: RoundsPlan, folder: Path) -> Iterator[Fact]:
    """Yield what an experiment over rounds would do in a folder, threat by threat."""
    for number, (threat, one) in enumerate(plan.parts.items()):
        yield threat, "trains the federations" if not number else "of the same federations, which are not trained again"
        more = {"given": True} if number else {}
        facts: Iterator[Fact] = kind_of(one.raw).part("forecast")(one, folder / threat, **more)
        yield from ((f"  {what}", told) for what, told in facts)


def central_seconds(config: InversionConfig | MembershipConfig, dataset: Dataset, examples: int = 0) -> float:
    """Return about how long a training takes on one core; `examples`: how many, 0 for the train split."""
    size = config.training.batch_size
    steps = config.training.epochs * math.ceil((examples or len(dataset.train)) / size)
    return steps * _step_seconds(config, dataset, size)


def federation_seconds(config: SimulationConfig, dataset: Dataset, examples: int = 0) -> float:
    """Return about how long a federation takes on one core; `examples`: of all clients, 0 for what they hold."""
    federation = config.federation
    size, clients = federation.batch_size, range(federation.clients)
    held = [examples // len(clients) if examples else examples_of(config, one) for one in clients]
    each = [federation.local_epochs * math.ceil(count / size) for count in held]
    steps = federation.rounds * federation.fraction * sum(one or federation.local_steps for one in each)
    return steps * _step_seconds(config, dataset, size)


def _step_seconds(config: SimulationConfig, dataset: Dataset, size: int) -> float:
    """Return the seconds of a step of plain SGD on a batch of so many examples, here and now."""
    inputs, labels = dataset.train.batch(slice(0, size))
    with torch.random.fork_rng(devices=[]):
        model = build_model(config.model.spec(dataset.spec), seed=config.seed)
        local_sgd(model, [(inputs, labels)], learning_rate=0.0)  # the first one sets the libraries up
        started = time.perf_counter()
        local_sgd(model, [(inputs, labels)] * _STEPS, learning_rate=0.0)
    return (time.perf_counter() - started) / _STEPS


def trainings_take(seconds: float | None, rest: str) -> str:
    """Return how long trainings take, None where that is not known, and what comes on top."""
    if seconds is None:
        return f"not estimated: the data are missing; {rest} come on top"
    told = f"{_about(seconds)} of one core for the trainings" if seconds else "nothing is left to train"
    return f"{told}; {rest} come on top; --workers N divides it by up to N"


def _seconds_of(plan: TargetPlan, dataset: Dataset, *, given: bool) -> float:
    """Return about how long the trainings of targets of a kind take that are not in the cache; of federations, all."""
    lacking = len((*plan.seeds, *plan.unseen))
    if plan.config.target != CENTRAL:
        return 0.0 if given else lacking * federation_seconds(plan.config, dataset)
    lacking -= _kept(plan, dataset)
    return lacking * central_seconds(plan.config, dataset) if lacking else 0.0


def _kept(plan: TargetPlan, dataset: Dataset) -> int:
    config = plan.config
    spec = config.model.spec(dataset.spec)
    paths = (target_path(spec, dataset, config.training, seed=seed, device=config.device)
             for seed in (*plan.seeds, *plan.unseen))  # fmt: skip
    return sum(path.is_file() for path in paths)


def _training(plan: TargetPlan, dataset: Dataset | None) -> str:
    """Return how the targets of one kind come about."""
    config, wanted = plan.config, (*plan.seeds, *plan.unseen)
    seeds = len(wanted)
    if config.target != CENTRAL:
        rounds, clients = config.federation.rounds, config.federation.clients
        return f"{several(seeds, 'federation')} of {several(clients, 'client')}, {several(rounds, 'round')}"
    epochs = several(config.training.epochs, "epoch")
    if dataset is None:
        return f"{several(seeds, 'training')} of {epochs}, or from the cache"
    kept = _kept(plan, dataset)
    rest = f"; {several(seeds - kept, 'training')} of {epochs} on {len(dataset.train):,} examples"
    return f"{kept} of {seeds} in the cache" + (rest if kept < seeds else "")


def reading(config: SimulationConfig) -> tuple[Dataset | None, str]:
    """Return a data set, or None, and whether it is there."""
    try:
        found = data_of(config)
    except DataError as error:
        return None, f"missing, and no run downloads it. {error}"
    return found, f"{len(found.train):,} train, {len(found.test):,} test examples; {found.source}"


def _judge(options: JudgeOptions, dataset: Dataset | None) -> str:
    """Return whether a judge is there or trained first."""
    if options.name == NONE:
        return "none: no attack success rate, no confidence"
    if dataset is None:
        return "unknown without the data"
    name, is_kept = kept_judge(options, dataset)
    train = f"{name} is trained first, on {len(dataset.train):,} examples; judge=none does without"
    return f"{name}, in the cache" if is_kept else train


def _of_federation(plan: Plan, one: Federation, dataset: Dataset | None, total: _Total) -> Iterator[Fact]:
    """Yield what is done with the captures of a federation, and add its cost."""
    cells = list({cell.source: cell for cell in plan.cells_on(one.label)}.values())
    victims = _victims(one)
    made = f"{one.repeats} x {several(_sampled(one), 'client')} x {several(_captured_rounds(one), 'round')}"
    told = f"{made} = {'at most ' if one.config.federation.dropout else ''}{several(victims, 'victim')}"
    if dataset is not None:
        total.federations += one.repeats * federation_seconds(one.config, dataset)
    if dataset is None or not match_updates(cells):
        total.unknown += [cell.name for cell in cells]
        yield one.label, told
        return
    client = client_of(one.config)
    found = examine(client)
    if found.refusal or found.evaluation is None or found.choice is None:
        yield one.label, f"{told}; refused: {found.refusal}"
        return
    few = 1 if found.choice.engine == "replayed" else min(victims, TOGETHER)
    seconds = seconds_together(client, found.choice, few)
    yield one.label, f"{told}; an evaluation takes {1e3 * seconds:.2g} ms a victim, {few} at a time"
    total.megabytes = max(total.megabytes, found.evaluation.megabytes)
    for cell in cells:
        yield f"  {cell.label}", _of_cell(cell, one, victims, seconds, total)


def _of_cell(cell: Cell, one: Federation, victims: int, evaluation: float, total: _Total) -> str:
    """Return what an attack on a federation costs at most, and add it; `evaluation` is in seconds."""
    is_spiking = MODELS[one.config.model.name].spiking
    count = most_evaluations(cell.attack, cell.settings, spiking=is_spiking)
    if count is None:
        total.unknown.append(cell.name)
        return f"of {ATTACKS.origin(cell.attack)}: not estimated"
    seconds = count * victims * evaluation
    total.seconds += seconds
    return f"at most {count:,} evaluations a victim: {duration(seconds)}"


def _in_all(total: _Total, plan: Plan) -> Iterator[Fact]:
    """Yield time and memory of all attacks."""
    lacking = f", without {', '.join(total.unknown)}" if total.unknown else ""
    told = "training of judges and scoring come on top; --workers N divides it by up to N"
    if total.unknown and not total.seconds:
        cells = several(len(total.unknown), "cell")
        yield "time", f"not estimated for any of {cells}: their data are missing, or their attacks are somebody else's"
        return
    federations = f"{_about(total.federations)} for the federations"
    yield "time", f"at most {duration(total.seconds)} of one core for the attacks{lacking}, {federations}; {told}"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    here = peak / _MEBI if sys.platform == "darwin" else peak / 1024  # bytes there, KiB elsewhere
    limits = [int(cell.all_settings.get("memory_mb", 0)) for cell in plan.cells]
    attacked = min(max(limits, default=0), total.megabytes * plan.base.chunk)
    yield "memory", f"about {here + attacked:,.0f} MB for each process; attack.memory_mb limits the attacks' part"


def _about(seconds: float) -> str:
    return f"{'about ' if seconds >= 1 else ''}{duration(seconds)}"


def _victims(one: Federation) -> int:
    """Return the number of captured updates of all repetitions of a federation, if every client answers."""
    return one.repeats * _captured_rounds(one) * _sampled(one)


def _captured_rounds(one: Federation) -> int:
    federation = one.config.federation
    return sum(federation.captures(number) for number in range(1, federation.rounds + 1))


def _sampled(one: Federation) -> int:
    """Return how many clients train in a round, of those whose updates are captured as far as the data tell."""
    federation = one.config.federation
    clients = federation.clients
    if federation.capture_most:
        with contextlib.suppress(DataError):
            held = (examples_of(one.config, number) for number in range(clients))
            clients = sum(count <= federation.capture_most for count in held)
    return max(1, int(clients * federation.fraction + 1e-9))


def there(folder: Path, kept: int, wanted: int) -> str:
    """Return how many answers are in a folder."""
    if not folder.is_dir():
        return f"{folder}: new; {several(wanted, 'answer')} to compute"
    return f"{folder}: {kept} of {several(wanted, 'answer')} there, if their settings are the same"


def several(number: int, noun: str) -> str:
    """Return "1 cell", "2 cells"."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
