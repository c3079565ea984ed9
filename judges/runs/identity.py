"""What a row is about, in columns: what was attacked, and by what. `judges.runs.names` formats labels from these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from fl_sim.specs import Scalar

Varied = Mapping[str, Scalar]
"""Settings by key: those that vary within an experiment."""

Pairs = tuple[tuple[str, Scalar], ...]
"""The same as a value that can be compared and hashed."""

NO_OP = "no-op"
BLACK, GREY, MEAN_IMAGE, CLASS_MEAN = "black", "grey", "mean image", "class mean"
SHUFFLED, REAL = "shuffled", "real examples"
"""The kinds of control."""


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


@dataclass(frozen=True, kw_only=True)
class Attacked:
    """What was attacked.

    Attributes:
        dataset: name of the data set.
        model: architecture, as in the table of models.
        family: what the architecture shares with its spiking twin: the name of the one that does not spike.
        spiking: whether it is a spiking network.
        varied: further settings of the federation, or of the training, that vary: {"timesteps": 5}.
        init: initialisation of the parameters.
        defence: name of the clients' defence, or "none".
        defence_settings: those of its settings that vary.
    """

    dataset: str = ""
    model: str = ""
    family: str = ""
    spiking: bool = False
    varied: Varied = field(default_factory=dict)
    init: str = ""
    defence: str = "none"
    defence_settings: Varied = field(default_factory=dict)

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
    """What it was attacked by: an attack, or a control that stands beside it.

    Attributes:
        attack: name in the table of attacks; of a control the attack that it belongs to, "" where it belongs to all.
        attack_settings: those of the attack's settings that vary, but for thresholding, which has columns of its own.
        control: kind of the control; "" of an attack.
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
    """Return {column: value} of those columns of a row that kinds such as `Attacked` and `Approach` have."""
    return {column.name: getattr(row, column.name) for kind in kinds for column in fields(kind)}
