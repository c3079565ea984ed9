"""The view of a server behind secure aggregation: sums over clients, of the same federation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from fl_sim.captures import CaptureStore, SealedStore, sealed_behind
from fl_sim.config import SimulationConfig, validate
from fl_sim.contents import read_contents
from fl_sim.errors import ConfigError
from fl_sim.federation.observer import mean_of
from fl_sim.observed import batch_size
from fl_sim.records import CapturedUpdate, record_bytes
from fl_sim.simulation import run_federation
from judges.plans.gradient_inversion import make_plan


def captured(folder: Path, **federation: Any) -> tuple[dict[str, CapturedUpdate], bytes]:
    config = validate(SimulationConfig, {"federation": {"clients": 5, "rounds": 2, **federation}})
    model = run_federation(config, output=folder, federation_id="f")
    return {one.id: one for one in CaptureStore(folder / "captures")}, record_bytes(model)


def test_a_sum_is_the_mean_of_its_clients_and_the_training_is_the_same(tmp_path: Path) -> None:
    alone, model = captured(tmp_path / "each")
    sums, same = captured(tmp_path / "sums", observer="sum of clients", summed_clients=2)
    assert model == same
    assert {name: one.members for name, one in sums.items()} == {
        f"f/r{number:03d}-c{5 + place:03d}": members
        for number in (1, 2)
        for place, members in enumerate([(0, 1), (2, 3)])
    }  # the fifth client is left over
    for one in sums.values():
        own = [alone[name].update for name in sealed_behind(one)]
        assert (one.clients, one.num_examples, batch_size(one)) == (2, 2, 2)
        for name, tensor in one.update.items():
            torch.testing.assert_close(tensor, (own[0][name] + own[1][name]) / 2)
    contents = read_contents(tmp_path / "sums", "f")
    assert contents is not None
    assert not contents.unanswered
    assert contents.captures == set(sums)
    assert len(SealedStore(tmp_path / "sums" / "sealed")) == 10  # every client seals its own batch, out of band


def test_without_a_number_the_sum_is_over_all_that_answer(tmp_path: Path) -> None:
    sums, _ = captured(tmp_path, observer="sum of clients", share_labels=True, dropout=0.4)
    assert [one.round for one in sums.values()] == [1, 2]
    for one in sums.values():
        assert one.members is not None
        assert one.clients == len(one.members)
        assert one.labels is not None
        assert len(one.labels) == one.clients


def test_a_mean_weighs_by_the_examples_behind_each_update(tmp_path: Path) -> None:
    alone, _ = captured(tmp_path)
    first, second = alone["f/r001-c000"], alone["f/r001-c001"]
    told = [CapturedUpdate(**{**vars(one), "num_examples": count}) for one, count in ((first, 3), (second, 1))]
    found = mean_of(told, "f/r001-c009", 9)
    assert (found.num_examples, found.clients, found.members) == (4, 2, (0, 1))
    for name, tensor in found.update.items():
        torch.testing.assert_close(tensor, 0.75 * first.update[name] + 0.25 * second.update[name])


@pytest.mark.parametrize(
    ("federation", "why"),
    [
        ({"summed_clients": 2}, "is read with observer"),
        ({"observer": "sum of clients", "summed_clients": 9}, "more than the clients of a round"),
        ({"observer": "some clients"}, "federation.observer"),
    ],
)
def test_what_is_impossible_is_refused(federation: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        validate(SimulationConfig, {"federation": federation})


def test_experiments_from_before_the_key_keep_their_digests() -> None:
    """The digest of this config as it was computed before there was an observer."""
    plan = make_plan({"name": "e", "attack": "idlg"})
    said = make_plan({"name": "e", "attack": "idlg", "federation": {"observer": "each client"}})
    assert plan.digest == said.digest == DIGEST
    assert plan.units == said.units == UNITS
    summed = make_plan({"name": "e", "attack": "idlg", "federation": {"observer": "sum of clients"}})
    assert summed.digest != plan.digest
    assert set(summed.units.values()) != set(plan.units.values())


DIGEST = "67f4fad2af55e9d9ee280364b401230c9def508c6193726ad2db69a6c62618df"
UNITS = {"digits-lenet-uniform/idlg": "058e7cdb7523264faf86d8501958cb04f53505329280efc5a75921baa6959859"}
