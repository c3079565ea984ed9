"""Defences as client mods, which change the update between the client's training and its reply."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flwr.app import ArrayRecord, Context, Message
from flwr.clientapp.typing import ClientAppCallable, Mod
from torch import Tensor

from fl_sim.defences import NO_DEFENCE, build_defence
from fl_sim.errors import ConfigError
from fl_sim.federation.isolation import private_torch
from fl_sim.federation.ordering import own_partition
from fl_sim.federation.settings import RunSettings, TrainOrder
from fl_sim.seeding import torch_stream

ARRAYS = "arrays"


def defence_mod(settings: Callable[[Context], RunSettings]) -> Mod:
    """Return the mod of a train function that applies the defence of the run's config to the client's update.

    The defence is applied to a gradient directly. For weights, it is applied to their difference from the weights that
    the server sent, and the result is added to those. Without a defence the reply is passed on unchanged. The defence
    draws from a separate random stream for each repetition, round and partition.

    Args:
        settings: returns the settings of the run to which a context belongs.
    """

    def mod(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        reply = call_next(message, context)
        run = settings(context)
        if run.config.defence.name == NO_DEFENCE or reply.has_error():
            return reply
        with private_torch():
            shared = _defended(message, reply, own_partition(context), run)
        reply.content[ARRAYS] = ArrayRecord(dict(shared))
        return reply

    return mod


def _defended(message: Message, reply: Message, partition: int, run: RunSettings) -> Mapping[str, Tensor]:
    """Return the defended update that replaces the one in a client's reply."""
    config, order = run.config, TrainOrder.of(message)
    defence = build_defence(config.defence.name, config.defence.settings)
    stream = torch_stream(config.seed, "defence", config.repeat, order.server_round, partition)
    update = _tensors(reply)
    if order.share == "gradient":
        return defence(update, generator=stream)
    sent = {name: tensor.to(update[name].dtype) for name, tensor in _tensors(message).items() if name in update}
    changes = defence({name: _difference(update[name], sent[name]) for name in update}, generator=stream)
    return {name: _sum(sent[name], change) for name, change in changes.items()}


def _difference(after: Tensor, before: Tensor) -> Tensor:
    """Return after minus before, computed in float64 and stored in the client's dtype, as the server computes it."""
    return (after.double() - before.double()).to(after.dtype)


def _sum(before: Tensor, change: Tensor) -> Tensor:
    """Return before plus change, computed in float64, so that adding 0 gives exactly the weights that were sent."""
    return (before.double() + change.double()).to(before.dtype)


def _tensors(message: Message) -> dict[str, Tensor]:
    """Return the arrays of a message as tensors by name."""
    record = message.content[ARRAYS]
    if not isinstance(record, ArrayRecord):
        raise ConfigError(f"message: expected an ArrayRecord '{ARRAYS}', found none.")
    return dict(record.to_torch_state_dict())
