"""Generative Regression Neural Network: one generator per victim, fitted to the captured gradient."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Sequence

import torch
from torch import Tensor

from attacks.contracts import Progress, Reconstruction, StopReason
from attacks.descent.track import Track
from attacks.grnn.generator import LATENT, Generators, draw, layout_of
from attacks.grnn.rmsprop import RMSprop, RMSpropRule
from attacks.matching import MatchingProblem, clamped, snapshots_of
from attacks.matching.batching import shared_batches
from attacks.matching.film import evenly
from attacks.settings import LAST, GRNNSettings
from fl_sim.errors import ConfigError
from fl_sim.losses import free_targets, labels_of
from fl_sim.observed import batch_size, same_problem
from fl_sim.records import CapturedUpdate
from fl_sim.seeding import torch_stream

_CURVE_POINTS = 300


class GRNN:
    """Fits a generator of input and soft label, one per victim, to the captured gradient.

    The unknowns are the parameters of a small network with a fixed latent input; its pixels are in the data's range by
    construction. The loss is |D|^2 + |D| + w TV(x), where D is the difference of the gradients: the "Wasserstein
    distance" of the published code is the Euclidean norm of D. The published code takes the logarithm of a softmax,
    which underflows; log_softmax is used here. The answer is the candidate with the smallest |D|^2, not a late one,
    unless the settings ask for the last.

    `Reconstruction.loss_history` holds |D|^2 of every k-th iterate, with the smallest k that gives at most 300 points.

    Source: Ren, Deng and Xie, "GRNN: Generative Regression Neural Network - A Data Leakage Attack for Federated
    Learning", ACM TIST 13(4), 2022, with the constants of its published code. That code resizes everything to 32x32x3;
    this class generates images of the model's own size. Adversary B: the update and the prior that images are smooth.
    Labels that the threat model gives to the server (`CapturedUpdate.labels`) are used directly.
    """

    name = "grnn"

    def __init__(self, settings: GRNNSettings | None = None) -> None:
        self.settings = settings or GRNNSettings()

    def reconstruct(
        self, captures: Sequence[CapturedUpdate], *, seed: int, device: str = "cpu", progress: Progress | None = None
    ) -> list[Reconstruction]:
        """Return one reconstruction for each captured update, in the same order.

        Args:
            captures: captured updates of any model specs; each may have its own parameters.
            seed: seed of latents and generators; those of a victim depend only on the seed and its capture id.
            device: where to compute.
            progress: called whenever victims are finished.

        Raises:
            ConfigError: a capture is of events or texts, its model cannot be folded, it is a delta without a learning
                rate, or a victim does not fit into `memory_mb`.
        """
        for capture in captures:
            if capture.model.input.vocabulary > 0:
                raise ConfigError(
                    f"attack.name: 'grnn' makes images, and {capture.id} comes from texts; use dlg or idlg."
                )
            if capture.model.input.timesteps > 0:
                raise ConfigError(
                    f"attack.name: 'grnn' makes images, and {capture.id} comes from event recordings; use dlg or idlg."
                )
        found: dict[int, Reconstruction] = {}
        for indices in batches(captures, self.settings):
            started = time.perf_counter()
            chosen = [captures[index] for index in indices]
            fit = _Fit(chosen, self.settings, seed=seed, device=device)
            track = fit.run()
            seconds = (time.perf_counter() - started) / len(chosen)
            for victim, index in enumerate(indices):
                found[index] = self._answer(fit, track, victim, seconds=seconds, seed=seed)
            if progress is not None:
                progress(len(found), len(captures))
        return [found[index] for index in range(len(captures))]

    def _answer(self, fit: _Fit, track: Track, victim: int, *, seconds: float, seed: int) -> Reconstruction:
        """Return the result of the fit for one victim."""
        capture = fit.captures[victim]
        ends_last = self.settings.answer == LAST
        points, losses = (track.last, track.last_loss) if ends_last else (track.best, track.best_loss)
        inputs, logits = fit.problem.split(points[victim : victim + 1].cpu().float())
        last, _ = fit.problem.split(track.last[victim : victim + 1].cpu().float())
        labels = capture.labels
        if logits is not None:
            labels = labels_of(capture.training, free_targets(capture.training, logits[0]))
        assert labels is not None  # noqa: S101 - without logits the capture's labels are known
        evaluations, pictures = int(track.evaluations[victim]), track.pictures_of(victim)
        return Reconstruction(
            **(snapshots_of(pictures, fit.problem, capture.model.input) if pictures else {}),
            capture_id=capture.id,
            attack=self.name,
            settings=self.settings.model_dump(),
            inputs=clamped(inputs[0], capture.model.input),
            labels=labels.cpu(),
            matching_loss=float(losses[victim]),
            last_inputs=clamped(last[0], capture.model.input),
            loss_history=torch.stack(track.curve)[:, victim].cpu().float(),
            iterations=evaluations - 1,
            gradient_evaluations=evaluations,
            restarts=1,
            stop_reason=StopReason.DIVERGED if bool(track.diverged[victim]) else StopReason.BUDGET,
            seconds=seconds,
            seed=seed,
            engine=fit.problem.choice.engine,
        )


class _Fit:
    """The generators of one batch of victims and their optimisation, for one call of `run`."""

    def __init__(self, captures: Sequence[CapturedUpdate], settings: GRNNSettings, *, seed: int, device: str) -> None:
        self.captures, self._settings = captures, settings
        known = [capture.labels for capture in captures if capture.labels is not None]
        precision = getattr(torch, settings.precision)
        self.problem = MatchingProblem(captures, known or None, precision=precision, device=device)
        spec = captures[0].model.input
        streams = [torch_stream(seed, "generator", capture.id) for capture in captures]
        latents = torch.stack([torch.randn(self.problem.examples, LATENT, generator=stream) for stream in streams])
        first = [draw(layout_of(spec), spec.classes, stream) for stream in streams]
        self._generators = Generators(
            spec, latents.to(device=device, dtype=precision), first, labels=self.problem.labels is None
        )
        rule = RMSpropRule(settings.learning_rate, settings.momentum, settings.alpha)
        self._optimiser = RMSprop(self._generators.parameters, self._generators.spans, rule)

    def run(self) -> Track:
        """Take all steps, or stop early if all victims have diverged; return the candidates."""
        every = math.ceil((self._settings.steps + 1) / _CURVE_POINTS)
        shown = evenly(self._settings.steps, self._settings.snapshots)
        points = self._generators.points()
        track = Track.start(points.detach())
        for step in range(self._settings.steps + 1):
            losses, slopes = self.problem.evaluate(points)
            track.see(points.detach(), losses)
            if step % every == 0:
                track.curve.append(losses)
            over = step == self._settings.steps or bool(track.diverged.all())
            if step in shown or (over and shown):
                track.pictures[step] = track.last
            if over:
                break
            self._descend(points, losses, slopes)
            points = self._generators.points()
        return track

    def _descend(self, points: Tensor, losses: Tensor, slopes: Tensor) -> None:
        """Take a descent step on |D|^2 + |D| + w TV, given |D|^2 and its slope at the points."""
        # |D| is not differentiable at D = 0, where nothing is left to match; torch's norm also uses 0 there.
        factor = torch.where(losses > 0, 1.0 + 0.5 / losses.sqrt(), 1.0)
        inputs, _ = self.problem.split(points)
        smoothness = self._settings.tv_weight / self.problem.range**2 * total_variation(inputs).sum()
        objective = (points * (factor[:, None] * slopes)).sum() + smoothness
        self._optimiser.step(torch.autograd.grad(objective, list(self._generators.parameters.values())))


def total_variation(inputs: Tensor) -> Tensor:
    """Return (V,), twice the sum of the mean squared differences of vertical and of horizontal neighbours.

    As in the published code, each sum is divided by its number of terms, so that the value does not depend on the
    size. (V, N, C, H, W) -> (V,).
    """
    down = (inputs[..., 1:, :] - inputs[..., :-1, :]).square()
    across = (inputs[..., 1:] - inputs[..., :-1]).square()
    return 2.0 * (down.flatten(1).mean(1) + across.flatten(1).mean(1))


def batches(captures: Sequence[CapturedUpdate], settings: GRNNSettings) -> list[list[int]]:
    """Return batches of indices of captures that can be attacked together within the memory limit of the settings.

    Raises:
        ConfigError: a single victim does not fit.
    """
    groups = shared_batches(
        captures,
        alike=lambda capture: (*same_problem(capture), capture.labels is None),
        victim_bytes=lambda capture: victim_bytes(capture, settings),
        most=settings.victims_per_batch,
        memory_mb=settings.memory_mb,
        advice="raise it",
    )
    return [indices[at : at + slots] for indices, slots in groups for at in range(0, len(indices), slots)]


def victim_bytes(capture: CapturedUpdate, settings: GRNNSettings) -> int:
    """Return an estimate of the memory of one victim: generator, optimiser state, parameters and activations."""
    spec, examples = capture.model.input, batch_size(capture)
    layout = layout_of(spec)
    first = 2 * layout.widths[0] * math.prod(layout.base)
    convolutions = sum(18 * inward * outward for inward, outward in itertools.pairwise(layout.widths))
    # With one example the first layers' weights are not stored, but those of all victims exist when they are drawn.
    generator = (LATENT * (first + spec.classes) * (1 if examples == 1 else 5)) + 5 * convolutions
    parameters = 4 * sum(tensor.numel() for tensor in capture.parameters.values())
    steps = capture.model.spiking.timesteps if capture.model.spiking else 1
    inputs = examples * spec.channels * spec.height * spec.width
    # As in the other matching attacks, plus some ten maps of 32 channels and their taps in the generator.
    activations = 120 * inputs * (1 + steps) + 12 * examples * spec.height * spec.width * 2 * 32
    return (generator + parameters + activations) * (8 if settings.precision == "float64" else 4)
