"""Gradient matching: the search for inputs whose gradients equal the captured ones.

The engine of DLG and iDLG. V victims run side by side; each has its own model parameters, guess, history, step and stop
state. Measurements led to two differences from the published loops: an attempt whose candidate diverges is stopped (and
restarted if restarts are left), and the answer is the candidate with the smallest matching loss over all iterates and
restarts, not the last one, unless the settings ask for that. On spiking models the second derivative is that of a
surrogate, so steps need not decrease the loss, and the last iterate is not a good answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from attacks.contracts import Progress, Reconstruction
from attacks.engines.folded import FoldedClients
from attacks.engines.plain import matched, norm_of
from attacks.matching.batching import Batch, shared_batches
from attacks.matching.constraints import projection, refuse_kinds
from attacks.matching.film import HELD, Pictures
from attacks.matching.problem import Labels, MatchingProblem
from attacks.matching.search import Search
from attacks.matching.text_answers import text_answers, with_text
from attacks.settings import POST, SQUARE, STRAIGHT_THROUGH, MatchingSettings
from attacks.thresholding import thresholded
from attacks.unattempted import not_attempted
from fl_sim.losses import free_targets, labels_of
from fl_sim.observed import batch_size, local_steps, same_problem
from fl_sim.records import CapturedUpdate, InputSpec
from fl_sim.seeding import torch_stream
from fl_sim.tokens import one_hot, tokens_of

LIKELY = 4.0
"""Lead of the logit of a likely label over the noise N(0, 1) of the others: about 0.75 of the probability among ten."""

MATCHED = 0.01
"""Distance of an answer's update from the captured one, relative to its norm, up to which the answer is a match."""

__all__ = ["MatchingAttack", "MatchingProblem", "clamped", "snapshots_of"]


@dataclass(frozen=True)
class Victims:
    """Victims that can share a batch, and their labels if the attack knows them before the search.

    Attributes:
        captures: one per victim.
        labels: (N,) for each victim, or None if labels are optimised with the inputs.
        slots: number of victims attacked in parallel; when one has finished, the next takes its place.
        likely: labels (N,) of each victim from which their optimisation starts, or None to start from noise alone; ()
            to start so with all.
    """

    captures: Sequence[CapturedUpdate]
    labels: Labels
    slots: int
    likely: Sequence[Tensor | None] = ()


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
    precision = getattr(torch, settings.precision)
    tau = settings.tau if settings.thresholding == STRAIGHT_THROUGH else None
    problem = MatchingProblem(
        victims.captures,
        victims.labels,
        precision=precision,
        device=device,
        measure="weighted" if settings.weighting == "auto" else "squared",
        tau=tau,
        slots=victims.slots,
        range_weight=settings.range_weight,
        square=settings.positive == SQUARE,
    )
    unknowns = problem.unknowns

    def guess(victim: int, attempt: int) -> Tensor:
        generator = torch_stream(seed, "guess", victims.captures[victim].id, attempt)
        # A second grey guess would be close to the first and diverge like it, so restarts use another distribution.
        kind = settings.guess if attempt == 0 or settings.guess == "spikes" else "normal"
        point = initial_guess(kind, problem.input_size, unknowns, generator)
        likely = victims.likely[victim] if victims.likely else None
        if likely is not None:
            point[problem.input_size :] += LIKELY * F.one_hot(likely.cpu(), problem.classes).flatten()
        if settings.positive == SQUARE:
            point[: problem.input_size] = point[: problem.input_size].abs().sqrt()
        return point.to(device=device, dtype=precision)

    project = projection(settings, problem.input_size)
    searches = {"none": False, "armijo": True, "auto": problem.choice.engine != FoldedClients.name}
    # The logits of a token that is sure grow without bound.
    is_text = victims.captures[0].model.input.vocabulary > 0
    search = Search(
        problem,
        guess,
        settings.model_copy(update={"divergence": 0.0}) if is_text else settings,
        victims=len(victims.captures),
        slots=victims.slots,
        project=project,
        line_search=searches[settings.line_search],
    )
    search.run(on_finish if not is_text else lambda _: None)
    budget = settings.iterations * settings.inner_iterations
    texts = text_answers(problem, search.best, budget=budget, seed=seed, on_finish=on_finish) if is_text else []
    seconds = (time.perf_counter() - started) / len(victims.captures)
    facts = {"attack": attack, "settings": settings.model_dump(), "seconds": seconds, "seed": seed}
    facts["engine"] = problem.choice.engine
    answers = [_answer(victims, victim, problem, search, facts) for victim in range(len(victims.captures))]
    return [with_text(answer, text) for answer, text in zip(answers, texts, strict=True)] if is_text else answers


def _answer(
    victims: Victims, victim: int, problem: MatchingProblem, search: Search, facts: Mapping[str, Any]
) -> Reconstruction:
    """Return the result of the search for one victim."""
    capture = victims.captures[victim]
    row = torch.tensor([victim])
    points, losses = (search.last, search.last_loss) if search.ends_last else (search.best, search.best_loss)
    inputs, logits = problem.split(points[row].cpu().float(), row)
    last, _ = problem.split(search.last[row].cpu().float(), row)
    known = victims.labels[victim] if victims.labels is not None else None
    curve = search.curves[victim]
    pictures = search.pictures.get(victim)
    if pictures:
        facts = {**facts, **snapshots_of(pictures, problem, capture.model.input, victim)}
    return Reconstruction(
        capture_id=capture.id,
        inputs=clamped(inputs[0], capture.model.input),
        labels=known.cpu() if known is not None else _found_labels(victims, victim, logits, float(losses[victim])),
        matching_loss=float(losses[victim]),
        last_inputs=clamped(last[0], capture.model.input),
        loss_history=curve[~curve.isnan()].cpu().float(),
        iterations=int(search.iterations[victim]),
        gradient_evaluations=int(search.evaluations[victim]),
        restarts=int(search.attempts[victim]),
        stop_reason=search.reasons[victim],
        **facts,
    )


def snapshots_of(
    pictures: Pictures, problem: MatchingProblem, spec: InputSpec, victim: int | None = None
) -> dict[str, Tensor]:
    """Return the pictures of a search as fields of its answer.

    Args:
        pictures: {step: candidate (unknowns,)}.
        problem: the problem that was searched.
        spec: spec of the inputs.
        victim: the number of its capture among all; needed of texts only.
    """
    points = torch.stack(list(pictures.values())).cpu().float()
    inputs, _ = problem.split(points, None if victim is None else torch.full((len(points),), victim))
    return {
        "snapshots": torch.stack([clamped(one, spec) for one in inputs]),
        "snapshot_steps": torch.tensor(list(pictures)),
    }


def _found_labels(victims: Victims, victim: int, logits: Tensor | None, loss: float) -> Tensor:
    """Return the labels (N,) that a search found, or the likely ones if its loss says that it did not match the update.

    Labels with which the update is not matched mean little. Of 72 labels of a trained LeNet (tests/bench_labels.py, N =
    2 and 4, 60 iterations), 58 were among the likely ones and 32 among those of searches that started there.
    """
    assert logits is not None  # noqa: S101 - there are logits if and only if there are no labels
    capture, likely = victims.captures[victim], victims.likely[victim] if victims.likely else None
    is_matched = loss <= (MATCHED * norm_of(capture, matched(capture))) ** 2
    if likely is not None and not is_matched:
        return likely.cpu()
    return labels_of(capture.training, free_targets(capture.training, logits[0]))


def initial_guess(kind: str, input_size: int, unknowns: int, generator: torch.Generator) -> Tensor:
    """Return an initial point (unknowns,): inputs drawn according to `kind`, label logits from N(0, 1)."""
    if kind == "uniform":
        inputs = torch.rand(input_size, generator=generator) * 0.1 + 0.45
    elif kind == "spikes":
        inputs = torch.randn(input_size, generator=generator).abs() * 0.1
    else:
        inputs = torch.randn(input_size, generator=generator)
    return torch.cat([inputs, torch.randn(unknowns - input_size, generator=generator)])


def clamped(inputs: Tensor, spec: InputSpec) -> Tensor:
    """Return images clamped to the range of the data; for events, only NaN and infinite values are replaced.

    Of texts, the most probable token of each position is returned, one-hot.

    Source: arXiv 2511.21181, Table III, which clamps images but not events.
    """
    finite = torch.nan_to_num(inputs, nan=spec.low)
    if spec.vocabulary:
        return one_hot(tokens_of(finite), spec)
    return finite if spec.timesteps else finite.clamp(spec.low, spec.high)


def batches(captures: Sequence[CapturedUpdate], settings: MatchingSettings) -> list[Batch]:
    """Return the captures grouped by problem, with as many slots as the memory limit allows.

    Raises:
        ConfigError: a single victim does not fit.
    """
    return shared_batches(
        captures,
        alike=same_problem,
        victim_bytes=lambda capture: victim_bytes(capture, settings),
        most=settings.victims_per_batch,
        memory_mb=settings.memory_mb,
        advice=f"raise it, or lower attack.history (now {settings.history})",
    )


def victim_bytes(capture: CapturedUpdate, settings: MatchingSettings) -> int:
    """Return an estimate of the memory of one victim: its L-BFGS history, parameters and activations."""
    spec = capture.model.input
    steps = spec.timesteps or (capture.model.spiking.timesteps if capture.model.spiking else 1)
    inputs = batch_size(capture) * spec.channels * spec.height * spec.width
    number = 8 if settings.precision == "float64" else 4
    unknowns = inputs * max(1, spec.timesteps) + batch_size(capture) * spec.classes
    history = 2 * settings.history * unknowns * number + 2 * settings.history**2 * 8
    # The parameters, their gradients and targets, and the states between local steps.
    copies = 4 + 3 * (len(local_steps(capture)) - 1)
    parameters = copies * sum(tensor.numel() for tensor in capture.parameters.values()) * number
    history += HELD * settings.snapshots * unknowns * number
    # Patches of 25 pixels and some fifty activation-sized tensors per step are kept for the double backward pass.
    # Of a text, few copies of its one-hot form are kept: layers see the rows of its embedding.
    activations = (12 if spec.vocabulary else 120) * inputs * (1 + steps) * number
    return history + parameters + activations


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
