"""MI-Face: gradient descent on the input of a trained ANN."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import Tensor

from attacks.contracts import Inversion, Progress, StopReason
from attacks.inversion_settings import MIFaceSettings
from attacks.matching.film import Film, in_rows
from attacks.posterior import Target, log_posterior, model_id, own
from fl_sim.records import TrainedModel


class MIFace:
    """Gradient descent on the cost 1 - M_y(x) from x = 0, in parallel for all classes, each until it ends.

    Source: Fredrikson, Jha and Ristenpart, "Model Inversion Attacks that Exploit Confidence Information", CCS 2015,
    Algorithm 1, in the form and with the constants of the published code of BrainLeaks (Poursiami, Alouani and Parsa
    2024), section 4.1. Algorithm 1 returns the best x; that code, and this, return the last. There is no auxiliary
    term, auto-encoder or other processing; "accumulating" steps are not clamped, so that pixels may leave the range.

    It inverts ANNs only: a spiking model reads spikes, and the adversary cannot choose how it encodes an image. Nothing
    is drawn, so all seeds give the same result.
    """

    name = "mi_face"

    def __init__(self, settings: MIFaceSettings | None = None) -> None:
        self.settings = settings or MIFaceSettings()

    def invert(
        self,
        model: TrainedModel,
        classes: Sequence[int],
        *,
        seed: int,
        device: str = "cpu",
        progress: Progress | None = None,
    ) -> Inversion:
        """Return an image (C, H, W) for each class; see `attacks.contracts.ModelInversion`."""
        started = time.perf_counter()
        target = Target(model, spiking=False, attack=self.name, device=device, precision=self.settings.precision)
        labels = target.labels(classes)
        descent = Descent(target, labels, self.settings)
        films = [Film(self.settings.snapshots, image) for image in descent.images] if self.settings.snapshots else []
        reported = 0
        for step in range(self.settings.iterations):
            if len(descent.rows) == 0:
                break
            for row in descent.rows.tolist() if films else ():
                films[row].see(step, descent.images[row])
            descent.step()
            finished = len(labels) - len(descent.rows)
            if progress is not None and finished > reported:
                reported = finished
                progress(reported, len(labels))
        if progress is not None and reported < len(labels):
            progress(len(labels), len(labels))
        ends = zip(descent.iterations.tolist(), descent.images, strict=True)
        pictures = [film.developed(*end) for film, end in zip(films, ends, strict=False)]
        return Inversion(
            model_id=model_id(model),
            attack=self.name,
            settings=self.settings.model_dump(),
            classes=labels.cpu(),
            inputs=descent.images.cpu(),
            probabilities=None,
            confidence=target.confidence(descent.images, labels),
            iterations=descent.iterations.cpu(),
            stop_reasons=tuple(descent.reasons),
            seed=seed,
            seconds=time.perf_counter() - started,
            **in_rows(pictures),
        )


class Descent:
    """The state of K descents, and their step.

    Args:
        target: the model.
        labels: (K,).
        settings: of MI-Face.

    Attributes:
        images: (K, C, H, W), the current iterates.
        iterations: (K,), steps taken.
        reasons: how each descent ended; budget spent for those that are still running.
        rows: indices of the running descents.
    """

    def __init__(self, target: Target, labels: Tensor, settings: MIFaceSettings) -> None:
        self._target, self._labels, self._settings = target, labels, settings
        count = len(labels)
        self.images = torch.zeros(count, *target.input.frame, dtype=target.dtype, device=target.device)
        self.iterations = torch.zeros(count, dtype=torch.int64, device=target.device)
        self.reasons = [StopReason.BUDGET] * count
        self.rows = torch.arange(count, device=target.device)
        self._slopes = torch.zeros_like(self.images)
        self._costs = self.images.new_full((count,), torch.inf)
        self._idle = torch.zeros_like(self.iterations)

    def step(self) -> None:
        """Take a step in each running descent, and end those whose cost before the step meets a criterion."""
        rows, settings = self.rows, self._settings
        costs, slopes = self._evaluate(self.images[rows], self._labels[rows])
        if settings.steps == "accumulating":
            slopes = self._slopes[rows] = self._slopes[rows] + slopes
        moved = self.images[rows] - settings.learning_rate * slopes
        if settings.steps == "projected":
            moved = moved.clamp(self._target.input.low, self._target.input.high)
        self.images[rows] = moved
        self.iterations[rows] += 1
        # The comparison is with the previous iteration, not with the best so far; any decrease resets the count.
        self._idle[rows] = torch.where(costs >= self._costs[rows], self._idle[rows] + 1, 0)
        self._costs[rows] = costs
        self._end(costs)

    def _end(self, costs: Tensor) -> None:
        converged, stalled = costs <= self._settings.tolerance, self._idle[self.rows] >= self._settings.patience
        diverged = ~torch.isfinite(self.images[self.rows].flatten(1).sum(1) + costs)
        over = converged | stalled | diverged
        for index in over.nonzero().flatten().tolist():
            reason = StopReason.CONVERGED if converged[index] else StopReason.STALLED
            self.reasons[int(self.rows[index])] = StopReason.DIVERGED if diverged[index] else reason
        self.rows = self.rows[~over]

    def _evaluate(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the costs (n,) of images (n, C, H, W) and their gradients."""
        images = images.detach().requires_grad_()
        costs = 1.0 - own(log_posterior(self._target.outputs(images)), labels).exp()
        (slopes,) = torch.autograd.grad(costs.sum(), images)
        return costs.detach(), slopes
