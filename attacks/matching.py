"""Gradient matching: find inputs whose gradients are those that were captured.

The engine under DLG and iDLG. V victims run side by side; each has its own model parameters, guess, history, step and
stop state. Two things differ from the published loops because measurements ask for them: an attempt whose candidate
runs away is stopped (and started anew where restarts are left), and the answer is the candidate with the smallest
matching loss over all iterates and restarts, not the last one. On spiking models the second derivative is that of a
surrogate, so steps need not go downhill and the last iterate is no result.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from attacks.contracts import Progress, Reconstruction
from attacks.folding import Fold
from attacks.search import Search
from attacks.settings import MatchingSettings
from attacks.thresholding import IN, POST, STRAIGHT_THROUGH, straight_through, threshold, thresholded
from fl_sim.errors import ConfigError
from fl_sim.records import CapturedUpdate, InputSpec
from fl_sim.seeding import torch_stream

Labels = Sequence[Tensor] | None
"""The labels (N,) of each victim, or None where they are optimised with the input."""


def observed_gradient(capture: CapturedUpdate) -> dict[str, Tensor]:
    """Return the gradient that a captured update holds, by parameter name.

    A weight delta of S plain SGD steps is -lr times the sum of the gradients along the way; it is divided by -lr S.
    That is exact, but for rounding, for one step and an average over the path for more.

    Raises:
        ConfigError: a delta whose learning rate or number of steps the server did not set.
    """
    if capture.kind == "gradient":
        return dict(capture.update)
    missing = [name for name in ("learning_rate", "local_steps") if getattr(capture, name) is None]
    if capture.learning_rate is None or capture.local_steps is None:
        raise ConfigError(
            f"{capture.id}: a weight delta needs the clients' learning rate and number of local steps, and the capture "
            f"has no {' and no '.join(missing)}. Send them in the train config ('learning-rate', 'local-steps'), or "
            "set them with dataclasses.replace(capture, ...)."
        )
    scale = -1.0 / (capture.learning_rate * capture.local_steps)
    return {name: scale * delta for name, delta in capture.update.items()}


def batch_size(capture: CapturedUpdate) -> int:
    """Return N, the number of examples behind a captured update, as far as the server knows."""
    if capture.batch_size is None:
        return capture.num_examples
    return capture.batch_size * (capture.local_steps or 1)


class MatchingProblem:
    """The matching loss of V victims and its gradient.

    A victim's unknowns are one row: its N inputs, flattened, and N*classes label logits where labels are unknown.

    Args:
        captures: one a victim; all of one model spec and batch size.
        labels: known labels of each victim, or None to optimise them.
        precision: torch dtype to compute in.
        device: where to compute.
        tau: the inputs are what the unknowns give by straight-through thresholding at tau; None for the unknowns.
    """

    def __init__(
        self,
        captures: Sequence[CapturedUpdate],
        labels: Labels,
        *,
        precision: torch.dtype,
        device: str,
        tau: float | None = None,
    ) -> None:
        spec = captures[0].model.input
        self.examples = batch_size(captures[0])
        self.input_shape = (spec.timesteps,) * bool(spec.timesteps) + (self.examples, *spec.frame)
        self.input_size = math.prod(self.input_shape)
        self._tau = tau
        self.classes = spec.classes
        self.labels = None if labels is None else torch.stack(list(labels)).to(device)
        self.fold = Fold(
            captures[0].model, [capture.parameters for capture in captures], device=device, dtype=precision
        )
        observed = [observed_gradient(capture) for capture in captures]
        self.targets = {
            name: torch.stack([gradient[name] for gradient in observed]).to(device=device, dtype=precision)
            for name in observed[0]
        }

    @property
    def unknowns(self) -> int:
        """Return the length of a victim's row of unknowns."""
        return self.input_size + (self.examples * self.classes if self.labels is None else 0)

    def keep(self, rows: Tensor) -> None:
        """Drop all victims but those at indices `rows`."""
        self.fold.keep(rows)
        self.targets = {name: target[rows] for name, target in self.targets.items()}
        self.labels = None if self.labels is None else self.labels[rows]

    def split(self, points: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return inputs and label logits (V, N, classes), or None, of points (V, unknowns).

        Inputs are (V, N, C, H, W), or (V, T, N, C, H, W) of events.
        """
        inputs = points[:, : self.input_size].view(-1, *self.input_shape)
        if self._tau is not None:
            inputs = straight_through(inputs, self._tau)
        logits = points[:, self.input_size :].view(-1, self.examples, self.classes) if self.labels is None else None
        return inputs, logits

    def evaluate(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return matching losses (V,) and their gradients (V, unknowns) at points (V, unknowns).

        The loss is the sum of squared differences over all named tensors (arXiv 2511.21181, eq. 2).
        """
        points = points.detach().requires_grad_()
        inputs, label_logits = self.split(points)
        log_probabilities = F.log_softmax(self.fold.logits(inputs), dim=-1)
        if label_logits is None:
            assert self.labels is not None  # noqa: S101 - split() returns logits exactly where there are no labels
            targets = F.one_hot(self.labels, self.classes).to(log_probabilities)
        else:
            targets = label_logits.softmax(dim=-1)
        losses = -(targets * log_probabilities).sum(-1).mean(-1)
        gradients = self.fold.gradients(losses)
        distances = [(gradient - self.targets[name]).flatten(1).square().sum(1) for name, gradient in gradients.items()]
        matching = torch.stack(distances).sum(0)
        (slope,) = torch.autograd.grad(matching.sum(), points)
        return matching.detach(), slope


@dataclass(frozen=True)
class Victims:
    """A batch of victims and what the attack decided about each before the search.

    Attributes:
        captures: one a victim.
        labels: (N,) of each victim, or None where labels are optimised with the inputs.
    """

    captures: Sequence[CapturedUpdate]
    labels: Labels


def reconstruct(
    attack: str,
    settings: MatchingSettings,
    victims: Victims,
    *,
    seed: int,
    device: str,
    on_finish: Callable[[int], None],
) -> list[Reconstruction]:
    """Run gradient matching on one batch of victims side by side and return a reconstruction of each."""
    started = time.perf_counter()
    precision = getattr(torch, settings.precision)
    tau = settings.tau if settings.thresholding == STRAIGHT_THROUGH else None
    problem = MatchingProblem(victims.captures, victims.labels, precision=precision, device=device, tau=tau)
    unknowns = problem.unknowns

    def guess(victim: int, attempt: int) -> Tensor:
        generator = torch_stream(seed, "guess", victims.captures[victim].id, attempt)
        # A second grey guess lies next to the first and runs away like it; restarts look elsewhere.
        kind = settings.guess if attempt == 0 or settings.guess == "spikes" else "normal"
        return initial_guess(kind, problem.input_size, unknowns, generator)

    points = torch.stack([guess(victim, 0) for victim in range(len(victims.captures))])
    project = _binarised(problem.input_size, settings.tau) if settings.thresholding == IN else None
    search = Search(problem, guess, settings, points.to(device=device, dtype=precision), project=project)
    search.run(on_finish)
    seconds = (time.perf_counter() - started) / len(victims.captures)
    told = {"attack": attack, "settings": settings.model_dump(), "seconds": seconds, "seed": seed}
    return [_answer(victims, victim, problem, search, told) for victim in range(len(victims.captures))]


def _binarised(input_size: int, tau: float) -> Callable[[Tensor], Tensor]:
    """Return Algorithm 2's "Binarize: x' <- (x' > tau)" of points (V, unknowns); label logits stay as they are."""

    def project(points: Tensor) -> Tensor:
        return torch.cat([threshold(points[:, :input_size], tau), points[:, input_size:]], 1)

    return project


def _answer(
    victims: Victims, victim: int, problem: MatchingProblem, search: Search, told: Mapping[str, Any]
) -> Reconstruction:
    """Return what the search found for one victim."""
    capture = victims.captures[victim]
    inputs, logits = problem.split(search.best[victim : victim + 1].cpu().float())
    last, _ = problem.split(search.last[victim : victim + 1].cpu().float())
    known = victims.labels[victim] if victims.labels is not None else None
    curve = search.curves[victim]
    return Reconstruction(
        capture_id=capture.id,
        inputs=clamped(inputs[0], capture.model.input),
        labels=known.cpu() if known is not None else logits[0].argmax(-1),  # type: ignore[index]
        matching_loss=float(search.best_loss[victim]),
        last_inputs=clamped(last[0], capture.model.input),
        loss_history=curve[~curve.isnan()].cpu().float(),
        iterations=int(search.iterations[victim]),
        gradient_evaluations=int(search.evaluations[victim]),
        restarts=int(search.attempts[victim]),
        stop_reason=search.reasons[victim],
        **told,
    )


def initial_guess(kind: str, input_size: int, unknowns: int, generator: torch.Generator) -> Tensor:
    """Return a first point (unknowns,): the inputs by `kind`, label logits from N(0, 1)."""
    if kind == "uniform":
        inputs = torch.rand(input_size, generator=generator) * 0.1 + 0.45
    elif kind == "spikes":
        inputs = torch.randn(input_size, generator=generator).abs() * 0.1
    else:
        inputs = torch.randn(input_size, generator=generator)
    return torch.cat([inputs, torch.randn(unknowns - input_size, generator=generator)])


def clamped(inputs: Tensor, spec: InputSpec) -> Tensor:
    """Return images inside the range of the data; of events, only a value that is no number is changed.

    The clamp of images, and none for events: arXiv 2511.21181, Table III.
    """
    finite = torch.nan_to_num(inputs, nan=spec.low)
    return finite if spec.timesteps else finite.clamp(spec.low, spec.high)


def batches(captures: Sequence[CapturedUpdate], settings: MatchingSettings) -> list[list[int]]:
    """Return the indices of captures that can share a batch, at most as many as the settings' memory allows.

    Raises:
        ConfigError: not even one victim fits.
    """
    groups: dict[tuple[object, int], list[int]] = {}
    for index, capture in enumerate(captures):
        groups.setdefault((capture.model, batch_size(capture)), []).append(index)
    result = []
    for indices in groups.values():
        first = captures[indices[0]]
        fitting = settings.memory_mb * 2**20 // victim_bytes(first, settings)
        if fitting == 0:
            needed = victim_bytes(first, settings) // 2**20
            raise ConfigError(
                f"attack.memory_mb: one victim like {first.id} ({batch_size(first)} examples) takes about {needed} MB, "
                f"the limit is {settings.memory_mb}; raise it, or lower attack.history (now {settings.history})."
            )
        size = min(settings.victims_per_batch, fitting)
        result += [indices[start : start + size] for start in range(0, len(indices), size)]
    return result


def victim_bytes(capture: CapturedUpdate, settings: MatchingSettings) -> int:
    """Return an estimate of the memory of one victim: its L-BFGS history, parameters and activations."""
    spec = capture.model.input
    steps = spec.timesteps or (capture.model.spiking.timesteps if capture.model.spiking else 1)
    inputs = batch_size(capture) * spec.channels * spec.height * spec.width
    number = 8 if settings.precision == "float64" else 4
    unknowns = inputs * max(1, spec.timesteps) + batch_size(capture) * spec.classes
    history = 2 * settings.history * unknowns * number + 2 * settings.history**2 * 8
    parameters = 4 * sum(tensor.numel() for tensor in capture.parameters.values()) * number
    # Patches of 25 pixels and some fifty activation-sized tensors a step live through the double backward pass.
    activations = 120 * inputs * (1 + steps) * number
    return history + parameters + activations


class MatchingAttack:
    """What DLG and iDLG share: settings in, one batch after the other, reconstructions in the captures' order."""

    name = ""

    def __init__(self, settings: MatchingSettings) -> None:
        self.settings = settings

    def labels(self, captures: Sequence[CapturedUpdate]) -> Labels:
        """Return the labels that this attack knows before the search, or None where it optimises them."""
        raise NotImplementedError

    def reconstruct(
        self, captures: Sequence[CapturedUpdate], *, seed: int, device: str = "cpu", progress: Progress | None = None
    ) -> list[Reconstruction]:
        """Return one reconstruction for each captured update, in the same order.

        Args:
            captures: of any model spec; each may have its own parameters.
            seed: of the initial guesses; a victim's guess depends on the seed and its capture id only.
            device: where to compute.
            progress: called whenever victims are finished.

        Raises:
            ConfigError: a model that cannot be folded, or a delta without a learning rate.
        """
        found: dict[int, Reconstruction] = {}
        done = 0

        def on_finish(count: int) -> None:
            nonlocal done
            done += count
            if progress is not None:
                progress(done, len(captures))

        for indices in batches(captures, self.settings):
            chosen = [captures[index] for index in indices]
            victims = Victims(chosen, self.labels(chosen))
            results = reconstruct(self.name, self.settings, victims, seed=seed, device=device, on_finish=on_finish)
            if self.settings.thresholding == POST:
                results = [thresholded(result, self.settings.tau) for result in results]
            found |= dict(zip(indices, results, strict=True))
        return [found[index] for index in range(len(captures))]
