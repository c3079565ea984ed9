"""Ensemble Kalman inversion of exact features: no derivative of a spike is ever taken."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Self

import torch
from skimage.restoration import denoise_tv_chambolle
from torch import Tensor

from attacks.contracts import Auxiliary, Progress, Reconstruction, StopReason
from attacks.descent.priors import with_dark_background
from attacks.features.forward import Features
from attacks.features.proposals import proposals
from attacks.features.regression import kernel_ridge, local_ridge
from attacks.features.strokes import strokes
from attacks.reading.head import HeadRead, read_head
from attacks.settings import FeatureKalmanSettings
from fl_sim.errors import ConfigError
from fl_sim.records import CapturedUpdate, InputSpec
from fl_sim.seeding import torch_stream

Regression = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Features (n, F), inputs (n, P) and wanted features (F,) -> predicted input (P,)."""

_DECAY = {"strokes": 0.85, "auxiliary": 0.82}
_AVERAGED = 4
_MARGINS = (0.1, 0.05)


class FeatureKalman:
    """Looks for an input whose features are those in the update, by regressions on true forward passes.

    The gradient of the last layer gives the features F* of a single example exactly. A kernel ridge regression from
    features of pictures of a prior to these pictures gives a first candidate. Each round draws candidates about the
    current one, computes their features, and moves to where a linear ridge regression from features to pictures
    predicts F*. Of the prediction and the running mean, as they are, denoised and stretched, that one goes on whose
    features are nearest. The answer is the mean of the last four. The spread of the draws falls from round to round.

    Source: ensemble Kalman inversion (Iglesias, Law and Stuart, "Ensemble Kalman methods for inverse problems", Inverse
    Problems 29, 2013), with a local regression in place of the ensemble's covariance. Adversary B with strokes, D with
    auxiliary data.
    """

    name = "feature_kalman"

    def __init__(self, settings: FeatureKalmanSettings | None = None, auxiliary: Auxiliary | None = None) -> None:
        self.settings = settings or FeatureKalmanSettings()
        self._auxiliary = auxiliary

    def informed(self, auxiliary: Auxiliary) -> Self:
        """Return this attack with auxiliary data."""
        return type(self)(self.settings, auxiliary)

    def reconstruct(
        self, captures: Sequence[CapturedUpdate], *, seed: int, device: str = "cpu", progress: Progress | None = None
    ) -> list[Reconstruction]:
        """Return one reconstruction for each captured update, in the same order.

        Args:
            captures: captured updates of any model specs; each may have its own parameters.
            seed: of the draws; those of a victim depend only on the seed and its capture id.
            device: where to compute.
            progress: called whenever victims are finished.

        Raises:
            ConfigError: a client's inputs are not single images, its features cannot be read, or its model cannot be
                folded.
        """
        answers = []
        for capture in captures:
            answers.append(self._answer(capture, seed=seed, device=device))
            if progress is not None:
                progress(len(answers), len(captures))
        return answers

    def _answer(self, capture: CapturedUpdate, *, seed: int, device: str) -> Reconstruction:
        started = time.perf_counter()
        read = readable(capture)
        search = _Search(capture, read, self._prior(capture, seed), self.settings, seed=seed, device=device)
        found, last = search.run(self._decay())
        spec = capture.model.input
        margin = self.settings.dark_background
        found = with_dark_background(found, margin) if margin else found
        found = denoised(found, self.settings.denoising)
        return Reconstruction(
            capture_id=capture.id,
            attack=self.name,
            settings=self.settings.model_dump(),
            inputs=scaled(found, spec),
            labels=read.residual.argmin()[None],
            matching_loss=search.distance(found),
            last_inputs=scaled(last, spec),
            loss_history=torch.tensor(search.curve),
            iterations=self.settings.rounds,
            gradient_evaluations=search.passes,
            restarts=1,
            stop_reason=StopReason.BUDGET,
            seconds=time.perf_counter() - started,
            seed=seed,
            engine="forward passes only",
        )

    def _kind(self) -> str:
        """Return where the prior comes from."""
        if self.settings.prior == "auto":
            return "strokes" if self._auxiliary is None else "auxiliary"
        return self.settings.prior

    def _decay(self) -> float:
        """Return the factor of the spread from round to round."""
        return _DECAY[self._kind()] if self.settings.spread_decay == "auto" else self.settings.spread_decay

    def _prior(self, capture: CapturedUpdate, seed: int) -> Tensor:
        """Return pictures (n, C, H, W) in [0, 1] of the prior."""
        spec, count = capture.model.input, self.settings.prior_count
        if self._kind() == "strokes":
            return _drawn(seed, count, spec.height, spec.width).expand(-1, spec.channels, -1, -1)
        if self._auxiliary is None:
            raise ConfigError(
                "attack.prior: 'auxiliary' needs auxiliary data; name a data set in attack.auxiliary of the experiment."
            )
        pictures = self._auxiliary.inputs[:count]
        return (pictures - spec.low) / (spec.high - spec.low)


@functools.lru_cache(maxsize=1)
def _drawn(seed: int, count: int, height: int, width: int) -> Tensor:
    """Return the pictures (count, 1, height, width) of the prior of strokes, which all victims of a call share."""
    return strokes(count, height, width, torch_stream(seed, "strokes", count))


class _Step(NamedTuple):
    picture: Tensor
    distance: float


class _Search:
    """The rounds of one victim. Pictures are (n, C, H, W) in [0, 1]."""

    def __init__(
        self,
        capture: CapturedUpdate,
        read: HeadRead,
        prior: Tensor,
        settings: FeatureKalmanSettings,
        *,
        seed: int,
        device: str,
    ) -> None:
        self._spec, self._prior, self._settings = capture.model.input, prior, settings
        self._features, self._wanted = Features(capture, device=device), read.features.to(device)
        self._generator = torch_stream(seed, "kalman", capture.id)
        self.passes, self.curve = 0, list[float]()

    def run(self, decay: float) -> tuple[Tensor, Tensor]:
        """Return the mean of the last candidates, and the last one."""
        if self._settings.rounds == 0:
            mean = self._prior.mean(0, keepdim=True)
            return mean, mean
        current = self._predicted(kernel_ridge, self._prior)
        self.curve.append(self.distance(current))
        spread, mean, trail = 1.0, current, list[Tensor]()
        for _ in range(self._settings.rounds):
            drawn = proposals(current, self._prior, self._settings.draws, spread, self._generator)
            moved = self._predicted(local_ridge, drawn)
            mean = 0.5 * (mean + moved) if trail else moved
            current, distance = self._nearest([variant for base in (moved, mean) for variant in self._variants(base)])
            self.curve.append(distance)
            trail.append(current)
            spread *= decay
        return torch.stack(trail[-_AVERAGED:]).mean(0), current

    def distance(self, picture: Tensor) -> float:
        """Return |F - F*|^2 / |F*|^2 of a picture (1, C, H, W)."""
        return float(self._distances(picture)[0])

    def _predicted(self, regression: Regression, pictures: Tensor) -> Tensor:
        features = self._of(pictures)
        flat = regression(features, pictures.flatten(1).to(features), self._wanted)
        return flat.cpu().view(1, *pictures.shape[1:]).clamp(0.0, 1.0)

    def _nearest(self, pictures: Sequence[Tensor]) -> _Step:
        every = torch.cat(list(pictures))
        distances = self._distances(every)
        best = int(distances.argmin())
        return _Step(every[best : best + 1], float(distances[best]))

    def _variants(self, base: Tensor) -> list[Tensor]:
        """Return a picture as it is, denoised, and with a darker background."""
        weight = self._settings.denoising
        stretched = [with_dark_background(base, margin) for margin in _MARGINS]
        return [
            base,
            denoised(base, weight),
            denoised(base, 2 * weight),
            stretched[0],
            *(denoised(one, weight) for one in stretched),
        ]

    def _distances(self, pictures: Tensor) -> Tensor:
        size = self._wanted.square().sum()
        return (self._of(pictures) - self._wanted).square().sum(1) / torch.where(size > 0, size, 1.0)

    def _of(self, pictures: Tensor) -> Tensor:
        self.passes += len(pictures)
        return self._features.of(scaled(pictures, self._spec))


def readable(capture: CapturedUpdate) -> HeadRead:
    """Return what the last layer tells of the one image behind an update.

    Raises:
        ConfigError: there are several, or it is no image, or nothing can be read.
    """
    spec = capture.model.input
    if spec.timesteps or spec.vocabulary:
        raise ConfigError(
            f"attack.name: 'feature_kalman' makes images, and {capture.id} comes from events or texts; use dlg or idlg."
        )
    read = read_head(capture)
    if read is None:
        raise ConfigError(
            f"attack.name: 'feature_kalman' needs the gradient of one example, of a model whose last layer has a bias; "
            f"the features of {capture.id} cannot be read off its update."
        )
    return read


def scaled(pictures: Tensor, spec: InputSpec) -> Tensor:
    """Return pictures in [0, 1] in the range of the InputSpec."""
    return spec.low + (spec.high - spec.low) * pictures


def denoised(pictures: Tensor, weight: float) -> Tensor:
    """Return pictures (n, C, H, W) with less total variation (Chambolle 2004)."""
    if weight <= 0:
        return pictures
    smooth = [denoise_tv_chambolle(picture.numpy(), weight=weight, channel_axis=0) for picture in pictures]  # type: ignore[no-untyped-call]
    return torch.stack([torch.from_numpy(one) for one in smooth]).to(pictures).clamp(0.0, 1.0)
