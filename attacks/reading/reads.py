"""All that one update tells without a search, read at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from attacks.reading.first_layer import FirstLayer, InputRead, find_first_layer, read_input
from attacks.reading.head import HeadRead, read_head
from attacks.reading.labels import read_labels
from attacks.reading.last_layer import LastLayer
from fl_sim.errors import ConfigError
from fl_sim.observed import batch_size, local_steps, observed_gradient
from fl_sim.records import CapturedUpdate
from fl_sim.seeding import torch_stream

EXACT = 1e-3
"""Relative error up to which an identity holds but for the rounding of a gradient in float32."""

RANK_TOLERANCE = 1e-5
"""Singular values below this share of the largest are rounding: that of float32 leaves about 1e-7 of it."""

MOST_RANK = 128
"""Larger ranks are not told apart: of a larger matrix, that many random combinations of rows are looked at."""

How = Literal["told", "bias", "weights", "counts", ""]


@dataclass(frozen=True)
class Reads:
    """What an update tells for certain.

    Attributes:
        labels: (N,), in increasing order unless the server was told them; None if they cannot be read.
        how: the rule by which they were read, see `attacks.reading.labels.read_labels`; "told" if the server was told
            them, "" if they cannot be read.
        certain: whether the labels are. Of one example, if the residual has one entry below 0 and no sum, as p - y has;
            of a batch, if every estimate of the model's probabilities gives the same counts.
        head: what the last layer tells of a single example.
        input: what the first layer tells of a single example.
        examples: the smallest number of different examples that can be behind the update, by the ranks of the gradients
            of the first and the last layer; None if it is larger than the number N that the update tells of, so that
            this is no unmodified gradient.
    """

    labels: Tensor | None
    how: How
    certain: bool
    head: HeadRead | None
    input: InputRead | None
    examples: int | None


def read(capture: CapturedUpdate) -> Reads:
    """Return all that an update tells without a search.

    Args:
        capture: what the server saw.

    Raises:
        ConfigError: the update is a delta without a learning rate or a number of steps.
    """
    observed_gradient(capture)  # which says what is missing
    layer, first = LastLayer(capture), find_first_layer(capture)
    labels, how, certain = labels_in(capture, layer)
    return Reads(
        labels=labels,
        how=how,
        certain=certain,
        head=read_head(capture, layer),
        input=read_input(capture, first),
        examples=_least_examples(capture, layer, first),
    )


def labels_in(capture: CapturedUpdate, layer: LastLayer) -> tuple[Tensor | None, How, bool]:
    """Return the labels (N,), None if they cannot be read, the rule by which they were, and whether they are certain.

    Args:
        capture: what the server saw.
        layer: its last layer.
    """
    if capture.labels is not None:
        return capture.labels, "told", True
    if capture.model.input.classes == 1:  # what one output says depends on the loss
        return None, "", False
    try:
        if batch_size(capture) > 1:
            counted = read_labels(capture, rule="counts", layer=layer)
            return counted.labels, "counts", counted.certain
        rule: Literal["bias", "weights"] = "bias" if layer.bias else "weights"
        labels = read_labels(capture, rule=rule, layer=layer).labels
    except ConfigError:  # the model has no last layer of the kind
        return None, "", False
    gradient = observed_gradient(capture)[layer.bias or layer.weight].cpu().double()
    return labels, rule, _is_residual(gradient / layer.gain() if layer.bias else gradient.flatten(1).sum(1))


def _is_residual(residual: Tensor) -> bool:
    """Return whether numbers (classes,) are the probabilities less one label, times any factor above 0."""
    size = float(residual.abs().max())
    below = residual < -EXACT * size
    return 0.0 < size < torch.inf and int(below.sum()) == 1 and abs(float(residual.sum())) <= EXACT * size


def _least_examples(capture: CapturedUpdate, layer: LastLayer, first: FirstLayer | None) -> int | None:
    """Return a lower bound on the number of different examples, of several local steps just 1; see `Reads.examples`.

    The gradient at the weights of a layer is a sum over the examples, and over the time steps unless the layer reads
    the same input at all of them, or its output is averaged over them. The rank of a sum of K products of two vectors
    is at most K.
    """
    spec, found, told = capture.model.input, 1, batch_size(capture)
    if told == 1 or len(local_steps(capture)) > 1:
        return found
    if layer.weight and layer.bias and layer.is_affine():
        found = max(found, _rank(capture, layer.weight))
    if first is not None:
        spiking = capture.model.spiking
        steps = 1 if first.constant else spec.timesteps or (spiking.timesteps if spiking else 1)
        found = max(found, -(-_rank(capture, first.weight) // steps))
    return found if found <= told else None


def _rank(capture: CapturedUpdate, name: str) -> int:
    """Return the rank of the update of a weight. A delta is a difference of parameters, each with its own rounding."""
    rounding = torch.finfo(torch.float32).eps * float(capture.parameters[name].double().norm())
    return rank_of(capture.update[name].cpu().flatten(1), rounding if capture.kind == "delta" else 0.0)


def rank_of(matrix: Tensor, rounding: float = 0.0) -> int:
    """Return the numerical rank of a matrix, at most `MOST_RANK`; 0 if it is not finite.

    Args:
        matrix: (m, n).
        rounding: singular values up to this are rounding too.
    """
    rows = matrix.double() if len(matrix) <= matrix.shape[1] else matrix.double().T
    if len(rows) > MOST_RANK:
        mixing = torch.randn(MOST_RANK, len(rows), generator=torch_stream(0, "rank"), dtype=rows.dtype)
        rows = mixing @ rows / len(rows) ** 0.5
    squares = rows @ rows.T
    if not bool(squares.isfinite().all()):
        return 0
    spectrum = torch.linalg.eigvalsh(squares).clamp(min=0.0).sqrt()
    least = max(RANK_TOLERANCE * float(spectrum[-1]), rounding)
    return int((spectrum > least).sum())
