"""The row of one membership inference on one model or update."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fl_sim.specs import Scalar
from judges.runs.identity import Approach
from judges.runs.rows.classes import AttackedModel

CLIENT = "client"
"""The `source` of a client's update, beside those of trained models."""

RANDOM, NULL, BLIND = "random scores", "never saw the candidates", "without any model"
"""The kinds of control: scores drawn at random, the same attack on a model that never saw any candidate, and a
classifier that sees the candidates and no model."""

FEW = 0.01
LEAST = 0.001
"""The rates of false positives at which true positives are told."""


@dataclass(frozen=True, kw_only=True)
class MembershipScore(Approach, AttackedModel):
    """How well one attack told the members among the candidates of one model, or of one client's update.

    Attributes:
        experiment, cell: names of the run and of the combination.
        target_seed: seed of the target's training, or of the federation.
        client: partition id of the client whose update it was; -1 for a model.
        shadows: number of shadow models; 0 where the attack uses none.
        members, non_members: numbers of candidates.
        auc: area under the ROC curve, in [0, 1]; 0.5 is chance.
        auc_error: its standard error (DeLong, DeLong and Clarke-Pearson 1988).
        balanced_accuracy: the largest mean of true positive and true negative rate over all thresholds, in [0, 1]; the
            threshold is chosen with the truth, so that it is above 0.5 by chance.
        caught_1, caught_01: members above the smallest threshold that at most 1 % (0.1 %) of the non-members reach;
            None where there are fewer than 100 (1,000) of these, so that it cannot be told.
        curve: {rate of false positives: largest rate of true positives up to it}, on a logarithmic grid.
        test_accuracy: of the target, in [0, 1], on data that it was not trained on; None of an update.
        train_accuracy: of the target on the members; None where it is not known.
        seconds: wall time of the attack.
    """

    experiment: str
    cell: str
    target_seed: int
    client: int
    shadows: int
    members: int
    non_members: int
    auc: float
    auc_error: float
    balanced_accuracy: float
    caught_1: int | None
    caught_01: int | None
    curve: Mapping[str, Scalar]
    test_accuracy: float | None
    train_accuracy: float | None
    seconds: float
