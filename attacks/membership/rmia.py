"""The robust membership inference attack, RMIA (Zarifzadeh, Liu and Shokri, ICML 2024, algorithm 1).

A candidate x is compared with many auxiliary examples z. Its score is the share of z that it dominates:
(p(x | model) / p(x)) / (p(z | model) / p(z)) >= gamma (eqs. 2 to 4), where p(x) is the mean confidence of models of
which half saw x. Where no shadow model saw it, that is guessed as ((1 + a) p_out + 1 - a) / 2 (section 3.3).
Confidences are softmax probabilities; the authors' Taylor softmax is left out.
"""

from __future__ import annotations

import torch
from torch import Tensor

from attacks.contracts import Background, Candidates, Observed
from attacks.membership.base import ShadowInference, masked_mean
from attacks.membership.settings import RMIASettings
from fl_sim.errors import ConfigError

_LEAST = 1e-30


class RMIA(ShadowInference[RMIASettings]):
    """Scores a candidate by the share of auxiliary examples that it dominates."""

    name = "rmia"

    def scores(
        self, observed: Observed, candidates: Candidates, background: Background, *, seed: int, device: str
    ) -> Tensor:
        """Return the share (n,) of auxiliary examples that each candidate dominates, in [0, 1].

        Raises:
            ConfigError: there are no auxiliary examples.
        """
        auxiliary = background.auxiliary
        if auxiliary is None or not len(auxiliary.labels):
            raise ConfigError("attack 'rmia': expected auxiliary examples to compare candidates with, found none.")
        population = Candidates(auxiliary.inputs, auxiliary.labels)
        own, others = (
            self._gain(observed, examples, background, seen, seed=seed, device=device)
            for examples, seen in (
                (candidates, torch.stack([shadow.seen for shadow in background.shadows])),
                (population, torch.stack([shadow.seen_auxiliary for shadow in background.shadows])),
            )
        )
        dominated = torch.searchsorted(others.sort().values, own / self.settings.gamma, right=True)
        return dominated.double() / len(others)

    def _gain(
        self,
        observed: Observed,
        examples: Candidates,
        background: Background,
        seen: Tensor,
        *,
        seed: int,
        device: str,
    ) -> Tensor:
        """Return p(x | model) / p(x) (n,) of examples."""
        target = self.queried(observed, examples, seed=seed, device=device).sigmoid()
        shadows = self.shadowed(observed, examples, background, seed=seed, device=device).sigmoid()
        return target / self.marginal(shadows, seen).clamp(min=_LEAST)

    def marginal(self, confidences: Tensor, seen: Tensor) -> Tensor:
        """Return p(x) (n,): the mean over models of which half saw x.

        Args:
            confidences: (S, n), of the shadow models.
            seen: bool (S, n), which of them saw x.
        """
        inside, outside = masked_mean(confidences, seen), masked_mean(confidences, ~seen)
        slope = self.settings.offline_a
        guessed = torch.where(inside.isnan(), slope * outside + 1 - slope, inside)
        return torch.where(outside.isnan(), inside, (guessed + outside) / 2)
