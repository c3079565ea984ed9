"""Examines the models under attack: one forward pass for each captured update, on the client's own batch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from torch import Tensor, nn

from fl_sim.errors import ConfigError
from fl_sim.models import build_model
from fl_sim.models.spiking_lenet import activities
from fl_sim.observed import observed_gradient
from fl_sim.records import CapturedUpdate
from fl_sim.tokens import as_read
from fl_sim.training import load_parameters
from judges.intervals import distribution
from judges.runs.identity import Attacked
from judges.runs.measures import Health


@dataclass(frozen=True)
class Vitals:
    """The contribution of one captured update and its model to `judges.runs.measures.Health`.

    Attributes:
        firing_rates, silent: {layer: number}, as in `Health`.
        zero_gradient: share of entries of the update that are exactly 0.
        dead: whether all entries of the update outside the output layer are exactly 0.
        gradient_norm: l2 norm of the gradient in the update; None for a delta whose learning rate or number of steps is
            not known.
        told_labels: whether the client told the server its labels.
    """

    firing_rates: Mapping[str, float]
    silent: Mapping[str, float]
    zero_gradient: float
    dead: bool
    gradient_norm: float | None
    told_labels: bool = False


def vitals(capture: CapturedUpdate, inputs: Tensor) -> Vitals:
    """Return the vitals of one capture. A rate code draws other spikes here than at the client.

    Args:
        capture: the update, and the parameters that the server sent.
        inputs: the client's batch, (N, C, H, W), or (T, N, C, H, W) for events; texts in their one-hot form.
    """
    kind = next(iter(capture.parameters.values())).dtype
    model = build_model(capture.model, parameters=capture.parameters, partly=True).to(kind).eval()
    load_parameters(model, capture.parameters, partly=True)
    layers = activities(model, as_read(inputs.to(kind), capture.model.input))
    last = _output_layer(model)
    zeros = {name: int((entries == 0).sum()) for name, entries in capture.update.items()}
    sizes = {name: entries.numel() for name, entries in capture.update.items()}
    inner = [name for name in capture.update if name not in last]
    return Vitals(
        firing_rates={name: layer.rate for name, layer in layers.items()},
        silent={name: layer.silent for name, layer in layers.items()},
        zero_gradient=sum(zeros.values()) / sum(sizes.values()),
        dead=bool(inner) and all(zeros[name] == sizes[name] for name in inner),
        gradient_norm=_norm(capture),
        told_labels=capture.labels is not None,
    )


def examine(attacked: Attacked, found: Sequence[Vitals], *, accuracies: Sequence[float], classes: int) -> Health:
    """Return the health of the models of a group of victims.

    Args:
        attacked: the group's columns in the rows.
        found: vitals of each of its captures, at least one.
        accuracies: test accuracies of the federations' models; NaN if not measured.
        classes: number of classes of the data set.
    """
    measured = [value for value in accuracies if math.isfinite(value)]
    norms = [one.gradient_norm for one in found if one.gradient_norm is not None]
    return Health(
        **vars(attacked),
        captures=len(found),
        accuracy=fmean(measured) if measured else None,
        chance=1.0 / classes,
        firing_rates=_means([one.firing_rates for one in found]),
        silent=_means([one.silent for one in found]),
        zero_gradient=fmean(one.zero_gradient for one in found),
        dead=fmean(one.dead for one in found),
        gradient_norm=distribution(norms) if norms else None,
        told_labels=any(one.told_labels for one in found),
    )


def _output_layer(model: nn.Module) -> set[str]:
    """Return the names of the parameters of the layer that was registered last."""
    owners = {name: name.rpartition(".")[0] for name, _ in model.named_parameters()}
    last = list(owners.values())[-1]
    return {name for name, owner in owners.items() if owner == last}


def _norm(capture: CapturedUpdate) -> float | None:
    try:
        gradient = observed_gradient(capture)
    except ConfigError:
        return None
    return math.sqrt(sum(float(entries.double().square().sum()) for entries in gradient.values()))


def _means(numbers: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each layer's numbers over the captures."""
    return {name: fmean(own[name] for own in numbers) for name in numbers[0]}
