"""Improved Deep Leakage from Gradients."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from attacks.labels import recover_labels
from attacks.matching import MatchingAttack
from attacks.settings import IDLGSettings
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
            capture.labels if capture.labels is not None else recover_labels(capture, rule=self._rule)
            for capture in captures
        ]
