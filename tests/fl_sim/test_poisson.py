"""DP-SGD on Poisson samples: what it claims, what is drawn and sealed, and what an attack knows of it."""

from __future__ import annotations

import dataclasses
import math
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from opacus import PrivacyEngine
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from attacks import build_attack
from attacks.answers import Call, answers_of
from attacks.contracts import StopReason
from attacks.engines.truth import mismatch
from attacks.preflight import examine
from fl_sim.captures import CaptureStore, SealedStore
from fl_sim.config import SimulationConfig, validate
from fl_sim.defences.claims import Claim
from fl_sim.defences.dp_sgd import claim, dp_sgd, poisson_draws
from fl_sim.errors import ConfigError
from fl_sim.federation.exposure import claims_of, exposure_of
from fl_sim.observed import batch_size, local_steps
from fl_sim.records import CapturedUpdate, SealedBatch
from fl_sim.seeding import torch_stream
from fl_sim.simulation import check_federation, examples_of, run_federation
from judges.runs.identity import Attacked
from judges.scoring.truths import Evidence, Truths, Victim

DELTA = 1e-5


def config_of(*, strategy: str = "FedAvg", federation: Any = None, **defence: Any) -> SimulationConfig:
    plain = {"clients": 2, "rounds": 2, "batch_size": 3, "local_steps": 2, "learning_rate": 0.1}
    tables = {
        "model": {"name": "mlp", "hidden": 8, "init": "torch"},
        "strategy": {"name": strategy},
        "federation": plain | (federation or {}),
        "defence": {"name": "dp_sgd", "sampling": "poisson", "noise_multiplier": 1.1} | defence,
    }
    return validate(SimulationConfig, tables)


def claim_of(config: SimulationConfig) -> Claim:
    (claim,) = claims_of(config)
    return claim


def captured(folder: Path, config: SimulationConfig) -> list[tuple[CapturedUpdate, SealedBatch]]:
    check_federation(config)
    run_federation(config, output=folder, federation_id="f")
    sealed = SealedStore(folder / "sealed")
    return [(one, sealed.load(one.id)) for one in CaptureStore(folder / "captures")]


@pytest.mark.parametrize("accountant", ["rdp", "prv"])
def test_epsilon_is_that_of_opacus_engine_with_the_same_numbers(accountant: str) -> None:
    held, size, steps, sigma = 64, 8, 20, 1.1
    module = nn.Linear(2, 2)
    data = TensorDataset(torch.rand(held, 2), torch.arange(held) % 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        engine = PrivacyEngine(accountant=accountant)
        private, optimiser, loader = engine.make_private(
            module=module,
            optimizer=torch.optim.SGD(module.parameters(), lr=0.1),
            data_loader=DataLoader(data, batch_size=size),
            noise_multiplier=sigma,
            max_grad_norm=1.0,
            poisson_sampling=True,
        )
        taken = 0
        while taken < steps:
            for inputs, labels in loader:
                if taken < steps and len(labels):
                    optimiser.zero_grad()
                    nn.functional.cross_entropy(private(inputs), labels).backward()  # type: ignore[no-untyped-call]
                    optimiser.step()
                    taken += 1
        theirs = engine.get_epsilon(DELTA)
    config = config_of(accountant=accountant, noise_multiplier=sigma, federation={"rounds": 4, "local_steps": 5})
    exposure = dataclasses.replace(exposure_of(config), rate=size / held)
    ours = claim("dp_sgd", config.defence.settings, exposure)
    assert (ours.sampling_rate, ours.releases) == (0.125, steps)
    assert ours.epsilon == pytest.approx(theirs, abs=1e-6)
    alone = claim("dp_sgd", config.defence.settings, dataclasses.replace(exposure, rate=1.0)).epsilon
    assert alone is not None
    assert alone > 2 * theirs


def test_the_rate_is_that_of_the_smallest_client_and_every_step_is_a_release() -> None:
    amplified = claim_of(config_of())
    assert amplified.sampling_rate == 3 / min(examples_of(config_of(), client) for client in (0, 1))
    assert amplified.releases == 4
    shuffled = claim_of(config_of(sampling="shuffled"))
    assert (shuffled.sampling_rate, shuffled.releases) == (1.0, 2)
    assert "no Poisson sample" in shuffled.reason
    told = claim_of(config_of(tell_sizes=True))
    assert (told.sampling_rate, told.releases) == (1.0, 4)
    assert "told the sizes" in told.reason
    assert amplified.epsilon is not None
    assert shuffled.epsilon is not None
    assert told.epsilon is not None
    assert amplified.epsilon < shuffled.epsilon < told.epsilon


def test_samples_have_binomial_sizes_and_are_drawn_by_themselves() -> None:
    draws = poisson_draws(40, rate=0.1, steps=500, generator=torch_stream(3))
    sizes = torch.tensor([float(len(draw)) for draw in draws])
    assert float(sizes.mean()) == pytest.approx(4.0, abs=4 * math.sqrt(3.6 / 500))
    assert float(sizes.var()) == pytest.approx(3.6, rel=0.25)
    assert float((sizes == 0).float().mean()) > 0
    assert set(torch.cat(draws).tolist()) == set(range(40))
    again = poisson_draws(40, rate=0.1, steps=500, generator=torch_stream(3))
    assert all(one.equal(other) for one, other in zip(draws, again, strict=True))


def test_of_an_empty_sample_the_gradient_is_noise_of_the_same_size() -> None:
    model, none = nn.Sequential(nn.Flatten(), nn.Linear(64, 40)), torch.empty(0, 1, 8, 8)
    settings = {"clipping_norm": 2.0, "noise_multiplier": 3.0, "expected_batch_size": 4}
    found, loss = dp_sgd(model, none, torch.empty(0).long(), generator=torch_stream(1), **settings)  # type: ignore[arg-type]
    assert float(loss) == 0.0
    assert float(found["1.weight"].std()) == pytest.approx(2.0 * 3.0 / 4, rel=0.05)


def test_what_is_sealed_is_what_was_drawn_and_the_sum_is_over_the_mean_size(tmp_path: Path) -> None:
    """Without noise and with a C above all norms, the attack's own loss at the truth is 0."""
    found = captured(tmp_path, config_of(tell_sizes=True, noise_multiplier=0.0, clipping_norm=1e6))
    sizes = [capture.sizes for capture, _ in found]
    assert len({size for pair in sizes for size in pair or ()}) > 1
    for capture, truth in found:
        assert capture.sampling == "poisson"
        assert capture.sizes is not None
        assert len(truth.labels) == sum(capture.sizes) == batch_size(capture)
        assert [len(step) for step in local_steps(capture)] == [size for size in capture.sizes if size]
        assert (capture.training.reduction, capture.training.loss_scale) == ("sum", 1 / 3)
        assert mismatch(capture, truth.inputs, truth.labels) < 1e-3


def test_a_round_may_draw_nobody_at_all(tmp_path: Path) -> None:
    config = config_of(tell_sizes=True, federation={"batch_size": 1, "local_steps": 1, "rounds": 6})
    found = captured(tmp_path, config)
    empty = [(capture, truth) for capture, truth in found if not len(truth.labels)]
    assert empty
    for capture, truth in empty:
        assert capture.sizes == (0,)
        assert truth.inputs.shape == (0, 1, 28, 28)
        assert "empty" in examine(capture).refusal


@pytest.mark.parametrize("strategy", ["FedAvg", "FedSGD"])
def test_inputs_of_an_unknown_number_are_not_looked_for(tmp_path: Path, strategy: str) -> None:
    steps = {"local_steps": 1 if strategy == "FedSGD" else 2}
    capture = captured(tmp_path, config_of(strategy=strategy, federation=steps))[0][0]
    assert (capture.sampling, capture.sizes) == ("poisson", None)
    refusal = examine(capture).refusal
    assert "mean size" in refusal
    call = Call.of("idlg", {"iterations": 2}, seed=0)
    told = dataclasses.replace(capture, sizes=(2,))
    unknown, known = answers_of(build_attack("idlg", call.settings), [capture, told], call)
    assert (unknown.stop_reason, unknown.attack) == (StopReason.NOT_ATTEMPTED, "idlg")
    assert set(unknown.labels.tolist()) == {-1}
    assert known.stop_reason != StopReason.NOT_ATTEMPTED
    assert len(known.labels) == 2


def test_an_update_of_no_example_costs_its_own_row_only(tmp_path: Path) -> None:
    config = config_of(tell_sizes=True, federation={"batch_size": 1, "local_steps": 1, "rounds": 6})
    found = captured(tmp_path, config)
    victims, truths = tuple(Victim(one.id, one.round) for one, _ in found), Truths(tmp_path)
    evidence = Evidence("f", Attacked(defence="dp_sgd"), victims, 0, found[0][0].model)
    known = {victim.id for victim in truths.open(evidence, complete=True)}
    assert known == {one.id for one, truth in found if len(truth.labels)}
    assert all("no example" in reason for reason in truths.unfit.values())
    assert known | set(truths.unfit) == {victim.id for victim in victims}


def test_what_does_not_go_together_is_refused() -> None:
    with pytest.raises(ConfigError, match="make no passes"):
        config_of(federation={"local_steps": 1, "local_epochs": 1})
    with pytest.raises(ConfigError, match="tell their sizes"):
        config_of(federation={"share_labels": True})
    assert config_of(federation={"share_labels": True}, tell_sizes=True).federation.share_labels
