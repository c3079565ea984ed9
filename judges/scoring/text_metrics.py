"""How much of a text an answer holds: pure functions, for each text of a batch, of one-hot forms (N, 1, L, V)."""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor

from fl_sim.tokens import tokens_of


def token_accuracy(answers: Tensor, truth: Tensor) -> Tensor:
    """Return (N,) float64: the share of positions of each text whose token is right."""
    return (tokens_of(answers) == tokens_of(truth)).double().mean(-1)


def tokens_found(answers: Tensor, truth: Tensor) -> Tensor:
    """Return (N,) float64: the share of the true tokens that the answer names, in any order.

    Each token of the answer accounts for one of the text, so that it is the size of the intersection of two multisets
    divided by L. The update of a model that adds its embeddings up does not depend on the order of the tokens.
    """
    pairs = zip(tokens_of(answers).tolist(), tokens_of(truth).tolist(), strict=True)
    shares = [sum((Counter(ours) & Counter(theirs)).values()) / len(theirs) for ours, theirs in pairs]
    return torch.tensor(shares, dtype=torch.float64)


def with_counts(inputs: Tensor) -> Tensor:
    """Return inputs (N, 1, L + 1, V) whose last row says how often each token occurs: by these, texts are paired."""
    return torch.cat([inputs, inputs.sum(-2, keepdim=True)], -2)


def written(inputs: Tensor) -> str:
    """Return a text (1, L, V) as its numbers."""
    return " ".join(map(str, tokens_of(inputs).tolist()))
