"""How the model under attack was doing: whether its updates carry anything that an attack could find."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from judges.intervals import Distribution


@dataclass(frozen=True)
class Health:
    """How the model that a group's captures are of was doing: what it gives an attack to work with.

    Attributes:
        dataset, model, init, defence: what was attacked, as in the rows.
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

    dataset: str
    model: str
    init: str
    defence: str
    captures: int
    accuracy: float | None
    chance: float
    firing_rates: Mapping[str, float]
    silent: Mapping[str, float]
    zero_gradient: float
    dead: float
    gradient_norm: Distribution

    @property
    def group(self) -> tuple[str, str, str, str]:
        """Return what was attacked: (dataset, model, init, defence)."""
        return self.dataset, self.model, self.init, self.defence

    @property
    def all_silent(self) -> bool:
        """Return whether the network spikes at all, by design, and no neuron of any layer spiked on any input."""
        return bool(self.silent) and min(self.silent.values()) >= 1.0
