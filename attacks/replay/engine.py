"""The matching loss of any torch module: the client's local steps are replayed, one victim after another.

The derivative goes back through the steps one at a time (adjoint method): only the states between steps are kept, and
the graph of one step exists at a time, so that memory does not grow with the number of steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from attacks.replay.adjoint import Replay, with_derivatives
from attacks.replay.measures import Measure
from attacks.replay.module import ClientModule, Tensors
from fl_sim.observed import Steps, local_steps
from fl_sim.records import CapturedUpdate


class ReplayedClients:
    """V clients whose training is replayed by their own module; see `attacks.engines.Engine`.

    Args:
        captures: one per victim, all of one model spec, training and number of examples.
        device: where to compute.
        precision: torch dtype of the computation.
        steps: the examples of each local step; by default as an attack takes them, see `local_steps`.
        measure: of the distances, see `attacks.replay.measures`.

    Raises:
        ConfigError: an update is a delta, and its learning rate or number of steps is not known.
    """

    name = "replayed"

    def __init__(
        self,
        captures: Sequence[CapturedUpdate],
        *,
        device: str,
        precision: torch.dtype,
        steps: Steps | None = None,
        measure: Measure = "squared",
    ) -> None:
        self._captures, self._steps, self._measure = list(captures), steps or local_steps(captures[0]), measure
        self._device, self._precision = device, precision
        self._client = ClientModule(captures[0], device=device, dtype=precision)
        self._targets = [self._target(capture) for capture in captures]
        self._replay, self._loaded = Replay(captures[0], self._client, self._steps, measure=measure), 0

    def keep(self, rows: Tensor) -> None:
        """Drop all victims but those at indices `rows`."""
        self._captures = [self._captures[row] for row in rows.tolist()]
        self._targets = [self._targets[row] for row in rows.tolist()]
        self._loaded = -1

    def replace(self, row: int, capture: CapturedUpdate) -> None:
        """Replace the victim at index `row`."""
        self._captures[row], self._targets[row] = capture, self._target(capture)
        self._loaded = -1

    def distances(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return (V,), the squared distances of the candidates' updates to the captured ones; differentiable once."""
        victims = [
            self._evaluate(victim, inputs[victim].detach(), targets[victim].detach()) for victim in range(len(inputs))
        ]
        losses, for_inputs, for_targets = (torch.stack(parts) for parts in zip(*victims, strict=True))
        return with_derivatives(inputs, targets, losses, for_inputs, for_targets)

    def ended(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensors]:
        """Return where the steps of the first victim end, without derivatives, in about a third of the time.

        Args:
            inputs: (N, C, H, W), or (T, N, C, H, W) for events.
            targets: (N, K).

        Returns:
            the squared distance to the captured update, and how far each trained parameter has moved.
        """
        self._load(0)
        return self._replay.ended(inputs, targets, self._targets[0])

    def _target(self, capture: CapturedUpdate) -> Tensors:
        """Return what the replayed update must equal: the change of each trained parameter and running statistic."""
        update = capture.update
        names = [name for name in self._client.trained if name in update]
        observed = {name: update[name].to(device=self._device, dtype=self._precision) for name in names}
        for norm in self._client.tracked if capture.kind == "delta" else ():
            for name in (f"{norm}.running_mean", f"{norm}.running_var"):
                if name in update:
                    observed[name] = update[name].to(device=self._device, dtype=self._precision)
        return observed

    def _evaluate(self, victim: int, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the distance of one victim, and its derivatives with respect to inputs and targets."""
        self._load(victim)
        return self._replay.evaluate(inputs, targets, self._targets[victim])

    def _load(self, victim: int) -> None:
        """Put the parameters of a victim into the module."""
        if self._loaded != victim:
            self._client.load(self._captures[victim].parameters)
            self._replay = Replay(self._captures[victim], self._client, self._steps, measure=self._measure)
            self._loaded = victim
