"""BrainLeaks: model inversion of spiking models, which returns spikes.

Source: Poursiami, Alouani and Parsa, "BrainLeaks: On the Privacy-Preserving Properties of Neuromorphic Architectures
against Model Inversion Attacks", 2024, section 3. The paper and its published code differ in form; the defaults are
those of the code for MNIST, and `attacks.inversion_settings` offers both by name.

All classes, and all samples of each class, go through the model in one batch. The numbers of a class stay in their own
row and each class has its own random stream, so that classes do not affect one another except for rounding.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from attacks.contracts import Inversion, Progress, StopReason
from attacks.inversion_settings import BrainLeaksSettings, BrainLeaksV1Settings, BrainLeaksV2Settings
from attacks.matching.film import evenly, in_rows
from attacks.posterior import Target, log_posterior, mean_log_probability, model_id, own
from fl_sim.records import TrainedModel
from fl_sim.seeding import torch_stream

Score = Callable[[Tensor, Tensor], Tensor]
"""(spikes or their currents (T, N, ...), classes (N,)) -> (N,), one number per spike train."""

See = Callable[[int, Tensor], None]
"""Is told the number of a step and the spikes (T, classes, C, H, W) before it."""


class _BrainLeaks:
    """Common base of both versions: everything around their iterations."""

    name: str
    settings: BrainLeaksSettings

    def invert(
        self,
        model: TrainedModel,
        classes: Sequence[int],
        *,
        seed: int,
        device: str = "cpu",
        progress: Progress | None = None,
    ) -> Inversion:
        """Return spikes (T, C, H, W) for each class; see `attacks.contracts.ModelInversion`."""
        started = time.perf_counter()
        target = Target(model, spiking=True, attack=self.name, device=device, precision=self.settings.precision)
        labels = target.labels(classes)
        draws = Draws(seed, self.name, classes)
        shown, pictures = evenly(self.settings.iterations, self.settings.snapshots), dict[int, Tensor]()

        def see(step: int, spikes: Tensor) -> None:
            if step in shown:
                pictures[step] = spikes.mean(0)

        spikes, probabilities = self._search(target, labels, draws, see)
        see(self.settings.iterations, spikes)
        if progress is not None:
            progress(len(labels), len(labels))
        return Inversion(
            model_id=model_id(model),
            attack=self.name,
            settings=self.settings.model_dump(),
            classes=labels.cpu(),
            inputs=spikes.cpu(),
            probabilities=None if probabilities is None else probabilities.cpu(),
            confidence=target.confidence(spikes, labels),
            iterations=torch.full((len(labels),), self.settings.iterations),
            stop_reasons=(StopReason.BUDGET,) * len(labels),
            seed=seed,
            seconds=time.perf_counter() - started,
            **in_rows([{step: each[row] for step, each in pictures.items()} for row in range(len(labels))]),
        )

    def _search(self, target: Target, labels: Tensor, draws: Draws, see: See) -> tuple[Tensor, Tensor | None]:
        """Return spikes (T, classes, C, H, W), and the Bernoulli parameters from which they are drawn, if any."""
        raise NotImplementedError

    def _zeros(self, target: Target, labels: Tensor) -> Tensor:
        """Return the starting point of both versions, zeros (T, classes, C, H, W)."""
        shape = self.settings.timesteps or target.timesteps, len(labels), *target.input.frame
        return torch.zeros(shape, dtype=target.dtype, device=target.device)


class BrainLeaksV1(_BrainLeaks):
    """Increases the posterior by setting and clearing spikes according to the signs of its largest surrogate gradients.

    Source: section 3.2. The default is a random mask with min-max scaled gradients as probabilities, as in the code;
    the alternative is a threshold on gradients scaled by the largest (eq. 3). The iterations never settle, since the
    largest gradient is scaled to 1 however small it is; the answer is the state after the last iteration.
    """

    name = "brainleaks_v1"

    def __init__(self, settings: BrainLeaksV1Settings | None = None) -> None:
        self.settings: BrainLeaksV1Settings = settings or BrainLeaksV1Settings()

    def _search(self, target: Target, labels: Tensor, draws: Draws, see: See) -> tuple[Tensor, None]:
        settings, spikes = self.settings, self._zeros(target, labels)

        def posterior(candidates: Tensor, classes: Tensor) -> Tensor:
            outputs = target.output_spikes if settings.objective == "spikes" else target.potentials
            return own(log_posterior(outputs(candidates)), classes).exp()

        for step in range(settings.iterations):
            see(step, spikes)
            _, slopes = evaluate(posterior, spikes, labels, limit=settings.samples_per_pass)
            sizes = slopes.abs()
            if settings.mask == "bernoulli":
                mask = draws.below(min_max(sizes)[:, :, None])[:, :, 0]
            else:
                mask = at_least(sizes, settings.eta)
            spikes = (spikes + slopes.sign() * mask).clamp(0.0, 1.0)
        return spikes, None


class BrainLeaksV2(_BrainLeaks):
    """Fits the parameters X of Bernoulli distributions over spikes, using the gradients at K samples drawn from them.

    Source: section 3.3 and Algorithm 1. The defaults are those of the code for MNIST: samples weighted by their losses,
    and a growing accumulator; the alternatives are e^-L (eq. 4) and a moving average. The answer is X together with the
    first of the samples drawn last.
    """

    name = "brainleaks_v2"

    def __init__(self, settings: BrainLeaksV2Settings | None = None) -> None:
        self.settings: BrainLeaksV2Settings = settings or BrainLeaksV2Settings()

    def _search(self, target: Target, labels: Tensor, draws: Draws, see: See) -> tuple[Tensor, Tensor]:
        settings = self.settings
        probabilities = self._zeros(target, labels)
        velocity, squares = torch.zeros_like(probabilities), torch.zeros_like(probabilities)
        drawn = (*probabilities.shape[:2], settings.population, *target.input.frame)
        samples = probabilities[:, :, None].expand(drawn)
        for step in range(settings.iterations):
            see(step, samples[:, :, 0])
            # If no draw is random, all samples are equal and have equal weights, so one of them is enough.
            certain = bool(((probabilities == 0) | (probabilities == 1)).all())
            gradient = self._gradient(target, samples[:, :, :1] if certain else samples, labels)
            squares = accumulated(squares, gradient, settings.rho, settings.accumulator)
            velocity = settings.momentum * velocity + gradient
            rate = settings.learning_rate / (squares.sqrt() + settings.epsilon)
            probabilities = clamped(probabilities - rate * velocity, settings.clamp)
            samples = draws.below(probabilities[:, :, None].expand(drawn))
        return samples[:, :, 0], probabilities

    def _gradient(self, target: Target, samples: Tensor, labels: Tensor) -> Tensor:
        """Return each class's mean gradient (T, classes, C, H, W) over its samples (T, classes, K, C, H, W)."""
        together = max(1, self.settings.samples_per_pass // samples.shape[2])
        parts = zip(torch.split(samples, together, 1), torch.split(labels, together), strict=True)
        return torch.cat([self._part(target, *part) for part in parts], dim=1)

    def _part(self, target: Target, samples: Tensor, labels: Tensor) -> Tensor:
        """Return the result of `_gradient` for the classes that go through the model in one pass.

        Only the mean of the gradients is needed, and the currents are affine in the spikes. The mean is therefore taken
        over the gradients with respect to the currents and propagated through the first layer once per class. The
        backward pass of an affine layer does not depend on its input, so it is evaluated at each class's first sample.
        """
        settings, (classes, population) = self.settings, samples.shape[1:3]
        first = samples[:, :, 0].detach().requires_grad_()
        first_currents = target.currents(first)
        with torch.no_grad():
            others = target.currents(samples[:, :, 1:].flatten(1, 2))
            others = others.view(len(first), classes, population - 1, *first_currents.shape[2:])
            currents = torch.cat([first_currents[:, :, None], others], dim=2)

        def loss(currents: Tensor, classes: Tensor) -> Tensor:
            outputs = target.outputs_from(currents)
            if settings.loss == "probability":
                return 1.0 - own(log_posterior(outputs), classes).exp()
            return -own(mean_log_probability(outputs), classes)

        repeated = labels.repeat_interleave(population)
        losses, slopes = evaluate(loss, currents.flatten(1, 2), repeated, limit=settings.samples_per_pass)
        costs = losses.view(classes, population) + settings.xi * samples.mean((0, 3, 4, 5))
        weights = nes_weights(costs, settings.weights)
        mean = torch.einsum("nk,tnk...->tn...", weights, slopes.view(currents.shape))
        (gradient,) = torch.autograd.grad(first_currents, first, mean)
        # The share of voxels that spike has the same slope everywhere.
        return gradient + settings.xi / first[:, 0].numel()


class Draws:
    """Uniform numbers for each class from its own stream, so that they do not depend on the other classes."""

    def __init__(self, seed: int, attack: str, classes: Sequence[int]) -> None:
        self._streams = [torch_stream(seed, attack, label) for label in classes]

    def below(self, probabilities: Tensor) -> Tensor:
        """Return Bernoulli draws, 0 or 1, with probabilities (T, classes, K, C, H, W); each call draws anew."""
        drawn = []
        for stream, chances in zip(self._streams, probabilities.unbind(1), strict=True):
            drawn.append(torch.rand(chances.shape, generator=stream).to(chances) < chances)
        return torch.stack(drawn, dim=1).to(probabilities)


def evaluate(score: Score, spikes: Tensor, classes: Tensor, *, limit: int) -> tuple[Tensor, Tensor]:
    """Return the scores (N,) of spike trains (T, N, ...) and their gradients (T, N, ...).

    Args:
        score: computes the score of each spike train, or of its currents, independently of the others.
        spikes: the points at which the gradients are taken.
        classes: (N,).
        limit: maximum number of spike trains in one pass through the model.
    """
    scores, slopes = [], []
    for part, labels in zip(torch.split(spikes, limit, 1), torch.split(classes, limit), strict=True):
        points = part.detach().requires_grad_()
        values = score(points, labels)
        scores.append(values.detach())
        slopes.append(torch.autograd.grad(values.sum(), points)[0])
    return torch.cat(scores), torch.cat(slopes, dim=1)


def min_max(sizes: Tensor) -> Tensor:
    """Return sizes (T, N, C, H, W) scaled to [0, 1] over each recording; 0 for a constant recording."""
    low, high = sizes.amin((0, 2, 3, 4), keepdim=True), sizes.amax((0, 2, 3, 4), keepdim=True)
    span = high - low
    return torch.where(span > 0, (sizes - low) / span, 0.0)


def at_least(sizes: Tensor, eta: float) -> Tensor:
    """Return 1 where a size is at least eta times the largest in its recording (eq. 3), else 0; 0 if all are 0."""
    high = sizes.amax((0, 2, 3, 4), keepdim=True)
    return ((high > 0) & (sizes >= eta * high)).to(sizes)


def nes_weights(costs: Tensor, kind: Literal["proportional", "exponential"]) -> Tensor:
    """Return the weights (classes, K) of samples with costs (classes, K); each row sums to 1."""
    if kind == "exponential":
        return torch.softmax(-costs, dim=1)
    # 1 - p may round to 0, or just below it, if the model is certain of every sample.
    total = costs.clamp(min=0).sum(1, keepdim=True)
    return torch.where(total > 0, costs.clamp(min=0) / total, 1.0 / costs.shape[1])


def accumulated(squares: Tensor, gradient: Tensor, rho: float, kind: Literal["moving_average", "growing"]) -> Tensor:
    """Return the accumulator of squared gradients after one more gradient; all have the same shape."""
    update = rho * squares + (1.0 - rho) * gradient.square()
    return squares + update if kind == "growing" else update


def clamped(values: Tensor, kind: Literal["two_stage", "hard"]) -> Tensor:
    """Return values (T, N, C, H, W) limited to [0, 1]: clamped, or each recording divided by its largest value."""
    if kind == "hard":
        return values.clamp(0.0, 1.0)
    values = values.clamp(min=0.0)
    return values / values.amax((0, 2, 3, 4), keepdim=True).clamp(min=1.0)
