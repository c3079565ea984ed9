"""Weights as other programs name and store them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from fl_sim.datasets import load_dataset
from fl_sim.errors import DataError
from fl_sim.foreign_weights import fitted, measured, read_weights, strip_common_prefix
from fl_sim.models import build_model
from fl_sim.records import InputSpec, ModelSpec, TrainedModel, load_record, save_record
from fl_sim.training import accuracy

NAMES = ["body.0.weight", "body.0.bias", "head.weight"]


@pytest.mark.parametrize("prefix", ["", "module.", "_module.", "_orig_mod.", "module._orig_mod."])
@pytest.mark.parametrize("expected", [(), NAMES, NAMES[:2]])
def test_the_prefix_of_a_wrapper_is_taken_off(prefix: str, expected: list[str]) -> None:
    assert strip_common_prefix([prefix + name for name in NAMES], expected) == (prefix, NAMES)


def test_a_prefix_of_the_model_itself_stays() -> None:
    names = ["net.0.weight", "net.0.bias"]
    assert strip_common_prefix(names) == ("", names)
    assert strip_common_prefix(names, names) == ("", names)
    wrapped = ["module.net.0.weight", "module.net.0.bias"]
    assert strip_common_prefix(wrapped) == strip_common_prefix(wrapped, names) == ("module.", names)
    assert strip_common_prefix(["module.weight"], ["module.weight"]) == ("", ["module.weight"])


def test_any_prefix_is_taken_off_with_which_more_of_the_expected_names_are_there() -> None:
    """A name that is missing or too many is for the caller to report."""
    found = ["model.net.body.0.weight", "model.net.body.0.bias", "model.net.steps"]
    assert strip_common_prefix(found, NAMES) == ("model.net.", ["body.0.weight", "body.0.bias", "steps"])
    assert strip_common_prefix(found) == ("", found)


@pytest.mark.parametrize("expected", [(), NAMES])
def test_names_that_share_nothing_stay(expected: list[str]) -> None:
    names = ["module.weight", "encoder.weight"]
    assert strip_common_prefix(names, expected) == ("", names)
    assert strip_common_prefix([], expected) == ("", [])
    assert strip_common_prefix(["weight"], expected) == ("", ["weight"])


MLP = ModelSpec("mlp", InputSpec(1, 8, 8, 10), hidden=5)


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """Return the state_dict of a model."""
    return dict(build_model(MLP, seed=3).state_dict())


def saved(path: Path, content: object) -> Path:
    """Write something as torch.save does, which this project itself never calls."""
    torch.save(content, path)
    return path


def equal(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> bool:
    return list(found) == list(expected) and all(found[name].equal(expected[name]) for name in expected)


def test_a_state_dict_is_read_as_torch_and_safetensors_write_it(tmp_path: Path, state: dict[str, Tensor]) -> None:
    assert equal(read_weights(saved(tmp_path / "final_model.pt", state)), state)
    assert equal(read_weights(saved(tmp_path / "any.name", build_model(MLP, seed=3).state_dict())), state)
    old = tmp_path / "old.pt"
    torch.save(state, old, _use_new_zipfile_serialization=False)
    assert equal(read_weights(old), state)
    safetensors.torch.save_file(state, tmp_path / "x.pt")  # its content counts, not its name
    assert equal(dict(sorted(read_weights(tmp_path / "x.pt").items())), dict(sorted(state.items())))


def test_the_only_state_dict_of_a_checkpoint_is_read(tmp_path: Path, state: dict[str, Tensor]) -> None:
    optimiser = {"state": {0: {"momentum": torch.zeros(1)}}, "param_groups": [{"lr": 0.1}]}
    content = {"epoch": 3, "model_state_dict": state, "optimizer_state_dict": optimiser, "loss": torch.tensor(0.5)}
    assert equal(read_weights(saved(tmp_path / "checkpoint.pt", content)), state)
    with pytest.raises(DataError, match="found 2 state_dicts in a dictionary of 'model', 'average'"):
        read_weights(saved(tmp_path / "two.pt", {"model": state, "average": state}))


class Sly:
    """What a pickle may do: call anything."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("wrapped", [False, True])
def test_nothing_is_unpickled_but_tensors(tmp_path: Path, wrapped: bool, state: dict[str, Tensor]) -> None:
    ran = tmp_path / "ran"
    sly = saved(tmp_path / "sly.pt", {**state, "x": Sly(ran)} if wrapped else Sly(ran))
    with pytest.raises(DataError, match=r"are read; save the weights by torch.save\(model.state_dict\(\), "):
        read_weights(sly)
    assert not ran.exists()
    with pytest.raises(DataError, match="expected weights alone, found a whole model"):
        read_weights(saved(tmp_path / "whole.pt", build_model(MLP)))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is damaged or something else"),
        (b"hello world, this is no file of weights", "it is damaged or something else"),
        (b"\x10\x00\x00\x00\x00\x00\x00\x00{}              ", "found no state_dict in a dictionary of nothing"),
        (b"\xff\xff\x00\x00\x00\x00\x00\x00{}", "SafetensorError"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=said):
        read_weights(path)


@pytest.mark.parametrize(
    ("content", "said"), [(torch.ones(3), "found a Tensor"), ({"a": 1}, "found no state_dict in a dictionary of 'a'")]
)
def test_other_content_is_refused(tmp_path: Path, content: object, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_weights(saved(tmp_path / "x.pt", content))


def test_a_damaged_or_missing_file_is_refused(tmp_path: Path, state: dict[str, Tensor]) -> None:
    path = saved(tmp_path / "x.pt", state)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="it is damaged"):
        read_weights(path)
    with pytest.raises(DataError, match="found no such file"):
        read_weights(tmp_path / "y.pt")


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "anything.else."])
def test_weights_become_a_model_whatever_was_put_before_their_names(
    tmp_path: Path, prefix: str, state: dict[str, Tensor]
) -> None:
    path = saved(tmp_path / "x.pt", {prefix + name: tensor for name, tensor in state.items()})
    found, model = fitted(path, MLP)
    assert found == prefix
    assert model.model == MLP
    assert equal(model.parameters, state)
    assert math.isnan(model.test_accuracy)
    assert equal(load_record(TrainedModel, save_record(model, tmp_path / "y")).parameters, dict(sorted(state.items())))


def test_weights_of_another_model_are_refused(tmp_path: Path, state: dict[str, Tensor]) -> None:
    path = saved(tmp_path / "x.pt", state)
    with pytest.raises(DataError, match=r"of a 'mlp' .*'body.0.1.weight' of shape \(6, 64\); found \(5, 64\)"):
        fitted(path, replace(MLP, hidden=6))
    with pytest.raises(
        DataError, match=r"of a 'lenet' .*'body.0.weight' among them; found 'body.0.1.weight' \(5, 64\)"
    ):
        fitted(path, replace(MLP, architecture="lenet"))
    with pytest.raises(DataError, match=r"has no 'further\.weight'"):
        fitted(saved(tmp_path / "y.pt", {**state, "further.weight": torch.ones(1)}), MLP)


def test_the_accuracy_is_that_on_the_test_split_in_the_range_of_the_model() -> None:
    """A model whose inputs run from -1 to 1: its first layer undoes the scaling, so both answer alike."""
    data = load_dataset("digits", size=8)
    spec = replace(MLP, input=data.spec)
    model = TrainedModel(spec, build_model(spec, seed=3).state_dict(), test_accuracy=math.nan, round=0, seed=0)
    expected = accuracy(build_model(spec, seed=3), *data.test.batch())
    assert 0.0 < expected < 1.0
    assert measured(model, data).test_accuracy == pytest.approx(expected)
    weight, bias = model.parameters["body.0.1.weight"], model.parameters["body.0.1.bias"]
    moved = {**model.parameters, "body.0.1.weight": weight / 2, "body.0.1.bias": bias + weight.sum(1) / 2}
    shifted = replace(model, model=replace(spec, input=replace(data.spec, low=-1.0)), parameters=moved)
    assert measured(shifted, data).test_accuracy == pytest.approx(expected)
