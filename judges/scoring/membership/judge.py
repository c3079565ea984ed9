"""Scores of membership inferences beside the truth -> rows, and the controls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attacks.contracts import MembershipScores
from fl_sim.seeding import numpy_stream
from judges.runs.rows.membership import MembershipScore
from judges.scoring.membership.recorded import Questions
from judges.scoring.membership.roc import told_by


def judged(answer: MembershipScores, asked: Questions, context: Mapping[str, Any]) -> MembershipScore:
    """Return the row of an answer.

    Args:
        answer: scores of the candidates of `asked`.
        asked: who is asked about, with the truth.
        context: the columns that the answer does not tell.
    """
    told = told_by(answer.scores.numpy(), asked.truth().numpy())
    return MembershipScore(**vars(told), **context, seconds=answer.seconds)


def random_scores(asked: Questions, context: Mapping[str, Any]) -> MembershipScore:
    """Return the row of scores drawn at random, which know nothing."""
    members = asked.truth().numpy()
    stream = numpy_stream(asked.seed, "membership", "random", asked.target_seed, *asked.captures)
    return MembershipScore(**vars(told_by(stream.random(len(members)), members)), **context, seconds=0.0)
