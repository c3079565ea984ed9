"""The jobs of membership inference: a training of a target or of a shadow model, and an attack.

Trained models go to the cache, where a training that was interrupted goes on after its last epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from attacks import build_membership
from attacks.answers import Call
from attacks.contracts import Background, Observed, Shadow
from attacks.membership.answers import scores_of
from fl_sim.central import CentralTraining, central_training, target_path
from fl_sim.datasets.examples import Dataset
from fl_sim.records import load_record, save_record
from fl_sim.seeding import attacker_seed, derive_seed
from fl_sim.specs import Scalar
from judges.bench.membership.shadows import ShadowFederation
from judges.plans.membership import MembershipCell, MembershipConfig
from judges.progress import Advance
from judges.runs.rows.classes import FEDERATION
from judges.scoring.membership.asked import Asked
from judges.scoring.membership.recorded import Questions

TARGET, NULL, SHADOW = "target", "null", "shadow"


@dataclass(frozen=True)
class Recipe:
    """A model that is trained centrally.

    Attributes:
        config: how.
        asked: whose examples it is trained on.
        kind: "target", on the members; "null", on as many examples of which none is a candidate; or "shadow".
        number, online: of a shadow model, see `Asked.half`.
    """

    config: MembershipConfig
    asked: Asked
    kind: str
    number: int = 0
    online: bool = False

    @property
    def dataset(self) -> Dataset:
        """Return what it is trained on."""
        if self.kind == SHADOW:
            return self.asked.half(self.number, online=self.online).dataset
        return self.asked.trained_on() if self.kind == TARGET else self.asked.never_trained_on()

    @property
    def seed(self) -> int:
        """Return the seed of the training."""
        if self.kind == TARGET:
            return self.asked.target_seed
        own = (self.number, int(self.online)) if self.kind == SHADOW else (self.asked.target_seed,)
        return derive_seed(self.asked.seed, "membership", self.kind, *own)

    @property
    def kept(self) -> bool:
        """Return whether it is in the cache."""
        data, config = self.dataset, self.config
        spec = config.model.spec(data.spec)
        return target_path(spec, data, config.training, seed=self.seed, device=config.device).is_file()

    def parameters(self, server_round: int) -> Mapping[str, Tensor]:
        """Return the trained model's; the round of a federation that is attacked does not matter to it."""
        del server_round
        return self.train().model.parameters

    def train(self, advance: Advance | None = None) -> CentralTraining:
        """Return the trained model, from the cache or trained now."""
        data, config = self.dataset, self.config
        return central_training(
            config.model.spec(data.spec), data, config.training, seed=self.seed, device=config.device, progress=advance
        )


def shadow_of(config: MembershipConfig, asked: Asked, number: int, *, online: bool) -> Recipe | ShadowFederation:
    """Return how a shadow model is trained: centrally, or as the target federation is.

    Args:
        config: of the target.
        asked: whose examples the adversary has.
        number, online: of the shadow model, see `Asked.half`.
    """
    if config.shadow_training == FEDERATION:
        return ShadowFederation(config, asked, number)
    return Recipe(config, asked, SHADOW, number, online)


@dataclass(frozen=True)
class TrainJob:
    """One training, whose model goes to the cache."""

    recipe: Recipe | ShadowFederation

    def run(self, advance: Advance) -> None:
        """Train it, unless it is in the cache."""
        self.recipe.train(advance)

    def smaller(self) -> None:
        """Return None: a training cannot be split."""


@dataclass(frozen=True)
class InferenceJob:
    """A membership inference on one model or update.

    Attributes:
        cell: the attack.
        config: of the target, by whose recipe the shadow models are trained.
        asked: who is asked about.
        observed: path of what was observed.
        path: path of the answer.
        round: after which it was observed, for shadow models that are federations.
    """

    cell: MembershipCell
    config: MembershipConfig
    asked: Questions
    observed: Path
    path: Path
    round: int

    def run(self, advance: Advance) -> None:
        """Attack and save the answer."""
        settings: Mapping[str, Scalar] = self.cell.all_settings
        call = Call.of(
            self.cell.attack, settings, seed=attacker_seed(self.config.seed), device=self.config.device
        )  # fmt: skip
        attack = build_membership(self.cell.attack, settings)
        observed = load_record(Observed, self.observed)
        answer = scores_of(attack, observed, self.asked.question(), self.background(), call, advance)
        save_record(answer, self.path)

    def background(self) -> Background:
        """Return the shadow models and the examples that the adversary has."""
        if not self.cell.shadows:
            return Background()
        asked = self.asked
        if not isinstance(asked, Asked):
            raise TypeError(f"expected candidates of an experiment for shadow models, got {type(asked).__name__}")
        own, online, shadows = asked.own(), self.cell.online, []
        none = [torch.zeros(len(labels), dtype=torch.bool) for labels in (asked.question().labels, own.labels)]
        for number in range(self.cell.shadows):
            shadow = shadow_of(self.config, asked, number, online=online)
            half = asked.half(number, online=online).chosen
            seen, seen_own = (half, none[1]) if online else (none[0], half)
            shadows.append(Shadow(shadow.parameters(self.round), seen, seen_own))
        return Background(shadows, own)

    def smaller(self) -> None:
        """Return None: the candidates are queried in pieces already."""
