"""The model's own names of arrays that other programs name, or do not name."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn

from fl_sim.errors import DataError
from fl_sim.models import MODELS, ModelEntry
from fl_sim.models.layout import Layout, layout_of, misfit, own_names
from fl_sim.records import InputSpec, ModelSpec

SPEC = ModelSpec("net_of_layout", InputSpec(channels=1, height=4, width=4, classes=3))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 3)
        self.norm = nn.BatchNorm1d(3)
        self.second = nn.Linear(3, 3)
        self.second.weight.requires_grad = bool(torch.rand(()) > 1)  # reads what it draws
        random.seed(3)
        np.random.seed(3)  # noqa: NPY002


@pytest.fixture(autouse=True)
def _known() -> Iterator[None]:
    MODELS["net_of_layout"] = ModelEntry(lambda _: Net(), spiking=False, summary="a network of a user")
    yield
    del MODELS["net_of_layout"]


def layout() -> Layout:
    found = layout_of(SPEC)
    assert found is not None
    return found


def listed(names: list[str]) -> dict[str, tuple[int, ...]]:
    return {str(index): layout().state[name] for index, name in enumerate(names)}


def test_the_layout_is_that_of_the_module_and_no_generator_moves() -> None:
    found = layout()
    assert list(found.state) == list(Net().state_dict())
    assert list(found.trainable) == ["first.weight", "first.bias", "norm.weight", "norm.bias", "second.bias"]
    assert found.normalisation == {name for name in found.state if name.startswith("norm.")}
    torch.manual_seed(1)
    states = torch.get_rng_state(), random.getstate(), str(np.random.get_state())  # noqa: NPY002
    layout()
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1:] == (random.getstate(), str(np.random.get_state()))  # noqa: NPY002


def test_an_unknown_model_and_one_that_cannot_be_built_have_none() -> None:
    assert layout_of(ModelSpec("nobody", SPEC.input)) is None
    MODELS["net_of_layout"] = ModelEntry("no.such.module:Net", spiking=False, summary="it is not there")
    assert layout_of(SPEC) is None


@pytest.mark.parametrize(
    "names",
    [
        list(Net().state_dict()),
        [name for name, _ in Net().named_parameters()],
        [name for name, parameter in Net().named_parameters() if parameter.requires_grad],
        ["first.weight", "first.bias", "second.weight", "second.bias"],
        ["norm.bias", "norm.running_mean", "norm.running_var", "norm.num_batches_tracked", "second.weight"],
        ["first.weight"],
    ],
)
def test_a_list_has_the_names_of_the_part_that_it_is(names: list[str]) -> None:
    assert list(own_names(layout(), listed(names)).values()) == names


def test_a_list_with_control_variates_behind_the_model() -> None:
    names = list(layout().state)
    assert list(own_names(layout(), listed(names * 2)).values()) == names


@pytest.mark.parametrize("names", [["first.bias"], ["second.weight", "first.weight"]])
def test_a_list_that_may_be_several_parts_or_none_is_refused(names: list[str]) -> None:
    with pytest.raises(DataError, match="come as a list without names"):
        own_names(layout(), listed(names))


def test_prefixes_are_taken_off_only_if_the_rest_is_the_model() -> None:
    shapes = layout().state
    wrapped = {f"module.{name}": shape for name, shape in shapes.items()}
    assert own_names(layout(), wrapped) == {f"module.{name}": name for name in shapes}
    wrong = {**wrapped, "module.first.weight": (7, 7)}
    assert own_names(layout(), wrong) == {name: name for name in wrong}
    head = {"model.net.second.weight": (3, 3)}
    assert own_names(layout(), head) == {"model.net.second.weight": "second.weight"}
    assert own_names(layout(), {"weight": (3, 4)}) == {"weight": "first.weight"}  # of a submodule's state dict
    assert own_names(layout(), {"bias": (3,)}) == {"bias": "bias"}
    assert misfit(layout(), {"second.weight": (3, 3)}) == ""
    assert misfit(layout(), {**shapes, "loss.weight": (1,)}) == ""
    assert misfit(layout(), {"third.weight": (1,)}) == "it has no third.weight"
    assert misfit(layout(), {"second.weight": (1,)}) == "its second.weight has shape (3, 3), not (1,)"
