"""Batch normalisation kept local: what is shared, what stays with the client, and what an attack makes of the rest."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from attacks.engines.truth import mismatch
from attacks.idlg import IDLG
from attacks.preflight import examine
from attacks.settings import IDLGSettings
from fl_sim.captures import CaptureStore, SealedStore
from fl_sim.client_training import ClientTraining
from fl_sim.config import SimulationConfig, validate
from fl_sim.errors import ConfigError
from fl_sim.federation.exposure import claims_of
from fl_sim.models import build_model
from fl_sim.normalisation import set_to_test
from fl_sim.records import CapturedUpdate, SealedBatch
from fl_sim.simulation import check_federation, run_federation
from fl_sim.training import load_parameters, local_sgd
from judges.bench.targets import client_of
from tests import zoo

ENTRY = zoo.ZOO["batch_norm"]
STATISTICS = {f"{layer}.{name}" for layer in (1, 5) for name in ("running_mean", "running_var")}
AFFINE = {f"{layer}.{name}" for layer in (1, 5) for name in ("weight", "bias")}
RATE = 0.05


@pytest.fixture(autouse=True)
def model() -> Iterator[None]:
    with zoo.in_table(ENTRY):
        yield


def config_of(defence: Any, strategy: str = "FedAvg", name: str = ENTRY.name) -> SimulationConfig:
    federation = {"clients": 2, "rounds": 2, "batch_size": 3, "local_steps": 1, "learning_rate": RATE}
    raw = {"model": {"name": name, "init": "torch"}, "federation": federation, "strategy": strategy, "defence": defence}
    tables = {key: {"name": value} if isinstance(value, str) else value for key, value in raw.items()}
    return validate(SimulationConfig, tables)


def captured(folder: Path, config: SimulationConfig) -> dict[str, tuple[CapturedUpdate, SealedBatch]]:
    run_federation(config, output=folder, federation_id="f")
    sealed = SealedStore(folder / "sealed")
    return {one.id: (one, sealed.load(one.id)) for one in CaptureStore(folder / "captures")}


def test_without_the_defence_statistics_are_shared_and_averaged(tmp_path: Path) -> None:
    found = captured(tmp_path, config_of("none"))
    first, other, later = (found[f"f/r{number}"][0] for number in ("001-c000", "001-c001", "002-c000"))
    assert set(first.update) == set(first.parameters) >= STATISTICS | AFFINE
    for name in STATISTICS:
        assert not first.update[name].equal(other.update[name])
        mean = first.parameters[name] + (first.update[name] + other.update[name]) / 2
        assert torch.allclose(later.parameters[name], mean, atol=1e-4)  # clients of 899 and 898 examples
    for capture, truth in found.values():
        assert mismatch(capture, truth.inputs, truth.labels) < 1e-3


def test_under_fedsgd_gradients_are_shared_and_no_statistics(tmp_path: Path) -> None:
    found = captured(tmp_path, config_of("none", "FedSGD"))
    assert not STATISTICS & {*found["f/r002-c000"][0].update, *found["f/r002-c000"][0].parameters}


def test_statistics_stay_with_the_client_and_the_attack_is_exact_without_them(tmp_path: Path) -> None:
    config = config_of("local_batch_norm")
    found = captured(tmp_path, config)
    for capture, truth in found.values():
        assert set(capture.update) == set(capture.parameters)
        assert not STATISTICS & set(capture.update)
        assert set(capture.update) >= AFFINE
        assert mismatch(capture, truth.inputs, truth.labels) < 1e-3
        assert mismatch(capture, truth.inputs.flip(0).flip(-1), truth.labels) > 0.1
    capture = found["f/r002-c001"][0]
    assert set(client_of(config).update) == set(capture.update)
    (answer,) = IDLG(IDLGSettings(iterations=2)).reconstruct([capture], seed=0)
    assert answer.inputs.shape == found["f/r002-c001"][1].inputs.shape
    assert answer.matching_loss == answer.matching_loss
    assert examine(capture).refusal == ""


def test_what_is_not_sent_is_named_and_matters_in_eval_mode_only(tmp_path: Path) -> None:
    capture = captured(tmp_path, config_of("local_batch_norm"))["f/r002-c000"][0]
    layers, evaluated = (
        examine(dataclasses.replace(capture, training=ClientTraining(mode=mode))).layers for mode in ("train", "eval")
    )
    assert layers is not None
    assert evaluated is not None
    assert (layers.unsent, set(evaluated.unsent)) == ((), STATISTICS)


def test_affine_parameters_stay_too_and_the_client_goes_on_with_its_own(tmp_path: Path) -> None:
    found = captured(tmp_path, config_of({"name": "local_batch_norm", "local_affine": True}))
    own: dict[str, torch.Tensor] = {}
    for number in (1, 2):
        capture, truth = found[f"f/r00{number}-c001"]
        assert not (STATISTICS | AFFINE) & {*capture.update, *capture.parameters}
        model = build_model(capture.model)
        load_parameters(model, {**capture.parameters, **own}, partly=True)
        local_sgd(model, [(truth.inputs, truth.labels)], learning_rate=RATE)
        state = model.state_dict()
        for name, update in capture.update.items():
            assert torch.allclose(state[name] - capture.parameters[name], update, atol=1e-6), (number, name)
        own = {name: state[name].clone() for name in AFFINE}
    first, second = (found[f"f/r00{number}-c001"] for number in (1, 2))
    assert mismatch(first[0], first[1].inputs, first[1].labels) < 1e-3
    assert mismatch(second[0], second[1].inputs, second[1].labels) > 1e-3  # by now its own are not those of a new model
    layers = examine(second[0]).layers
    assert layers is not None
    assert set(layers.unsent) == AFFINE
    assert set(layers.unshared) == AFFINE


@pytest.mark.parametrize("affine", [False, True])
def test_it_claims_nothing_and_says_what_is_assumed(affine: bool) -> None:
    (claim,) = claims_of(config_of({"name": "local_batch_norm", "local_affine": affine}))
    assert (claim.epsilon, claim.delta, claim.unit) == (None, None, "")
    assert "no noise" in claim.reason
    assert ("From the second round" in claim.reason) is affine


def test_it_is_refused_where_there_is_nothing_to_keep() -> None:
    with pytest.raises(ConfigError, match="'lenet': it has no batch or instance normalisation"):
        check_federation(config_of("local_batch_norm", name="lenet"))
    with pytest.raises(ConfigError, match="under FedSGD they share nothing else"):
        config_of("local_batch_norm", "FedSGD")


def test_a_test_takes_known_statistics_and_else_those_of_its_batch() -> None:
    layer = nn.BatchNorm1d(2)
    inputs = torch.tensor([[0.0, 5.0], [2.0, 9.0]])
    set_to_test(layer, {"running_mean", "running_var"})
    assert torch.allclose(layer(inputs), inputs, atol=1e-3)
    set_to_test(layer, ())
    assert torch.allclose(layer(inputs), torch.tensor([[-1.0, -1.0], [1.0, 1.0]]), atol=1e-3)
