"""The answer of a search for texts: its most probable tokens, improved by steps from text to text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from attacks.contracts import Reconstruction, StopReason
from attacks.engines.plain import matched, norm_of
from attacks.matching.problem import MatchingProblem
from attacks.matching.words import Valued, Words, descend
from fl_sim.client_training import MSE
from fl_sim.losses import free_targets, targets_of
from fl_sim.seeding import torch_stream
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


def text_answers(
    problem: MatchingProblem, points: Tensor, *, budget: int, seed: int, on_finish: Callable[[int], None]
) -> list[TextAnswer]:
    """Return the answers to all victims.

    Args:
        problem: of the search, which has ended.
        points: (V, unknowns), the best of the search for each victim.
        budget: largest number of evaluations for each.
        seed: of the tokens that are drawn where no step is left.
        on_finish: called for each victim.
    """
    found = []
    for victim, capture in enumerate(problem.captures):
        stream = torch_stream(seed, "words", capture.id)
        found.append(_text_answer(problem, victim, points[victim], budget=max(1, budget), generator=stream))
        on_finish(1)
    return found


def with_text(answer: Reconstruction, text: TextAnswer) -> Reconstruction:
    """Return the answer of a search with its text in place of weights of tokens."""
    return replace(
        answer,
        inputs=text.inputs,
        labels=text.labels,
        matching_loss=text.loss,
        gradient_evaluations=answer.gradient_evaluations + text.evaluations,
        stop_reason=StopReason.CONVERGED if text.is_solved else answer.stop_reason,
    )


def _text_answer(
    problem: MatchingProblem, victim: int, point: Tensor, *, budget: int, generator: torch.Generator
) -> TextAnswer:
    """Return the answer to one victim, which takes the first place of the problem; see `text_answers`."""
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
    found = descend(start, evaluate, problem.tokens_of(victim), solved=solved, budget=budget, generator=generator)
    named = found.words.labels if is_named else labels
    return TextAnswer(one_hot(found.words.tokens, spec), named, found.loss, found.evaluations, found.loss <= solved)
