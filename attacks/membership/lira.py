"""The likelihood ratio attack, LiRA (Carlini, Chien, Nasr, Song, Terzis and Tramer, IEEE S&P 2022, algorithm 1).

The log-odds that models give a candidate's label are about Gaussian, over models that saw it and over those that did
not. Online, the score is the log of the ratio of the two densities at the target's log-odds. Offline, nothing is known
of models that saw it, and the score is how far the target's log-odds are above those of models that did not: the paper
takes the probability of a Gaussian (eq. 4), of which the distance in standard deviations is a monotone function that
never rounds to 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from attacks.contracts import Background, Candidates, Observed
from attacks.membership.base import ShadowInference, masked_mean
from attacks.membership.settings import ONLINE, LiRASettings
from fl_sim.errors import ConfigError

_LEAST_VARIANCE = 1e-12


class LiRA(ShadowInference[LiRASettings]):
    """Scores a candidate by Gaussians of the log-odds of shadow models."""

    name = "lira"

    def scores(
        self, observed: Observed, candidates: Candidates, background: Background, *, seed: int, device: str
    ) -> Tensor:
        """Return the log of the ratio of likelihoods, or offline the distance in standard deviations.

        Raises:
            ConfigError: a candidate was seen by fewer than two shadow models, or left out by fewer than two.
        """
        target = self.queried(observed, candidates, seed=seed, device=device)
        shadows = self.shadowed(observed, candidates, background, seed=seed, device=device)
        seen = torch.stack([shadow.seen for shadow in background.shadows])
        mean_out, variance_out = self._gaussian(shadows, ~seen, "left out")
        if self.settings.mode != ONLINE:
            return (target - mean_out) / variance_out.sqrt()
        mean_in, variance_in = self._gaussian(shadows, seen, "seen")
        return _log_density(target, mean_in, variance_in) - _log_density(target, mean_out, variance_out)

    def _gaussian(self, odds: Tensor, chosen: Tensor, how: str) -> tuple[Tensor, Tensor]:
        """Return mean and variance (n,) over the chosen models of each candidate."""
        counts = chosen.sum(0)
        if int(counts.min()) < 2:
            raise ConfigError(
                f"attack 'lira': a candidate was {how} by {int(counts.min())} of {len(odds)} shadow models, expected "
                "at least 2; set attack.shadows to more."
            )
        mean = masked_mean(odds, chosen)
        squares = (odds - mean).square() * chosen
        if self.settings.variance == "global":
            variance = (squares.sum() / (counts - 1).sum()).expand_as(mean)
        else:
            variance = squares.sum(0) / (counts - 1)
        return mean, variance.clamp(min=_LEAST_VARIANCE)


def _log_density(values: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """Return the log of a Gaussian density, but for its constant."""
    return -0.5 * ((values - mean).square() / variance + variance.log())
