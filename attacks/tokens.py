"""Which tokens are in a batch of texts, from the rows of the embedding that its update moved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from attacks.engines.plain import loaded, own_errors, planted
from attacks.replay.lookups import LookUp, Text
from fl_sim.client_steps import train_client
from fl_sim.errors import ConfigError
from fl_sim.observed import local_steps
from fl_sim.records import CapturedUpdate
from fl_sim.tokens import random_texts, tokens_of

_SEED = 4
_ROUNDING = 4 * torch.finfo(torch.float32).eps
"""Relative error of the weight decay of one step."""


class Embedding(NamedTuple):
    """The embedding of the tokens in a model: the name of its weight (V, D), and its padding row; None for none."""

    name: str
    padding: int | None


def tokens_in(captures: Sequence[CapturedUpdate]) -> list[Tensor | None]:
    """Return for each captured update the tokens that its texts can hold, ascending; None if it does not say.

    A row of the embedding takes a gradient only if its token is in the batch (Melis et al., "Exploiting Unintended
    Feature Leakage in Collaborative Learning", IEEE S&P 2019, section 4.1). Weight decay moves every row, by an amount
    that is known. The padding never moves, so that it can always be there. Where the output layer shares the weight,
    all rows move, and nothing is known. A defence that sets entries of an update to 0 hides tokens.

    Args:
        captures: updates of one model spec and training, which reads texts.

    Raises:
        ConfigError: the user's own code fails.
    """
    found = embedding_of(captures[0])
    if found is None or not _is_telling(captures[0], found):
        return [None] * len(captures)
    rows = [_moved(capture, found.name).nonzero().flatten() for capture in captures]
    padding = torch.tensor([] if found.padding is None else [found.padding], dtype=torch.int64)
    return [torch.unique(torch.cat([own, padding])) if len(own) else None for own in rows]


def embedding_of(capture: CapturedUpdate) -> Embedding | None:
    """Return the only embedding in which a model looks its tokens up, if the update shares its weight.

    Raises:
        ConfigError: as in `refuse_unread`.
    """
    module = loaded(capture, torch.float32)
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    read = {(names.get(id(one.weight), ""), one.padding) for one in _look_ups(capture, module, _SEED) if one.is_text}
    (name, padding), *others = sorted(read, key=str)
    return None if others or name not in capture.update else Embedding(name, padding)


def refuse_unread(capture: CapturedUpdate) -> None:
    """Raise a ConfigError if a model does not look all of its tokens up in a way that can be differentiated.

    Told by two random batches: numbers that are looked up in a table of the size of the vocabulary are the tokens, or
    they do not depend on them, as the positions of a transformer.
    """
    module = loaded(capture, torch.float32)
    one, other = (_look_ups(capture, module, seed) for seed in (_SEED, _SEED + 1))
    size, name = capture.model.input.vocabulary, capture.model.architecture
    if not any(look_up.is_text for look_up in one):
        raise ConfigError(
            f"model '{name}': it looks its tokens up in no embedding of {size} rows, the vocabulary of its InputSpec, "
            "by nn.Embedding, nn.EmbeddingBag or torch.nn.functional.embedding, so that no derivative by them exists."
        )
    apart = len(one) != len(other) or any(
        not torch.equal(first.numbers, second.numbers)
        for first, second in zip(one, other, strict=True)
        if not first.is_text and len(first.weight) == size
    )
    if apart:
        raise ConfigError(
            f"model '{name}': it looks up a copy of a part of its tokens, or of tokens that it changed, whose "
            "derivative cannot be followed. Look up the tokens first and cut or change their rows then, or cut them "
            "by slices, which are no copies."
        )


def _look_ups(capture: CapturedUpdate, module: nn.Module, seed: int) -> list[LookUp]:
    """Return the look-ups of a module that reads two random texts."""
    stream = torch.Generator().manual_seed(seed)
    text = Text(random_texts(capture.model.input, 2, stream))
    with own_errors(capture), torch.random.fork_rng(devices=[]), text.read(), torch.no_grad():
        module.train(capture.training.taken().mode == "train")(text.tokens)
    return text.look_ups


def _is_telling(capture: CapturedUpdate, embedding: Embedding) -> bool:
    """Return whether a client's training moves only the rows of its tokens, as known ones show."""
    one = planted(capture, seed=_SEED, precision=torch.float32)
    moved = _moved(one.capture, embedding.name).nonzero().flatten().tolist()
    return set(moved) <= set(tokens_of(one.inputs).flatten().tolist())


def _moved(capture: CapturedUpdate, name: str) -> Tensor:
    """Return (V,), whether the update moved each row of the embedding by more than its weight decay."""
    update, decay = capture.update[name].cpu(), capture.training.weight_decay
    if not decay or capture.kind == "gradient":
        return update.ne(0).any(1)
    before = capture.parameters[name].cpu()
    change = _decayed(capture, before) - before
    steps = len(local_steps(capture))
    return ((update - change).abs() > _ROUNDING * steps * before.abs()).any(1)


def _decayed(capture: CapturedUpdate, weight: Tensor) -> Tensor:
    """Return what a client's optimiser makes of a weight whose gradient is 0 in every step."""
    still = {"loss": None, "frozen": None, "clip_norm": None, "mean": None, "std": None, "precision": None}
    module, batch = _Still(weight), (torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]))
    training = capture.training.model_copy(update=still)
    train_client(module, [batch] * len(local_steps(capture)), training, learning_rate=capture.learning_rate or 1.0)
    return module.weight.detach()


class _Still(nn.Module):
    """A module on whose outputs its weight has no effect."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.clone())

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the inputs."""
        return inputs + 0.0 * self.weight.sum()
