"""Settings of the defences, with the defaults of their sources. Nothing here imports torch."""

from __future__ import annotations

from pydantic import Field

from fl_sim.specs import Settings


class ClipSettings(Settings):
    """Settings of clipping.

    Attributes:
        clipping_norm: C, the maximum l2 norm of a whole update (4, the reference value of Abadi et al., CCS 2016,
            section 5.2, for MNIST). Typical norms depend on the model and on whether a gradient or weights are shared;
            a C above all of them has no effect.
    """

    clipping_norm: float = Field(default=4.0, gt=0)


class NoiseSettings(ClipSettings):
    """Settings of clipping with noise.

    Attributes:
        noise_multiplier: sigma, the standard deviation of the noise in units of C (4, from the same source, where the
            noise is added to the sum of 600 examples' gradients; here each client adds it to its own update).
    """

    noise_multiplier: float = Field(default=4.0, ge=0)


class PruneSettings(Settings):
    """Settings of magnitude pruning.

    Attributes:
        prune_ratio: p, the share of each tensor's entries that are set to 0 (0.3, the first value of Zhu et al.,
            NeurIPS 2019, section 5.2, above the 20% up to which DLG still recovered images).
    """

    prune_ratio: float = Field(default=0.3, ge=0, le=1)


class QuantiseSettings(Settings):
    """Settings of quantisation.

    Attributes:
        bits: b, bits per entry including the sign (8, the Int-8 of Zhu et al., NeurIPS 2019, section 5.1).
    """

    bits: int = Field(default=8, ge=2, le=16)
