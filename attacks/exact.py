"""What an update tells of its examples for certain, as an attack."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import Tensor

from attacks.contracts import Progress, Reconstruction, StopReason
from attacks.engines.truth import mismatches
from attacks.matching import clamped
from attacks.reading.first_layer import InputRead, find_first_layer, in_units, read_input
from attacks.reading.last_layer import LastLayer
from attacks.reading.reads import EXACT, labels_in
from attacks.settings import ExactSettings
from attacks.unattempted import check_memory, grey_inputs
from fl_sim.client_training import MSE
from fl_sim.errors import ConfigError
from fl_sim.losses import normalised
from fl_sim.observed import observed_gradient
from fl_sim.records import CapturedUpdate

_ROUNDING = 1e-5


class Exact:
    """Reads labels, and the input of a single example where the first layer gives it in closed form.

    The closed form is that of `attacks.reading.first_layer`: it needs a model whose first layer multiplies the whole
    input, as softmax regression and networks of linear layers do, spiking ones with direct code too. Such an answer has
    converged if the layer's gradient is that of one input, and stalled if not, as under a rate code, whose spikes it
    then averages. Without a bias the layer gives a direction only: the answer is its longest multiple in the range of
    the inputs, which is right for pictures of full contrast. All other answers are grey, those for events empty, and
    not attempted. The target of a model with one output is that with which the input has the captured update.

    `Reconstruction.matching_loss` is the part of the first layer's squared gradient that the closed form leaves, and 1
    where there is none.

    Adversary A: the update only. Labels that the threat model gives to the server (`CapturedUpdate.labels`) are used.
    """

    name = "exact"

    def __init__(self, settings: ExactSettings | None = None) -> None:
        self.settings = settings or ExactSettings()

    def reconstruct(
        self,
        captures: Sequence[CapturedUpdate],
        *,
        seed: int,
        device: str = "cpu",  # noqa: ARG002 - a division needs no accelerator
        progress: Progress | None = None,
    ) -> list[Reconstruction]:
        """Return one reconstruction for each captured update, in the same order.

        Args:
            captures: captured updates of any model specs; each may have its own parameters.
            seed: is not used.
            device: is not used.
            progress: called whenever a victim is finished.

        Raises:
            ConfigError: an update is a delta without a learning rate or number of steps, or the answer to one does not
                fit into `memory_mb`.
        """
        answers = []
        for capture in captures:
            answers.append(self._answer(capture, seed))
            if progress is not None:
                progress(len(answers), len(captures))
        return answers

    def _answer(self, capture: CapturedUpdate, seed: int) -> Reconstruction:
        started = time.perf_counter()
        observed_gradient(capture)  # which says what is missing
        check_memory(capture, self.settings.memory_mb)
        inputs = grey_inputs(capture)
        read = read_input(capture, find_first_layer(capture)) if self.settings.closed_form else None
        if read is not None and not capture.model.input.timesteps:
            inputs = _answered(read, capture)[None]
        else:
            read = None
        labels, _, _ = labels_in(capture, LastLayer(capture))
        if labels is None and read is not None and capture.model.input.classes == 1:
            labels = target_of(capture, inputs)
        return Reconstruction(
            capture_id=capture.id,
            attack=self.name,
            settings=self.settings.model_dump(),
            inputs=inputs,
            labels=torch.full((len(inputs),), -1) if labels is None else labels.cpu(),
            matching_loss=1.0 if read is None else read.error**2,
            last_inputs=inputs.clone(),
            loss_history=torch.empty(0),
            iterations=0,
            gradient_evaluations=0,
            restarts=1,
            stop_reason=self._ended(read),
            seconds=time.perf_counter() - started,
            seed=seed,
        )

    def _ended(self, read: InputRead | None) -> StopReason:
        """Return how an answer ended."""
        if not self.settings.closed_form:
            return StopReason.BUDGET
        if read is None:
            return StopReason.NOT_ATTEMPTED
        return StopReason.CONVERGED if read.error <= EXACT else StopReason.STALLED


def target_of(capture: CapturedUpdate, inputs: Tensor) -> Tensor | None:
    """Return the target (1,) with which an input has the captured update, for a model with one output.

    A gradient is affine in the target, so the squared distance between two of them is a parabola, whose vertex follows
    from three points. The target is a class, 0 or 1, unless the client's loss is "mse". It is None if no engine can
    evaluate the model.
    """
    points = [(inputs, torch.tensor([point])) for point in (-1.0, 0.0, 1.0)]
    try:
        below, middle, above = (value**2 for value in mismatches([capture] * 3, points))
    except ConfigError:
        return None
    curvature = above + below - 2 * middle
    target = torch.tensor([(below - above) / (2 * curvature) if curvature > 0 else 0.0])
    return target if capture.training.loss == MSE else target.clamp(0.0, 1.0).round().long()


def _answered(read: InputRead, capture: CapturedUpdate) -> Tensor:
    """Return the picture (C, H, W) of a read, in the range of the inputs."""
    inputs = _longest(read.inputs, capture) if read.seen == "direction" else read.inputs
    return clamped(inputs, capture.model.input)


def _longest(direction: Tensor, capture: CapturedUpdate) -> Tensor:
    """Return the longest multiple of a direction, forwards or backwards, whose pixels are all in range."""
    spec = capture.model.input
    low, high = (normalised(capture.training, torch.full(spec.frame, value)) for value in (spec.low, spec.high))

    def furthest(way: Tensor) -> Tensor:
        room = torch.where(way > 0, high / way, low / way)
        return room[way.abs() > _ROUNDING * way.abs().max()].min().clamp(min=0.0) * way

    return in_units(max(furthest(direction), furthest(-direction), key=lambda one: float(one.norm())), capture)
