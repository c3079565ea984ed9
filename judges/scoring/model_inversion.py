"""Judges a model inversion: one row for each class of an answer or of a control."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attacks.contracts import Inversion
from fl_sim.datasets.examples import Dataset
from fl_sim.seeding import derive_seed, torch_stream
from judges.classifiers.cache import Judge
from judges.runs.identity import CLASS_MEAN, REAL, SHUFFLED, Varied
from judges.runs.rows.classes import ClassScore
from judges.scoring.class_metrics import Nearest, bernoulli, nearest, outcomes, rate_decoded, seen_by_judges
from judges.scoring.controls import class_means, class_samples, shuffled
from judges.scoring.image_metrics import has_ssim, ssim

NOTHING: Varied = {}


@dataclass(frozen=True)
class Shown:
    """K answers to be judged, one for each attacked class.

    Attributes:
        attack, attack_settings, control: as in the rows.
        seed: seed of the random draws.
        classes: (K,).
        inputs: (K, C, H, W), or spikes (T, K, C, H, W).
        parameters: Bernoulli parameters of the spikes; None if there are none.
        confidence: (K,), the target's posterior; None for a control.
        iterations: (K,).
        stop_reasons: K reasons; "" for a control.
        seconds: total wall time.
        still: (K, C, H, W), the images that the spikes of a control code; None where they code none.
    """

    attack: str
    attack_settings: Varied
    control: str
    seed: int
    classes: Tensor
    inputs: Tensor
    parameters: Tensor | None
    confidence: Tensor | None
    iterations: Tensor
    stop_reasons: tuple[str, ...]
    seconds: float
    still: Tensor | None = None

    @classmethod
    def answer(cls, inversion: Inversion, varied: Varied) -> Shown:
        """Return the answer of an attack whose settings `varied` vary."""
        return cls(
            inversion.attack,
            varied,
            "",
            inversion.seed,
            inversion.classes,
            inversion.inputs,
            inversion.probabilities,
            inversion.confidence,
            inversion.iterations,
            tuple(reason.value for reason in inversion.stop_reasons),
            inversion.seconds,
        )

    @classmethod
    def of_control(
        cls,
        control: str,
        seed: int,
        classes: Tensor,
        inputs: Tensor,
        *,
        attack: str = "",
        varied: Varied = NOTHING,
        still: Tensor | None = None,
    ) -> Shown:
        """Return a control of a kind, with the attack and its settings that vary if it belongs to one."""
        nothing = torch.zeros(len(classes), dtype=torch.int64)
        reasons = ("",) * len(classes)
        return cls(attack, varied, control, seed, classes, inputs, None, None, nothing, reasons, 0.0, still)


def class_scores(
    shown: Shown, judge: Judge, dataset: Dataset, context: Mapping[str, Any]
) -> tuple[list[ClassScore], Nearest]:
    """Return a row for each class, and the nearest training examples.

    Args:
        shown: the answers.
        judge: a judge that reads the answers' inputs.
        dataset: the data set whose train split is private.
        context: experiment, cell, target_seed and the columns of `AttackedModel`.
    """
    seen = seen_by_judges(shown.inputs)
    outcome = outcomes(judge.log_probabilities(seen), shown.classes)
    images = rate_decoded(seen)  # scaled, since faint answers of an ANN would all be nearest to the darkest example
    train, test = nearest(images, dataset.train), nearest(images, dataset.test)
    as_many = nearest(images, dataset.train, at_most=len(dataset.test))
    voxels = (shown.inputs if shown.parameters is None else shown.parameters).movedim(-4, 0).flatten(1)
    measured: dict[str, list[Any]] = {
        "label": shown.classes.tolist(),
        "rank": outcome.rank.tolist(),
        "predicted": outcome.predicted.tolist(),
        "confidence": outcome.confidence.tolist(),
        "distinctive": outcome.distinctive.tolist(),
        "iterations": shown.iterations.tolist(),
        "stop_reason": list(shown.stop_reasons),
        "zeros": (voxels == 0).double().mean(1).tolist(),
        "largest": voxels.amax(1).tolist(),
        "nearest_train": train.l2.tolist(),
        "nearest_test": test.l2.tolist(),
        "nearest_train_label": train.label.tolist(),
        "nearer_train": (as_many.l2 < test.l2).tolist(),
    }
    if has_ssim(images):
        closest, spec = rate_decoded(dataset.train.batch(train.index)[0]), dataset.spec
        measured["nearest_ssim"] = ssim(images, closest, low=spec.low, high=spec.high).tolist()
    if shown.inputs.dim() == 5:
        measured["density"] = shown.inputs.movedim(-4, 0).flatten(1).mean(1).tolist()
    if shown.confidence is not None:
        measured["target_confidence"] = shown.confidence.tolist()
    same: dict[str, Any] = {"attack": shown.attack, "attack_settings": shown.attack_settings, "control": shown.control}
    same |= {"attack_seed": shown.seed, "judge": judge.name, "density": None}
    same |= {"target_confidence": None, "seconds": shown.seconds / len(shown.classes), **context}
    each = [dict(zip(measured, values, strict=True)) for values in zip(*measured.values(), strict=True)]
    return [ClassScore(**{**same, **own}) for own in each], train


def shuffled_answer(inversion: Inversion, varied: Varied) -> Shown:
    """Return the control of an attack whose settings `varied` vary: its own values in random order."""
    mixed = shuffled(inversion.inputs, seed=inversion.seed)
    return Shown.of_control(SHUFFLED, inversion.seed, inversion.classes, mixed, attack=inversion.attack, varied=varied)


def plain_controls(dataset: Dataset, classes: Sequence[int], *, timesteps: int, seed: int) -> list[Shown]:
    """Return the controls that need no attack: the mean of each class, and a real test example of each.

    Args:
        dataset: the data set on which the target was trained.
        classes: K classes.
        timesteps: T of the rate code of still images for a spiking target; 0 for images without a code.
        seed: seed of the random draws.
    """
    labels = torch.tensor(list(classes))
    means = still_means = class_means(dataset.train, labels)
    real = still_real = class_samples(dataset.test, labels, seed=seed)
    recordings = dataset.spec.timesteps > 0
    if timesteps and not recordings:
        real = _coded(real.expand(timesteps, *real.shape), derive_seed(seed, "control", "real"))
        means = means.expand(timesteps, *means.shape)
    if timesteps or recordings:
        means = _coded(means, derive_seed(seed, "control", "mean"))
    pairs = ((CLASS_MEAN, means, still_means), (REAL, real, still_real))
    return [
        Shown.of_control(control, seed, labels, inputs, still=None if recordings else still)
        for control, inputs, still in pairs
    ]


def _coded(rates: Tensor, seed: int) -> Tensor:
    return bernoulli(rates, torch_stream(seed, "rate code"))
