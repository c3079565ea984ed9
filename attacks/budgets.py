"""How much an attack may compute at most, in evaluations of its loss, before it has begun."""

from __future__ import annotations

from collections.abc import Mapping

from attacks import ATTACKS
from attacks.ensemble import EFFORTS, MEMBERS
from attacks.settings import (
    DescentSettings,
    EnsembleSettings,
    ExactSettings,
    FeatureKalmanSettings,
    GRNNSettings,
    InversionSettings,
    LearnedSettings,
    MatchingSettings,
)
from fl_sim.specs import Scalar

FORWARDS_OF_AN_EVALUATION = 5
"""An evaluation with its second derivative takes as long as about so many forward passes of the model."""

_LINE_SEARCH = 1.25
"""torch's L-BFGS evaluates at most so often an iteration."""


def most_examples(attack: str, settings: Mapping[str, Scalar]) -> int | None:
    """Return the largest number of examples behind an update whose inputs an attack looks for; None for no limit."""
    found: int | None = getattr(ATTACKS[attack].settings(**settings), "most_examples", None)
    return found


def most_evaluations(attack: str, settings: Mapping[str, Scalar], *, spiking: bool, examples: int = 1) -> int | None:
    """Return how many evaluations of its loss an attack makes of one victim at most; None if that is not known.

    Forward passes without a derivative count as parts of an evaluation. What is read off, or learned once for all
    victims, counts as nothing.

    Args:
        attack: name in the table of attacks.
        settings: its settings; defaults hold for the others.
        spiking: whether the victim's model is spiking.
        examples: behind the victim's update.
    """
    if examples > (most_examples(attack, settings) or examples):
        return 0
    return _of(ATTACKS[attack].settings(**settings), spiking)


def _of(settings: InversionSettings, spiking: bool) -> int | None:
    match settings:
        case EnsembleSettings():
            return _of_ensemble(settings, spiking)
        case MatchingSettings():
            inner = round(settings.inner_iterations * _LINE_SEARCH)
            return settings.iterations * inner * (settings.restarts + 1)
        case DescentSettings():
            return (settings.steps + 1) * (settings.restarts + 1)  # the answer is evaluated once more
        case GRNNSettings():
            return settings.steps + 1
        case FeatureKalmanSettings():
            return (settings.prior_count + settings.rounds * settings.draws) // FORWARDS_OF_AN_EVALUATION
        case ExactSettings() | LearnedSettings():
            return 0
        case _:
            return None


def _of_ensemble(settings: EnsembleSettings, spiking: bool) -> int | None:
    """Return the sum over the members that it may try."""
    effort, letter = EFFORTS.index(settings.effort), settings.adversary
    counts = [
        most_evaluations(member.name, member.efforts[settings.effort], spiking=spiking)
        for member in MEMBERS
        if settings.effort in member.efforts
        and (letter == "auto" or member.letter <= letter)
        and (not spiking or effort >= EFFORTS.index(member.spiking))
    ]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None
