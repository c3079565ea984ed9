"""The table of membership inferences: name -> class and settings. Importing this does not import torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from attacks.membership.settings import (
    GradientCosineSettings,
    LiRASettings,
    LossThresholdSettings,
    MembershipSettings,
    RMIASettings,
    ShadowSettings,
)
from fl_sim.plugins import Table, refuse_class, refuse_place, refuse_switch, refuse_text

if TYPE_CHECKING:
    from attacks.contracts import MembershipInference


@dataclass(frozen=True)
class MembershipEntry:
    """A line of the table of membership inferences.

    Attributes:
        attack: a class whose constructor takes `settings`, or its import path ("package.module:name").
        settings: class of its settings; one derived from `ShadowSettings` where it compares with shadow models.
        updates: whether it reads an update, and not a trained model alone.
        summary: one line for `spikeleak list attacks`.
    """

    attack: str | type[MembershipInference]
    settings: type[MembershipSettings]
    updates: bool
    summary: str

    def __post_init__(self) -> None:
        """Validate on construction, so that an invalid entry fails where it is defined."""
        refuse_place(self, "attack")
        refuse_class(self, "settings", MembershipSettings)
        refuse_text(self, "summary")
        refuse_switch(self, "updates")

    @property
    def shadows(self) -> bool:
        """Return whether it compares with shadow models."""
        return issubclass(self.settings, ShadowSettings)


_OWN_MEMBERSHIPS = {
    "loss_threshold": MembershipEntry(
        "attacks.membership.loss_threshold:LossThreshold",
        LossThresholdSettings,
        updates=False,
        summary="loss threshold: members have a smaller loss",
    ),
    "lira": MembershipEntry(
        "attacks.membership.lira:LiRA",
        LiRASettings,
        updates=False,
        summary="LiRA: the likelihood of a candidate's confidence under shadow models, offline or online",
    ),
    "rmia": MembershipEntry(
        "attacks.membership.rmia:RMIA",
        RMIASettings,
        updates=False,
        summary="RMIA: the share of auxiliary examples that a candidate dominates, offline or online",
    ),
    "gradient_cosine": MembershipEntry(
        "attacks.membership.gradient_cosine:GradientCosine",
        GradientCosineSettings,
        updates=True,
        summary="gradient cosine: an update points along its members' gradients",
    ),
}
MEMBERSHIP_INFERENCES = Table("spikeleak.membership_inferences", MembershipEntry, _OWN_MEMBERSHIPS)
