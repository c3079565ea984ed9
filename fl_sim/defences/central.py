"""What Flower's strategies for central differential privacy claim: never anything against the server."""

from __future__ import annotations

from collections.abc import Mapping

from fl_sim.defences.accounting import accounted, unclaimed
from fl_sim.defences.claims import CLIENT, DELTA, READERS, Claim, Exposure
from fl_sim.specs import Scalar


def fixed(name: str, settings: Mapping[str, Scalar], exposure: Exposure) -> Claim:
    """Return the claim of a strategy with a fixed clipping norm, for a client's update in place of none.

    The noise on the average has a standard deviation of sigma C / n for n clients, and one client changes the average
    by up to w C where w is its weight. So the noise multiplier is sigma / (n w), which is sigma only if all clients
    hold equally many examples. The server knows who takes part, and the order of the rounds is public, so that no
    amplification is claimed.

    Source: McMahan, Ramage, Talwar and Zhang, "Learning Differentially Private Recurrent Language Models", ICLR 2018.
    """
    multiplier = float(settings["noise_multiplier"]) / (exposure.sampled * exposure.heaviest)
    claim = Claim(
        defence=name,
        against=READERS,
        unit=CLIENT,
        delta=DELTA,
        accountant="rdp",
        noise_multiplier=multiplier,
        sampling_rate=1.0,
        releases=exposure.rounds,
        reason="The server sees every update before the noise, so against it nothing is claimed. The heaviest client "
        f"has a weight of {exposure.heaviest:.3g} among {exposure.sampled}.",
    )
    if not exposure.all_answer:
        return unclaimed(
            claim, "The noise is for as many clients as are asked, and with federation.dropout fewer of them answer."
        )
    return accounted(claim)


def adaptive(name: str, settings: Mapping[str, Scalar], exposure: Exposure) -> Claim:
    """Return that a strategy with an adaptive clipping norm makes no sound claim.

    Flower 1.41 clips the updates of a round to its norm, moves the norm, and then scales the noise by the new one
    (`dp_adaptive_clipping.py`, `aggregate_train`), which may be smaller by any factor. Andrew et al., "Differentially
    Private Learning with Adaptive Clipping", NeurIPS 2021, algorithm 1, scale it by the norm to which they clipped.
    """
    del settings, exposure
    return Claim(
        defence=name,
        against=READERS,
        reason="Flower scales the noise of a round by the clipping norm of the next one, which may be smaller than "
        "that to which the updates were clipped, so the published claim does not hold. The server sees every update "
        "before the noise in any case.",
    )
