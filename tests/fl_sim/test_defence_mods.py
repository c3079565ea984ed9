"""Defences in a config and in a federation: what is refused, and that what is captured is what they made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fl_sim.captures import CaptureStore, SealedStore
from fl_sim.config import SimulationConfig, flatten, validate
from fl_sim.config.defence import DefenceSettings, agreed_settings, default_settings, with_own_settings
from fl_sim.defences import DEFENCES, DefenceEntry, build_defence
from fl_sim.defences.functional import Update
from fl_sim.defences.settings import PruneSettings
from fl_sim.errors import ConfigError, SpikeleakError
from fl_sim.federation.settings import RunSettings
from fl_sim.records import CapturedUpdate
from fl_sim.seeding import torch_stream
from fl_sim.simulation import run_federation
from fl_sim.specs import Settings


def equal(first: Update, second: Update) -> bool:
    return list(first) == list(second) and all(tensor.equal(second[name]) for name, tensor in first.items())


# Its table in a config


def config_of(defence: Mapping[str, Any], **more: Any) -> SimulationConfig:
    return validate(SimulationConfig, {"defence": dict(defence), **more})


def test_what_is_not_told_is_filled_in_so_that_the_same_is_equal() -> None:
    assert config_of({"name": "clip"}) == config_of({"name": "clip", "clipping_norm": 4})
    assert config_of({"name": "quantise", "bits": 4}).defence.settings == {"bits": 4}
    assert config_of({}) == SimulationConfig()
    assert SimulationConfig().defence.settings == {}


@pytest.mark.parametrize(
    ("defence", "said"),
    [
        ({"name": "clpi"}, ["defence.name: 'clpi' is not known.", "Did you mean 'clip'?", "none, prune"]),
        ({"name": 3}, ["defence.name: input should be a valid string, got 3"]),
        (
            {"name": "quantise", "bit": 4},
            ["defence.bit: unknown key of 'quantise'.", "Did you mean 'bits'?"],
        ),
        ({"name": "clip", "bits": 4}, ["defence.bits: unknown key of 'clip'.", "Known: name, clipping_norm."]),
        ({"bits": 4}, ["defence.bits: unknown key of 'none'.", "Known: name."]),
        ({"name": "quantise", "bits": 4.0}, ["defence.bits: input should be a valid integer, got 4.0"]),
        ({"name": "quantise", "bits": 1}, ["defence.bits: input should be greater than or equal to 2, got 1"]),
        ({"name": "clip", "clipping_norm": 0}, ["defence.clipping_norm: input should be greater than 0, got 0"]),
        ({"name": "clip", "clipping_norm": math.inf}, ["defence.clipping_norm: input should be a finite number"]),
        (
            {"name": "noise", "noise_multiplier": -1},
            ["defence.noise_multiplier: input should be greater"],
        ),
        ({"name": "prune", "prune_ratio": 1.1}, ["defence.prune_ratio: input should be less than or equal to 1"]),
    ],
)
def test_what_is_wrong_is_named_by_its_path(defence: Mapping[str, Any], said: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        config_of(defence)
    assert all(part in str(caught.value) for part in said), str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_grid_keeps_for_each_defence_its_own_settings() -> None:
    raw = {"defence": {"name": ["none", "clip", "quantise"], "bits": [4, 8]}}
    for name, own in [("none", {}), ("clip", {}), ("quantise", {"bits": 4})]:
        combination = {"seed": 1, "defence": {"name": name, "bits": 4}}
        assert with_own_settings(combination, raw) == {"seed": 1, "defence": {"name": name, **own}}
    with pytest.raises(ConfigError, match=r"defence.prune_ratio: unknown key\. Known: name, bits, clipping_norm\."):
        with_own_settings({"defence": {"name": "clip", "prune_ratio": 0.1}}, raw)
    assert with_own_settings({"seed": 1}, {"seed": [1, 2]}) == {"seed": 1}
    unknown = {"defence": {"name": "drop", "drop_ratio": 0.3}}
    with pytest.raises(ConfigError, match=r"defence\.name: 'drop' is not known"):
        with_own_settings(unknown, unknown)


def test_defences_agree_on_a_setting_where_all_that_have_it_do() -> None:
    clipped, noised = (
        DefenceSettings(name="clip"),
        DefenceSettings.model_validate({"name": "noise", "clipping_norm": 1.0}),
    )
    assert agreed_settings([clipped.settings, noised.settings]) == {"noise_multiplier": 4.0}
    alike = agreed_settings([clipped.settings, DefenceSettings(name="noise").settings])
    assert alike == {"clipping_norm": 4.0, "noise_multiplier": 4.0}


def test_the_run_config_of_flower_names_the_settings_of_all_defences() -> None:
    """`flwr run` sets only what stands in the run config already."""
    flat = RunSettings(SimulationConfig()).flat()
    assert {f"defence.{key}": value for key, value in default_settings().items()}.items() <= flat.items()
    for entry in DEFENCES.own.values():  # those that share a name share its default, or none could stand there
        assert entry.settings().model_dump().items() <= default_settings().items()
    chosen = RunSettings.read({**flat, "defence.name": "quantise", "defence.bits": 4})
    assert chosen.config == config_of({"name": "quantise", "bits": 4})
    assert RunSettings.read(chosen.flat()) == chosen
    assert RunSettings.read(flat) == RunSettings(SimulationConfig())
    with pytest.raises(ConfigError, match=r"defence.bits: unknown key of 'none'"):  # set, and read by nobody
        RunSettings.read({**flat, "defence.bits": 4})


def test_flat_settings_name_the_defence() -> None:
    flat = flatten(config_of({"name": "noise", "noise_multiplier": 1}))
    assert (flat["defence.name"], flat["defence.noise_multiplier"], flat["defence.clipping_norm"]) == (
        "noise",
        1.0,
        4.0,
    )


# In a federation


def captured(folder: Path, defence: Mapping[str, Any], **more: Any) -> dict[str, CapturedUpdate]:
    """Return the captures of a federation of two clients and two rounds, by id."""
    federation = {"clients": 2, "rounds": 2, **more.pop("federation", {})}
    run_federation(config_of(defence, federation=federation, **more), output=folder, federation_id="f")
    return {capture.id: capture for capture in CaptureStore(folder / "captures")}


def test_a_defence_that_fails_is_named_with_the_users_own_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(update: Update) -> Update:
        raise IndexError("no such layer")

    monkeypatch.setitem(DEFENCES, "broken", DefenceEntry(broken, Settings, summary="with an error in it"))
    with pytest.raises(SpikeleakError, match=r"defence 'broken' failed: IndexError: no such layer \(.*line \d+: raise"):
        captured(tmp_path, {"name": "broken"})


DEFENDED = [
    {"name": "clip", "clipping_norm": 0.5},
    {"name": "noise", "clipping_norm": 0.5, "noise_multiplier": 0.1},
    {"name": "prune", "prune_ratio": 0.6},
    {"name": "quantise", "bits": 4},
]


def expected(defence: Mapping[str, Any], update: Update, server_round: int, client: int) -> dict[str, Tensor]:
    settings = {key: value for key, value in defence.items() if key != "name"}
    stream = torch_stream(0, "defence", 0, server_round, client)
    return build_defence(str(defence["name"]), settings)(update, generator=stream)


@pytest.mark.parametrize("defence", DEFENDED, ids=[str(one["name"]) for one in DEFENDED])
def test_a_captured_gradient_is_the_defended_one(defence: Mapping[str, Any], tmp_path: Path) -> None:
    """In round 1, whose model is the same with and without."""
    plain, shared = captured(tmp_path / "plain", {}), captured(tmp_path / "defended", defence)
    for client in (0, 1):
        name = f"f/r001-c{client:03d}"
        assert equal(shared[name].parameters, plain[name].parameters)
        assert equal(shared[name].update, expected(defence, plain[name].update, 1, client))
        assert not equal(shared[name].update, plain[name].update)
    first, second = (shared[f"f/r{number:03d}-c000"] for number in (1, 2))
    undefended = plain["f/r001-c000"].parameters["head.bias"]
    assert equal(first.parameters, plain["f/r001-c000"].parameters)
    held = {0: 649, 1: 648}  # of 1,297
    mean = sum(held[client] / 1297 * shared[f"f/r001-c{client:03d}"].update["head.bias"] for client in held)
    torch.testing.assert_close(second.parameters["head.bias"], undefended - 0.1 * mean)  # the server steps along it


@pytest.mark.parametrize("strategy", ["FedAvg", "FedAdam"])  # which sends float64 from its second round
@pytest.mark.parametrize("defence", DEFENDED, ids=[str(one["name"]) for one in DEFENDED])
def test_of_weights_the_difference_is_defended(defence: Mapping[str, Any], strategy: str, tmp_path: Path) -> None:
    more = {"strategy": {"name": strategy}, "federation": {"local_steps": 2, "learning_rate": 1.0}}
    plain, shared = (captured(tmp_path / name, one, **more) for name, one in (("plain", {}), ("defended", defence)))
    assert {capture.kind for capture in shared.values()} == {"delta"}
    for client in (0, 1):
        name = f"f/r001-c{client:03d}"
        for key, wanted in expected(defence, plain[name].update, 1, client).items():
            found = shared[name].update[key]
            # The weights are float32 of up to 0.5: what is added to them is rounded to half of 2^-24 or so.
            torch.testing.assert_close(found, wanted, rtol=0, atol=1.2e-7 * max(1.0, float(wanted.abs().max())))
            assert not found[wanted == 0].any()  # what is pruned is exactly what was sent


def test_each_round_client_and_repetition_draws_noise_of_its_own(tmp_path: Path) -> None:
    """The noise is what is left of a gradient clipped to almost nothing."""
    told = {"name": "noise", "clipping_norm": 1e-12, "noise_multiplier": 1e12}
    runs = [captured(tmp_path / str(number), told, repeat=number) for number in (0, 1)]
    drawn = [capture.update["head.bias"] for run in runs for capture in run.values()]
    assert len({tuple(values.tolist()) for values in drawn}) == len(drawn) == 2 * 2 * 2
    again = captured(tmp_path / "again", told, repeat=1)
    assert all(equal(again[name].update, capture.update) for name, capture in runs[1].items())


@pytest.mark.parametrize("defence", [{}, *DEFENDED], ids=["none", *(str(one["name"]) for one in DEFENDED)])
def test_the_sealed_batch_names_the_defence(defence: Mapping[str, Any], tmp_path: Path) -> None:
    captured(tmp_path, defence)
    assert {batch.defence for batch in SealedStore(tmp_path / "sealed")} == {defence.get("name", "none")}


def test_a_defence_changes_neither_batches_nor_the_first_model(tmp_path: Path) -> None:
    captured(tmp_path / "plain", {})
    captured(tmp_path / "defended", DEFENDED[1])
    plain, defended = (SealedStore(tmp_path / name / "sealed") for name in ("plain", "defended"))
    for one, other in zip(plain, defended, strict=True):
        assert one.inputs.equal(other.inputs)
        assert one.labels.equal(other.labels)


def test_a_defence_that_breaks_an_update_fails_the_federation_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DEFENCES, "forgets", DefenceEntry(forgetting_the_head, PruneSettings, summary="broken"))
    with pytest.raises(SpikeleakError, match=r"none of the 2 clients sent a valid reply.*head\.weight"):
        captured(tmp_path, {"name": "forgets"})


def forgetting_the_head(update: Update, **_: Any) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in update.items() if not name.startswith("head")}
