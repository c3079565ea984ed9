"""The look-up of tokens in an embedding as a product with their one-hot form, by which it can be differentiated.

A module reads whole numbers. While it runs, torch's functions `embedding` and `embedding_bag` are replaced: where they
are given the tokens, a view of them or a copy, the rows that they return are computed from the soft one-hot form.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from fl_sim.errors import ConfigError
from fl_sim.tokens import tokens_of

_NAMES = ("embedding", "embedding_bag")
_REFUSED = {
    "max_norm": "it changes the weights when it looks them up",
    "scale_grad_by_freq": "what it trains by is then not the gradient of the loss",
    "offsets": "it is given all texts in one row, and an attack knows them as (N, L)",
}
"""Arguments of a look-up that cannot be attacked, with the reasons."""


class LookUp(NamedTuple):
    """A look-up while a module ran.

    Attributes:
        weight: of the embedding, (rows, D).
        numbers: what was looked up.
        padding: the row that takes no gradient; None if there is none.
        is_text: whether the numbers are the tokens, as far as can be told.
    """

    weight: Tensor
    numbers: Tensor
    padding: int | None
    is_text: bool


class Text:
    """A batch of texts while a module reads it.

    Args:
        inputs: (N, 1, L, V), for each position of each text the weights of the tokens.

    Attributes:
        tokens: (N, L), the numbers that the module is given.
        look_ups: in the order in which they happened.
    """

    def __init__(self, inputs: Tensor) -> None:
        self._soft = inputs.squeeze(1)
        self.tokens = tokens_of(inputs.detach())
        self._places = torch.arange(self.tokens.numel(), device=inputs.device)
        self.look_ups: list[LookUp] = []

    @contextlib.contextmanager
    def read(self) -> Iterator[None]:
        """Let look-ups of these tokens be products with their one-hot form.

        Raises:
            ConfigError: such a look-up is one that cannot be attacked.
        """
        originals = {name: getattr(F, name) for name in _NAMES}
        try:
            for name, original in originals.items():
                setattr(F, name, self._instead_of(original))
            yield
        finally:
            for name, original in originals.items():
                setattr(F, name, original)

    def soft(self, numbers: Tensor) -> Tensor | None:
        """Return the one-hot form (..., V) of numbers (...) that are tokens of these texts; None if they are not.

        They are if they are a view of the tokens, or a copy of all of them, also with the two axes exchanged. A copy of
        a part cannot be told from other numbers.
        """
        tokens, places = self.tokens, self._places
        if numbers.untyped_storage().data_ptr() == tokens.untyped_storage().data_ptr():
            places = torch.as_strided(places, numbers.shape, numbers.stride(), numbers.storage_offset())
        elif numbers.shape == tokens.T.shape and torch.equal(numbers, tokens.T):
            places = places.view_as(tokens).T
        elif numbers.numel() == tokens.numel() and torch.equal(numbers.reshape(tokens.shape), tokens):
            places = places.view(numbers.shape)
        else:
            return None
        return self._soft.flatten(0, 1)[places]

    def _instead_of(self, original: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """Return what stands for torch's function while these texts are read."""
        signature = inspect.signature(original)

        def look_up(*positional: Any, **named: Any) -> Tensor:  # noqa: ANN401 - as torch takes them
            bound = signature.bind(*positional, **named)
            bound.apply_defaults()
            soft, weight, padding = self._found(bound.arguments)
            if soft is None:
                return original(*positional, **named)
            rows = _product(soft, weight, padding)
            if "mode" not in bound.arguments:
                return rows
            return _reduced(rows, bound.arguments["mode"], soft, padding, bound.arguments["per_sample_weights"])

        return look_up

    def _found(self, arguments: Mapping[str, Any]) -> tuple[Tensor | None, Tensor, int | None]:
        """Return the one-hot form of what is looked up, None if it is no token, and the weight and padding; note it."""
        numbers, weight, padding = (arguments[name] for name in ("input", "weight", "padding_idx"))
        is_whole = len(weight) == self._soft.shape[-1] and numbers.dtype in (torch.int32, torch.int64)
        soft = self.soft(numbers) if is_whole else None
        padding = None if padding is None else padding % len(weight)
        self.look_ups.append(LookUp(weight, numbers, padding, soft is not None))
        wrong = [name for name in _REFUSED if not (arguments.get(name) is None or arguments[name] is False)]
        if soft is not None and wrong:
            raise ConfigError(
                f"the model's embedding of tokens cannot be attacked: it has {wrong[0]}, and {_REFUSED[wrong[0]]}."
            )
        return soft, weight, padding


def _product(soft: Tensor, weight: Tensor, padding: int | None) -> Tensor:
    """Return the rows (..., D) of a weight (V, D) for a one-hot form (..., V); the padding row takes no gradient."""
    if padding is not None:
        is_padding = torch.arange(len(weight), device=weight.device)[:, None] == padding
        weight = torch.where(is_padding, weight.detach(), weight)
    with torch.autocast(soft.device.type, enabled=False):  # torch looks up in the weight's own precision
        return soft.to(weight.dtype) @ weight


def _reduced(rows: Tensor, mode: str, soft: Tensor, padding: int | None, scales: Tensor | None) -> Tensor:
    """Return the sum, mean or maximum (N, D) of rows (N, L, D), without those of the padding."""
    if mode == "max":
        left_out = torch.zeros(soft.shape[:-1], dtype=torch.bool, device=soft.device)
        left_out = left_out if padding is None else soft.argmax(-1) == padding
        largest = rows.masked_fill(left_out[..., None], -torch.inf).amax(1)
        return torch.where(left_out.all(1, keepdim=True), 0.0, largest)
    kept = torch.ones_like(soft[..., 0]) if padding is None else 1.0 - soft[..., padding]
    total = ((kept if scales is None else kept * scales)[..., None] * rows).sum(1)
    count = kept.sum(1, keepdim=True)
    return total if mode == "sum" else total / torch.where(count > 0, count, 1.0)
