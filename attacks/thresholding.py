"""Spikes from real numbers: the two algorithms of arXiv 2511.21181, section III-B, and a third, differentiable one.

Post-optimisation (Algorithm 1) binarises the answer of a finished attack. In-optimisation (Algorithm 2), taken
literally, binarises the candidate after every outer step of the optimiser, which also discards the progress of the
step: with a threshold of at least a half, the candidate is the empty recording from the first step on. Straight-through
keeps a real-valued latent and binarises it inside the loss, with the derivative of the identity (Bengio, Leonard and
Courville 2013, arXiv 1308.3432), so that the optimiser's state stays real-valued.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from attacks.contracts import Reconstruction
from attacks.settings import POST


def threshold(inputs: Tensor, tau: float) -> Tensor:
    """Return 1 where an input exceeds tau and 0 elsewhere (Algorithm 1); NaN exceeds nothing."""
    return (inputs > tau).to(inputs)


def straight_through(latent: Tensor, tau: float) -> Tensor:
    """Return `threshold(latent, tau)` with the derivative of the identity."""
    # In this order of operations the value is exactly 0 or 1, unlike (spikes + latent) - latent.
    return threshold(latent, tau).detach() + (latent - latent.detach())


def thresholded(reconstruction: Reconstruction, tau: float) -> Reconstruction:
    """Return a reconstruction after post-optimisation thresholding; its loss and counts remain those of the attack."""
    return replace(
        reconstruction,
        settings={**reconstruction.settings, "thresholding": POST, "tau": tau},
        inputs=threshold(reconstruction.inputs, tau),
        last_inputs=threshold(reconstruction.last_inputs, tau),
    )
