"""Improved Deep Leakage from Gradients."""

from __future__ import annotations

from collections.abc import Sequence

from attacks.labels import recover_labels
from attacks.matching import MatchingAttack
from attacks.matching.problem import Labels
from attacks.settings import IDLGSettings
from fl_sim.observed import local_steps
from fl_sim.records import CapturedUpdate


class IDLG(MatchingAttack):
    """Reads the label off the gradient of the last layer, then matches the input only.

    Source: Zhao, Mopuri and Bilen, "iDLG: Improved Deep Leakage from Gradients", arXiv 2001.02610, with the constants
    of its published code. Adversary A: the update only. Labels that the threat model gives to the server
    (`CapturedUpdate.labels`) are used directly. Where the update is of several local steps, its gradients tell which
    labels there are, but not of which step, so that labels are optimised with the inputs, as in DLG.
    """

    name = "idlg"

    def __init__(self, settings: IDLGSettings | None = None) -> None:
        super().__init__(settings or IDLGSettings())
        self._rule = (settings or IDLGSettings()).label_rule

    def labels(self, captures: Sequence[CapturedUpdate]) -> Labels:
        """Return the labels (N,) of each victim; None if they are to be optimised."""
        if len(local_steps(captures[0])) > 1 and any(capture.labels is None for capture in captures):
            return None
        return [
            capture.labels if capture.labels is not None else recover_labels(capture, rule=self._rule)
            for capture in captures
        ]
