"""Whether what an audit finds in a folder can be used: what the captures tell, and whether the truth is theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from fl_sim.errors import ConfigError, DataError
from fl_sim.models import build_model
from fl_sim.observed import assuming, batch_size, observed_gradient
from fl_sim.records import CapturedUpdate, SealedBatch
from fl_sim.specs import Scalar
from fl_sim.training import gradient_and_loss, load_parameters

Update = TypeVar("Update", bound=CapturedUpdate)

LEAST_ALIKE = 0.5
"""Cosine between the update and the gradient of the truth below which they hardly belong together.

An image of another class had 0.44 at most on untrained LeNets, one of the same class 0.99 and more: that truth and
captures were mixed up is seen by the victims whose class is another.
"""


def filled(capture: Update, assumed: Mapping[str, Scalar]) -> Update:
    """Return a capture with what is assumed where the server's config left it open.

    Raises:
        ConfigError: something that an attack needs is neither known nor assumed, or assumed otherwise than known.
    """
    for key, value in assumed.items():
        known = getattr(capture, key)
        if known is not None and known != value:
            raise ConfigError(
                f"assumed.{key}: {value} is assumed, but the server's config of {capture.id} says {known}."
            )
    whole = assuming(capture, assumed)
    _check_known(whole)
    return whole


def check_size(capture: CapturedUpdate, sealed: SealedBatch) -> None:
    """Refuse a truth of another size than the attack is to find.

    Raises:
        DataError: it is.
    """
    wanted, found = batch_size(capture), len(sealed.labels)
    if wanted != found:
        raise DataError(
            f"{capture.id}: its client sealed {found} examples, but batch size times local steps is {wanted}, and "
            "the attack would look for so many. Say the right numbers in the train config or with "
            "--set assumed.batch_size=... --set assumed.local_steps=...; or seal what the update was computed on."
        )


def doubts(capture: CapturedUpdate, sealed: SealedBatch) -> list[str]:
    """Return what speaks against scores of this capture, one sentence each."""
    spec, inputs, found = capture.model.input, sealed.inputs, []
    low, high = float(inputs.min()), float(inputs.max())
    margin = 1e-3 * (spec.high - spec.low)
    if low < spec.low - margin or high > spec.high + margin:
        found.append(
            f"{capture.id}: the sealed inputs lie in [{low:.3g}, {high:.3g}], but its InputSpec says [{spec.low:g}, "
            f"{spec.high:g}]: the attack looks in the wrong range. Give the spec low= and high=."
        )
    alike = likeness(capture, sealed)
    if alike < LEAST_ALIKE:
        found.append(
            f"{capture.id}: the gradient of the sealed batch hardly points along the update (cosine {alike:.2f}): "
            "it is the truth of another federation, or there were many local steps, another loss, or a defence. Use a "
            "fresh folder for each federation."
        )
    return found


def likeness(capture: CapturedUpdate, sealed: SealedBatch) -> float:
    """Return the cosine between the gradient that a capture tells and that of the cross-entropy of the sealed batch."""
    kind = next(iter(capture.parameters.values())).dtype
    model = build_model(capture.model, parameters=capture.parameters).to(kind)
    load_parameters(model, capture.parameters)
    with torch.random.fork_rng(devices=[]):  # a network may draw: dropout, a rate code
        gradient, _ = gradient_and_loss(model, sealed.inputs.to(kind), sealed.labels)
    told = observed_gradient(capture)
    names = [name for name in gradient if name in told]
    ours, theirs = (_flat([side[name] for name in names]) for side in (gradient, told))
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


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.double().flatten() for tensor in tensors])
