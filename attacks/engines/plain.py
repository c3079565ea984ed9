"""What plain torch computes for a client: the update of planted examples, by the user's own module.

The engines are compared with it. Random draws of dropout are left out on both sides, since no server knows them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import re
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from attacks.replay.module import silenced, without_draws
from fl_sim.client_steps import client_gradient, step_loss, train_client, trainable
from fl_sim.encoders import Encoder
from fl_sim.errors import ConfigError, SpikeleakError, lack_of_memory, own_line
from fl_sim.losses import targets_of
from fl_sim.models import build_model
from fl_sim.observed import Steps, batch_size, local_steps, observed_gradient
from fl_sim.records import CapturedUpdate
from fl_sim.tokens import as_read, random_texts

_MOST_STEPS, _MOST_EXAMPLES = 2, 2
_ALIKE = 1e-4
"""Relative distance of two gradients up to which they differ by rounding only."""

_ONCE = re.compile(r"derivative for aten::(\w+) is not implemented")
"""What torch says of an operation without a second derivative."""

_ONE_EXAMPLE = "more than 1 value per channel"
"""What torch says of a batch normalisation in train mode that sees one value only."""

_TOKENS = "argument #1 'indices'", "input has to be 1D or 2D Tensor, but got Tensor of dimension 4"
"""What torch says of an embedding that is given anything but whole numbers, and of a bag that is given a picture."""


class Planted(NamedTuple):
    """Random examples of a client, and the update that plain torch computes from them.

    Attributes:
        capture: as the server would have captured it.
        inputs, targets: (N, C, H, W), or (T, N, C, H, W) for events, and (N, K). Texts in their one-hot form.
        labels: (N,).
    """

    capture: CapturedUpdate
    inputs: Tensor
    targets: Tensor
    labels: Tensor


def planted(
    capture: CapturedUpdate, *, seed: int, precision: torch.dtype, whole: bool = False, drawn: bool = False
) -> Planted:
    """Return a client of the same model and training with random examples, and its update.

    Args:
        capture: whose model, parameters and training are used.
        seed: draws the examples.
        precision: dtype of the computation.
        whole: whether it takes all steps of all examples, and not at most two steps of two examples.
        drawn: whether its training draws its random numbers.

    Raises:
        ConfigError: the user's own code fails, with its own line.
    """
    client = dataclasses.replace(capture, labels=None) if whole else _small(capture)
    one = _examples(client, seed=seed, precision=precision)
    update = _update_of(one, precision=precision, drawn=seed if drawn else None)
    return one._replace(capture=dataclasses.replace(client, update=update))


def _examples(client: CapturedUpdate, *, seed: int, precision: torch.dtype) -> Planted:
    """Return random examples of a client, without their update."""
    spec, stream = client.model.input, torch.Generator().manual_seed(seed)
    count = batch_size(client)
    if spec.vocabulary:
        inputs = random_texts(spec, count, stream).to(precision)
    else:
        shape = (*((spec.timesteps,) if spec.timesteps else ()), count, *spec.frame)
        inputs = spec.low + (spec.high - spec.low) * torch.rand(shape, generator=stream, dtype=torch.float64)
        inputs = (inputs.round() if spec.timesteps else inputs).to(precision)
    labels = torch.randint(max(2, spec.classes), (count,), generator=stream)
    return Planted(client, inputs, targets_of(client.training, labels, spec.classes).to(precision), labels)


def _small(capture: CapturedUpdate) -> CapturedUpdate:
    """Return a capture of at most two steps of at most two examples each."""
    steps = local_steps(capture)
    size, count = min(len(steps[0]), _MOST_EXAMPLES), min(len(steps), _MOST_STEPS)
    return dataclasses.replace(
        capture,
        batch_size=size,
        local_steps=count,
        epochs=None,
        num_examples=size * count,
        labels=None,
        clients=1,
        sampling=None,
        sizes=None,
    )


def _update_of(
    one: Planted, *, precision: torch.dtype, drawn: int | None, steps: Steps | None = None
) -> dict[str, Tensor]:
    """Return the update that plain torch computes from examples, with the names that the capture's update has.

    Its random numbers are drawn from the seed `drawn`, or left out if it is None.
    """
    capture = one.capture
    module = loaded(capture, precision, quiet=drawn is None)
    batches = [_batch(one, step) for step in steps or local_steps(capture)]
    quiet = without_draws() if drawn is None else _seeded(module, drawn)
    with own_errors(capture), torch.random.fork_rng(devices=[]), quiet:
        if capture.kind == "gradient":
            return {
                name: value
                for name, value in client_gradient(module, batches[0], capture.training).items()
                if name in capture.update
            }
        before = {name: value.clone() for name, value in module.state_dict().items()}
        train_client(module, batches, capture.training, learning_rate=capture.learning_rate or 1.0)
        return {name: value - before[name] for name, value in module.state_dict().items() if name in capture.update}


def update_of(
    capture: CapturedUpdate, inputs: Tensor, labels: Tensor, *, seed: int, steps: Steps | None = None
) -> dict[str, Tensor]:
    """Return the update that a client computes in plain torch, with the names that the capture's update has.

    Args:
        capture: the client's model, parameters, training and steps.
        inputs: (N, C, H, W), or (T, N, C, H, W) for events, in the order of the client's steps.
        labels: (N,).
        seed: of the random numbers that its training draws, if it does.
        steps: the examples of each step; None for those of the capture.

    Raises:
        ConfigError: the model's own code fails.
    """
    targets = targets_of(capture.training, labels, capture.model.input.classes).to(torch.float32)
    one = Planted(capture, inputs.to(torch.float32), targets, labels)
    return _update_of(one, precision=torch.float32, drawn=seed if draws(capture) else None, steps=steps)


@contextlib.contextmanager
def _seeded(module: nn.Module, seed: int) -> Iterator[None]:
    """Let the module draw from a seed, as its encoders do, to which a client gives one for each batch."""
    for part in module.modules():
        if isinstance(part, Encoder):
            part.seed = seed
    torch.manual_seed(seed)
    yield


def _batch(one: Planted, step: range) -> tuple[Tensor, Tensor]:
    """Return the inputs, as the module reads them, and the targets of a step."""
    index = torch.tensor(step)
    inputs = one.inputs.index_select(one.inputs.dim() - 4, index)
    return as_read(inputs, one.capture.model.input), one.targets[index]


def matched(capture: CapturedUpdate) -> tuple[str, ...]:
    """Return the names of the parameters that the client trains and shares, in the model's order.

    Sums over them run in this order: that of a set would change their last bits from process to process.
    """
    names = trainable(loaded(capture, torch.float32), capture.training.taken())
    return tuple(name for name in names if name in capture.update)


def norm_of(capture: CapturedUpdate, names: Collection[str]) -> float:
    """Return the norm of the parameters of these names in an update, in units of the gradient.

    Without buffers: those that count, such as the batches of a batch normalisation, would dwarf the gradient.
    """
    observed = observed_gradient(capture)
    return math.sqrt(sum(float(observed[name].double().square().sum()) for name in names))


def parameters_only(capture: CapturedUpdate, names: Collection[str]) -> CapturedUpdate:
    """Return a capture whose update holds the parameters of these names only, without buffers."""
    kept = {name: value for name, value in capture.update.items() if name in names}
    return dataclasses.replace(capture, update=kept)


def squared_distance(one: Planted, other: Planted, names: Collection[str]) -> tuple[float, float]:
    """Return the squared distance between the parameters of two updates, and the squared norm of the first.

    In units of the gradient: those of -delta / (lr S) for S steps.
    """
    capture = one.capture
    scale = 1.0 if capture.kind == "gradient" else 1.0 / ((capture.learning_rate or 1.0) * len(local_steps(capture)))
    distance = sum(
        float((scale * (capture.update[name] - other.capture.update[name])).square().sum()) for name in names
    )
    return distance, sum(float((scale * capture.update[name]).square().sum()) for name in names)


def draws(capture: CapturedUpdate) -> bool:
    """Return whether the client's own training draws random numbers, such as dropout: two tries differ."""
    one, found = _examples(_small(capture), seed=0, precision=torch.float32), []
    batch = _batch(one, local_steps(one.capture)[0])
    for seed in (0, 1):
        module = loaded(capture, torch.float32, quiet=False)
        with own_errors(capture), torch.random.fork_rng(devices=[]), _seeded(module, seed):
            found.append(client_gradient(module, batch, capture.training))
    apart, size = (
        sum(float(value.double().square().sum()) for value in values)
        for values in ([value - found[1][name] for name, value in found[0].items()], found[0].values())
    )
    return apart > _ALIKE**2 * size


def refuse_once(capture: CapturedUpdate) -> None:
    """Raise a ConfigError if a function of the model's own is marked as differentiable once.

    torch does not: where the derivative by given tensors is asked for, it takes that of such a function for zero.
    """
    module, one = loaded(capture, torch.float32), _examples(_small(capture), seed=0, precision=torch.float32)
    batch = _batch(one, local_steps(one.capture)[0])
    with own_errors(capture), torch.random.fork_rng(devices=[]), without_draws():
        module.train(capture.training.taken().mode == "train")
        loss = step_loss(module, *batch, capture.training.taken())
    seen, waiting = set(), [loss.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        waiting += [function for function, _ in node.next_functions]
        own = getattr(node, "_forward_cls", None)
        if own is not None and getattr(own.backward, "__code__", None) is once_differentiable(own.backward).__code__:
            reason = f"'{own.__name__}' in {own.__module__} is marked once_differentiable"
            raise ConfigError(_no_second(capture.model.architecture, reason))


def _no_second(name: str, reason: str) -> str:
    return (
        f"model '{name}': its gradient cannot be differentiated again, as matching gradients needs it: there is no "
        f"second derivative, since {reason}. Write that part in other operations of torch."
    )


def loaded(capture: CapturedUpdate, precision: torch.dtype, *, quiet: bool = True) -> nn.Module:
    """Return the client's module with what the server sent; `quiet` for recurrent and attention layers too."""
    with own_errors(capture), torch.random.fork_rng(devices=[]):
        module = build_model(capture.model, parameters=capture.parameters, partly=True).to(precision)
        state = module.state_dict()
        module.load_state_dict({**state, **_fitting(capture.parameters, state)})
    return silenced(module) if quiet else module


def _fitting(parameters: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the sent tensors that the module has."""
    return {name: tensor for name, tensor in parameters.items() if name in state}


@contextlib.contextmanager
def own_errors(capture: CapturedUpdate) -> Iterator[None]:
    """Raise a ConfigError with the line of the user's own code in place of an error that it raises.

    Errors of ours pass, and a lack of memory, for which there is no line to correct.
    """
    try:
        yield
    except SpikeleakError:
        raise
    except Exception as error:
        if lack_of_memory(error):
            raise
        name, shape = capture.model.architecture, ", ".join(map(str, capture.model.input.frame))
        once = _ONCE.search(str(error))
        if once:
            raise ConfigError(_no_second(name, f"torch has none of {once[1].removesuffix('_backward')}")) from error
        if any(words in str(error) for words in _TOKENS):
            raise ConfigError(
                f"model '{name}': it reads whole numbers, such as tokens{own_line(error)}, and its InputSpec says that "
                "it reads real ones. Say InputSpec(1, LENGTH, VOCABULARY, CLASSES, vocabulary=VOCABULARY), or to "
                "`spikeleak check` --set input.height=LENGTH --set input.vocabulary=VOCABULARY."
            ) from error
        if _ONE_EXAMPLE in str(error):
            raise ConfigError(
                f"model '{name}': its batch normalisations cannot train on one example of this size, as the client is "
                f"said to: {error}. Say its batch size, or that its mode is eval."
            ) from error
        raise ConfigError(
            f"model '{name}': its own code fails on an input of shape (N, {shape}): {type(error).__name__}: {error}"
            f"{own_line(error)}"
        ) from error
