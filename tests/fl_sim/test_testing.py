"""What every model and data set of the tables promises, by the checks that a plugin's author has too; and that those
find what is broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fl_sim.datasets import DATASETS, DatasetEntry, load_dataset
from fl_sim.errors import ConfigError
from fl_sim.models import MODELS, ModelEntry
from fl_sim.models.mlp import MLP
from fl_sim.records import ModelSpec
from fl_sim.testing import DATASET_PROMISES, MODEL_PROMISES, check_dataset, check_model


@pytest.mark.parametrize("promise", MODEL_PROMISES)
@pytest.mark.parametrize("name", MODELS)
def test_a_model_keeps_its_promise(name: str, promise: str) -> None:
    check_model(name, only=[promise])


@pytest.mark.parametrize("promise", DATASET_PROMISES)
@pytest.mark.parametrize("name", [name for name, entry in DATASETS.items() if not entry.layouts and not entry.own])
def test_a_data_set_that_needs_no_download_keeps_its_promise(name: str, promise: str) -> None:
    check_dataset(name, only=[promise])


class Drops(MLP):
    """Draws in its forward pass."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(super().forward(x))


class Normalises(MLP):
    """Lets the examples of a batch see each other."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x - x.mean(0))


class Idle(MLP):
    """Has a parameter that it never reads."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self.unread = nn.Linear(2, 2)


class Flat(MLP):
    """Answers with one number."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[:, :1]


class Hidden(MLP):
    """Keeps what it is in a buffer."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self.shift = nn.Buffer(torch.rand(3))

    def forward(self, x: Tensor) -> Tensor:
        shifted: Tensor = super().forward(x) + self.shift
        return shifted


@pytest.mark.parametrize(
    ("builder", "sentence"),
    [
        (Drops, "a second call has another output"),
        (Normalises, "depend on the other examples of its batch"),
        (Idle, "parameter 'unread.weight': it is never read"),
        (Flat, r"expected logits \(4, 3\), found \(4, 1\)"),
        (Hidden, "rebuilt from its parameters it has another output"),
        (lambda _: None, "its builder returned a NoneType"),
        (lambda _: nn.Flatten(), "expected logits"),
        ("fl_sim.models.mlp:Missing", "could not be imported: AttributeError"),
        ("no_such_package:MLP", "could not be imported: ModuleNotFoundError"),
    ],
)
def test_a_broken_model_is_found_with_a_sentence(builder: Any, sentence: str) -> None:
    with pytest.raises(AssertionError, match=rf"'model' \(.*\): .*{sentence}"):
        check_model(ModelEntry(builder, spiking=False, summary="broken"))


BROKEN: dict[str, Callable[[Any], Any]] = {
    "name: expected 'dataset'": lambda data: replace(data, name="other"),
    "class_names: expected one for each of 10": lambda data: replace(data, class_names=("a", "b")),
    "digest: expected a SHA-256": lambda data: replace(data, digest="1"),
    "100% of the test split's examples": lambda data: replace(data, test=data.train),
    "expected labels from 0 to 4": lambda data: replace(
        data, spec=replace(data.spec, classes=5), class_names=tuple("abcde")
    ),
    "expected 0.0 to 0.5": lambda data: replace(data, spec=replace(data.spec, high=0.5)),
    "expected inputs": lambda data: replace(data, spec=replace(data.spec, height=5)),
    "size 8: found 28 x 28": lambda data: data,
}


@pytest.mark.parametrize("sentence", BROKEN)
def test_a_broken_data_set_is_found_with_a_sentence(sentence: str) -> None:
    digits = load_dataset("digits")
    data = BROKEN[sentence](digits if sentence.startswith("name") else replace(digits, name="dataset"))
    with pytest.raises(AssertionError, match=rf"'dataset' \(.*\): .*{sentence}"):
        check_dataset(DatasetEntry(lambda *_: data, summary="broken", terms="none"))


def test_a_name_that_is_in_no_table_is_refused() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'lenet'"):
        check_model("lennet")
    with pytest.raises(ConfigError, match="Did you mean 'digits'"):
        check_dataset("digit")
    with pytest.raises(ConfigError, match="promise: 'it sings' is not known"):
        check_model("mlp", only=["it sings"])
