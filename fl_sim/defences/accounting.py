"""Privacy accounting by Opacus' own accountants, which come with the extra [dp]."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from fl_sim.defences.claims import CLIENT, DELTA, Claim, Exposure
from fl_sim.specs import Scalar

BESIDE = "It covers the arrays of the update, not the training loss that a client reports beside them."
_ACCOUNTANTS = {"rdp": "RDPAccountant", "prv": "PRVAccountant"}


def epsilon_of(
    accountant: str, *, noise_multiplier: float, sampling_rate: float, releases: int, delta: float
) -> float | None:
    """Return the epsilon of releases of the (Poisson-sampled) Gaussian mechanism, each of sensitivity 1.

    Args:
        accountant: "rdp" (Mironov, Talwar and Zhang, "Renyi Differential Privacy of the Sampled Gaussian Mechanism",
            2019, with the conversion of Balle et al., 2020, theorem 21), or "prv" (Gopi, Lee and Wutschitz, "Numerical
            Composition of Differential Privacy", NeurIPS 2021), whose upper bound is returned.
        noise_multiplier: standard deviation of the noise, above 0.
        sampling_rate: q in (0, 1]; 1 without sampling.
        releases: how often the mechanism is applied, at least 1.
        delta: in (0, 1).

    Returns:
        epsilon; None if Opacus is not installed.
    """
    try:
        from opacus import accountants
    except ImportError:
        return None
    kind: Any = getattr(accountants, _ACCOUNTANTS[accountant])()
    kind.history = [(noise_multiplier, sampling_rate, releases)]
    with warnings.catch_warnings():  # that a wider range of orders were tighter, and logarithms of 0 of empty tails
        warnings.simplefilter("ignore")
        return float(kind.get_epsilon(delta=delta))


def accounted(claim: Claim) -> Claim:
    """Return a claim, complete but for its epsilon, with the epsilon of its accountant; without one where none can be.

    Args:
        claim: has an accountant, a noise multiplier, a sampling rate, a number of releases and a delta.
    """
    multiplier, rate = claim.noise_multiplier or 0.0, claim.sampling_rate or 1.0
    releases, delta = claim.releases or 1, claim.delta or 0.0
    if multiplier <= 0:
        return unclaimed(claim, "Without noise there is no finite epsilon.")
    if not 0 < delta < 1:
        return unclaimed(claim, f"A delta of {delta:g} is not in (0, 1), in which the accountants need it.")
    epsilon = epsilon_of(
        claim.accountant, noise_multiplier=multiplier, sampling_rate=rate, releases=releases, delta=delta
    )
    if epsilon is None:
        return unclaimed(claim, "The accountant is Opacus', which is not installed: pip install 'spikeleak[dp]'.")
    return claim.model_copy(update={"epsilon": epsilon})


def unclaimed(claim: Claim, reason: str) -> Claim:
    """Return a claim without its epsilon, and the reason for that."""
    nothing = {"epsilon": None, "delta": None, "unit": "", "accountant": "", "releases": None, "sampling_rate": None}
    return claim.model_copy(update={**nothing, "reason": reason})


def noise_claim(name: str, settings: Mapping[str, Scalar], exposure: Exposure) -> Claim:
    """Return what `fl_sim.defences.functional.noise` claims against the server, for any update in place of any other.

    Two updates that are clipped to C differ by up to 2 C, so the noise multiplier is sigma / 2.
    """
    return accounted(
        Claim(
            defence=name,
            unit=CLIENT,
            delta=DELTA,
            accountant="rdp",
            noise_multiplier=float(settings["noise_multiplier"]) / 2,
            sampling_rate=1.0,
            releases=exposure.rounds,
            reason=f"For any update in place of any other, over all rounds. {BESIDE}",
        )
    )
