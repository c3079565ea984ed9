"""Improved Deep Leakage from Gradients."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from attacks.matching import MatchingAttack
from attacks.matching.problem import Labels
from attacks.reading.labels import ReadLabels, read_labels
from attacks.settings import IDLGSettings
from fl_sim.observed import local_steps
from fl_sim.records import CapturedUpdate


class IDLG(MatchingAttack):
    """Reads the label off the gradient of the last layer, then matches the input only.

    Source: Zhao, Mopuri and Bilen, "iDLG: Improved Deep Leakage from Gradients", arXiv 2001.02610, with the constants
    of its published code. Adversary A: the update only. Labels that the threat model gives to the server
    (`CapturedUpdate.labels`) are used directly. Labels are optimised with the inputs, as in DLG, where the update is of
    several local steps, whose gradients tell which labels there are, but not of which step; and where the rule is
    "auto" and the count of the labels of a batch is not certain (`attacks.reading.label_counts`), since no input
    matches the gradient with wrong labels. The search then starts at the counted labels, which are named unless it ends
    in a match.
    """

    name = "idlg"

    def __init__(self, settings: IDLGSettings | None = None) -> None:
        super().__init__(settings or IDLGSettings())
        self._rule = (settings or IDLGSettings()).label_rule

    def labels(self, captures: Sequence[CapturedUpdate]) -> Labels:
        """Return the labels (N,) of each victim; None if they are to be optimised."""
        if any(capture.labels is None for capture in captures) and len(local_steps(captures[0])) > 1:
            return None
        read = [_told(capture) or read_labels(capture, rule=self._rule) for capture in captures]
        if self._rule == "auto" and not all(one.certain for one in read):
            return None
        return [one.labels for one in read]

    def labels_likely(self, capture: CapturedUpdate) -> Tensor | None:
        """Return the labels (N,) of a count that is not certain; None of several local steps."""
        return self.labels_alone(capture) if len(local_steps(capture)) == 1 else None

    def labels_alone(self, capture: CapturedUpdate) -> Tensor:
        """Return the labels (N,) of a batch whose inputs are not looked for, also of several local steps."""
        return (_told(capture) or read_labels(capture, rule=self._rule)).labels


def _told(capture: CapturedUpdate) -> ReadLabels | None:
    """Return the labels that the threat model gives to the server, if it does."""
    return None if capture.labels is None else ReadLabels(capture.labels, certain=True)
