"""What the defences may be told, with the defaults of their sources. No torch here."""

from __future__ import annotations

from pydantic import Field

from fl_sim.specs import Settings


class ClipSettings(Settings):
    """Settings of clipping.

    Attributes:
        clipping_norm: C, the largest l2 norm of a whole update (4, the reference value of Abadi et al., CCS 2016,
            section 5.2, for MNIST). What a norm is large depends on the model and on what is shared: above the norms
            that occur it does nothing.
    """

    clipping_norm: float = Field(default=4.0, gt=0)


class NoiseSettings(ClipSettings):
    """Settings of clipping with noise.

    Attributes:
        noise_multiplier: sigma, the standard deviation of the noise in units of C (4, as C from Abadi et al., who add
            it to the sum of 600 examples' gradients; a client adds it to its own update).
    """

    noise_multiplier: float = Field(default=4.0, ge=0)


class PruneSettings(Settings):
    """Settings of magnitude pruning.

    Attributes:
        prune_ratio: p, the share of each tensor's entries that is set to 0 (0.3, the first value of Zhu et al., NeurIPS
            2019, section 5.2, above the 20% up to which DLG still recovered images).
    """

    prune_ratio: float = Field(default=0.3, ge=0, le=1)


class QuantiseSettings(Settings):
    """Settings of quantisation.

    Attributes:
        bits: b of each entry, its sign included (8, the Int-8 of Zhu et al., NeurIPS 2019, section 5.1).
    """

    bits: int = Field(default=8, ge=2, le=16)
