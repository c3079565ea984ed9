"""Improved Deep Leakage from Gradients."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from attacks.labels import recover_labels
from attacks.matching import MatchingAttack
from attacks.settings import IDLGSettings
from fl_sim.models import build_model
from fl_sim.observed import batch_size, observed_gradient
from fl_sim.records import CapturedUpdate


class IDLG(MatchingAttack):
    """Reads the label off the gradient of the last layer, then matches the input only.

    Source: Zhao, Mopuri and Bilen, "iDLG: Improved Deep Leakage from Gradients", arXiv 2001.02610, with the constants
    of its published code. Adversary A: the update only. Labels that the threat model gives to the server
    (`CapturedUpdate.labels`) are used directly.
    """

    name = "idlg"

    def __init__(self, settings: IDLGSettings | None = None) -> None:
        super().__init__(settings or IDLGSettings())
        self._rule = (settings or IDLGSettings()).label_rule

    def labels(self, captures: Sequence[CapturedUpdate]) -> list[Tensor]:
        """Return the labels (N,) of each victim."""
        return [
            capture.labels
            if capture.labels is not None
            else recover_labels(
                in_layer_order(capture),
                classes=capture.model.input.classes,
                count=batch_size(capture),
                rule=self._rule,
            )
            for capture in captures
        ]


def in_layer_order(capture: CapturedUpdate) -> dict[str, Tensor]:
    """Return a captured gradient with its names in the order of the model's layers, which a file does not preserve."""
    model, gradient = build_model(capture.model, parameters=capture.parameters), observed_gradient(capture)
    return {name: gradient[name] for name, _ in model.named_parameters() if name in gradient}
