"""Defences as client mods: what a client shares is changed between its training and the wire."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flwr.app import ArrayRecord, Context, Message
from flwr.clientapp.typing import ClientAppCallable, Mod
from torch import Tensor

from fl_sim.defences import NO_DEFENCE, build_defence
from fl_sim.errors import ConfigError
from fl_sim.federation.process import private_torch
from fl_sim.federation.settings import RunSettings, TrainOrder
from fl_sim.seeding import torch_stream

ARRAYS = "arrays"


def defence_mod(settings: Callable[[Context], RunSettings]) -> Mod:
    """Return the mod of a train function that applies the defence of the run's config to what the client shares.

    A gradient is defended as it is. Of weights the difference to those that were sent is defended, and added to them.
    Without a defence the reply is handed on untouched. What a defence draws is of a stream of its own for each
    repetition, round and partition.

    Args:
        settings: of the run that a context belongs to.
    """

    def mod(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        reply = call_next(message, context)
        run = settings(context)
        if run.config.defence.name == NO_DEFENCE or reply.has_error():
            return reply
        with private_torch():
            shared = _defended(message, reply, int(context.node_config["partition-id"]), run)
        reply.content[ARRAYS] = ArrayRecord(dict(shared))
        return reply

    return mod


def _defended(message: Message, reply: Message, partition: int, run: RunSettings) -> Mapping[str, Tensor]:
    """Return what a client shares instead of what it replied."""
    config, order = run.config, TrainOrder.of(message)
    defence = build_defence(config.defence.name, config.defence.settings)
    stream = torch_stream(config.seed, "defence", config.repeat, order.server_round, partition)
    reached = _tensors(reply)
    if order.share == "gradient":
        return defence(reached, generator=stream)
    sent = {name: tensor.to(reached[name].dtype) for name, tensor in _tensors(message).items() if name in reached}
    changed = defence({name: _difference(reached[name], sent[name]) for name in reached}, generator=stream)
    return {name: _sum(sent[name], change) for name, change in changed.items()}


def _difference(after: Tensor, before: Tensor) -> Tensor:
    """Return after minus before, computed in float64 and kept in the client's type, as the server computes it."""
    return (after.double() - before.double()).to(after.dtype)


def _sum(before: Tensor, change: Tensor) -> Tensor:
    """Return before plus change, computed in float64: adding 0 gives back the very weights that were sent."""
    return (before.double() + change.double()).to(before.dtype)


def _tensors(message: Message) -> dict[str, Tensor]:
    """Return the arrays of a message as tensors by name."""
    record = message.content[ARRAYS]
    if not isinstance(record, ArrayRecord):
        raise ConfigError(f"A message has no ArrayRecord '{ARRAYS}'.")
    return dict(record.to_torch_state_dict())
