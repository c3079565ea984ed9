"""The promises of membership inferences, checked for one attack on one model at a time."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from attacks import MembershipEntry, build_entry
from attacks.contracts import (
    Auxiliary,
    Background,
    Candidates,
    MembershipInference,
    MembershipScores,
    Observed,
    Shadow,
)
from attacks.membership.answers import problem_of_scores
from attacks.membership.settings import ONLINE, MembershipSettings
from attacks.testing.victims import truth
from fl_sim.errors import ConfigError
from fl_sim.models import build_model
from fl_sim.records import ModelSpec, Scalar, load_record, save_record
from fl_sim.testing.promises import by_name, require
from fl_sim.training import local_sgd, parameters_of

MEMBERS, BATCH, SHADOWS, STEPS = 16, 4, 8, 40


class Scene(NamedTuple):
    """A model that has learned half of the candidates, and what its adversary knows."""

    observed: Observed
    candidates: Candidates
    background: Background
    members: Tensor


@dataclass(frozen=True)
class Inferred:
    """A membership inference under test.

    Attributes:
        name: name of the attack.
        entry: its entry in the table.
        settings: settings for all checks.
        spec: specification of the model.
    """

    name: str
    entry: MembershipEntry
    settings: Mapping[str, Scalar]
    spec: ModelSpec

    @property
    def chosen(self) -> MembershipSettings:
        """Return the settings."""
        values: dict[str, Any] = {"shadows": SHADOWS, **self.settings}
        fields = self.entry.settings.model_fields
        return self.entry.settings(**{key: value for key, value in values.items() if key in fields})

    @property
    def scene(self) -> Scene:
        """Return what it attacks."""
        return _scene(self.spec, getattr(self.chosen, "mode", "") == ONLINE, self.entry.updates)

    def run(self, scene: Scene | None = None, *, seed: int = 0) -> MembershipScores:
        """Return its answer."""
        found = scene or self.scene
        return self.build().score(found.observed, found.candidates, found.background, seed=seed)

    def build(self) -> MembershipInference:
        """Return the attack with these settings."""
        built: MembershipInference = build_entry(self.name, self.entry, self.chosen.model_dump())
        return built


@functools.lru_cache(maxsize=16)  # three kinds of scene for each model
def _scene(spec: ModelSpec, online: bool, one_step: bool) -> Scene:
    """Return a model trained on half of random candidates, and shadow models trained on halves of others.

    Args:
        spec: of the models.
        online: whether the shadow models are trained on candidates.
        one_step: whether the model has taken one step of SGD, as a client's, and has not learned them by heart.
    """
    count = BATCH if one_step else MEMBERS
    inputs, labels = truth(4 * count, spec.input)
    examples = Candidates(inputs.squeeze(2).transpose(0, 1) if spec.input.timesteps else inputs[:, 0], labels[:, 0])
    mine, others = _at(examples, torch.arange(2 * count)), _at(examples, torch.arange(2 * count, 4 * count))
    members = torch.randperm(2 * count, generator=torch.Generator().manual_seed(1)) < count
    shadows = []
    for number in range(SHADOWS):
        half = torch.randperm(2 * count, generator=torch.Generator().manual_seed(100 + number // 2)) < count
        half, none = half ^ bool(number % 2), torch.zeros(2 * count, dtype=torch.bool)
        parameters = _learned(spec, _at(mine if online else others, half.nonzero()[:, 0]), seed=10 + number)
        shadows.append(Shadow(parameters, *((half, none) if online else (none, half))))
    model, seen = build_model(spec, seed=0), _at(mine, members.nonzero()[:, 0])
    before = parameters_of(model)
    if one_step:
        local_sgd(model, [(seen.inputs, seen.labels)], learning_rate=0.1)
    after = parameters_of(model) if one_step else _learned(spec, seen, seed=0)
    observed = Observed("test/model", spec, after, before)
    return Scene(observed, mine, Background(shadows, Auxiliary("random", others.inputs, others.labels)), members)


def _at(examples: Candidates, indices: Tensor) -> Candidates:
    return Candidates(examples.inputs.index_select(examples.axis, indices), examples.labels[indices])


def _learned(spec: ModelSpec, examples: Candidates, *, seed: int) -> dict[str, Tensor]:
    """Return the parameters of a model that has learned examples by heart."""
    model = build_model(spec, seed=seed)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(STEPS):
        optimiser.zero_grad()
        F.cross_entropy(model(examples.inputs), examples.labels).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return parameters_of(model)


def settings_are_plain_and_unknown_ones_are_refused(attack: Inferred) -> None:
    """Settings have defaults and plain values, and a mistyped key is an error."""
    dumped = attack.chosen.model_dump()
    for key, value in dumped.items():
        require(isinstance(value, Scalar), f"setting '{key}' is a {type(value).__name__}; a config holds plain values.")
    require(attack.entry.settings(**dumped) == attack.chosen, "its settings cannot be rebuilt from their plain values.")
    try:
        build_entry(attack.name, attack.entry, {"no_such_setting": 1})
    except ConfigError:
        return
    raise AssertionError("a setting that it does not have was accepted; derive from MembershipSettings.")


def there_is_one_score_for_each_candidate_and_it_says_how_it_was_made(attack: Inferred) -> None:
    """Scores are finite floats (n,); name, settings, seed and id are those of the call."""
    told = {"attack": attack.name, "settings": attack.chosen.model_dump(), "seed": 3, "observed_id": "test/model"}
    problem = problem_of_scores(attack.run(seed=3), len(attack.scene.members), told)
    require(not problem, f"{problem}.")


def the_same_seed_gives_the_same_scores(attack: Inferred) -> None:
    """Everything that is drawn depends on the seed."""
    require(attack.run().scores.equal(attack.run().scores), "the same seed gave other scores.")


def the_order_of_the_candidates_says_nothing(attack: Inferred) -> None:
    """Of a model that draws nothing, a candidate has the same score wherever it stands."""
    scene = attack.scene
    order = torch.randperm(len(scene.members), generator=torch.Generator().manual_seed(5))
    moved = [replace(shadow, seen=shadow.seen[order]) for shadow in scene.background.shadows]
    background = replace(scene.background, shadows=moved)
    other = attack.run(scene._replace(candidates=_at(scene.candidates, order), background=background)).scores
    near = torch.allclose(other, attack.run().scores[order], rtol=1e-3, atol=1e-4)
    require(near, "a candidate has another score at another place.")


def members_of_an_overfitted_model_score_higher(attack: Inferred) -> None:
    """Of a member and another example, the member scores higher in at least 7 of 10 pairs."""
    scene = attack.scene
    scores = attack.run().scores
    above = scores[scene.members][:, None] - scores[~scene.members]
    share = float((above > 0).double().mean() + (above == 0).double().mean() / 2)
    require(share >= 0.7, f"a member scores higher in {share:.0%} of pairs, expected at least 70 %.")


def an_answer_survives_the_disk(attack: Inferred) -> None:
    """A stored answer is equal to the one that the attack returned."""
    result = attack.run()
    with tempfile.TemporaryDirectory() as folder:
        loaded = load_record(MembershipScores, save_record(result, Path(folder) / "s.safetensors"))
    same = loaded.scores.equal(result.scores) and replace(loaded, scores=result.scores) == result
    require(same, "a stored answer differs when it is read back.")


def what_it_is_given_and_the_global_generator_are_left_alone(attack: Inferred) -> None:
    """Randomness is an argument, and the model is evidence that must not change."""
    scene, state = attack.scene, torch.get_rng_state()
    before = {key: value.clone() for key, value in scene.observed.parameters.items()}
    attack.run()
    unchanged = all(value.equal(before[key]) for key, value in scene.observed.parameters.items())
    require(unchanged, "it changes the parameters.")
    require(torch.get_rng_state().equal(state), "it draws from torch's global generator.")


MEMBERSHIP_PROMISES = by_name(
    settings_are_plain_and_unknown_ones_are_refused,
    there_is_one_score_for_each_candidate_and_it_says_how_it_was_made,
    the_same_seed_gives_the_same_scores,
    the_order_of_the_candidates_says_nothing,
    members_of_an_overfitted_model_score_higher,
    an_answer_survives_the_disk,
    what_it_is_given_and_the_global_generator_are_left_alone,
)
