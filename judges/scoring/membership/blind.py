"""The control that asks no model: whether members and others differ by themselves, as pictures of two sources do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, one_hot

from attacks.contracts import Candidates
from judges.runs.rows.membership import MembershipScore
from judges.scoring.membership.recorded import LEAST, Questions
from judges.scoring.membership.roc import told_by

_FOLDS, _COMPONENTS, _SIDE = 5, 50, 32


def blind_scores(asked: Questions, context: Mapping[str, Any]) -> MembershipScore | None:
    """Return the row of a classifier that sees the candidates and no model; None of fewer than ten of either kind.

    Logistic regression on the candidates' principal components and labels scores each fold after it has been fitted
    to the truth of the others (Das, Zhang and Tramèr 2024: blind baselines). It is above chance only where members
    and others differ without any training, and then an attack may be so for the same reason.

    Args:
        asked: who is asked about, with the truth.
        context: the columns that the answer does not tell.
    """
    members = asked.truth().numpy()
    if min(members.sum(), (~members).sum()) < LEAST:
        return None
    return MembershipScore(
        **vars(told_by(_scores(_features(asked.question()), members), members)), **context, seconds=0
    )


def _scores(features: Tensor, members: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Return the score of each candidate by a classifier that was fitted to those of the other folds."""
    from sklearn.decomposition import PCA  # takes a second to import, in every command that names this module
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    components = PCA(min(_COMPONENTS, len(members) // 2, features.shape[1]), whiten=True, random_state=0)
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=0)
    classifier = make_pipeline(StandardScaler(), components, LogisticRegression())
    scores = cross_val_predict(classifier, features.numpy(), members, cv=folds, method="decision_function")
    return np.asarray(scores, np.float64)


def _features(candidates: Candidates) -> Tensor:
    """Return what each candidate looks like: its mean over time, at most 32x32 pixels of it, and its label."""
    inputs = candidates.inputs.float()
    inputs = inputs.mean(0) if inputs.dim() == 5 else inputs
    if inputs.dim() == 4 and max(inputs.shape[2:]) > _SIDE:
        inputs = adaptive_avg_pool2d(inputs, (min(_SIDE, inputs.shape[2]), min(_SIDE, inputs.shape[3])))
    return torch.cat([inputs.flatten(1), one_hot(candidates.labels).float()], 1)
