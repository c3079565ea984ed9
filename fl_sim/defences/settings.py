"""Settings of the defences, with the defaults of their sources. Nothing here imports torch."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from fl_sim.specs import Settings

POISSON: Final = "poisson"
"""The sampling of DP-SGD that draws each example of a batch by itself."""


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


class SignSettings(Settings):
    """Settings of sign: it has none."""


class TopKSettings(Settings):
    """Settings of top-k sparsification.

    Attributes:
        keep_ratio: k / n, the share of the whole update's entries that are shared in a round (0.01, that of Aji and
            Heafield, EMNLP 2017).
    """

    keep_ratio: float = Field(default=0.01, gt=0, le=1)


class SoteriaSettings(Settings):
    """Settings of Soteria.

    Attributes:
        representation_ratio: share of the features that are perturbed (0.8, the largest that Sun et al., CVPR 2021,
            section 5, compare).
    """

    representation_ratio: float = Field(default=0.8, ge=0, le=1)


class LocalBatchNormSettings(Settings):
    """Settings of batch normalisation kept local.

    Attributes:
        local_affine: whether weights and biases of the normalisations stay with the client too, as in FedBN (Li et al.,
            ICLR 2021); false for their running statistics alone (SiloBN, Andreux et al., 2020).
    """

    local_affine: bool = False


class DpSgdSettings(NoiseSettings):
    """Settings of DP-SGD at the client; C and sigma are those of a step.

    Attributes:
        sampling: how the batches of local steps are drawn: "shuffled", of a fixed size, cut from a permutation; or
            "poisson", each example with probability `federation.batch_size` / n at each step, by Opacus' own sampler,
            so that the claim has amplification by sampling, and the size of a batch is random and may be 0.
        tell_sizes: whether clients tell the server the sizes of their Poisson samples: a server that knows them from
            elsewhere, against which no amplification is claimed. A server that does not knows their mean alone.
        delta: of the claim; epsilon follows from it (1e-5, as in Abadi et al., CCS 2016).
        accountant: Opacus' accountant of the claim, "rdp" or the tighter and slower "prv".
    """

    delta: float = Field(default=1e-5, gt=0, lt=1)
    accountant: Literal["rdp", "prv"] = "rdp"
    sampling: Literal["shuffled", "poisson"] = "shuffled"
    tell_sizes: bool = False


class LocalDpSettings(ClipSettings):
    """Settings of Flower's LocalDpMod, whose standard deviation is sensitivity sqrt(2 ln(1.25 / delta)) / epsilon.

    Attributes:
        sensitivity: how far two updates may be apart (8, twice the clipping norm, which is the least that is sound).
        epsilon: of one release, as the mod's formula has it; proven up to 1 (1).
        delta: of one release, and of the claim over all rounds.
    """

    sensitivity: float = Field(default=8.0, gt=0)
    epsilon: float = Field(default=1.0, gt=0)
    delta: float = Field(default=1e-5, gt=0, lt=1)


class SentClippingSettings(Settings):
    """Settings of Flower's mods for central differential privacy: none, since the strategy sends the clipping norm."""
