"""What all membership inferences share: one call, whose scores become an answer."""

from __future__ import annotations

import abc
import time
from typing import Generic, TypeVar

import torch
from torch import Tensor

from attacks.contracts import Background, Candidates, MembershipScores, Observed, Progress
from attacks.membership.queries import log_odds, rebuilt
from attacks.membership.settings import MembershipSettings, ShadowSettings
from fl_sim.errors import ConfigError

Own = TypeVar("Own", bound=MembershipSettings)
Compared = TypeVar("Compared", bound=ShadowSettings)


class Inference(abc.ABC, Generic[Own]):
    """A membership inference.

    Args:
        settings: of the attack.

    Attributes:
        name: in the table of attacks.
    """

    name: str

    def __init__(self, settings: Own) -> None:
        self.settings = settings

    def score(
        self,
        observed: Observed,
        candidates: Candidates,
        background: Background,
        *,
        seed: int,
        device: str = "cpu",
        progress: Progress | None = None,
    ) -> MembershipScores:
        """Return one score for each candidate, higher for a likelier member; see `MembershipInference`."""
        started = time.perf_counter()
        scores = self.scores(observed, candidates, background, seed=seed, device=device)
        if progress is not None:
            progress(len(scores), len(scores))
        return MembershipScores(
            observed_id=observed.id,
            attack=self.name,
            settings=self.settings.model_dump(),
            scores=scores.detach().double().cpu(),
            seed=seed,
            seconds=time.perf_counter() - started,
        )

    @abc.abstractmethod
    def scores(
        self, observed: Observed, candidates: Candidates, background: Background, *, seed: int, device: str
    ) -> Tensor:
        """Return the scores (n,)."""

    def queried(self, observed: Observed, candidates: Candidates, *, seed: int, device: str) -> Tensor:
        """Return the log-odds (n,) of the observed model."""
        model = rebuilt(observed.model, observed.parameters, device)
        return log_odds(model, candidates, self.settings, seed=seed, device=device)


class ShadowInference(Inference[Compared]):
    """A membership inference that compares the observed model with shadow models."""

    def shadowed(
        self, observed: Observed, candidates: Candidates, background: Background, *, seed: int, device: str
    ) -> Tensor:
        """Return the log-odds (S, n) of the shadow models for candidates.

        Raises:
            ConfigError: there are fewer than two shadow models.
        """
        if len(background.shadows) < 2:
            raise ConfigError(f"attack '{self.name}': expected shadow models, found {len(background.shadows)}.")
        odds = []
        for shadow in background.shadows:
            model = rebuilt(observed.model, shadow.parameters, device)
            odds.append(log_odds(model, candidates, self.settings, seed=seed, device=device))
        return torch.stack(odds)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean (n,) over those of S rows that are marked; NaN where none is.

    Args:
        values: (S, n).
        mask: bool (S, n).
    """
    return (values * mask).sum(0) / mask.sum(0)
