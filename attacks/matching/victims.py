"""Victims that share a batch: what is known of them, and how many the memory allows at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from attacks.matching.batching import Batch, shared_batches
from attacks.matching.film import HELD
from attacks.matching.problem import Labels
from attacks.settings import MatchingSettings
from fl_sim.observed import batch_size, local_steps, same_problem
from fl_sim.records import CapturedUpdate


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
