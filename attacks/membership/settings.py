"""Settings of membership inferences; their defaults are those of the papers. Importing this does not import torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fl_sim.specs import Settings

OFFLINE, ONLINE = "offline", "online"
"""Shadow models that never saw a candidate, and shadow models of which each saw a random half of the candidates."""


class MembershipSettings(Settings):
    """Base of the settings of every membership inference.

    Attributes:
        draws: number of queries of each candidate, whose posteriors are averaged; each draws the spikes of a rate code,
            and the pixels that `input_dropout` drops, afresh. More than one changes nothing where nothing is drawn.
        input_dropout: share of the pixels that each query sets to 0, as against spiking networks (Guan et al.,
            UAI 2025, arXiv 2502.13191); 0 for none.
    """

    draws: int = Field(default=1, ge=1, le=1000)
    input_dropout: float = Field(default=0.0, ge=0, lt=1)


class LossThresholdSettings(MembershipSettings):
    """Settings of the loss threshold, which has none of its own."""


class ShadowSettings(MembershipSettings):
    """Settings of every attack that compares the target with shadow models.

    Attributes:
        mode: "offline", whose shadow models are trained on halves of the auxiliary data alone, or "online", each on a
            half of the candidates.
        shadows: number of shadow models, an even one, since every second is trained on the half that the one before it
            left out (Carlini et al. 2022, section V-A).
    """

    mode: Literal["offline", "online"] = "offline"
    shadows: int = Field(default=16, ge=4, le=1024, multiple_of=2)


class LiRASettings(ShadowSettings):
    """Settings of the likelihood ratio attack.

    Attributes:
        variance: "per_example", a variance for each candidate, or "global", one for all of them, which is better with
            fewer than 64 shadow models (Carlini et al. 2022, section VI-B).
    """

    variance: Literal["per_example", "global"] = "global"


class RMIASettings(ShadowSettings):
    """Settings of the robust membership inference attack.

    Attributes:
        gamma: how many times more likely than an auxiliary example a candidate must have become to dominate it.
        offline_a: slope of the line by which the confidence of models that saw an example is guessed from that of
            models that did not; 0.3 is what the authors take for CIFAR-10. Read where no shadow model saw it.
    """

    gamma: float = Field(default=2.0, ge=1)
    offline_a: float = Field(default=0.3, ge=0, le=1)


class GradientCosineSettings(MembershipSettings):
    """Settings of the gradient cosine.

    Attributes:
        layers: "all" parameters, or the "last" two, weights and bias of the output layer as the model registers them.
    """

    layers: Literal["all", "last"] = "all"
