"""Shadow models that are trained as a federation's global model is: by the same config, on the adversary's examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fl_sim.cache import cache_root, key_of
from fl_sim.config import SimulationConfig
from fl_sim.config.federation import EACH_CLIENT
from fl_sim.contents import read_contents
from fl_sim.datasets.examples import Dataset
from fl_sim.global_models import global_model_path
from fl_sim.records import TrainedModel, load_record
from fl_sim.seeding import derive_seed
from fl_sim.simulation import check_federation, run_federation
from judges.plans.membership import MembershipConfig
from judges.progress import Advance
from judges.scoring.membership.asked import Asked

CODE_VERSION = 1
"""Part of the cache key. Increase it when the same settings would train a different model."""

NAME = "shadow"
_UNSEEN = {"engine": "local", "keep_every": 1, "capture_every": 0, "observer": EACH_CLIENT, "summed_clients": 0}
"""What of a federation its training does not depend on, and of which a shadow needs the global models alone."""


@dataclass(frozen=True)
class ShadowFederation:
    """A federation of the target's config whose clients hold a half of the adversary's own examples.

    Its global models stay in the cache, all in a folder whose name is a hash of what they depend on.

    Attributes:
        config: of the target.
        asked: whose examples the adversary has.
        number: of the shadow model, see `Asked.half`.
    """

    config: MembershipConfig
    asked: Asked
    number: int

    @property
    def dataset(self) -> Dataset:
        """Return what its clients hold, as the train split."""
        return self.asked.half(self.number, online=False).dataset

    @property
    def simulation(self) -> SimulationConfig:
        """Return its config: the target's, with a seed of its own, and without a server that captures."""
        fields = {name: getattr(self.config, name) for name in SimulationConfig.model_fields}
        own = {
            "seed": derive_seed(self.asked.seed, "membership", NAME, self.number, 0),
            "dataset": self.config.dataset.model_copy(update={"split": "train"}),
            "federation": self.config.federation.model_copy(update=_UNSEEN),
        }
        return SimulationConfig(**{**fields, **own})

    @property
    def folder(self) -> Path:
        """Return the folder of its models in the cache."""
        key = {
            "code": CODE_VERSION,
            "data": self.dataset.digest,
            "config": self.simulation.model_dump(mode="json", exclude={"dataset": {"root"}}),
            "torch": torch.__version__,
        }
        return cache_root() / "shadows" / key_of(key)[:32]

    @property
    def kept(self) -> bool:
        """Return whether it is in the cache, whole."""
        folder = self.folder
        contents = read_contents(folder, NAME)
        return contents is not None and not contents.flaw(folder)

    def check(self) -> None:
        """Raise a ConfigError if its clients would hold too few examples, or if it cannot run otherwise."""
        check_federation(self.simulation, dataset=self.dataset)

    def train(self, advance: Advance | None = None) -> None:
        """Run it, unless it is in the cache."""
        if not self.kept:
            run_federation(
                self.simulation, output=self.folder, federation_id=NAME, observe=False, dataset=self.dataset
            )  # fmt: skip
        if advance is not None:
            advance(1, 1)

    def parameters(self, server_round: int) -> Mapping[str, Tensor]:
        """Return its global model after a round."""
        self.train()
        return load_record(TrainedModel, global_model_path(self.folder / "models", NAME, server_round)).parameters
