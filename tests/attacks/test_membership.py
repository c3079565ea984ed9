"""Membership inferences beside closed forms: log-odds, Gaussians, domination, cosines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from scipy.stats import norm
from torch import Tensor

from attacks import build_membership
from attacks.contracts import Auxiliary, Background, Candidates, Observed, Shadow
from attacks.membership.queries import log_odds, rebuilt
from attacks.membership.rmia import RMIA
from attacks.membership.settings import LossThresholdSettings, RMIASettings
from attacks.testing.victims import MLP, SPIKING_MLP, truth
from fl_sim.errors import ConfigError
from fl_sim.models import build_model
from fl_sim.records import ModelSpec
from fl_sim.training import gradient, parameters_of

COUNT = 6


def parameters(seed: int, spec: ModelSpec = MLP) -> dict[str, Tensor]:
    return {name: 3 * tensor for name, tensor in parameters_of(build_model(spec, seed=seed)).items()}


def candidates(spec: ModelSpec = MLP, *, seed: int = 0) -> Candidates:
    inputs, labels = truth(COUNT, spec.input, seed=seed)
    return Candidates(inputs[:, 0], labels[:, 0])


def odds(seed: int, examples: Candidates) -> Tensor:
    settings = LossThresholdSettings()
    return log_odds(rebuilt(MLP, parameters(seed), "cpu"), examples, settings, seed=0)


def shadows(count: int, *, online: bool) -> list[Shadow]:
    seen = [torch.arange(COUNT) % 2 == number % 2 if online else torch.zeros(COUNT, dtype=torch.bool)
            for number in range(count)]  # fmt: skip
    own = torch.tensor([number % 2 == 0 for number in range(count)])
    return [Shadow(parameters(10 + n), seen[n], own[n].expand(COUNT)) for n in range(count)]


def scored(name: str, settings: Mapping[str, Any], background: Background, **observed: Any) -> Tensor:
    seen = Observed("x", MLP, parameters(0), **observed)
    return build_membership(name, settings).score(seen, candidates(), background, seed=0).scores


def test_log_odds_are_those_of_the_softmax() -> None:
    examples = candidates()
    model = rebuilt(MLP, parameters(0), "cpu").double()
    with torch.no_grad():
        confidence = model(examples.inputs.double()).softmax(1).gather(1, examples.labels[:, None])[:, 0]
    assert torch.allclose(odds(0, examples), (confidence / (1 - confidence)).log(), atol=1e-4)
    expected = confidence.log()
    assert torch.allclose(scored("loss_threshold", {}, Background()), expected, atol=1e-4)


def test_a_confidence_of_one_keeps_its_digits() -> None:
    large = {name: 4000 * tensor for name, tensor in parameters(0).items()}
    found = log_odds(rebuilt(MLP, large, "cpu"), candidates(), LossThresholdSettings(), seed=0)
    assert float(found.abs().max()) > 40  # where a float's confidence is 1 or 0
    assert bool(torch.isfinite(found).all())


def test_posteriors_are_averaged_over_draws_of_spikes_and_of_dropped_pixels() -> None:
    examples, model = candidates(SPIKING_MLP), rebuilt(SPIKING_MLP, parameters(0, SPIKING_MLP), "cpu")
    one, many = (log_odds(model, examples, LossThresholdSettings(draws=draws), seed=5) for draws in (1, 400))
    others = torch.stack([log_odds(model, examples, LossThresholdSettings(), seed=seed) for seed in range(400)])
    assert not one.equal(many)
    assert torch.allclose(many.sigmoid(), others.sigmoid().mean(0), atol=0.05)
    dropped = LossThresholdSettings(draws=2, input_dropout=0.5)
    assert not odds(0, candidates()).equal(log_odds(rebuilt(MLP, parameters(0), "cpu"), candidates(), dropped, seed=0))


@pytest.mark.parametrize("variance", ["per_example", "global"])
def test_offline_lira_is_the_distance_from_the_shadow_models(variance: str) -> None:
    examples, background = candidates(), Background(shadows(6, online=False))
    others = torch.stack([odds(10 + number, examples) for number in range(6)])
    spread = others.var(0) if variance == "per_example" else others.var(0).mean()
    expected = (odds(0, examples) - others.mean(0)) / spread.sqrt()
    assert torch.allclose(scored("lira", {"shadows": 6, "variance": variance}, background), expected)


def test_online_lira_is_the_ratio_of_two_gaussians() -> None:
    examples, background = candidates(), Background(shadows(8, online=True))
    found = scored("lira", {"shadows": 8, "variance": "per_example", "mode": "online"}, background)
    target, others = odds(0, examples), torch.stack([odds(10 + number, examples) for number in range(8)])
    for place in range(COUNT):
        inside = others[torch.arange(8) % 2 == place % 2, place]
        outside = others[torch.arange(8) % 2 != place % 2, place]
        logs = [norm.logpdf(float(target[place]), float(some.mean()), float(some.std())) for some in (inside, outside)]
        assert float(found[place]) == pytest.approx(logs[0] - logs[1], rel=1e-6)


def test_lira_says_that_too_few_models_saw_a_candidate() -> None:
    with pytest.raises(ConfigError, match="seen by 0 of 4 shadow models"):
        scored("lira", {"mode": "online"}, Background(shadows(4, online=False)))


def test_rmia_counts_the_auxiliary_examples_that_a_candidate_dominates() -> None:
    examples, population = candidates(), candidates(seed=1)
    background = Background(shadows(4, online=False), Auxiliary("others", population.inputs, population.labels))
    found = scored("rmia", {"shadows": 4, "gamma": 1.5, "offline_a": 0.4}, background)
    gains = []
    for each, outside in ((examples, True), (population, False)):
        mean = torch.stack([odds(10 + number, each).sigmoid() for number in range(4)])
        marginal = ((1.4 * mean.mean(0) + 0.6) / 2) if outside else mean.mean(0)  # half of the models saw z
        gains.append(odds(0, each).sigmoid() / marginal)
    expected = [sum(float(x / z) >= 1.5 for z in gains[1]) / COUNT for x in gains[0]]
    assert found.tolist() == pytest.approx(expected)
    assert max(expected) > 0


def test_rmia_takes_the_mean_of_both_kinds_of_models_where_there_are_both() -> None:
    confidences = torch.tensor([[0.9, 0.4], [0.1, 0.2], [0.5, 0.6]])
    seen = torch.tensor([[True, False], [False, False], [False, False]])
    marginal = RMIA(RMIASettings(offline_a=0.3)).marginal(confidences, seen)
    assert marginal.tolist() == pytest.approx([(0.9 + 0.3) / 2, (1.3 * 0.4 + 0.7) / 2])


def test_without_examples_rmia_cannot_begin() -> None:
    with pytest.raises(ConfigError, match="expected auxiliary examples"):
        scored("rmia", {}, Background(shadows(4, online=False)))


def test_an_update_of_one_example_points_along_minus_its_gradient() -> None:
    examples, before = candidates(), parameters(0)
    model = rebuilt(MLP, before, "cpu")
    step = gradient(model, examples.inputs[2:3], examples.labels[2:3])
    seen = Observed("x", MLP, {name: before[name] - 0.1 * step[name] for name in before}, before)
    found = build_membership("gradient_cosine").score(seen, examples, Background(), seed=0).scores
    assert float(found[2]) == pytest.approx(1.0, abs=1e-4)
    assert int(found.argmax()) == 2
    assert float(found.abs().max()) <= 1 + 1e-6


def test_a_trained_model_alone_has_no_update() -> None:
    with pytest.raises(ConfigError, match="expected an update"):
        scored("gradient_cosine", {}, Background())
