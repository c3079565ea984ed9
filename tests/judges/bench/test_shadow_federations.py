"""Shadow models that are federations: trained as their target is, kept, and compared round by round."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import fl_sim.config
from fl_sim.datasets.examples import Dataset
from fl_sim.errors import ConfigError
from fl_sim.records import TrainedModel
from fl_sim.simulation import examples_of, run_federation
from judges.bench.execution import run_plan
from judges.bench.membership.forecast import forecast_memberships
from judges.bench.membership.run import asked_of
from judges.bench.membership.shadows import ShadowFederation
from judges.plans.membership import make_membership_plan
from judges.progress import Watch
from judges.runs.rows.membership import MembershipScore
from judges.runs.tables import read_rows

pytestmark = pytest.mark.endurance

FEDERATED: dict[str, Any] = {
    "task": "membership",
    "name": "federated",
    "target": "federation",
    "shadow_training": "federation",
    "dataset": {"name": "digits"},
    "model": {"name": "mlp", "hidden": 8},
    "strategy": "FedAvg",
    "defence": {"name": "noise", "clipping_norm": 1.0, "noise_multiplier": 0.01},
    "federation": {"clients": 2, "rounds": 2, "batch_size": 8, "local_steps": 2},
    "attack": {"name": ["lira", "rmia"], "shadows": 4},
    "candidates": 60,
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPIKELEAK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def shadow_of(raw: Mapping[str, Any], number: int = 0) -> ShadowFederation:
    (target,) = make_membership_plan(dict(raw)).targets
    return ShadowFederation(target.config, asked_of(target, 0, Path()), number)


def equal(model: TrainedModel, shadow: ShadowFederation) -> bool:
    found = shadow.parameters(model.round)
    assert found.keys() == model.parameters.keys()
    return all(value.equal(found[name]) for name, value in model.parameters.items())


def test_its_model_is_that_of_a_federation_with_its_seed_on_its_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shadow = shadow_of(FEDERATED)
    half, config = shadow.dataset, shadow.simulation
    assert len(half.train) == 30
    assert (config.federation.rounds, config.federation.local_steps, config.defence.name) == (2, 2, "noise")
    shadow.train()

    def load(*_: object, **__: object) -> Dataset:
        return half

    with monkeypatch.context() as patch:  # as if the adversary's half were the data set of the config
        patch.setattr(fl_sim.config, "load_dataset", load)
        trained = run_federation(config, output=tmp_path / "plain", federation_id="plain")
    assert equal(trained, shadow)
    assert examples_of(config, 0) > len(half.train)  # the partitions of the half were not kept for the whole
    other = run_federation(config, output=tmp_path / "whole", federation_id="whole")
    assert not equal(other, shadow)
    assert not equal(trained, shadow_of(FEDERATED, 1))


def test_data_that_are_given_are_held_instead_of_those_that_are_named(tmp_path: Path) -> None:
    config = shadow_of(FEDERATED).simulation
    named = run_federation(config, output=tmp_path, federation_id="named")
    given = run_federation(config, output=tmp_path, federation_id="given", dataset=config.dataset.load())
    assert all(value.equal(given.parameters[name]) for name, value in named.parameters.items())
    on_ray = config.model_copy(update={"federation": config.federation.model_copy(update={"engine": "ray"})})
    with pytest.raises(ConfigError, match="other processes"):
        run_federation(on_ray, output=tmp_path, federation_id="ray", dataset=config.dataset.load())


def test_an_attack_compares_with_the_round_and_trains_nothing_twice(tmp_path: Path, cache: Path) -> None:
    plan = make_membership_plan(dict(FEDERATED))
    run_plan(plan, tmp_path / "run", Watch.silent())
    rows = [row for row in read_rows(MembershipScore, tmp_path / "run" / "scores.csv") if row.attack]
    assert {(row.attack, row.round) for row in rows} == {
        (name, number) for name in ("lira", "rmia") for number in (1, 2)
    }
    assert {row.shadows for row in rows} == {4}
    assert all(0.0 <= row.auc <= 1.0 for row in rows)
    kept = {path: path.stat().st_mtime_ns for path in (cache / "shadows").rglob("*.safetensors")}
    assert len(kept) == 4 * 4  # of each the last model and those of rounds 0, 1 and 2
    assert not (cache / "targets").exists()
    told = dict(forecast_memberships(plan, tmp_path / "run"))
    assert "4 of 4 in the cache, each of 2 rounds" in " ".join(told.values())
    run_plan(plan, tmp_path / "again", Watch.silent())
    assert {path: path.stat().st_mtime_ns for path in (cache / "shadows").rglob("*.safetensors")} == kept


def test_a_damaged_shadow_is_trained_again(cache: Path) -> None:
    shadow = shadow_of(FEDERATED)
    before = {name: value.clone() for name, value in shadow.parameters(1).items()}  # a loaded record is its file
    path = next(cache.rglob("*@r001.safetensors"))
    path.write_bytes(path.read_bytes()[:-1])
    assert not shadow.kept
    after = shadow.parameters(1)
    assert all(value.equal(after[name]) for name, value in before.items())
    assert not torch.equal(next(iter(after.values())), next(iter(shadow.parameters(2).values())))


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"shadow_training: .* is for targets of a federation"):
        make_membership_plan({"task": "membership", "name": "x", "shadow_training": "federation", "attack": "lira"})
    small = {**FEDERATED, "federation": {**FEDERATED["federation"], "batch_size": 16}}
    with pytest.raises(ConfigError, match=r"halves of the 60 auxiliary examples, and .* too few"):
        run_plan(make_membership_plan(small), tmp_path / "run", Watch.silent())
