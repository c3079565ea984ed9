"""Flower's own client mods as they are, and what they claim.

Their code divides by the norm of a client's update, so a client that has learned nothing at all fails in them: under
strong noise, saturated neurons are enough. Here such an update is one bit of one weight instead of zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message
from flwr.clientapp.mod import LocalDpMod, adaptiveclipping_mod, fixedclipping_mod
from flwr.clientapp.typing import ClientAppCallable, Mod
from flwr.common.typing import NDArray

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
    return _of_any_update(LocalDpMod(clipping_norm, sensitivity, epsilon, delta))


def fixed_clipping() -> Mod:
    """Return Flower's `fixedclipping_mod`, whose clipping norm the strategy sends."""
    return _of_any_update(fixedclipping_mod)


def adaptive_clipping() -> Mod:
    """Return Flower's `adaptiveclipping_mod`, which tells the server whether the update was clipped."""
    return _of_any_update(adaptiveclipping_mod)


def _of_any_update(mod: Mod) -> Mod:
    """Return a mod that does the same and takes an update of zero."""

    def mended(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        sent = [arrays.to_numpy_ndarrays() for arrays in message.content.array_records.values()]

        def moved(message: Message, context: Context) -> Message:
            reply = call_next(message, context)
            if reply.has_content():
                for name, arrays in reply.content.array_records.items():
                    if any(_are_equal(arrays.to_numpy_ndarrays(), weights) for weights in sent):
                        reply.content[name] = _off_by_one_bit(arrays)
            return reply

        return mod(message, context, moved)

    return mended


def _are_equal(some: Sequence[NDArray], others: Sequence[NDArray]) -> bool:
    """Return whether two lists of arrays have the same entries."""
    return len(some) == len(others) and all(map(np.array_equal, some, others))


def _off_by_one_bit(arrays: ArrayRecord) -> ArrayRecord:
    """Return weights of which the largest is the next float: of a smaller one the square might be zero."""
    values = {name: array.numpy() for name, array in arrays.items()}
    sizes = {name: np.abs(value).max(initial=0.0) for name, value in values.items() if value.dtype.kind == "f"}
    name = max(sizes, key=sizes.__getitem__)
    moved = values[name].copy()
    place = np.abs(moved).argmax()
    moved.flat[place] = np.nextafter(moved.flat[place], np.inf, dtype=moved.dtype)
    return ArrayRecord({**arrays, name: Array(moved)})


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
