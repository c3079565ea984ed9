"""The common base of the attacks that descend along first-order slopes."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Hashable, Sequence
from typing import Any

import torch
from torch import Tensor

from attacks.contracts import Progress, Reconstruction, StopReason
from attacks.descent.fit import Course, descend
from attacks.descent.priors import with_dark_background
from attacks.descent.track import Track
from attacks.matching import clamped, snapshots_of
from attacks.matching.batching import shared_batches
from attacks.matching.problem import MatchingProblem
from attacks.reading.labels import best_labels
from attacks.settings import DescentSettings
from attacks.unattempted import not_attempted
from fl_sim.errors import ConfigError
from fl_sim.observed import batch_size, same_problem
from fl_sim.records import CapturedUpdate, InputSpec
from fl_sim.seeding import torch_stream

_LEVEL = {"black": 0.0, "grey": 0.5}
_SPREAD = 0.25


class DescentAttack:
    """An attack that descends from one candidate, or several, to the smallest loss of each victim.

    Subclasses say which problem a batch of victims is, and how to descend.
    """

    name = ""

    def __init__(self, settings: DescentSettings) -> None:
        self.settings = settings

    def case(self, capture: CapturedUpdate) -> Hashable:  # noqa: ARG002 - for attacks that treat some victims otherwise
        """Return a key that victims share which can be attacked together, besides being of one problem."""
        return None

    def problem(self, captures: Sequence[CapturedUpdate], labels: Sequence[Tensor], *, device: str) -> MatchingProblem:
        """Return the problem of victims that share a batch, with labels (N,) of each."""
        raise NotImplementedError

    def course(self, spec: InputSpec) -> Course:
        """Return how to descend."""
        raise NotImplementedError

    def start_of(self, spec: InputSpec) -> str:
        """Return the kind of the first candidate: "black", "grey" or "normal"."""
        raise NotImplementedError

    def reconstruct(
        self, captures: Sequence[CapturedUpdate], *, seed: int, device: str = "cpu", progress: Progress | None = None
    ) -> list[Reconstruction]:
        """Return one reconstruction for each captured update, in the same order.

        Args:
            captures: captured updates of any model specs; each may have its own parameters.
            seed: seed of the random candidates; those of a victim depend only on the seed and its capture id.
            device: where to compute.
            progress: called whenever victims are finished.

        Raises:
            ConfigError: a client reads texts, a model is not one that this attack takes, a capture is a delta without
                a learning rate, or a victim does not fit into `memory_mb`.
        """
        found: dict[int, Reconstruction] = {}
        for capture in captures:
            if capture.model.input.vocabulary:
                raise ConfigError(
                    f"attack.name: '{self.name}' makes images and recordings, and {capture.id} comes from texts; use "
                    "dlg or idlg."
                )
        small = [index for index, one in enumerate(captures) if batch_size(one) <= self.settings.most_examples]
        for index in (index for index in range(len(captures)) if index not in small):
            labels = best_labels(captures[index])
            found[index] = not_attempted(self.name, self.settings, captures[index], labels, seed=seed)
        if found and progress is not None:
            progress(len(found), len(captures))
        for rows in self._batches([captures[index] for index in small]):
            indices = [small[row] for row in rows]
            chosen = [captures[index] for index in indices]
            found |= zip(indices, self._answers(chosen, seed=seed, device=device), strict=True)
            if progress is not None:
                progress(len(found), len(captures))
        return [found[index] for index in range(len(captures))]

    def _batches(self, captures: Sequence[CapturedUpdate]) -> list[list[int]]:
        """Return indices of captures that are attacked together, within the memory limit."""
        groups = shared_batches(
            captures,
            alike=lambda capture: (*same_problem(capture), self.case(capture)),
            victim_bytes=self._victim_bytes,
            most=self.settings.victims_per_batch,
            memory_mb=self.settings.memory_mb,
            advice="raise it",
        )
        return [indices[at : at + slots] for indices, slots in groups for at in range(0, len(indices), slots)]

    def _victim_bytes(self, capture: CapturedUpdate) -> int:
        """Return an estimate of the memory of one victim: parameters, their gradients and targets, and activations."""
        spec = capture.model.input
        steps = spec.timesteps or (capture.model.spiking.timesteps if capture.model.spiking else 1)
        inputs = batch_size(capture) * math.prod(spec.frame)
        parameters = 4 * sum(tensor.numel() for tensor in capture.parameters.values())
        return (parameters + 120 * inputs * (1 + steps)) * (8 if self.settings.precision == "float64" else 4)

    def _answers(self, captures: Sequence[CapturedUpdate], *, seed: int, device: str) -> list[Reconstruction]:
        """Return the answers to victims that share a batch."""
        started = time.perf_counter()
        labels = [best_labels(capture) for capture in captures]
        spec, tracks = captures[0].model.input, []
        course = dataclasses.replace(self.course(spec), snapshots=self.settings.snapshots)
        for attempt in range(1 + self.settings.restarts):
            problem = self.problem(captures, labels, device=device)
            points = torch.stack([self._candidate(problem, capture, seed, attempt) for capture in captures])
            tracks.append(descend(problem, points.to(device), course))
        best = torch.stack([track.best_loss for track in tracks]).argmin(0)
        points = torch.stack([tracks[int(attempt)].best[victim] for victim, attempt in enumerate(best)])
        losses, _ = problem.evaluate(points)
        seconds = (time.perf_counter() - started) / len(captures)
        facts = [
            self._facts(problem, tracks, int(attempt), victim, seconds=seconds, seed=seed)
            for victim, attempt in enumerate(best)
        ]
        return [
            Reconstruction(
                capture_id=capture.id,
                inputs=self._finished(problem, points[victim], spec),
                labels=labels[victim].cpu(),
                matching_loss=float(losses[victim]),
                last_inputs=self._finished(problem, tracks[int(best[victim])].last[victim], spec),
                **facts[victim],
            )
            for victim, capture in enumerate(captures)
        ]

    def _facts(
        self, problem: MatchingProblem, tracks: Sequence[Track], best: int, victim: int, *, seconds: float, seed: int
    ) -> dict[str, Any]:
        """Return the fields of an answer that say how it was made."""
        evaluations = sum(int(track.evaluations[victim]) for track in tracks)
        pictures = {step: self._brightened(point) for step, point in tracks[best].pictures_of(victim).items()}
        return {
            **(snapshots_of(pictures, problem, problem.captures[victim].model.input) if pictures else {}),
            "attack": self.name,
            "settings": self.settings.model_dump(),
            "loss_history": torch.stack(tracks[best].curve)[:, victim].cpu().float(),
            "iterations": evaluations - len(tracks),
            "gradient_evaluations": evaluations,
            "restarts": len(tracks),
            "stop_reason": StopReason.DIVERGED if bool(tracks[best].diverged[victim]) else StopReason.BUDGET,
            "seconds": seconds,
            "seed": seed,
            "engine": problem.engine.name,
        }

    def _candidate(self, problem: MatchingProblem, capture: CapturedUpdate, seed: int, attempt: int) -> Tensor:
        """Return the initial candidate (unknowns,) of an attempt."""
        generator = torch_stream(seed, "candidate", capture.id, attempt)
        start = self.start_of(capture.model.input) if attempt == 0 else "normal"
        noise = torch.randn(problem.unknowns, generator=generator)
        pixels = (0.5 + _SPREAD * noise).clamp(0.0, 1.0) if start == "normal" else torch.full_like(noise, _LEVEL[start])
        point = torch.cat([pixels[: problem.input_size], noise[problem.input_size :]])
        return point.to(getattr(torch, self.settings.precision))

    def _finished(self, problem: MatchingProblem, point: Tensor, spec: InputSpec) -> Tensor:
        """Return the inputs at a point (unknowns,), with the prior of dark backgrounds if there is one."""
        inputs, _ = problem.split(self._brightened(point)[None].cpu().float())
        return clamped(inputs[0], spec)

    def _brightened(self, point: Tensor) -> Tensor:
        """Return a point (unknowns,) with the prior of dark backgrounds if there is one."""
        margin = self.settings.dark_background
        return with_dark_background(point, margin) if margin else point
