"""Texts: whole numbers as a model reads them, and the one-hot form in which records and attacks hold them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from fl_sim.specs import InputSpec


def one_hot(tokens: Tensor, spec: InputSpec) -> Tensor:
    """Return the one-hot form (..., 1, L, V), float32, of tokens (..., L), which are numbers below the vocabulary."""
    return F.one_hot(tokens.long(), spec.vocabulary).float().unsqueeze(-3)


def tokens_of(inputs: Tensor) -> Tensor:
    """Return the tokens (..., L), int64, of inputs (..., 1, L, V): the largest entry of each position."""
    return inputs.squeeze(-3).argmax(-1)


def as_read(inputs: Tensor, spec: InputSpec) -> Tensor:
    """Return inputs (N, C, H, W) as the model reads them: as they are, or the tokens (N, L) of texts."""
    return tokens_of(inputs) if spec.vocabulary else inputs


def random_texts(spec: InputSpec, count: int, generator: torch.Generator) -> Tensor:
    """Return the one-hot form (count, 1, L, V) of random texts."""
    return one_hot(torch.randint(spec.vocabulary, (count, spec.height), generator=generator), spec)
