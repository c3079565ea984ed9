"""Frozen-delta matching: layers' gradients matched by the way through the layers' inputs alone."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from attacks.descent.attack import DescentAttack
from attacks.descent.fit import Course, linear
from attacks.engines.choice import choose
from attacks.engines.folded import FoldedClients
from attacks.engines.frozen import FrozenClients, Sight
from attacks.folding import Fold
from attacks.matching.problem import MatchingProblem
from attacks.reading.head import FAINT, HeadRead, read_head
from attacks.settings import FrozenDeltaSettings
from fl_sim.errors import ConfigError, unknown_name
from fl_sim.records import CapturedUpdate, InputSpec

FIRST_WEIGHT = 0.3
LAST_SIGMA = 0.4


class Usual(NamedTuple):
    """What "auto" stands for."""

    tv_weight: float
    start: str
    measure: Literal["cosine", "relative"]
    blur: float


GREY_IMAGES, COLOUR, EVENTS = (
    Usual(0.1, "black", "cosine", 0.7),
    Usual(0.8, "grey", "relative", 0.0),
    Usual(2.0, "black", "cosine", 0.0),
)


class FrozenDelta(DescentAttack):
    """Minimises the distance of layers' weight gradients, whose deltas are constants, plus w TV(x).

    The gradient of layer l is s_l^T delta_l. In each step delta_l is computed at the candidate and detached, so that
    the slope goes through s_l, the input of the layer, alone. For spiking networks the part that is left out, the
    derivative of delta through the second derivative of the surrogate, is noise. It saves the double backward pass too.

    Source: this project; see attacks/README.md for how it was found and what it reaches. Adversary B: the update and
    the prior that inputs are smooth, with `dark_background` also that their background is black.
    """

    name = "frozen_delta"

    def __init__(self, settings: FrozenDeltaSettings | None = None) -> None:
        self._own = settings or FrozenDeltaSettings()
        super().__init__(self._own)

    def case(self, capture: CapturedUpdate) -> Hashable:
        """Victims whose residual is known are searched apart from the others."""
        return read_head(capture) is not None

    def problem(self, captures: Sequence[CapturedUpdate], labels: Sequence[Tensor], *, device: str) -> MatchingProblem:
        """Return the problem of the layers' gradients.

        Raises:
            ConfigError: the model cannot be folded, or the update is not the gradient of one batch.
        """
        choice = choose(captures)
        if choice.engine != FoldedClients.name:
            raise ConfigError(
                f"attack.name: 'frozen_delta' needs the gradient of one batch of a model that folds over victims "
                f"({captures[0].id}: {choice.why_not_folded or 'several local steps'}); use inverting_gradients."
            )
        names = Fold(captures[0].model, [captures[0].parameters]).weights()
        precision = getattr(torch, self.settings.precision)

        def see(capture: CapturedUpdate) -> Sight:
            read = read_head(capture)
            return Sight(weights_of(self._own.layers, names, read), read)

        usual = usual_for(captures[0].model.input)
        measure = usual.measure if self._own.measure == "auto" else self._own.measure

        def opened(present: Sequence[CapturedUpdate]) -> FrozenClients:
            return FrozenClients(present, see, measure, device=device, precision=precision)

        return MatchingProblem(captures, labels, precision=precision, device=device, opened=opened)

    def course(self, spec: InputSpec) -> Course:
        """Return how to descend: a rate that falls linearly."""
        weight = usual_for(spec).tv_weight if self.settings.tv_weight == "auto" else self.settings.tv_weight
        sigma = usual_for(spec).blur if self._own.blur == "auto" else self._own.blur
        blur = (sigma, min(sigma, LAST_SIGMA))
        return Course(self.settings.steps, self.settings.learning_rate, linear, weight, blur=blur)

    def start_of(self, spec: InputSpec) -> str:
        """Return the kind of the first candidate."""
        return usual_for(spec).start if self.settings.start == "auto" else self.settings.start


def usual_for(spec: InputSpec) -> Usual:
    """Return what "auto" stands for with these inputs."""
    if spec.timesteps:
        return EVENTS
    return GREY_IMAGES if spec.channels == 1 else COLOUR


def weights_of(layers: str, names: Sequence[str], read: HeadRead | None) -> Mapping[str, float]:
    """Return {parameter name: factor} of the layers that are matched; see `FrozenDeltaSettings.layers`.

    Args:
        layers: the setting.
        names: of all weights in the order of their use, the last layer's at the end.
        read: what the last layer tells of the victim.

    Raises:
        ConfigError: a name is not known, or a factor is no number.
    """
    if layers == "auto":
        layers = "early" if read is None or read.active < FAINT else "late"
    if layers == "early":
        return dict(zip(names[:2], (FIRST_WEIGHT, 1.0) if len(names) > 1 else (1.0,), strict=True))
    if layers == "late":
        return dict.fromkeys(names[1:] or names, 1.0)
    return dict(_named(part, names) for part in layers.split())


def _named(part: str, names: Sequence[str]) -> tuple[str, float]:
    """Return name and factor of a part such as "body.2.weight=0.3"."""
    name, _, factor = part.partition("=")
    if name not in names:
        raise unknown_name("attack.layers", name, names)
    try:
        return name, float(factor)
    except ValueError as error:
        raise ConfigError(f"attack.layers: expected a number after '{name}=', found '{factor}'.") from error
