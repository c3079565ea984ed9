"""Measurements that accompany the rows: the health of the models under attack, what their updates tell without a
search, and distances between examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from judges.intervals import Distribution
from judges.runs.identity import Attacked


@dataclass(frozen=True, kw_only=True)
class Health(Attacked):
    """The health of the model behind a group's captures: how much it gives an attack to work with.

    Attributes:
        captures: number of updates on which it was measured.
        accuracy: mean final test accuracy of the federations' global models; None if none was measured.
        chance: accuracy of guessing, 1 / classes.
        firing_rates: {layer: spikes per neuron and time step} on the clients' sealed inputs with the parameters that
            the server sent, mean over captures; {} for a non-spiking network.
        silent: {layer: share of its neurons that never spiked on an input}, mean over captures; {} likewise.
        zero_gradient: share of entries of the updates that are exactly 0, mean over captures.
        dead: share of updates that are exactly 0 everywhere outside the output layer, and so reveal nothing of the
            input.
        gradient_norm: distribution of the l2 norms of the gradients in the updates, see
            `fl_sim.observed.observed_gradient`; all None if they are not known.
        told_labels: whether clients told the server their labels, which an attack then need not read.

    The updates are taken after the defence, so noise that it adds hides a dead network: `dead` is then 0, and only
    `silent` shows it.
    """

    captures: int
    accuracy: float | None
    chance: float
    firing_rates: Mapping[str, float]
    silent: Mapping[str, float]
    zero_gradient: float
    dead: float
    gradient_norm: Distribution
    told_labels: bool = False

    @property
    def all_silent(self) -> bool:
        """Return whether this is a spiking network of which no neuron in any layer spiked on any input."""
        return bool(self.silent) and min(self.silent.values()) >= 1.0


@dataclass(frozen=True, kw_only=True)
class Readable(Attacked):
    """What the updates of a group tell without a search and without the truth, see `attacks.reading.reads`.

    Attributes:
        updates: number of updates that were read.
        examples: number of examples behind them, as far as the server knows.
        how: {rule by which labels were read: number of updates}; "" where they could not be.
        certain: share of the updates whose labels are certain.
        histogram: {class: number of its examples in all updates together}, as the labels are read.
        residual: share of the updates that give the residual of their logits and the features of their last layer.
        residual_error: median relative error of these, about 0 for the gradient of one example; None if there are none.
        active: mean share of the features that are not 0; None if there are none.
        inputs: {what the first layer's closed form gives: number of updates}; {} if it gives nothing.
        input_error: median relative error of these; None if there are none.
        fewest, most: smallest and largest lower bound on the number of different examples behind an update, by ranks;
            None if no update can be an unmodified gradient.
        unmodified: share of the updates whose ranks agree with the number of examples that they tell of.
    """

    updates: int
    examples: int
    how: Mapping[str, int]
    certain: float
    histogram: Mapping[str, int]
    residual: float
    residual_error: float | None
    active: float | None
    inputs: Mapping[str, int]
    input_error: float | None
    fewest: int | None
    most: int | None
    unmodified: float


@dataclass(frozen=True)
class Spread:
    """Distances of many pairs.

    Attributes:
        pairs: number of pairs; if it is 0, the other values are None.
        mean, std, low, high: statistics of the l2 distances, with the sample standard deviation.
    """

    pairs: int
    mean: float | None
    std: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class ClassDistances:
    """l2 distances of all pairs of distinct examples (arXiv 2511.21181, Table VI).

    Attributes:
        examples: number of examples compared.
        intra, inter: pairs of the same class, and of different classes.
        norm: mean l2 norm of an example, which is its distance to the empty recording.
    """

    examples: int
    intra: Spread
    inter: Spread
    norm: float
