"""The identity of a row in columns: what was attacked, and by what. `judges.runs.names` formats labels from these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from fl_sim.defences import NO_DEFENCE
from fl_sim.specs import Scalar

Varied = Mapping[str, Scalar]
"""Settings by key: those that vary within an experiment."""

Pairs = tuple[tuple[str, Scalar], ...]
"""Settings as a hashable value."""

NO_OP = "no-op"
BLACK, GREY, MEAN_IMAGE, CLASS_MEAN = "black", "grey", "mean image", "class mean"
SHUFFLED, REAL = "shuffled", "real examples"
SWAPPED = "swapped"
"""The kinds of control."""


AS_SENT = "as sent"
"""The initialisation of an audited model: whatever the server sent out."""

RUNG = "rung"
"""The key in `Attacked.varied` of a rung of the ladder."""

PROTOCOL, PUBLISHED = "protocol", "published"
"""The key in `Attacked.varied` of the protocol, and the word for the paper's own; see `judges.plans.protocol`."""


@dataclass(frozen=True)
class Group:
    """A key that all rows on the same victims share; its fields are those of `Attacked`."""

    dataset: str
    model: str
    family: str
    spiking: bool
    varied: Pairs
    init: str
    defence: str
    defence_settings: Pairs

    @property
    def undefended(self) -> Group:
        """Return the same victims without a defence."""
        return replace(self, defence=NO_DEFENCE, defence_settings=())


@dataclass(frozen=True, kw_only=True)
class Attacked:
    """What was attacked.

    Attributes:
        dataset: name of the data set.
        model: architecture, as in the table of models.
        family: name that the architecture shares with its spiking twin, which is that of the non-spiking network.
        spiking: whether it is a spiking network.
        varied: further settings of the federation or of the training that vary, such as {"timesteps": 5}.
        init: initialisation of the parameters.
        defence: name of the clients' defence, or "none".
        defence_settings: settings of the defence that vary.
    """

    dataset: str = ""
    model: str = ""
    family: str = ""
    spiking: bool = False
    varied: Varied = field(default_factory=dict)
    init: str = ""
    defence: str = NO_DEFENCE
    defence_settings: Varied = field(default_factory=dict)

    @property
    def as_published(self) -> bool:
        """Return whether it was attacked under the paper's own protocol."""
        return self.varied.get(PROTOCOL) == PUBLISHED

    @property
    def group(self) -> Group:
        """Return the key that all rows on the same victims share."""
        return Group(
            self.dataset,
            self.model,
            self.family,
            self.spiking,
            tuple(self.varied.items()),
            self.init,
            self.defence,
            tuple(self.defence_settings.items()),
        )


@dataclass(frozen=True, kw_only=True)
class Approach:
    """An attack, or a control with which attacks are compared.

    Attributes:
        attack: name in the table of attacks; for a control the attack to which it belongs, "" if it belongs to all.
        attack_settings: settings of the attack that vary, except thresholding, which has columns of its own.
        control: kind of control; "" for an attack.
    """

    attack: str = ""
    attack_settings: Varied = field(default_factory=dict)
    control: str = ""

    @property
    def is_control(self) -> bool:
        """Return whether this is a control, not an attack."""
        return bool(self.control)

    @property
    def approach(self) -> tuple[str, str, Pairs]:
        """Return (kind of control, attack, settings that vary) as a key."""
        return self.control, self.attack, tuple(self.attack_settings.items())


def columns_of(row: object, *kinds: type[Any]) -> dict[str, Any]:
    """Return {column: value} for the columns of a row that belong to kinds such as `Attacked` and `Approach`."""
    return {column.name: getattr(row, column.name) for kind in kinds for column in fields(kind)}
