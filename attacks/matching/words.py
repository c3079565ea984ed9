"""The last step of an attack on texts: from the most probable tokens to those whose update is the captured one.

Weights between tokens may have an update near the captured one, so the search alone ends between texts. From there,
tokens and labels are replaced one at a time, and pairs of tokens exchanged, as long as the matching loss falls. After
the discrete steps of Balunovic et al., "LAMP: Extracting Text from Gradients with Language Model Priors", NeurIPS 2022,
without their language model; the derivative of the loss by the tokens says which are tried first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

_MOST_STEPS = 4096
"""Steps from one text to another that are tried, the most promising of all."""

_ANEW = 3
"""Tokens that are drawn anew where no step decreases the loss."""


@dataclass(frozen=True)
class Words:
    """Texts and their labels.

    Attributes:
        tokens: (N, L).
        labels: (N,); empty where labels are known, or the targets are values.
    """

    tokens: Tensor
    labels: Tensor


class Valued(NamedTuple):
    """The matching loss of words, and its derivatives by their one-hot forms, (N, L, V) and (N, K)."""

    loss: float
    by_token: Tensor
    by_label: Tensor


class Found(NamedTuple):
    """The words with the smallest loss, that loss, and the number of evaluations."""

    words: Words
    loss: float
    evaluations: int


def descend(
    start: Words,
    evaluate: Callable[[Words], Valued],
    allowed: Tensor,
    *,
    solved: float,
    budget: int,
    generator: torch.Generator,
) -> Found:
    """Return the best words that steps from a start lead to.

    Where no step decreases the loss, some tokens of the best words are drawn anew, until the budget is spent.

    Args:
        start: the first words.
        evaluate: returns the matching loss of words.
        allowed: (k,), tokens that can be there.
        solved: loss at which nothing is left to find.
        budget: largest number of evaluations.
        generator: draws tokens.
    """
    count = 1
    here = start
    at = evaluate(here)
    best, least = here, at.loss
    while least > solved and count < budget:
        for step in _steps(here, at, allowed):
            tried = evaluate(step)
            count += 1
            if tried.loss < at.loss:
                here, at = step, tried
                break
            if count >= budget:
                break
        else:
            here = _drawn_anew(best, allowed, generator)
            at = evaluate(here)
            count += 1
        if at.loss < least:
            best, least = here, at.loss
    return Found(best, least, count)


def _steps(words: Words, at: Valued, allowed: Tensor) -> Iterator[Words]:
    """Yield words that differ in one token or label, or by an exchange of two tokens, the most promising first."""
    tokens, labels = words.tokens, words.labels
    flat = tokens.flatten()
    slopes = at.by_token.flatten(0, 1)
    own = slopes.gather(1, flat[:, None])
    replaced = (slopes - own)[:, allowed]  # (N*L, k)
    first, second = torch.triu_indices(len(flat), len(flat), offset=1)
    exchanged = (slopes - own)[first, flat[second]] + (slopes - own)[second, flat[first]]
    named = at.by_label - at.by_label.gather(1, labels[:, None]) if len(labels) else at.by_label[:0]
    gains = torch.cat([replaced.flatten(), exchanged, named.flatten()])
    for move in gains.topk(min(len(gains), _MOST_STEPS), largest=False).indices.tolist():
        if move < replaced.numel():
            place, column = divmod(move, len(allowed))
            if flat[place] != allowed[column]:
                yield Words(_with(flat, [place], allowed[[column]]).view_as(tokens), labels)
        elif move < replaced.numel() + len(first):
            pair = [int(first[move - replaced.numel()]), int(second[move - replaced.numel()])]
            if flat[pair[0]] != flat[pair[1]]:
                yield Words(_with(flat, pair, flat[pair[::-1]]).view_as(tokens), labels)
        else:
            example, label = divmod(move - replaced.numel() - len(first), named.shape[1])
            if labels[example] != label:
                yield Words(tokens, _with(labels, [example], torch.tensor([label])))


def _with(values: Tensor, places: list[int], others: Tensor) -> Tensor:
    """Return a copy of values with others at some places."""
    changed = values.clone()
    changed[places] = others
    return changed


def _drawn_anew(words: Words, allowed: Tensor, generator: torch.Generator) -> Words:
    """Return words of which a few tokens are drawn anew."""
    flat = words.tokens.flatten()
    count = min(_ANEW, len(flat))
    places = torch.randperm(len(flat), generator=generator)[:count].tolist()
    drawn = allowed[torch.randint(len(allowed), (count,), generator=generator)]
    return Words(_with(flat, places, drawn).view_as(words.tokens), words.labels)
