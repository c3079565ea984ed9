"""Defences of clients: as mods, which change the update before the reply, as the rule of a step's gradient, and as the
choice of what is shared."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

from flwr.app import ArrayRecord, Context, Message
from flwr.clientapp.typing import ClientAppCallable, Mod
from torch import Tensor, nn

from fl_sim.config import SimulationConfig
from fl_sim.defences import GRADIENT, MESSAGE, NO_DEFENCE, SHARING, bound, build_entry, known_entry
from fl_sim.errors import ConfigError, SpikeleakError, own_line
from fl_sim.federation.isolation import private_torch
from fl_sim.federation.ordering import global_generators, own_partition
from fl_sim.federation.settings import RunSettings, TrainOrder
from fl_sim.normalisation import statistics_of
from fl_sim.seeding import derive_seed, torch_stream
from fl_sim.training import GradientOf, Parameters, gradient_and_loss, parameters_of

ARRAYS = "arrays"
MEMORY = "defence-memory"
"""Name of the record in a client's own state of what its defence remembers, which never leaves the client."""

_STREAM = "defence"


def defence_mod(settings: Callable[[Context], RunSettings]) -> Mod:
    """Return the mod of a train function that applies the defence of the run's config to the client's update.

    The defence is applied to a gradient directly. For weights, it is applied to their difference from the weights that
    the server sent, and the result is added to those. Flower's own mods are called as they are. Without a defence, or
    with one of the steps' gradients or of what is shared at all, the reply is passed on unchanged. The defence draws
    from a separate random stream for each repetition, round and partition.

    Args:
        settings: returns the settings of the run to which a context belongs.
    """

    def mod(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        reply = call_next(message, context)
        run = settings(context)
        name = run.config.defence.name
        if name == NO_DEFENCE or reply.has_error() or known_entry(name).works_on in (GRADIENT, SHARING):
            return reply
        if known_entry(name).works_on == MESSAGE:
            return _by_flower(message, context, reply, run)
        with private_torch():
            shared = _defended(message, context, reply, run)
        reply.content[ARRAYS] = ArrayRecord(dict(shared))
        return reply

    return mod


def gradient_rule(config: SimulationConfig, server_round: int, partition: int) -> GradientOf:
    """Return how a client computes the gradient of its steps in a round: by its defence, if that works on them."""
    name = config.defence.name
    if name == NO_DEFENCE or known_entry(name).works_on != GRADIENT:
        return gradient_and_loss
    stream = torch_stream(config.seed, _STREAM, config.repeat, server_round, partition)
    mean = {"expected_batch_size": config.federation.batch_size} if config.defence.samples else {}
    return functools.partial(bound(name, known_entry(name), config.defence.settings), generator=stream, **mean)


def kept_local(config: SimulationConfig, model: nn.Module) -> frozenset[str]:
    """Return the names of the parameters and buffers that stay with each client, as its defence says."""
    name = config.defence.name
    if name == NO_DEFENCE or known_entry(name).works_on != SHARING:
        return frozenset()
    return frozenset(bound(name, known_entry(name), config.defence.settings)(model))


def shared_state(config: SimulationConfig, model: nn.Module) -> Parameters:
    """Return a copy of what server and clients exchange of a model: parameters, and statistics beside weights.

    Gradients are those of parameters, so under FedSGD running statistics are no part of it.
    """
    state = parameters_of(model) | ({} if config.strategy.name == "FedSGD" else statistics_of(model))
    kept = kept_local(config, model)
    return {name: tensor for name, tensor in state.items() if name not in kept}


def _by_flower(message: Message, context: Context, reply: Message, run: RunSettings) -> Message:
    """Return what a mod of Flower's makes of a reply; it draws from NumPy's global generator."""
    config, order = run.config, TrainOrder.of(message)
    flower: Mod = bound(config.defence.name, known_entry(config.defence.name), config.defence.settings)()
    place = config.repeat, order.server_round, own_partition(context)
    with global_generators(derive_seed(config.seed, _STREAM, *place)):
        return flower(message, context, lambda _message, _context: reply)


def _defended(message: Message, context: Context, reply: Message, run: RunSettings) -> Mapping[str, Tensor]:
    """Return the defended update that replaces the one in a client's reply."""
    config, order, partition = run.config, TrainOrder.of(message), own_partition(context)
    entry = known_entry(config.defence.name)
    stream = torch_stream(config.seed, _STREAM, config.repeat, order.server_round, partition)
    kept = context.state.array_records.get(MEMORY)
    memory = dict(kept.to_torch_state_dict()) if kept is not None else {}
    built = build_entry(config.defence.name, entry, config.defence.settings)
    defence = functools.partial(built, generator=stream, memory=memory)
    update = _tensors(reply)
    sent: Mapping[str, Tensor] = {}
    if order.share != "gradient":
        sent = {name: tensor.to(update[name].dtype) for name, tensor in _tensors(message).items() if name in update}
        update = {name: _difference(update[name], sent[name]) for name in update}
    try:
        shared: Mapping[str, Tensor] = defence(update)
    except SpikeleakError:
        raise
    except Exception as error:  # anybody's defence may fail in any way
        raise ConfigError(
            f"defence '{config.defence.name}' failed: {type(error).__name__}: {error}{own_line(error)}"
        ) from error
    if order.share != "gradient":
        shared = {name: _sum(sent[name], change) for name, change in shared.items()}
    if memory:
        context.state[MEMORY] = ArrayRecord(memory)
    return shared


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
