"""Flower's own client mods as they are, and what they claim."""

from __future__ import annotations

import math
from collections.abc import Mapping

from flwr.clientapp.mod import LocalDpMod, adaptiveclipping_mod, fixedclipping_mod
from flwr.clientapp.typing import Mod

from fl_sim.defences.accounting import BESIDE, accounted
from fl_sim.defences.claims import CLIENT, Claim, Exposure
from fl_sim.specs import Scalar


def local_dp(*, clipping_norm: float, sensitivity: float, epsilon: float, delta: float) -> Mod:
    """Return Flower's `LocalDpMod`: the change of the weights is clipped, and Gaussian noise is added to every entry.

    Args:
        clipping_norm: C, above 0.
        sensitivity: Delta, to which the noise is in proportion; two changes of norm C differ by up to 2 C.
        epsilon, delta: of the noise's standard deviation Delta sqrt(2 ln(1.25 / delta)) / epsilon.
    """
    mod: Mod = LocalDpMod(clipping_norm, sensitivity, epsilon, delta)
    return mod


def fixed_clipping() -> Mod:
    """Return Flower's `fixedclipping_mod`, whose clipping norm the strategy sends."""
    mod: Mod = fixedclipping_mod
    return mod


def adaptive_clipping() -> Mod:
    """Return Flower's `adaptiveclipping_mod`, which tells the server whether the update was clipped."""
    mod: Mod = adaptiveclipping_mod
    return mod


def local_dp_claim(name: str, settings: Mapping[str, Scalar], exposure: Exposure) -> Claim:
    """Return what `LocalDpMod` claims against the server: for all that a client shares, any update for any other.

    Its own epsilon is that of the classical Gaussian mechanism for one release, which is proven for epsilon of at most
    1 and a sensitivity that bounds the distance of two updates (Dwork and Roth, "The Algorithmic Foundations of
    Differential Privacy", 2014, theorem A.1). What its noise gives is accounted for here in any case.
    """
    norm, sensitivity, epsilon, delta = (
        float(settings[key]) for key in ("clipping_norm", "sensitivity", "epsilon", "delta")
    )
    deviation = sensitivity * math.sqrt(2 * math.log(1.25 / delta)) / epsilon
    flaws = []
    if epsilon > 1:
        flaws.append("its formula for the noise is proven for epsilon of at most 1 only")
    if sensitivity < 2 * norm:
        flaws.append(f"two updates that are clipped to {norm:g} differ by up to {2 * norm:g}, not {sensitivity:g}")
    told = f"epsilon {epsilon:g} at delta {delta:g} for one release"
    own = f"Its own claim, {told}, is not sound: {' and '.join(flaws)}." if flaws else f"Its own claim is {told}."
    rest = "The epsilon here is what the noise gives over all rounds, for any update in place of any other."
    return accounted(
        Claim(
            defence=name,
            unit=CLIENT,
            delta=delta,
            accountant="rdp",
            noise_multiplier=deviation / (2 * norm),
            sampling_rate=1.0,
            releases=exposure.rounds,
            stated_epsilon=epsilon,
            stated_delta=delta,
            stated_is_sound=not flaws,
            reason=f"{own} {rest} {BESIDE}",
        )
    )
