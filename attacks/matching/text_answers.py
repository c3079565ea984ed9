"""The answer of a search for texts: its most probable tokens, improved by steps from text to text."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from attacks.engines.plain import matched, norm_of
from attacks.matching.problem import MatchingProblem
from attacks.matching.words import Valued, Words, descend
from fl_sim.client_training import MSE
from fl_sim.losses import free_targets, targets_of
from fl_sim.tokens import one_hot, tokens_of

_ROUNDING = 1e-10
"""Squared distance, relative to the squared norm of the update, below which only rounding is left."""


class TextAnswer(NamedTuple):
    """An answer to one victim.

    Attributes:
        inputs: (N, 1, L, V), one-hot.
        labels: (N,).
        loss: the matching loss of exactly these.
        evaluations: how many it took.
        is_solved: whether nothing but rounding is left of the loss.
    """

    inputs: Tensor
    labels: Tensor
    loss: float
    evaluations: int
    is_solved: bool


def text_answer(
    problem: MatchingProblem, victim: int, point: Tensor, *, budget: int, generator: torch.Generator
) -> TextAnswer:
    """Return the answer to one victim, which takes the first place of the problem.

    Args:
        problem: of the search, which has ended.
        victim: number of its capture.
        point: (unknowns,), the best of the search.
        budget: largest number of evaluations.
        generator: draws tokens where no step is left.
    """
    capture, spec = problem.captures[victim], problem.captures[victim].model.input
    problem.replace(0, victim)
    soft, logits = problem.split(point[None], torch.tensor([victim]))
    is_named = logits is not None and spec.classes > 1 and capture.training.loss != MSE
    labels = logits[0].argmax(-1).cpu() if logits is not None else problem.labels[0].cpu().clone()  # type: ignore[index]
    targets = problem.known_targets()[:1] if logits is None else free_targets(capture.training, logits)

    def evaluate(words: Words) -> Valued:
        inputs = one_hot(words.tokens, spec)[None].to(soft).requires_grad_()
        named = targets_of(capture.training, words.labels, spec.classes)[None].to(soft) if is_named else targets
        named = named.detach().requires_grad_()
        loss = problem.engine.distances(inputs, named)
        by_token, by_label = torch.autograd.grad(loss.sum(), (inputs, named))
        return Valued(float(loss.detach()), by_token[0].squeeze(1).cpu(), by_label[0].cpu())

    start = Words(tokens_of(soft[0]).cpu(), labels if is_named else labels[:0])
    solved = _ROUNDING * norm_of(capture, matched(capture)) ** 2
    found = descend(
        start, evaluate, problem.tokens_of(victim), solved=solved, budget=max(1, budget), generator=generator
    )
    named = found.words.labels if is_named else labels
    return TextAnswer(one_hot(found.words.tokens, spec), named, found.loss, found.evaluations, found.loss <= solved)
