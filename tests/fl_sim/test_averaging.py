"""Federated averaging as published: weights n_k / n, local epochs, clients that drop out, rounds that are captured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from fl_sim.captures import CaptureStore, SealedStore
from fl_sim.client_steps import train_client
from fl_sim.config import SimulationConfig, unflatten, validate
from fl_sim.contents import read_contents
from fl_sim.errors import ConfigError
from fl_sim.federation.client_data import partition_indices, splits
from fl_sim.global_models import trained_model_path
from fl_sim.losses import targets_of
from fl_sim.models import build_model
from fl_sim.observed import local_steps
from fl_sim.records import TrainedModel, load_record
from fl_sim.simulation import run_federation
from fl_sim.training import load_parameters, parameters_of

UNEQUAL = {
    "dataset.name": "digits",
    "dataset.size": 8,
    "dataset.partitioner": "dirichlet",
    "dataset.alpha": 0.3,
    "model.name": "mlp",
    "federation.clients": 3,
    "strategy.name": "FedAvg",
}


def config_of(**changed: Any) -> SimulationConfig:
    return validate(
        SimulationConfig, unflatten({**UNEQUAL, **{key.replace("__", "."): changed[key] for key in changed}})
    )


def run(folder: Path, **changed: Any) -> tuple[SimulationConfig, TrainedModel]:
    config = config_of(**changed)
    return config, run_federation(config, output=folder, federation_id="f")


@pytest.mark.parametrize("strategy", ["FedAvg", "FedSGD"])
def test_the_new_model_is_the_mean_weighted_by_what_clients_hold(tmp_path: Path, strategy: str) -> None:
    """McMahan et al. 2017: w <- sum of n_k / n w_k, and for FedSGD w <- w - lr sum of n_k / n g_k.

    That other engines write the same bytes is tested in tests/fl_sim/test_engines.py.
    """
    config, trained = run(tmp_path, strategy__name=strategy, federation__batch_size=4)
    held = [len(partition_indices(config, client)) for client in range(3)]
    assert sum(held) == 1297
    assert max(held) > 1.3 * min(held)
    captures = list(CaptureStore(tmp_path / "captures"))
    assert [capture.client for capture in captures] == [0, 1, 2]
    assert {capture.num_examples for capture in captures} == {4}  # what the attack is to look for
    rate = -config.federation.learning_rate if strategy == "FedSGD" else 1.0
    for name, sent in captures[0].parameters.items():
        mean = sum(count / 1297 * capture.update[name] for count, capture in zip(held, captures, strict=True))
        torch.testing.assert_close(trained.parameters[name], sent + rate * mean, rtol=1e-5, atol=1e-6)
        if strategy == "FedAvg":  # the plain mean is another one
            plain = sent + sum(capture.update[name] for capture in captures) / 3
            assert not torch.allclose(trained.parameters[name], plain, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("drop_last", [False, True])
def test_local_epochs_pass_over_all_that_a_client_holds(tmp_path: Path, drop_last: bool) -> None:
    more: dict[str, Any] = {"client__drop_last": True} if drop_last else {}
    config, _ = run(tmp_path, federation__local_epochs=2, federation__batch_size=50, client__momentum=0.5, **more)
    split, _ = splits(config.dataset)
    for capture in CaptureStore(tmp_path / "captures"):
        held = partition_indices(config, capture.client)
        sealed = SealedStore(tmp_path / "sealed").load(capture.id)
        count, full = len(held), len(held) // 50 * 50
        used = full if drop_last and full else count
        assert (capture.epochs, capture.local_steps, capture.num_examples) == (2, None, count)
        assert len(sealed.labels) == 2 * used
        assert sum(map(len, local_steps(capture))) == 2 * used
        inputs, _ = split.batch(held)
        own = {tuple(one.flatten().tolist()) for one in inputs}
        epochs = [[tuple(one.flatten().tolist()) for one in part] for part in sealed.inputs.split(used)]  # type: ignore[no-untyped-call]
        assert all(set(epoch) <= own for epoch in epochs)
        assert epochs[0] != epochs[1]
        model = build_model(capture.model)
        load_parameters(model, capture.parameters)
        starts = [at + epoch * used for epoch in range(2) for at in range(0, used, 50)]
        steps = [(start, min(start + 50, used * (start // used + 1))) for start in starts]
        batches = [
            (sealed.inputs[low:high], targets_of(config.client, sealed.labels[low:high], 10)) for low, high in steps
        ]
        train_client(model, batches, config.client, learning_rate=config.federation.learning_rate)
        for name, value in parameters_of(model).items():
            torch.testing.assert_close(value - capture.parameters[name], capture.update[name])


def test_clients_that_drop_out_are_missing_from_the_mean_and_are_no_failure(tmp_path: Path) -> None:
    rounds = 6
    changed: dict[str, Any] = {"federation__rounds": rounds, "federation__dropout": 0.5}
    _, trained = run(tmp_path / "a", **changed)
    contents = read_contents(tmp_path / "a", "f")
    assert contents is not None
    assert not contents.unanswered
    counts = [len(clients) for clients in contents.sampled]
    assert len(counts) == rounds
    assert min(counts) >= 1
    assert set(counts) & {1, 2}
    last = [capture for capture in CaptureStore(tmp_path / "a" / "captures") if capture.round == rounds]
    assert [capture.client for capture in last] == list(contents.sampled[-1])
    _, again = run(tmp_path / "b", **changed)
    assert all(torch.equal(trained.parameters[name], value) for name, value in again.parameters.items())


def test_the_training_does_not_depend_on_which_rounds_are_captured(tmp_path: Path) -> None:
    models = []
    for every, rounds in ((1, [1, 2, 3]), (2, [1, 3]), (0, [])):
        folder = tmp_path / str(every)
        run(folder, federation__rounds=3, federation__capture_every=every)
        assert sorted({capture.round for capture in CaptureStore(folder / "captures")}) == rounds
        assert {batch.capture_id for batch in SealedStore(folder / "sealed")} == set(
            CaptureStore(folder / "captures").ids()
        )
        contents = read_contents(folder, "f")
        assert contents is not None
        assert not contents.unanswered
        assert not contents.flaw(folder)
        models.append(load_record(TrainedModel, trained_model_path(folder / "models", "f")).parameters)
    assert all(torch.equal(models[0][name], other[name]) for other in models[1:] for name in models[0])


def test_epochs_and_steps_are_not_said_at_once() -> None:
    with pytest.raises(ConfigError, match="federation: local_epochs: say for how many local steps or for how many"):
        config_of(federation__local_epochs=1, federation__local_steps=2)
    with pytest.raises(ConfigError, match=r"federation\.local_epochs: FedSGD shares the gradient"):
        config_of(federation__local_epochs=1, strategy__name="FedSGD")
