"""A model's parameters and what its client does with them, and the modules that draw random numbers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from attacks.engines.plain import loaded, own_errors, planted
from attacks.replay.module import ClientModule
from fl_sim.client_steps import stateful, step_loss, trainable
from fl_sim.encoders import Encoder
from fl_sim.normalisation import statistics_of
from fl_sim.records import CapturedUpdate
from fl_sim.tokens import as_read


@dataclass(frozen=True)
class Layers:
    """The parameters of a client's model, by name.

    Attributes:
        matched: those that the client trains and shares, which an attack matches.
        numbers: how many numbers these have.
        frozen: those that it does not train.
        unshared: those that it trains and its update lacks.
        tied: names that are one and the same tensor.
        unsent: parameters, and in eval mode running statistics, that the server did not send: an attack takes them to
            be as in a new model.
        statistics: batch normalisations whose running statistics the update shares, which an attack matches too.
        stateful: spiking layers that keep a state between calls, and that are set to rest before each step.
    """

    matched: tuple[str, ...]
    numbers: int
    frozen: tuple[str, ...]
    unshared: tuple[str, ...]
    tied: tuple[tuple[str, ...], ...]
    unsent: tuple[str, ...]
    statistics: tuple[str, ...]
    stateful: tuple[str, ...]


def layers_of(capture: CapturedUpdate) -> Layers:
    """Return the parameters of a client's model.

    Raises:
        ConfigError: the model cannot be built.
    """
    module = loaded(capture, torch.float32)
    trained = trainable(module, capture.training.taken())
    names: dict[int, list[str]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    tracked = ClientModule(capture, device="cpu", dtype=torch.float32).tracked if capture.kind == "delta" else []
    return Layers(
        matched=tuple(name for name in trained if name in capture.update),
        numbers=sum(value.numel() for name, value in trained.items() if name in capture.update),
        frozen=tuple(name for name, _ in module.named_parameters() if name not in trained),
        unshared=tuple(name for name in trained if name not in capture.update),
        tied=tuple(tuple(group) for group in names.values() if len(group) > 1),
        unsent=tuple(name for name in _counting(module, capture) if name not in capture.parameters),
        statistics=tuple(tracked),
        stateful=tuple(stateful(module)),
    )


def _counting(module: nn.Module, capture: CapturedUpdate) -> tuple[str, ...]:
    """Return the names of what the client's outputs depend on: in train mode norms use the statistics of the batch."""
    evaluates = capture.training.taken().mode == "eval"
    return (*dict(module.named_parameters()), *(statistics_of(module) if evaluates else ()))


def drawing(capture: CapturedUpdate) -> tuple[str, ...]:
    """Return the modules whose forward pass draws random numbers from torch; "" is the model's own code.

    Raises:
        ConfigError: the user's own code fails, with its own line.
    """
    module = loaded(capture, torch.float32, quiet=False).train(capture.training.taken().mode == "train")
    one = planted(capture, seed=0, precision=torch.float32)
    names = {part: name for name, part in module.named_modules()}
    watch = _Watch()
    for part in names:
        part.register_forward_pre_hook(watch.enter)
        part.register_forward_hook(watch.leave)
    with own_errors(capture), torch.random.fork_rng(devices=[]):
        step_loss(module, as_read(one.inputs, capture.model.input), one.targets, capture.training.taken())
    encoders = {part for part in names if isinstance(part, Encoder) and part.name == "rate"}  # of a stream of their own
    return tuple(names[part] for part in names if part in watch.found | encoders)


class _Watch:
    """Notes which module is running whenever torch's random state has changed."""

    def __init__(self) -> None:
        self.found: set[nn.Module] = set()
        self._running: list[nn.Module] = []
        self._state = torch.get_rng_state()

    def enter(self, module: nn.Module, _: object) -> None:
        """Note what happened before a module starts."""
        self._note()
        self._running.append(module)

    def leave(self, *_: object) -> None:
        """Note what happened until a module ended."""
        self._note()
        self._running.pop()

    def _note(self) -> None:
        state = torch.get_rng_state()
        if self._running and not torch.equal(state, self._state):
            self.found.add(self._running[-1])
        self._state = state
