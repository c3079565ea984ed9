"""How each threat is shown: its measure, and the controls beside it. A further threat is a further line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from judges.runs.identity import BLACK, CLASS_MEAN, GREY, MEAN_IMAGE, NO_OP, SHUFFLED, SWAPPED
from judges.runs.rows.membership import BLIND, NULL, RANDOM
from judges.runs.rows.rounds import AUC, RECOGNISED, SSIM


class Shown(NamedTuple):
    """How a threat is shown.

    Attributes:
        name: of the threat, in words.
        whom: what is attacked.
        measure: that of its panel, see `judges.runs.rows.rounds`.
        up: name of the panel's axis.
        share: whether the measure is a share, which is shown out of 100.
        controls: kinds of control whose least and greatest mean are the grey band.
        yardsticks: kinds of control that are lines of their own.
        successful: what is said of a round in which an attack is above all controls.
        chance: what guessing reaches, which is a line of its own and part of the band; None where the controls tell.
        whole: whether the band takes the whole intervals of the controls, of which there may be a single one.
    """

    name: str
    whom: str
    measure: str
    up: str
    share: bool
    controls: tuple[str, ...]
    yardsticks: tuple[str, ...]
    successful: str
    chance: float | None = None
    whole: bool = False


THREATS: Mapping[str, Shown] = {
    "gradient_inversion": Shown(
        name="gradient inversion",
        whom="the clients' updates",
        measure=SSIM,
        up="mean SSIM of the answers",
        share=False,
        controls=(NO_OP, SWAPPED, BLACK, GREY, MEAN_IMAGE, CLASS_MEAN),
        yardsticks=(),
        successful="gave their pictures away",
    ),
    "model_inversion": Shown(
        name="model inversion",
        whom="the global model",
        measure=RECOGNISED,
        up="recognised answers, %",
        share=True,
        controls=(SHUFFLED,),
        yardsticks=(CLASS_MEAN,),
        successful="gave classes away",
    ),
    "membership": Shown(
        name="membership inference",
        whom="models and updates",
        measure=AUC,
        up="area under the ROC curve",
        share=False,
        controls=(RANDOM, NULL, BLIND),
        yardsticks=(),
        successful="told members from others",
        chance=0.5,
        whole=True,
    ),
}
"""{threat: how it is shown}, in the order of the panels."""
