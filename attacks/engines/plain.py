"""What plain torch computes for a client: the update of planted examples, by the user's own module.

The engines are compared with it. Random draws of dropout are left out on both sides, since no server knows them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import linecache
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from attacks.replay.module import silenced, without_draws
from fl_sim.client_steps import client_gradient, train_client, trainable
from fl_sim.errors import ConfigError
from fl_sim.losses import targets_of
from fl_sim.models import build_model
from fl_sim.observed import local_steps
from fl_sim.records import CapturedUpdate

_MOST_STEPS, _MOST_EXAMPLES = 2, 2
_OURS = Path(__file__).parents[2]


class Planted(NamedTuple):
    """Random examples of a client, and the update that plain torch computes from them.

    Attributes:
        capture: as the server would have captured it.
        inputs, targets: (N, C, H, W), or (T, N, C, H, W) for events, and (N, K).
    """

    capture: CapturedUpdate
    inputs: Tensor
    targets: Tensor


def planted(capture: CapturedUpdate, *, seed: int, precision: torch.dtype) -> Planted:
    """Return a small client of the same model and training: at most two steps of two random examples.

    Args:
        capture: whose model, parameters and training are used.
        seed: draws the examples.
        precision: dtype of the computation.

    Raises:
        ConfigError: the user's own code fails, with its own line.
    """
    steps = local_steps(capture)
    size, count = min(len(steps[0]), _MOST_EXAMPLES), min(len(steps), _MOST_STEPS)
    spec, stream = capture.model.input, torch.Generator().manual_seed(seed)
    shape = (*((spec.timesteps,) if spec.timesteps else ()), size * count, *spec.frame)
    inputs = spec.low + (spec.high - spec.low) * torch.rand(shape, generator=stream, dtype=torch.float64)
    inputs = inputs.round() if spec.timesteps else inputs
    labels = torch.randint(max(2, spec.classes), (size * count,), generator=stream)
    targets = targets_of(capture.training, labels, spec.classes).to(precision)
    small = dataclasses.replace(
        capture, batch_size=size, local_steps=count, epochs=None, num_examples=size * count, labels=None
    )
    found = update_of(small, inputs.to(precision), targets, precision=precision)
    return Planted(dataclasses.replace(small, update=found), inputs.to(precision), targets)


def update_of(capture: CapturedUpdate, inputs: Tensor, targets: Tensor, *, precision: torch.dtype) -> dict[str, Tensor]:
    """Return the update that plain torch computes from examples, with the names that the capture's update has.

    Raises:
        ConfigError: the user's own code fails, with its own line.
    """
    module = loaded(capture, precision)
    axis = inputs.dim() - 4
    batches = [
        (inputs.index_select(axis, torch.tensor(step)), targets[torch.tensor(step)]) for step in local_steps(capture)
    ]
    with own_errors(capture), torch.random.fork_rng(devices=[]), without_draws():
        if capture.kind == "gradient":
            return {
                name: value
                for name, value in client_gradient(module, batches[0], capture.training).items()
                if name in capture.update
            }
        before = {name: value.clone() for name, value in module.state_dict().items()}
        train_client(module, batches, capture.training, learning_rate=capture.learning_rate or 1.0)
        return {name: value - before[name] for name, value in module.state_dict().items() if name in capture.update}


def parameters_only(capture: CapturedUpdate) -> CapturedUpdate:
    """Return a capture whose update holds the trained parameters only, without buffers."""
    names = trainable(loaded(capture, torch.float64), capture.training.taken())
    kept = {name: value for name, value in capture.update.items() if name in names}
    return dataclasses.replace(capture, update=kept)


def squared_distance(one: Planted, other: Planted) -> tuple[float, float]:
    """Return the squared distance between the trained parameters of two updates, and the squared norm of the first.

    In units of the gradient: those of -delta / (lr S) for S steps.
    """
    capture = one.capture
    names = parameters_only(capture).update
    scale = 1.0 if capture.kind == "gradient" else 1.0 / ((capture.learning_rate or 1.0) * len(local_steps(capture)))
    distance = sum(
        float((scale * (capture.update[name] - other.capture.update[name])).square().sum()) for name in names
    )
    return distance, sum(float((scale * capture.update[name]).square().sum()) for name in names)


def draws(capture: CapturedUpdate) -> bool:
    """Return whether the client's own training draws random numbers, such as dropout: two tries differ."""
    trial = planted(capture, seed=0, precision=torch.float32)
    module = loaded(trial.capture, torch.float32)
    step = torch.tensor(local_steps(trial.capture)[0])
    batch = trial.inputs.index_select(trial.inputs.dim() - 4, step), trial.targets[step]
    found = []
    with own_errors(capture), torch.random.fork_rng(devices=[]):
        for seed in (0, 1):
            torch.manual_seed(seed)
            found.append(client_gradient(module, batch, capture.training))
    return any(not torch.equal(found[0][name], found[1][name]) for name in found[0])


def loaded(capture: CapturedUpdate, precision: torch.dtype) -> nn.Module:
    """Return the client's module with what the server sent."""
    with own_errors(capture), torch.random.fork_rng(devices=[]):
        module = silenced(build_model(capture.model, parameters=capture.parameters)).to(precision)
        state = module.state_dict()
        module.load_state_dict({**state, **_fitting(capture.parameters, state)})
    return module


def _fitting(parameters: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the sent tensors that the module has."""
    return {name: tensor for name, tensor in parameters.items() if name in state}


@contextlib.contextmanager
def own_errors(capture: CapturedUpdate) -> Iterator[None]:
    """Raise a ConfigError with the line of the user's own code in place of an error that it raises."""
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        outside = [one for one in frames if not _is_library(one.filename)] or frames
        line = linecache.getline(outside[-1].filename, outside[-1].lineno or 0).strip()
        raise ConfigError(
            f"model '{capture.model.architecture}': its own code fails on an input of shape "
            f"(N, {', '.join(map(str, capture.model.input.frame))}): {type(error).__name__}: {error} "
            f"({Path(outside[-1].filename).name}, line {outside[-1].lineno}: {line})"
        ) from error


def _is_library(filename: str) -> bool:
    """Return whether a file is ours or an installed package's."""
    path = Path(filename)
    return "site-packages" in path.parts or any(path.is_relative_to(_OURS / name) for name in ("fl_sim", "attacks"))
