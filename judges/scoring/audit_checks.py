"""Checks of an audit's evidence: whether the captures say enough, and whether the sealed truth belongs to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import torch

from fl_sim.errors import ConfigError, DataError
from fl_sim.models import build_model
from fl_sim.observed import assuming, batch_size, observed_gradient
from fl_sim.records import CapturedUpdate, SealedBatch
from fl_sim.specs import Scalar
from fl_sim.training import gradient_and_loss, load_parameters

Update = TypeVar("Update", bound=CapturedUpdate)

LEAST_ALIKE = 0.5
"""Cosine between the update and the gradient of the truth below which they are unlikely to belong together.

On untrained LeNets an image of another class had at most 0.44, one of the same class at least 0.99: victims of other
classes show that truth and captures were mixed up.
"""


def filled(capture: Update, assumed: Mapping[str, Scalar]) -> Update:
    """Return a capture completed by assumed facts that the server's config does not state.

    Raises:
        ConfigError: a fact that an attack needs is neither known nor assumed, or an assumption contradicts the config.
    """
    for key, value in assumed.items():
        known = getattr(capture if hasattr(capture, key) else capture.training, key) or None
        if known is not None and known != value:
            raise ConfigError(
                f"assumed.{key}: {value} is assumed, but the server's config of {capture.id} says {known}."
            )
    whole = assuming(capture, assumed)
    _check_known(whole)
    return whole


def check_size(capture: CapturedUpdate, sealed: SealedBatch) -> None:
    """Raise a DataError if the number of sealed examples is not that for which the attack searches."""
    wanted, count = batch_size(capture), len(sealed.labels)
    if wanted != count:
        raise DataError(
            f"{capture.id}: its client sealed {count} examples, but batch size times local steps is {wanted}, and "
            "the attack would look for so many. Say the right numbers in the train config or with "
            "--set assumed.batch_size=... --set assumed.local_steps=...; or seal what the update was computed on."
        )


def doubts(capture: CapturedUpdate, sealed: SealedBatch) -> list[str]:
    """Return reasons to doubt scores of this capture, as sentences."""
    spec, inputs, reasons = capture.model.input, sealed.inputs, []
    low, high = float(inputs.min()), float(inputs.max())
    margin = 1e-3 * (spec.high - spec.low)
    if low < spec.low - margin or high > spec.high + margin:
        reasons.append(
            f"{capture.id}: the sealed inputs lie in [{low:.3g}, {high:.3g}], but its InputSpec says [{spec.low:g}, "
            f"{spec.high:g}]: the attack looks in the wrong range. Give the spec low= and high=."
        )
    alike = likeness(capture, sealed)
    if alike < LEAST_ALIKE:
        reasons.append(
            f"{capture.id}: the gradient of the sealed batch hardly points along the update (cosine {alike:.2f}): "
            "it is the truth of another federation, or there were many local steps, another loss, or a defence. Use a "
            "fresh folder for each federation."
        )
    return reasons


def likeness(capture: CapturedUpdate, sealed: SealedBatch) -> float:
    """Return the cosine between a capture's gradient and that of the cross-entropy of the sealed batch."""
    kind = next(iter(capture.parameters.values())).dtype
    model = build_model(capture.model, parameters=capture.parameters).to(kind)
    load_parameters(model, capture.parameters)
    with torch.random.fork_rng(devices=[]):  # dropout or a rate code may draw
        gradient, _ = gradient_and_loss(model, sealed.inputs.to(kind), sealed.labels)
    observed = observed_gradient(capture)
    names = [name for name in gradient if name in observed]
    ours, theirs = (torch.cat([side[name].double().flatten() for name in names]) for side in (gradient, observed))
    return float(torch.nn.functional.cosine_similarity(ours, theirs, dim=0))


def _check_known(capture: CapturedUpdate) -> None:
    needed = ("learning_rate", "local_steps", "batch_size") if capture.kind == "delta" else ()
    missing = [key for key in needed if getattr(capture, key) is None]
    if missing:
        flags = " ".join(f"--set assumed.{key}=..." for key in missing)
        raise ConfigError(
            f"{capture.id}: the server's config tells no {' and no '.join(missing)} (its keys: "
            f"{', '.join(capture.config) or 'none'}), and an attack on a weight delta needs them. Send them in the "
            "train config as 'learning-rate' or 'lr', 'local-steps' and 'batch-size', or say what a server would "
            f"know: {flags}"
        )
