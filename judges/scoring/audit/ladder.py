"""The ladder: the same model and examples from the attacker's best case to the client's own setting, a change a rung.

The updates of the rungs are computed by plain torch from the sealed examples, as a client would.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from attacks.engines.plain import update_of
from attacks.preflight.stand_in import stand_in
from fl_sim.captures import SealedStore
from fl_sim.errors import ConfigError
from fl_sim.observed import batch_size, local_steps
from fl_sim.records import CapturedUpdate, SealedBatch
from judges.runs.rows import LARGEST_MISMATCH

_RUNAWAY = 10.0
"""Length of an update, in lengths of the parameters, from which a training runs away: an ordinary one stays below 1."""

ONE, BATCH, STEPS, WEIGHTS, CAPTURED = "one example", "batch of {}", "{} steps", "weights as sent", "as captured"
"""What each rung adds: to one example, an untrained model, one step and no defence."""


@dataclass(frozen=True)
class Rung:
    """Clients of one setting.

    Attributes:
        name: what it adds to the rung below.
        captures: what the server sees of them; their ids are those of the clients whose examples they use.
        truths: their examples, in the same order.
        defended: whether the updates are those that were captured, with what the clients did to them.
    """

    name: str
    captures: tuple[CapturedUpdate, ...]
    truths: tuple[SealedBatch, ...]
    defended: bool = False


class Ladder(NamedTuple):
    """The rungs of clients with the same model, the best case first, and what is to be said of them, as sentences."""

    rungs: list[Rung]
    remarks: list[str]


def ladder_of(
    captures: Sequence[CapturedUpdate],
    truths: Mapping[str, SealedBatch],
    mismatches: Mapping[str, float],
    *,
    examples: int,
    seed: int,
    as_built: bool = False,
) -> Ladder:
    """Return the rungs of clients with the same model, from the attacker's best case to what was captured.

    A rung that would change nothing is left out, and so is one for which the model's own code fails, as that of a batch
    normalisation does on a single example, or whose training runs away: what it would have added, the next one adds.

    Args:
        captures: of clients whose truth is known, with all facts that an attack assumes.
        truths: {capture id: the examples for which the attack searches}.
        mismatches: {capture id: distance of the truth's update from the captured one, relative to its norm}.
        examples: number of examples of all clients together; whole clients are taken until there are so many, those of
            the last round first, whose model has been trained most.
        seed: of the untrained model.
        as_built: whether that is as its builder makes it, and not drawn by `ModelSpec.init`, of which a capture of
            somebody else's federation does not tell.
    """
    clients = list(_enough(captures, truths, examples))
    if not clients:
        return Ladder([], [])
    batches = [truths[client.id] for client in clients]
    plain = [_undefended(client) for client in clients]
    untrained = [_untrained(client, None if as_built else seed) for client in plain]
    first = local_steps(clients[0])
    found = [_rung(ONE, *_singles(untrained, batches, examples), seed)]
    if len(first[0]) > 1:
        found.append(_rung(BATCH.format(len(first[0])), *_batches(untrained, batches), seed))
    if len(first) > 1:
        found.append(_rung(STEPS.format(len(first)), untrained, batches, seed))
    name = WEIGHTS
    if any(mismatches.get(client.id, 0.0) > LARGEST_MISMATCH for client in clients):
        found.append(_rung(WEIGHTS, plain, batches, seed))
        name = CAPTURED
    found.append(Rung(name, tuple(clients), tuple(batches), defended=name == CAPTURED))
    return _without_runaways(found)


def _without_runaways(found: Sequence[Rung | None]) -> Ladder:
    """Return the rungs that there are without those whose training runs away, what they add named on the next one."""
    kept, remarks, added = list[Rung](), list[str](), list[str]()
    *below, top = [one for one in found if one is not None]
    trained = set(stand_in(top.captures[0].model, top.captures[0].training, kind="gradient").update)
    for one in below:
        length = max(_length(capture, trained) for capture in one.captures)
        if length < _RUNAWAY:
            kept.append(dataclasses.replace(one, name=" and ".join([*added, one.name])))
            added = []
            continue
        added.append(one.name)
        remarks.append(
            f"the ladder has no rung {one.name!r} alone: there the clients' own training runs away (the update is "
            f"{length:.1g} times as long as the parameters), so that it would tell nothing of what these clients share."
        )
    return Ladder([*kept, dataclasses.replace(top, name=" and ".join([*added, top.name]))], remarks)


def _length(client: CapturedUpdate, trained: Collection[str]) -> float:
    """Return the norm of a weight difference relative to that of the trained parameters; 0 for a gradient."""
    if client.kind == "gradient":
        return 0.0
    moved, sent = (
        sum(values[name].double().square().sum().item() for name in client.update if name in trained)
        for values in (client.update, client.parameters)
    )
    return math.sqrt(moved / sent) if math.isfinite(moved) and sent else math.inf


def seal(folder: Path, ids: Sequence[str], truths: Sequence[SealedBatch]) -> None:
    """Write the truths of captures with these ids into a folder of sealed batches."""
    store = SealedStore(folder)
    for name, truth in zip(ids, truths, strict=True):
        store(dataclasses.replace(truth, capture_id=name))


def _enough(
    captures: Sequence[CapturedUpdate], truths: Mapping[str, SealedBatch], examples: int
) -> Iterator[CapturedUpdate]:
    """Yield captures whose truth is known, of the last round first, until they have so many examples together."""
    count = 0
    for capture in sorted(captures, key=lambda one: -one.round):
        if capture.id in truths and count < examples:
            count += batch_size(capture)
            yield capture


def _undefended(client: CapturedUpdate) -> CapturedUpdate:
    """Return a client that does not clip its steps."""
    return dataclasses.replace(client, training=client.training.model_copy(update={"clip_norm": 0.0}))


def _untrained(client: CapturedUpdate, seed: int | None) -> CapturedUpdate:
    """Return a client that is sent a model as its initialisation makes it, or without a seed its builder."""
    fresh = stand_in(client.model, client.training, kind=client.kind, seed=seed)
    return dataclasses.replace(
        client,
        parameters={name: fresh.parameters[name] for name in client.parameters},
        update={name: value for name, value in fresh.update.items() if name in client.update},
    )


def _one_step(client: CapturedUpdate, batch: SealedBatch) -> CapturedUpdate:
    """Return a client that shares the gradient of one step on a batch."""
    count = len(batch.labels)
    shared = stand_in(client.model, client.training, kind="gradient").update
    return dataclasses.replace(
        client,
        update={name: value for name, value in shared.items() if name in client.update},
        kind="gradient",
        local_steps=1,
        epochs=None,
        batch_size=count,
        num_examples=count,
        clients=1,
        labels=None if client.labels is None else batch.labels,
    )


def _singles(
    clients: Sequence[CapturedUpdate], batches: Sequence[SealedBatch], examples: int
) -> tuple[list[CapturedUpdate], list[SealedBatch]]:
    """Return clients with one example each."""
    found: list[CapturedUpdate] = []
    parts: list[SealedBatch] = []
    for client, batch in zip(clients, batches, strict=True):
        for index in range(min(len(batch.labels), examples - len(found))):
            parts.append(_part(batch, range(index, index + 1)))
            found.append(_one_step(client, parts[-1]))
    return found, parts


def _batches(
    clients: Sequence[CapturedUpdate], batches: Sequence[SealedBatch]
) -> tuple[list[CapturedUpdate], list[SealedBatch]]:
    """Return clients with one step each, of those that the clients take on different examples."""
    found: list[CapturedUpdate] = []
    parts: list[SealedBatch] = []
    for client, batch in zip(clients, batches, strict=True):
        for step in dict.fromkeys(local_steps(client)):
            parts.append(_part(batch, step))
            found.append(_one_step(client, parts[-1]))
    return found, parts


def _part(batch: SealedBatch, rows: range) -> SealedBatch:
    """Return some of the examples of a batch."""
    index = torch.tensor(rows)
    inputs = batch.inputs.index_select(batch.inputs.dim() - 4, index)
    return dataclasses.replace(batch, inputs=inputs, labels=batch.labels[index], defence="none")


def _rung(name: str, clients: Sequence[CapturedUpdate], batches: Sequence[SealedBatch], seed: int) -> Rung | None:
    """Return a rung with the updates of its clients; None if the model's own code fails."""
    try:
        whole = [
            dataclasses.replace(client, update=update_of(client, batch.inputs, batch.labels, seed=seed))
            for client, batch in zip(clients, batches, strict=True)
        ]
    except ConfigError:
        return None
    return Rung(name, tuple(whole), tuple(batches))
