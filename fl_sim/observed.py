"""Facts that follow from a captured update alone: its local steps, the examples behind it, and its gradient."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, TypeVar

from torch import Tensor

from fl_sim.client_training import ClientTraining
from fl_sim.errors import ConfigError
from fl_sim.records import CapturedUpdate
from fl_sim.specs import Scalar

Update = TypeVar("Update", bound=CapturedUpdate)

Steps = tuple[range, ...]
"""For each local step, the indices of its examples among the N examples behind an update."""

MOST_LOCAL_STEPS = 2**20
"""Steps that a capture may tell of; more is taken for a wrong number."""

MOST_EXAMPLES, MOST_VALUES = 2**20, 2**30
"""Examples that a capture may tell of, and numbers in all their inputs together, which are 4 GB."""


def local_steps(capture: CapturedUpdate) -> Steps:
    """Return the local steps behind a captured update.

    The examples are numbered in the order in which the first epoch uses them. The order of later epochs, which the
    server does not know, is taken to be the same. The last batch of an epoch may be smaller than the others. Sizes that
    the client told count instead; steps without an example, which change nothing but for noise, are left out.

    Raises:
        ConfigError: the update is a weight delta, and its number of steps does not follow from what the server knows,
            or is beyond `MOST_LOCAL_STEPS`; or it tells of more than `MOST_EXAMPLES`.
    """
    reported, size = capture.num_examples or None, _size_of_step(capture)
    if capture.sizes and any(capture.sizes):
        return _sized(capture, capture.sizes)
    if capture.kind == "gradient":
        return (range(_plausible(capture, _least(size, reported))),)
    if capture.epochs is not None and reported is not None:
        _refuse_giants(capture, capture.epochs * (reported // (size or reported) + 1))
        return _epoch(_plausible(capture, reported), size or reported, capture.training) * capture.epochs
    if capture.local_steps is None:
        raise ConfigError(
            f"{capture.id}: a weight delta needs the clients' number of local steps, or of epochs and examples, and "
            "the capture has none. Send them in the train config ('local-steps' or 'local-epochs'), or set them with "
            "dataclasses.replace(capture, ...)."
        )
    steps = capture.local_steps
    _refuse_giants(capture, steps)
    examples = _plausible(capture, _least(None if size is None else size * steps, reported))
    epoch = _epoch(examples, size or examples, capture.training)
    return (epoch * -(-steps // len(epoch)))[:steps]


def why_not_searched(capture: CapturedUpdate) -> str:
    """Return why no attack can look for the inputs behind an update, since their number is not known; "" if it can."""
    if capture.sampling is None:
        return ""
    if capture.sizes is None:
        return (
            "its batches are Poisson samples, and the server knows their mean size and not how many examples there were"
        )
    return "" if any(capture.sizes) else "all its Poisson samples were empty"


def steps_as_used(capture: CapturedUpdate) -> Steps:
    """Return the local steps behind a captured update over its examples in the order of use, each as often as used.

    Later epochs have examples of their own: this is for whoever knows their order, as the client does.

    Raises:
        ConfigError: as in `local_steps`.
    """
    ends = list(itertools.accumulate(map(len, local_steps(capture))))
    return tuple(range(start, end) for start, end in zip([0, *ends], ends, strict=False))


def batch_size(capture: CapturedUpdate) -> int:
    """Return N, the number of different examples behind a captured update, as far as the server knows.

    Raises:
        ConfigError: as in `local_steps`.
    """
    if capture.kind == "delta" and capture.local_steps is None and capture.epochs is None:
        return _plausible(capture, _least(_size_of_step(capture), capture.num_examples or None))
    return max(step.stop for step in local_steps(capture))


def same_problem(capture: CapturedUpdate) -> tuple[Hashable, ...]:
    """Return a key that updates share whose attacks are the same problem: model, training and steps are the same."""
    return capture.model, capture.training, capture.kind, local_steps(capture)


def observed_gradient(capture: CapturedUpdate) -> dict[str, Tensor]:
    """Return the gradient in a captured update, by parameter name.

    A weight delta of S plain SGD steps is -lr times the sum of the gradients along the path, so it is divided by -lr S.
    For one step the result is exact except for rounding; for more steps it is the average over the path.

    Raises:
        ConfigError: the update is a delta whose learning rate or number of steps the server did not set.
    """
    if capture.kind == "gradient":
        return dict(capture.update)
    if capture.learning_rate is None:
        raise ConfigError(
            f"{capture.id}: a weight delta needs the clients' learning rate, and the capture has none. Send it in the "
            "train config ('learning-rate'), or set it with dataclasses.replace(capture, ...)."
        )
    scale = -1.0 / (capture.learning_rate * len(local_steps(capture)))
    return {name: scale * delta for name, delta in capture.update.items()}


def contradictions(capture: CapturedUpdate) -> list[str]:
    """Return what a capture's statements contradict each other in, as sentences."""
    size, steps, reported = _size_of_step(capture), capture.local_steps, capture.num_examples
    if size is None or not reported or capture.epochs is not None:
        return []
    ordered = size * (steps or 1)
    if reported <= ordered or (capture.kind == "delta" and steps is None):
        return []
    return [
        f"{capture.id}: the client reports {reported} examples, but {steps or 1} local steps of {size} use at most "
        f"{ordered}. The attack looks for {ordered}; if the client trains on all that it reports, say for how many "
        "epochs (assumed.epochs) in place of the steps."
    ]


def assuming(capture: Update, assumed: Mapping[str, Scalar]) -> Update:
    """Return a capture with assumed values of its own fields and of those of its training, where they are not known."""
    own = {key: value for key, value in assumed.items() if hasattr(capture, key)}
    filled: dict[str, Any] = {key: value for key, value in own.items() if getattr(capture, key) in (None, 0)}
    if capture.epochs is not None or capture.local_steps is not None:  # what is known of the steps needs no assumption
        filled = {key: value for key, value in filled.items() if key not in ("epochs", "local_steps")}
    training = capture.training.filled({key: value for key, value in assumed.items() if key not in own})
    return dataclasses.replace(capture, **filled, training=training)


def _sized(capture: CapturedUpdate, sizes: Sequence[int]) -> Steps:
    """Return steps of so many examples, each with its own."""
    _refuse_giants(capture, len(sizes))
    _plausible(capture, sum(sizes))
    ends = list(itertools.accumulate(sizes))
    return tuple(range(end - size, end) for end, size in zip(ends, sizes, strict=True) if size)


def _size_of_step(capture: CapturedUpdate) -> int | None:
    """Return the number of examples in a step: for a mean over clients, those of all of them."""
    return None if capture.batch_size is None else capture.batch_size * capture.clients


def _refuse_giants(capture: CapturedUpdate, steps: int) -> None:
    """Raise a ConfigError if an update tells of more steps than anything trains in a round."""
    if steps > MOST_LOCAL_STEPS:
        raise ConfigError(
            f"{capture.id}: expected an update of at most {MOST_LOCAL_STEPS:,} local steps, found one that tells of "
            f"{steps:,} ({capture.num_examples:,} examples, batch size {capture.batch_size}, local steps "
            f"{capture.local_steps}, epochs {capture.epochs})."
        )


def _plausible(capture: CapturedUpdate, examples: int) -> int:
    """Return a number of examples; a ConfigError if their inputs are more than anything holds."""
    spec = capture.model.input
    values = examples * math.prod(spec.frame) * max(1, spec.timesteps)
    if examples > MOST_EXAMPLES or values > MOST_VALUES:
        raise ConfigError(
            f"{capture.id}: expected an update of at most {MOST_EXAMPLES:,} examples with {MOST_VALUES:,} input values "
            f"together, found one that tells of {examples:,} examples ({capture.num_examples:,} reported, batch size "
            f"{capture.batch_size}, local steps {capture.local_steps}, epochs {capture.epochs})."
        )
    return examples


def _epoch(examples: int, size: int, training: ClientTraining) -> Steps:
    """Return the steps of one epoch over `examples` in batches of `size`."""
    whole = tuple(range(at, min(at + size, examples)) for at in range(0, examples, size))
    ragged = len(whole) > 1 and len(whole[-1]) < size
    return whole[:-1] if ragged and training.drop_last else whole


def _least(*counts: int | None) -> int:
    """Return the smallest of the counts that are known; 1 if none is."""
    return min((count for count in counts if count is not None), default=1)
