"""What is measured beside the rows: the health of the models under attack, and distances between examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from judges.intervals import Distribution
from judges.runs.identity import Attacked


@dataclass(frozen=True, kw_only=True)
class Health(Attacked):
    """How the model that a group's captures are of was doing: what it gives an attack to work with.

    Attributes:
        captures: how many updates it was measured on.
        accuracy: mean test accuracy of the federations' global models at their end; None where none was measured.
        chance: accuracy of guessing, 1 / classes.
        firing_rates: {layer: spikes a neuron and time step} on the clients' sealed inputs with the parameters that the
            server sent, mean over captures; {} of a network that does not spike.
        silent: {layer: share of its neurons that never spiked on an input}, mean over captures; {} likewise.
        zero_gradient: share of entries of the updates that are exactly 0, mean over captures.
        dead: share of updates whose parameters outside the last (output) layer carry a gradient of exactly 0 in all
            entries: nothing of the input can be read from those.
        gradient_norm: of the l2 norms of the updates; of a weight delta, of the gradient that it tells, see
            `fl_sim.observed.observed_gradient`. All None where that is not known.

    Parameters are those of the update, so noise that a defence adds hides that a network is dead: `dead` is then 0, and
    only `silent` shows it.
    """

    captures: int
    accuracy: float | None
    chance: float
    firing_rates: Mapping[str, float]
    silent: Mapping[str, float]
    zero_gradient: float
    dead: float
    gradient_norm: Distribution

    @property
    def all_silent(self) -> bool:
        """Return whether the network spikes at all, by design, and no neuron of any layer spiked on any input."""
        return bool(self.silent) and min(self.silent.values()) >= 1.0


@dataclass(frozen=True)
class Spread:
    """Distances of many pairs.

    Attributes:
        pairs: how many; the others are None where there is none.
        mean, std, low, high: of the l2 distances; std is that of the sample.
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
        examples: how many were compared.
        intra, inter: pairs of one class, and of two.
        norm: mean l2 norm of an example, which is its distance to the empty recording.
    """

    examples: int
    intra: Spread
    inter: Spread
    norm: float
