"""The attack: regression from gradients to inputs, learned on auxiliary data for each victim's model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from attacks.contracts import Auxiliary, Progress, Reconstruction, StopReason
from attacks.learned.blocks import Blocks
from attacks.learned.regression import Prediction, by_kernel, by_network
from attacks.reading.labels import best_labels
from attacks.settings import LearnedSettings
from fl_sim.errors import ConfigError
from fl_sim.observed import batch_size, local_steps
from fl_sim.records import CapturedUpdate, InputSpec


class Learned:
    """Learns on auxiliary examples which input belongs to which gradient, and applies this to the captured gradient.

    The gradients of all examples are computed under the victim's own model and with the residual of its logits, or its
    label, so that the regression is made anew for each victim. Recordings of events are predicted as a whole.

    `Reconstruction.matching_loss` is the expected error as far as the adversary can tell: the mean squared error on
    auxiliary examples that were left out, relative to that of their mean. The loss history has that of each candidate
    for the ridge, or of each epoch.

    Source: arXiv 2511.21181 names an attack "trained to learn a mapping from gradients to candidate inputs, enabling
    generalisation across multiple gradient samples"; how it is made is this project's. Adversary D.
    """

    name = "learned"

    def __init__(self, settings: LearnedSettings | None = None, auxiliary: Auxiliary | None = None) -> None:
        self.settings = settings or LearnedSettings()
        self._auxiliary = auxiliary

    def informed(self, auxiliary: Auxiliary) -> Self:
        """Return this attack with auxiliary data."""
        return type(self)(self.settings, auxiliary)

    def reconstruct(
        self,
        captures: Sequence[CapturedUpdate],
        *,
        seed: int,
        device: str = "cpu",
        progress: Progress | None = None,
    ) -> list[Reconstruction]:
        """Return one reconstruction for each captured update, in the same order.

        Args:
            captures: captured updates of any model specs; each may have its own parameters.
            seed: of nothing; what is drawn is the same for every seed.
            device: where to compute.
            progress: called whenever a victim is finished.

        Raises:
            ConfigError: there are no auxiliary data, or they are no inputs of a victim's model; an update is not the
                gradient of one example, or one of a text; or a model cannot be folded.
        """
        answers = []
        for capture in captures:
            answers.append(self._answer(capture, seed=seed, device=device))
            if progress is not None:
                progress(len(answers), len(captures))
        return answers

    def _answer(self, capture: CapturedUpdate, *, seed: int, device: str) -> Reconstruction:
        started = time.perf_counter()
        _check_single(capture)
        examples, spec = self._examples(capture), capture.model.input
        predicted = self._predicted(capture, examples, device=device)
        shape = (*examples.shape[: examples.dim() - 4], 1, *spec.frame)
        inputs = predicted.inputs.cpu().view(shape).clamp(spec.low, spec.high)
        passes = 0 if self.settings.regressor == "mean" else examples.shape[examples.dim() - 4]
        return Reconstruction(
            capture_id=capture.id,
            attack=self.name,
            settings=self.settings.model_dump(),
            inputs=inputs,
            labels=best_labels(capture).cpu(),
            matching_loss=min(predicted.errors),
            last_inputs=inputs.clone(),
            loss_history=torch.tensor(predicted.errors),
            iterations=0,
            gradient_evaluations=passes,
            restarts=1,
            stop_reason=StopReason.BUDGET,
            seconds=time.perf_counter() - started,
            seed=seed,
            engine="" if self.settings.regressor == "mean" else "fold",
        )

    def _predicted(self, capture: CapturedUpdate, examples: Tensor, *, device: str) -> Prediction:
        """Return the answer to a capture, from examples in the range of its inputs."""
        axis, settings = examples.dim() - 4, self.settings
        flat = examples.movedim(axis, 0).flatten(1).to(device)
        if settings.regressor == "mean":
            return Prediction(flat.mean(0), [1.0])
        rows, wanted = Blocks(capture, settings, device=device).rows(examples)
        if settings.regressor == "mlp":
            return by_network(rows, wanted, flat, settings)
        return by_kernel(rows, wanted, flat, linear=settings.regressor == "ridge")

    def _examples(self, capture: CapturedUpdate) -> Tensor:
        """Return the auxiliary inputs, images (n, C, H, W) or events (T, n, C, H, W)."""
        if self._auxiliary is None:
            raise ConfigError(
                "attack.auxiliary: 'learned' learns from examples of other people than the victims, and there are "
                "none; name a data set (attack.auxiliary) or, in a program, call informed() with such examples."
            )
        inputs, spec = self._auxiliary.inputs, capture.model.input
        axis = inputs.dim() - 4
        found = (inputs.shape[0] if axis == 1 else 0, *inputs.shape[-3:])
        if axis not in (0, 1) or found != (spec.timesteps, *spec.frame):
            raise ConfigError(
                f"attack.auxiliary: {capture.id} comes from inputs {_shape(spec)}, but those of "
                f"'{self._auxiliary.name}' are {tuple(inputs.shape)}."
            )
        return inputs


def _shape(spec: InputSpec) -> str:
    """Return the shape of many inputs in words."""
    steps = f"{spec.timesteps}, " if spec.timesteps else ""
    return f"({steps}n, {', '.join(map(str, spec.frame))})"


def _check_single(capture: CapturedUpdate) -> None:
    """Raise a ConfigError unless an update is the gradient of one image or recording."""
    if capture.model.input.vocabulary:
        raise ConfigError(
            f"attack.name: 'learned' predicts images and recordings, and {capture.id} comes from texts; use dlg or "
            "idlg."
        )
    if batch_size(capture) != 1 or len(local_steps(capture)) != 1:
        raise ConfigError(
            f"attack.name: 'learned' needs the gradient of one example, and {capture.id} is of {batch_size(capture)} "
            f"examples and {len(local_steps(capture))} local steps; set federation.batch_size and "
            "federation.local_steps to 1, or use another attack."
        )
