"""What defences claim: by Opacus' own accountants, beside published values, and never without a proof."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from opacus.accountants import PRVAccountant, RDPAccountant
from opacus.accountants.analysis.rdp import compute_rdp

from fl_sim.config import SimulationConfig, validate
from fl_sim.contents import contents_path, read_contents
from fl_sim.defences.accounting import epsilon_of
from fl_sim.defences.claims import CLIENT, EXAMPLE, READERS, SERVER, Claim
from fl_sim.federation.exposure import exposure_of
from fl_sim.simulation import claims_of, run_federation

CENTRAL = "DifferentialPrivacyServerSideFixedClipping"
ADAPTIVE = "DifferentialPrivacyServerSideAdaptiveClipping"


def config_of(
    defence: Mapping[str, Any] | None = None, strategy: str = "FedAvg", **federation: Any
) -> SimulationConfig:
    named = {"name": strategy} if isinstance(strategy, str) else strategy
    return validate(
        SimulationConfig,
        {"defence": dict(defence or {"name": "none"}), "strategy": named, "federation": {"clients": 4, **federation}},
    )


def claim_of(defence: Mapping[str, Any], strategy: str = "FedAvg", **federation: Any) -> Claim:
    (claim,) = claims_of(config_of(defence, strategy, **federation))
    return claim


def stepwise(noise_multiplier: float, steps: int, delta: float, rate: float = 1.0) -> float:
    """Return Opacus' own epsilon, one step at a time."""
    accountant = RDPAccountant()
    for _ in range(steps):
        accountant.step(noise_multiplier=noise_multiplier, sample_rate=rate)
    return float(accountant.get_epsilon(delta=delta))


# The accountants


@pytest.mark.filterwarnings("ignore")  # Opacus': that a wider range of orders were tighter, and logarithms of 0
@pytest.mark.parametrize(("sigma", "rate", "steps", "delta"), [(1.1, 0.01, 300, 1e-5), (2.0, 1.0, 7, 1e-6)])
@pytest.mark.parametrize(("accountant", "kind"), [("rdp", RDPAccountant), ("prv", PRVAccountant)])
def test_epsilon_is_opacus_own(accountant: str, kind: Any, sigma: float, rate: float, steps: int, delta: float) -> None:
    own = kind()
    for _ in range(steps):
        own.step(noise_multiplier=sigma, sample_rate=rate)
    told = epsilon_of(accountant, noise_multiplier=sigma, sampling_rate=rate, releases=steps, delta=delta)
    assert told == pytest.approx(own.get_epsilon(delta=delta), abs=1e-6)


def test_epsilon_is_that_of_opacus_published_test() -> None:
    """`opacus/tests/accountants_test.py`, test_rdp_accountant: sigma 1.5, q 0.04, 90 epochs."""
    told = epsilon_of("rdp", noise_multiplier=1.5, sampling_rate=0.04, releases=2250, delta=1e-5)
    assert told == pytest.approx(7.32911117143, abs=1e-6)


@pytest.mark.parametrize(
    ("sigma", "rate", "steps", "delta", "published"),
    [
        (4.0, 0.01, 10_000, 1e-5, 1.26),  # Abadi et al., CCS 2016, section 3.2 and figure 2: T = E / q, E = 100
        (1.3, 150 / 60_000, 6_000, 1e-5, 0.941870567),  # TensorFlow Privacy, compute_dp_sgd_privacy_test.py, Test0
    ],
)
def test_the_moments_of_these_accountants_give_the_published_epsilon(
    sigma: float, rate: float, steps: int, delta: float, published: float
) -> None:
    """Both have the tail bound of Abadi et al., theorem 2; the newer conversion of the accountant here is tighter."""
    orders = list(range(2, 65))
    moments = compute_rdp(q=rate, noise_multiplier=sigma, steps=steps, orders=orders)
    by_tail_bound = float(np.min(moments - math.log(delta) / (np.array(orders) - 1)))
    assert by_tail_bound == pytest.approx(published, rel=2e-3)
    told = epsilon_of("rdp", noise_multiplier=sigma, sampling_rate=rate, releases=steps, delta=delta)
    assert told is not None
    assert 0.7 * published < told < published


# The defences


def test_dp_sgd_composes_the_steps_in_which_one_example_can_be() -> None:
    told = claim_of({"name": "dp_sgd", "noise_multiplier": 2.0}, rounds=3, local_steps=2, batch_size=4)
    assert (told.unit, told.against, told.releases, told.sampling_rate, told.delta) == (EXAMPLE, SERVER, 3, 1.0, 1e-5)
    assert told.epsilon == pytest.approx(stepwise(2.0, 3, 1e-5), abs=1e-6)
    # A client holds 324 of the 1,297 examples at least: a permutation has 3 batches of 100, and 7 steps begin three.
    assert exposure_of(config_of(rounds=2, local_steps=7, batch_size=100)).uses == 2 * 3
    assert exposure_of(config_of(rounds=2, local_epochs=5)).uses == 2 * 5
    tighter = claim_of({"name": "dp_sgd", "noise_multiplier": 2.0, "accountant": "prv"}, rounds=3)
    assert tighter.epsilon is not None
    assert told.epsilon is not None
    assert tighter.epsilon < told.epsilon


def test_local_dp_tells_its_own_claim_and_what_its_noise_gives_over_all_rounds() -> None:
    told = claim_of({"name": "flower_local_dp", "clipping_norm": 0.5, "sensitivity": 1.0, "epsilon": 0.9}, rounds=5)
    deviation = 1.0 * math.sqrt(2 * math.log(1.25 / 1e-5)) / 0.9
    assert told.noise_multiplier == pytest.approx(deviation / (2 * 0.5))
    assert (told.unit, told.releases, told.stated_epsilon, told.stated_is_sound) == (CLIENT, 5, 0.9, True)
    assert told.epsilon == pytest.approx(stepwise(deviation, 5, 1e-5), abs=1e-6)
    once = claim_of({"name": "flower_local_dp", "epsilon": 1.0}, rounds=1)
    assert once.epsilon is not None
    assert once.epsilon <= 1.0  # what is proven of its formula


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"epsilon": 5.0}, "proven for epsilon of at most 1 only"),
        ({"clipping_norm": 4.0, "sensitivity": 4.0}, "differ by up to 8, not 4"),
    ],
)
def test_local_dp_says_where_its_own_claim_is_not_sound(settings: Mapping[str, float], why: str) -> None:
    told = claim_of({"name": "flower_local_dp", **settings})
    assert told.stated_is_sound is False
    assert why in told.reason
    assert told.epsilon is not None  # of the noise that there is, which needs no formula


def test_two_updates_that_are_clipped_are_twice_the_norm_apart() -> None:
    told = claim_of({"name": "noise", "noise_multiplier": 3.0, "clipping_norm": 0.1}, rounds=2)
    assert (told.noise_multiplier, told.unit) == (1.5, CLIENT)
    assert told.epsilon == pytest.approx(stepwise(1.5, 2, 1e-5), abs=1e-6)


@pytest.mark.parametrize("name", ["clip", "prune", "quantise", "sign", "top_k", "soteria"])
def test_without_noise_there_is_no_claim_and_a_reason(name: str) -> None:
    told = claim_of({"name": name})
    assert (told.epsilon, told.delta, told.unit, told.accountant) == (None, None, "", "")
    assert "no noise" in told.reason


@pytest.mark.parametrize("name", ["noise", "dp_sgd"])
def test_a_noise_of_0_claims_nothing(name: str) -> None:
    told = claim_of({"name": name, "noise_multiplier": 0.0})
    assert (told.epsilon, told.reason) == (None, "Without noise there is no finite epsilon.")


def test_without_opacus_there_is_no_claim_and_the_way_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opacus", None)
    told = claim_of({"name": "noise"})
    assert told.epsilon is None
    assert "pip install 'spikeleak[dp]'" in told.reason


def test_nobody_who_does_not_defend_claims_anything() -> None:
    assert claims_of(config_of()) == ()


# Central differential privacy


def central(name: str = CENTRAL, **federation: Any) -> Claim:
    table: Any = {"name": name, "noise_multiplier": 0.5, **({"clipping_norm": 1.0} if name == CENTRAL else {})}
    (claim,) = claims_of(config_of(None, table, **federation))
    return claim


def test_central_noise_claims_nothing_against_the_server_and_counts_the_heaviest_client() -> None:
    told = central(rounds=3)
    assert (told.against, told.unit, told.releases) == (READERS, CLIENT, 3)
    heaviest = 325 / 1297  # of 325, 324, 324 and 324 examples
    assert told.noise_multiplier == pytest.approx(0.5 / (4 * heaviest))
    assert told.epsilon == pytest.approx(stepwise(0.5 / (4 * heaviest), 3, 1e-5), abs=1e-6)
    assert "against it nothing is claimed" in told.reason
    assert central(dropout=0.5).epsilon is None


def test_adaptive_clipping_claims_nothing_since_its_noise_is_that_of_the_next_norm() -> None:
    told = central(ADAPTIVE)
    assert told.epsilon is None
    assert "clipping norm of the next one" in told.reason


# In a folder


def test_a_federation_writes_down_what_it_claims(tmp_path: Path) -> None:
    defended, plain = config_of({"name": "noise"}), config_of()
    for name, config in (("defended", defended), ("plain", plain)):
        run_federation(config, output=tmp_path, federation_id=name)
    found = read_contents(tmp_path, "defended")
    assert found is not None
    assert found.claims == claims_of(defended)
    assert found.claims[0].epsilon is not None
    assert "claims" not in json.loads(contents_path(tmp_path, "plain").read_text())
