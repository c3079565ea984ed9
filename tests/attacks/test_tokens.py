"""Which tokens an update names, and which networks do not look their tokens up as an attack needs it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attacks.engines.choice import choose
from attacks.tokens import embedding_of, tokens_in
from fl_sim.client_steps import train_client
from fl_sim.client_training import ClientTraining
from fl_sim.errors import ConfigError
from fl_sim.losses import targets_of
from fl_sim.models import MODELS, ModelEntry
from fl_sim.records import CapturedUpdate, InputSpec, ModelSpec
from fl_sim.tokens import tokens_of
from tests import zoo

SPEC = InputSpec(1, 5, 12, 3, vocabulary=12)


def named(name: str, **training: Any) -> tuple[list[int] | None, set[int]]:
    """Return the tokens that a capture of the zoo names, and those that its client had."""
    entry = zoo.ZOO[name]
    entry = dataclasses.replace(entry, training=entry.training.model_copy(update=training))
    with zoo.in_table(entry):
        capture, inputs, _ = zoo.capture_of(entry, 0, kind="delta" if training else "gradient")
        (found,) = tokens_in([capture])
    return None if found is None else found.tolist(), set(tokens_of(inputs).flatten().tolist())


@pytest.mark.parametrize("name", ["gru_words", "bag_of_words", "mean_of_words", "small_gpt"])
def test_the_rows_that_moved_are_the_tokens(name: str) -> None:
    found, true = named(name)
    assert found == sorted(true)


def test_padding_can_always_be_there() -> None:
    found, true = named("lstm_words")
    assert found == sorted({0, *true})


def test_a_head_that_shares_the_embedding_says_nothing() -> None:
    assert named("next_word")[0] is None


def test_an_embedding_that_the_client_keeps_says_nothing() -> None:
    assert named("gru_words", frozen="embedding.*")[0] is None


@pytest.mark.parametrize("training", [
    {"weight_decay": 0.01}, {"weight_decay": 0.01, "momentum": 0.9}, {"optimiser": "adam", "weight_decay": 0.01},
    {"optimiser": "adam"}, {"weight_decay": 0.01, "proximal_mu": 0.1},
])  # fmt: skip
def test_weight_decay_moves_every_row_and_hides_none(training: dict[str, Any]) -> None:
    entry = zoo.ZOO["mean_of_words"]
    entry = dataclasses.replace(entry, training=ClientTraining(mode="train", **training))
    module = zoo.network_of(entry, 0)
    tokens, labels = zoo.examples_of(entry, 0, 2)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    batch = (tokens, targets_of(entry.training, labels, 3))
    train_client(module, [batch] * 3, entry.training, learning_rate=0.05)
    update = {name: value - before[name] for name, value in module.state_dict().items()}
    capture = CapturedUpdate(
        "z/r001-c000", 1, 0, entry.spec, before, update, "delta", learning_rate=0.05, local_steps=3, batch_size=2,
        num_examples=2, training=entry.training,
    )  # fmt: skip
    with zoo.in_table(entry):
        (found,) = tokens_in([capture])
    assert found is not None
    assert found.tolist() == sorted(set(tokens.flatten().tolist()))


# Networks that read their tokens otherwise


class Reader(nn.Module):
    """An embedding whose rows are added up after a change of the tokens."""

    def __init__(self, change: Callable[[Tensor], Tensor], *, positions: bool = False) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(12, 4), nn.Linear(4, 3)
        self.positions = nn.Embedding(12, 4) if positions else None
        self.change = change

    def forward(self, tokens: Tensor) -> Tensor:
        rows = self.embedding(self.change(tokens))
        if self.positions is not None:
            rows = rows + self.positions(torch.arange(rows.shape[1]))
        logits: Tensor = self.head(rows.tanh().sum(1))
        return logits


class ByIndex(Reader):
    """Rows by the index of a parameter."""

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.head(self.embedding.weight[tokens].tanh().sum(1))
        return logits


def of(monkeypatch: pytest.MonkeyPatch, build: Callable[[], nn.Module]) -> CapturedUpdate:
    """Return the gradient of two random texts on a network of the test."""
    monkeypatch.setitem(MODELS, "own", ModelEntry(lambda _: build(), spiking=False, summary="my own"))
    entry = zoo.ZooEntry("own", lambda _: build(), SPEC)
    return dataclasses.replace(zoo.capture_of(entry, 0)[0], model=ModelSpec("own", SPEC, "torch"))


def test_slices_and_positions_can_be_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    capture = of(monkeypatch, lambda: Reader(lambda tokens: tokens[:, 1:], positions=True))
    assert choose([capture]).engine == "replayed"
    assert embedding_of(capture) == ("embedding.weight", None)


def test_a_copy_of_a_part_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    capture = of(monkeypatch, lambda: Reader(lambda tokens: tokens.flip(1), positions=True))
    with pytest.raises(ConfigError, match="it looks its tokens up in no embedding of 12 rows"):
        choose([capture])


def test_a_second_copy_is_refused_although_the_first_can_be_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Twice(Reader):
        def forward(self, tokens: Tensor) -> Tensor:
            again: Tensor = self.head(self.embedding(tokens.roll(1, 1)).sum(1))
            return super().forward(tokens) + again

    with pytest.raises(ConfigError, match="it looks up a copy of a part of its tokens"):
        choose([of(monkeypatch, lambda: Twice(lambda tokens: tokens))])


def test_an_index_is_no_look_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="it looks its tokens up in no embedding of 12 rows"):
        choose([of(monkeypatch, lambda: ByIndex(lambda tokens: tokens))])


def test_tokens_are_not_normalised(monkeypatch: pytest.MonkeyPatch) -> None:
    capture = of(monkeypatch, lambda: Reader(lambda tokens: tokens))
    with pytest.raises(ConfigError, match="mean, std: expected none for a model that reads tokens"):
        choose([dataclasses.replace(capture, training=ClientTraining(mean=0.5))])
