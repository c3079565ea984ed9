"""Gradient matching: the search for inputs whose gradients equal the captured ones.

The engine of DLG and iDLG. V victims run side by side; each has its own model parameters, guess, history, step and stop
state. Measurements led to two differences from the published loops: an attempt whose candidate diverges is stopped (and
restarted if restarts are left), and the answer is the candidate with the smallest matching loss over all iterates and
restarts, not the last one, unless the settings ask for that. On spiking models the second derivative is that of a
surrogate, so steps need not decrease the loss, and the last iterate is not a good answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from attacks.contracts import Progress, Reconstruction
from attacks.engines.folded import FoldedClients
from attacks.matching.answers import answer_of, clamped, snapshots_of
from attacks.matching.constraints import projection, refuse_kinds
from attacks.matching.guesses import guesses
from attacks.matching.problem import Labels, MatchingProblem
from attacks.matching.search import Search
from attacks.matching.text_answers import text_answers, with_text
from attacks.matching.victims import Victims, batches
from attacks.settings import POST, SQUARE, STRAIGHT_THROUGH, MatchingSettings
from attacks.thresholding import thresholded
from attacks.unattempted import not_attempted
from fl_sim.observed import batch_size
from fl_sim.records import CapturedUpdate

__all__ = ["MatchingAttack", "MatchingProblem", "clamped", "snapshots_of"]


def reconstruct(
    attack: str,
    settings: MatchingSettings,
    victims: Victims,
    *,
    seed: int,
    device: str,
    on_finish: Callable[[int], None],
) -> list[Reconstruction]:
    """Run gradient matching on victims that can share a batch and return a reconstruction for each."""
    refuse_kinds(victims.captures[0], settings)
    started = time.perf_counter()
    problem = _problem(settings, victims, device)
    is_text = victims.captures[0].model.input.vocabulary > 0
    searches = {"none": False, "armijo": True, "auto": problem.choice.engine != FoldedClients.name}
    search = Search(
        problem,
        guesses(victims, settings, problem, seed=seed, device=device),
        # The logits of a token that is sure grow without bound.
        settings.model_copy(update={"divergence": 0.0}) if is_text else settings,
        victims=len(victims.captures),
        slots=victims.slots,
        project=projection(settings, problem.input_size),
        line_search=searches[settings.line_search],
    )
    search.run(on_finish if not is_text else lambda _: None)
    budget = settings.iterations * settings.inner_iterations
    texts = text_answers(problem, search.best, budget=budget, seed=seed, on_finish=on_finish) if is_text else []
    seconds = (time.perf_counter() - started) / len(victims.captures)
    facts = {"attack": attack, "settings": settings.model_dump(), "seconds": seconds, "seed": seed}
    facts["engine"] = problem.choice.engine
    answers = [answer_of(victims, victim, problem, search, facts) for victim in range(len(victims.captures))]
    return [with_text(answer, text) for answer, text in zip(answers, texts, strict=True)] if is_text else answers


def _problem(settings: MatchingSettings, victims: Victims, device: str) -> MatchingProblem:
    """Return the problem of matching the updates of the first victims, one a slot."""
    return MatchingProblem(
        victims.captures,
        victims.labels,
        precision=getattr(torch, settings.precision),
        device=device,
        measure="weighted" if settings.weighting == "auto" else "squared",
        tau=settings.tau if settings.thresholding == STRAIGHT_THROUGH else None,
        slots=victims.slots,
        range_weight=settings.range_weight,
        square=settings.positive == SQUARE,
    )


class MatchingAttack:
    """Common base of DLG and iDLG, which attacks one batch after another."""

    name = ""

    def __init__(self, settings: MatchingSettings) -> None:
        self.settings = settings

    def labels(self, captures: Sequence[CapturedUpdate]) -> Labels:
        """Return the labels if this attack determines them before the search, or None if it optimises them."""
        raise NotImplementedError

    def labels_likely(self, capture: CapturedUpdate) -> Tensor | None:  # noqa: ARG002 - for attacks that read some
        """Return labels (N,) from which the optimisation of unknown labels starts; None to start from noise alone."""
        return None

    def labels_alone(self, capture: CapturedUpdate) -> Tensor | None:
        """Return the labels (N,) that this attack names of a batch whose inputs it does not look for; None for none."""
        known = self.labels([capture])
        return None if known is None else known[0]

    def reconstruct(
        self, captures: Sequence[CapturedUpdate], *, seed: int, device: str = "cpu", progress: Progress | None = None
    ) -> list[Reconstruction]:
        """Return one reconstruction for each captured update, in the same order.

        Args:
            captures: captured updates of any model specs; each may have its own parameters.
            seed: seed of the initial guesses; a victim's guess depends only on the seed and its capture id.
            device: where to compute.
            progress: called whenever victims are finished.

        Raises:
            ConfigError: a model cannot be folded, or a capture is a delta without a learning rate.
        """
        found: dict[int, Reconstruction] = {}
        done = 0

        def on_finish(count: int) -> None:
            nonlocal done
            done += count
            if progress is not None:
                progress(done, len(captures))

        feasible = [batch_size(capture) <= self.settings.most_examples for capture in captures]
        for index in (index for index, can in enumerate(feasible) if not can):
            capture = captures[index]
            found[index] = not_attempted(self.name, self.settings, capture, self.labels_alone(capture), seed=seed)
            on_finish(1)
        known = {index: self.labels([captures[index]]) for index, can in enumerate(feasible) if can}
        for places in ([index for index in known if known[index]], [index for index in known if not known[index]]):
            for rows, slots in batches([captures[index] for index in places], self.settings):
                indices = [places[row] for row in rows]
                labels = [label for index in indices for label in known[index] or ()] or None
                chosen = [captures[index] for index in indices]
                likely = [] if labels else [self.labels_likely(capture) for capture in chosen]
                victims = Victims(chosen, labels, slots, likely)
                found |= zip(indices, self._searched(victims, seed, device, on_finish), strict=True)
        return [found[index] for index in range(len(captures))]

    def _searched(
        self, victims: Victims, seed: int, device: str, on_finish: Callable[[int], None]
    ) -> list[Reconstruction]:
        """Return the answers to victims that share a batch."""
        results = reconstruct(self.name, self.settings, victims, seed=seed, device=device, on_finish=on_finish)
        if self.settings.thresholding == POST:
            return [thresholded(result, self.settings.tau) for result in results]
        return results
