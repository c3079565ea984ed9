"""Label recovery from the gradient of the last layer."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from attacks.reading.label_counts import count_labels, no_last_layer
from attacks.reading.last_layer import LastLayer
from fl_sim.errors import ConfigError
from fl_sim.observed import batch_size, local_steps, observed_gradient
from fl_sim.records import CapturedUpdate

LabelRule = Literal["auto", "weights", "bias", "counts"]


class ReadLabels(NamedTuple):
    """Labels (N,) in increasing order, and whether a count of them is certain; True if they were not counted."""

    labels: Tensor
    certain: bool


def recover_labels(capture: CapturedUpdate, *, rule: LabelRule) -> Tensor:
    """Return the labels (N,) recovered from the gradient of the last layer, in increasing order; see `read_labels`."""
    return read_labels(capture, rule=rule).labels


def read_labels(capture: CapturedUpdate, *, rule: LabelRule, layer: LastLayer | None = None) -> ReadLabels:
    """Return the labels recovered from the gradient of the last layer.

    With cross-entropy, the gradient at logit c is p_c - 1 for the true label and p_c > 0 for every other. The rule
    "weights" sums row c of the last weight gradient, which has that sign if the features are positive (Zhao, Mopuri
    and Bilen 2020, arXiv 2001.02610, eq. 3-4); "bias" reads it directly. For N examples these two take the N smallest
    entries (Yin et al. 2021, CVPR, section 3.2), each once. That is wrong whenever a class occurs twice, and it may be
    wrong if all labels differ: entry c is the mean of p_c over the batch, less 1/N if the class occurs, so an absent
    class of small p_c may come before a present one of large p_c. "counts" reads how often each class occurs; see
    `attacks.reading.label_counts`, which also tells whether the counts are certain. "auto" is "weights" for one example
    and "counts" for more; for one text it is "bias" where there is one, since features of recurrent layers and
    transformers have both signs. attacks/README.md says how often each rule is right.

    The gradient of several local steps with momentum is that of one step with a gradient that is the same in each.

    Args:
        capture: what the server saw.
        rule: "auto", "weights", "bias" or "counts".
        layer: the last layer, if it was found before.

    Raises:
        ConfigError: the model has no last layer of the kind that the rule needs, or the capture is a delta without a
            learning rate.
    """
    count, classes = batch_size(capture), capture.model.input.classes
    scale, layer = 1.0 / _momentum_gain(capture), layer or LastLayer(capture)
    gradient = {name: scale * entries for name, entries in observed_gradient(capture).items()}
    if rule == "counts" or (rule == "auto" and count > 1):
        counts, certain = count_labels(layer, gradient, count)
        return ReadLabels(torch.repeat_interleave(torch.arange(classes), counts), certain)
    if rule == "auto":
        rule = "bias" if layer.bias and capture.model.input.vocabulary else "weights"
    name = layer.bias if rule == "bias" else layer.weight
    if not name:
        raise ConfigError(no_last_layer(rule, classes))
    scores = gradient[name] if rule == "bias" else gradient[name].flatten(1).sum(1)
    chosen = scores.argsort(stable=True)[:count]
    labels = torch.sort(chosen.repeat(-(-count // len(chosen)))[:count]).values.cpu()
    return ReadLabels(labels, certain=True)


def _momentum_gain(capture: CapturedUpdate) -> float:
    """Return how many times as far as plain SGD the client moves along a gradient that is the same in each step."""
    training = capture.training.taken()
    momentum = training.momentum or 0.0
    if capture.kind == "gradient" or training.optimiser != "sgd" or not momentum:
        return 1.0
    steps, first, moved = len(local_steps(capture)), 0.0, 0.0
    for number in range(steps):
        first = momentum * first + (1.0 - (training.dampening or 0.0)) if number else 1.0
        moved += 1.0 + momentum * first if training.nesterov else first
    return moved / steps


def best_labels(capture: CapturedUpdate) -> Tensor:
    """Return the labels (N,) that the server was told, or that are read by the rule that fits the last layer.

    That is "bias" for one example if the last layer has one, since features may be silent or negative, "weights" if
    not, and "counts" for more.
    """
    if capture.labels is not None:
        return capture.labels
    if batch_size(capture) > 1:
        return recover_labels(capture, rule="counts")
    return recover_labels(capture, rule="bias" if LastLayer(capture).bias else "weights")
