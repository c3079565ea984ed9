"""Deep Leakage from Gradients."""

from __future__ import annotations

from collections.abc import Sequence

from attacks.matching import MatchingAttack
from attacks.settings import DLGSettings
from fl_sim.records import CapturedUpdate


class DLG(MatchingAttack):
    """Matches the input and a soft label together; the label is the softmax of logits initialised from N(0, 1).

    Source: Zhu, Liu and Han, "Deep Leakage from Gradients", NeurIPS 2019, Algorithm 1, with the constants of its
    published code. Adversary A: the update only. log_softmax is used throughout, as in the code of DLG; that of iDLG
    takes the logarithm of softmax, which underflows.
    """

    name = "dlg"

    def __init__(self, settings: DLGSettings | None = None) -> None:
        super().__init__(settings or DLGSettings())

    def labels(self, captures: Sequence[CapturedUpdate]) -> None:  # noqa: ARG002 - required by the base class
        """Return None: labels are optimised with the inputs."""
        return
