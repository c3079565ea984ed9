"""The row that a judge writes of one attacked class, and what is measured of all classes of an attack together."""

from __future__ import annotations

from dataclasses import dataclass

from judges.runs.identity import Approach, Attacked, Group
from judges.runs.rows import DIVERGED

CENTRAL, FEDERATION = "central", "federation"


@dataclass(frozen=True)
class Target:
    """A key that all rows on the same kind of target share; its fields are those of `AttackedModel`."""

    group: Group
    source: str
    round: int


@dataclass(frozen=True, kw_only=True)
class AttackedModel(Attacked):
    """A trained model under attack.

    Attributes:
        source: how the target was trained, "central" or "federation".
        round: after which round of the federation; of a central training, how many epochs.
    """

    source: str
    round: int

    @property
    def target(self) -> Target:
        """Return what was attacked, as a key."""
        return Target(self.group, self.source, self.round)


@dataclass(frozen=True, kw_only=True)
class ClassScore(Approach, AttackedModel):
    """What one attack achieved on one class of one target. A diverged attack is a row too.

    Attributes:
        experiment, cell: names of the run and of the combination that the row belongs to.
        target_seed: of the target's training.
        attack_seed: of what the attack, or the control, draws.
        judge: the classifier that says what an answer shows.
        label: the class.
        rank: of the class in the judge's belief, 1 for the first; a tie counts against the attack.
        predicted: the class that the judge sees; -1 where it sees none.
        confidence: the judge's probability of the class, in [0, 1].
        distinctive: whether the judge believes in this answer more than in all others where this class is asked for:
            DAA is the share of such classes.
        target_confidence: the target's own posterior of the class for this answer; None of a control.
        iterations: of the attack.
        stop_reason: of the attack; "" of a control.
        density: share of voxels that spike; None of images.
        zeros: share of exact zeros among the pixels, or among the Bernoulli parameters where there are some.
        largest: largest pixel or Bernoulli parameter.
        nearest_train, nearest_test: Euclidean distance of what the judge is shown, averaged over time, to the nearest
            example.
        nearest_train_label: class of the nearest training example.
        nearer_train: whether it is nearer to the nearest of as many training examples as there are test examples.
        seconds: wall time of the attack divided by its classes.
    """

    experiment: str
    cell: str
    target_seed: int
    attack_seed: int
    judge: str
    label: int
    rank: int
    predicted: int
    confidence: float
    distinctive: bool
    target_confidence: float | None
    iterations: int
    stop_reason: str
    density: float | None
    zeros: float
    largest: float
    nearest_train: float
    nearest_test: float
    nearest_train_label: int
    nearer_train: bool
    seconds: float

    @property
    def diverged(self) -> bool:
        """Return whether the attack diverged."""
        return self.stop_reason == DIVERGED


@dataclass(frozen=True, kw_only=True)
class TargetFacts(AttackedModel):
    """A target: how well it does what it was trained for.

    Attributes:
        seed: of its training.
        test_accuracy: in [0, 1] on data that it was not trained on.
        train_accuracy: in [0, 1]; None of a federation's.
        seconds: wall time of its training.
        classes, n_test: of the data set.
        shape: (C, H, W) of an input.
    """

    seed: int
    test_accuracy: float
    train_accuracy: float | None
    seconds: float
    classes: int
    n_test: int
    shape: tuple[int, int, int]


@dataclass(frozen=True)
class InversionScores:
    """What a judge makes of K reconstructions, each in [0, 1].

    Attributes:
        attack_accuracy: share whose own class is the judge's first.
        top3: share whose own class is among the judge's first three.
        confidence: mean probability of the own class.
        daa: distinctive attack accuracy: share of attacked classes for which the judge believes in a reconstruction
            made for them more than in all others.
    """

    attack_accuracy: float
    top3: float
    confidence: float
    daa: float


@dataclass(frozen=True)
class Repeated:
    """Mean and standard deviation of scores.

    Attributes:
        count: how many scores.
        mean: of each.
        std: of each; None where it takes two scores and there is one.
    """

    count: int
    mean: InversionScores
    std: InversionScores | None
