"""Inverting Gradients: the direction of the update, not its length, and smooth images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from attacks.descent.attack import DescentAttack
from attacks.descent.fit import Course, stepwise
from attacks.matching.problem import MatchingProblem
from attacks.settings import InvertingGradientsSettings
from fl_sim.records import CapturedUpdate, InputSpec

_RELATIVE, _ABSOLUTE = 10.0, 0.1


class InvertingGradients(DescentAttack):
    """Minimises 1 - cos(update of the candidate, captured update) + w TV(x) by Adam on the sign of the slope.

    The loss does not depend on the length of the update, so that a clipped update or a summed loss is no obstacle.
    Labels are read off the last layer beforehand. By default w is a multiple of the current loss, which is not as
    published: under torch's initialisation, 1 - cos of a sigmoid LeNet is about 1e-5 for any image, so that the sign of
    the slope is that of the total variation alone, whatever its published weight.

    Source: Geiping, Bauermeister, Droege and Moeller, "Inverting Gradients - How easy is it to break privacy in
    federated learning?", NeurIPS 2020, eq. 4, with the constants of its published code. Adversary B: the update and
    the prior that images are smooth.
    """

    name = "inverting_gradients"

    def __init__(self, settings: InvertingGradientsSettings | None = None) -> None:
        self._own = settings or InvertingGradientsSettings()
        super().__init__(self._own)

    def problem(self, captures: Sequence[CapturedUpdate], labels: Sequence[Tensor], *, device: str) -> MatchingProblem:
        """Return the problem of the cosine between updates."""
        return MatchingProblem(
            captures,
            labels,
            precision=getattr(torch, self.settings.precision),
            device=device,
            measure="cosine" if self._own.cosine == "whole" else "layer_cosine",
        )

    def course(self, spec: InputSpec) -> Course:  # noqa: ARG002 - the same for all inputs
        """Return how to descend: rates in steps, as published."""
        relative = self._own.tv_scale == "relative"
        usual = _RELATIVE if relative else _ABSOLUTE
        weight = usual if self.settings.tv_weight == "auto" else self.settings.tv_weight
        return Course(self.settings.steps, self.settings.learning_rate, stepwise, weight, relative=relative)

    def start_of(self, spec: InputSpec) -> str:  # noqa: ARG002 - the same for all inputs
        """Return the kind of the first candidate."""
        return "normal" if self.settings.start == "auto" else self.settings.start
