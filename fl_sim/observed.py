"""Facts that follow from a captured update alone: the gradient that it holds, and how many examples are behind it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from torch import Tensor

from fl_sim.errors import ConfigError
from fl_sim.records import CapturedUpdate
from fl_sim.specs import Scalar

Update = TypeVar("Update", bound=CapturedUpdate)


def observed_gradient(capture: CapturedUpdate) -> dict[str, Tensor]:
    """Return the gradient in a captured update, by parameter name.

    A weight delta of S plain SGD steps is -lr times the sum of the gradients along the path, so it is divided by -lr S.
    For one step the result is exact except for rounding; for more steps it is the average over the path.

    Raises:
        ConfigError: the update is a delta whose learning rate or number of steps the server did not set.
    """
    if capture.kind == "gradient":
        return dict(capture.update)
    missing = [name for name in ("learning_rate", "local_steps") if getattr(capture, name) is None]
    if capture.learning_rate is None or capture.local_steps is None:
        raise ConfigError(
            f"{capture.id}: a weight delta needs the clients' learning rate and number of local steps, and the capture "
            f"has no {' and no '.join(missing)}. Send them in the train config ('learning-rate', 'local-steps'), or "
            "set them with dataclasses.replace(capture, ...)."
        )
    scale = -1.0 / (capture.learning_rate * capture.local_steps)
    return {name: scale * delta for name, delta in capture.update.items()}


def batch_size(capture: CapturedUpdate) -> int:
    """Return N, the number of examples behind a captured update, as far as the server knows."""
    if capture.batch_size is None:
        return capture.num_examples
    return capture.batch_size * (capture.local_steps or 1)


def assuming(capture: Update, assumed: Mapping[str, Scalar]) -> Update:
    """Return a capture with values of fields such as `batch_size` wherever the server's config left them open."""
    filled: dict[str, Any] = {key: value for key, value in assumed.items() if getattr(capture, key) is None}
    return dataclasses.replace(capture, **filled)
