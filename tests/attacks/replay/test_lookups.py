"""Look-ups of tokens as products with their one-hot form: values and gradients are those of torch's look-ups."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attacks.replay.lookups import Text
from fl_sim.errors import ConfigError
from fl_sim.specs import InputSpec
from fl_sim.tokens import one_hot

SPEC = InputSpec(1, 4, 6, 3, vocabulary=6)
TOKENS = torch.tensor([[2, 2, 5, 0], [1, 0, 0, 4]])
SCALES = torch.tensor([[0.5, 2.0, -1.0, 3.0], [1.0, 0.0, 2.0, 0.25]], dtype=torch.float64)


def weight() -> Tensor:
    """Return an embedding (6, 3)."""
    drawn = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return drawn.requires_grad_()


def text(tokens: Tensor = TOKENS) -> tuple[Text, Tensor]:
    soft = one_hot(tokens, SPEC).double().requires_grad_()
    return Text(soft), soft


@pytest.mark.parametrize("padding", [None, 0, -1])
@pytest.mark.parametrize(
    "extra", [None, {"mode": "mean"}, {"mode": "sum"}, {"mode": "max"}, {"mode": "sum", "per_sample_weights": SCALES}]
)
def test_values_and_gradients_are_those_of_torch(extra: dict[str, Any] | None, padding: int | None) -> None:
    def look_up(tokens: Tensor, table: Tensor) -> Tensor:
        if extra is None:
            return F.embedding(tokens, table, padding_idx=padding)
        return F.embedding_bag(tokens, table, padding_idx=padding, **extra)

    one, soft = text()
    ours, theirs = weight(), weight()
    wanted = look_up(TOKENS, theirs)
    with one.read():
        found = look_up(one.tokens, ours)
    assert torch.allclose(found, wanted)
    (by_soft,) = torch.autograd.grad(found.square().sum(), soft, retain_graph=True)
    assert by_soft.any()
    for value in (found, wanted):
        value.square().sum().backward()  # type: ignore[no-untyped-call]
    assert ours.grad is not None
    assert theirs.grad is not None
    assert torch.allclose(ours.grad, theirs.grad)


def test_a_text_of_padding_alone_is_zero() -> None:
    one, _ = text(torch.zeros(1, 4, dtype=torch.int64))
    for mode in ("mean", "max", "sum"):
        with one.read():
            found = F.embedding_bag(one.tokens, weight(), padding_idx=0, mode=mode)
        assert found.tolist() == [[0.0] * 3]


@pytest.mark.parametrize(
    "change",
    [
        lambda tokens: tokens.T, lambda tokens: tokens[:, :-1], lambda tokens: tokens[:, 1:].T,
        lambda tokens: tokens[1],
        lambda tokens: tokens.flatten(), lambda tokens: tokens[:, None].expand(2, 3, 4), lambda tokens: tokens.clone(),
        lambda tokens: tokens.T.contiguous(), lambda tokens: tokens[..., ::2], lambda tokens: tokens.int(),
    ],
)  # fmt: skip
def test_views_and_whole_copies_of_the_tokens_are_known(change: Callable[[Tensor], Tensor]) -> None:
    one, _ = text()
    found = one.soft(change(one.tokens))
    assert found is not None
    assert found.equal(one_hot(change(TOKENS), SPEC).squeeze(-3).double())


def test_other_numbers_are_looked_up_as_they_are() -> None:
    one, _ = text()
    positions, table = torch.arange(4), weight()
    with one.read():
        assert F.embedding(positions, table).equal(table[:4])
        assert F.embedding(one.tokens, torch.randn(9, 2)).shape == (2, 4, 2)  # of another size
    assert [look_up.is_text for look_up in one.look_ups] == [False, False]


def test_torch_looks_up_again_afterwards() -> None:
    before = F.embedding, F.embedding_bag
    one, _ = text()
    with pytest.raises(ValueError, match="mine"), one.read():
        raise ValueError("mine")
    assert (F.embedding, F.embedding_bag) == before


@pytest.mark.parametrize(
    "layer", [nn.Embedding(6, 2, max_norm=1.0), nn.Embedding(6, 2, scale_grad_by_freq=True)], ids=["norm", "frequency"]
)
def test_what_is_no_plain_look_up_is_refused(layer: nn.Module) -> None:
    one, _ = text()
    with (
        pytest.raises(ConfigError, match=r"embedding of tokens cannot be attacked: it has (max_norm|scale_grad)"),
        one.read(),
    ):
        layer(one.tokens)


def test_offsets_are_refused() -> None:
    one, _ = text()
    bag = nn.EmbeddingBag(6, 2)
    with pytest.raises(ConfigError, match="it has offsets, and it is given all texts in one row"), one.read():
        bag(one.tokens.flatten(), torch.tensor([0, 4]))
