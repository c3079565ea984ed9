"""What an engine is."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from fl_sim.records import CapturedUpdate


class Engine(Protocol):
    """Candidate inputs and targets in, distances of their updates to the captured ones out, for V victims.

    Attributes:
        name: in reports.
    """

    name: str

    def distances(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return (V,), the sum of squared differences over all matched tensors, in units of the gradient.

        Differentiable once, with respect to both arguments.

        Args:
            inputs: (V, N, C, H, W) in the range of the InputSpec, or (V, T, N, C, H, W) for events.
            targets: (V, N, K), see `fl_sim.losses`.
        """
        ...

    def keep(self, rows: Tensor) -> None:
        """Drop all victims but those at indices `rows`."""
        ...

    def replace(self, row: int, capture: CapturedUpdate) -> None:
        """Replace the victim at index `row` by another one."""
        ...
