"""The matching loss: the distance between the gradients of candidates and the captured ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from attacks.engines.choice import choose, open_engine
from attacks.engines.engine import Engine
from attacks.matching.texts import TextUnknowns
from attacks.replay.measures import Measure
from attacks.thresholding import straight_through
from fl_sim.losses import free_targets, targets_of
from fl_sim.observed import batch_size
from fl_sim.records import CapturedUpdate

Labels = Sequence[Tensor] | None
"""The labels (N,) of each victim, or None if they are optimised with the input."""

Opened = Callable[[Sequence[CapturedUpdate]], Engine]
"""Captures -> an engine that is loaded with them."""


class MatchingProblem:
    """The matching loss of V victims and its gradient.

    A victim's unknowns are one row: its N inputs, flattened, and N*classes label logits if the labels are unknown. An
    image of any range is searched in units of that range, so that 0 is its low end and 1 its high end. For texts the
    unknowns are logits of tokens, see `attacks.matching.texts`.

    Args:
        captures: one per victim, all with the same model spec, training and number of examples.
        labels: known labels of each victim, or None to optimise them.
        slots: V, the number of victims at a time; the others are inserted by `replace`. None for all of them.
        precision: torch dtype of the computation.
        device: where to compute.
        measure: how updates are compared, see `attacks.replay.measures`.
        opened: opens another engine than the one that is chosen.
        tau: threshold that turns the unknowns into inputs by straight-through thresholding; None to use the unknowns
            as inputs.
        range_weight: of the squared distance of the candidates of images from [0, 1], which is added to the loss.
        square: whether the unknowns of inputs are roots, whose squares are the candidates.

    Attributes:
        captures: of all victims.
        choice: the engine, and what its self-check found.
        range: high minus low of images, by which unknowns are multiplied; 1 for events.

    Raises:
        ConfigError: no engine can evaluate the model; see `attacks.engines.choice.choose`.
    """

    def __init__(
        self,
        captures: Sequence[CapturedUpdate],
        labels: Labels,
        *,
        precision: torch.dtype,
        device: str,
        measure: Measure = "squared",
        opened: Opened | None = None,
        tau: float | None = None,
        slots: int | None = None,
        range_weight: float = 0.0,
        square: bool = False,
    ) -> None:
        spec = captures[0].model.input
        self.examples = batch_size(captures[0])
        self.input_shape = (spec.timesteps,) * bool(spec.timesteps) + (self.examples, *spec.frame)
        self.input_size = math.prod(self.input_shape)
        self._texts: TextUnknowns | None = None
        self._tau, self._range_weight, self._square = tau, range_weight, square
        self.classes = spec.classes
        present = captures[:slots]
        self.captures, self._labels = captures, labels
        self._low, self.range = (spec.low, spec.high - spec.low) if not spec.timesteps else (0.0, 1.0)
        self._training, self._precision = captures[0].training, precision
        self.labels = None if labels is None else torch.stack(list(labels[:slots])).to(device)
        self.choice = choose(captures)
        if spec.vocabulary:
            self._texts = TextUnknowns(captures, self.examples, precision=precision, device=device)
            self.input_size = math.prod(self._texts.shape)
        self._present = torch.arange(len(present))
        if opened is None:
            self.engine = open_engine(present, self.choice, device=device, precision=precision, measure=measure)
        else:
            self.engine = opened(present)

    @property
    def unknowns(self) -> int:
        """Return the length of a victim's row of unknowns."""
        return self.input_size + (self.examples * self.classes if self.labels is None else 0)

    def keep(self, rows: Tensor) -> None:
        """Drop all victims but those at indices `rows`."""
        self.engine.keep(rows)
        self._present = self._present[rows.cpu()]
        self.labels = None if self.labels is None else self.labels[rows]

    def replace(self, row: int, victim: int) -> None:
        """Replace the victim at index `row` by the one with index `victim` among all captures."""
        self.engine.replace(row, self.captures[victim])
        self._present[row] = victim
        if self.labels is not None and self._labels is not None:
            self.labels[row] = self._labels[victim]

    def candidates(self, points: Tensor) -> Tensor:
        """Return the candidates (V, input_size) in points (V, unknowns), in units of the range of images."""
        known = points[:, : self.input_size]
        return known.square() if self._square else known

    def split(self, points: Tensor, victims: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Return the inputs and the label logits (V, N, classes), or None, in points (V, unknowns).

        Inputs are (V, N, C, H, W), or (V, T, N, C, H, W) for events.

        Args:
            points: one for each victim.
            victims: (V,), the numbers of their captures among all; None for those that are present.
        """
        known = self.candidates(points)
        if self._texts is not None:
            inputs = self._texts.inputs(known, self._present if victims is None else victims)
        else:
            inputs = known.view(-1, *self.input_shape)
        if self._tau is not None:
            inputs = straight_through(inputs, self._tau)
        if (self._low, self.range) != (0.0, 1.0):
            inputs = self._low + self.range * inputs
        logits = points[:, self.input_size :].view(-1, self.examples, self.classes) if self.labels is None else None
        return inputs, logits

    def tokens_of(self, victim: int) -> Tensor:
        """Return the tokens (k,) that can be in the texts of the victim with this number."""
        assert self._texts is not None  # noqa: S101 - asked for texts only
        return self._texts.allowed(victim)

    def evaluate(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return matching losses (V,) and their gradients (V, unknowns) at points (V, unknowns).

        The loss is the sum of squared differences over all named tensors (arXiv 2511.21181, eq. 2), and what is added
        for images beyond their range.
        """
        points = points.detach().requires_grad_()
        inputs, label_logits = self.split(points)
        targets = self.known_targets() if label_logits is None else free_targets(self._training, label_logits)
        matching = self.engine.distances(inputs, targets)
        if self._range_weight:
            known = self.candidates(points)
            matching = matching + self._range_weight * (known - known.clamp(0.0, 1.0)).square().sum(1)
        (slope,) = torch.autograd.grad(matching.sum(), points)
        return matching.detach(), slope

    def known_targets(self) -> Tensor:
        """Return the targets (V, N, classes) of known labels."""
        assert self.labels is not None  # noqa: S101 - split() returns logits if and only if there are no labels
        flat = targets_of(self._training, self.labels.flatten(0, 1), self.classes)
        return flat.view(*self.labels.shape, -1).to(device=self.labels.device, dtype=self._precision)
