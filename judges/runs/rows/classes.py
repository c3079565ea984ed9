"""The row of one attacked class, and the scores of all classes of an attack together."""

from __future__ import annotations

from dataclasses import dataclass

from judges.runs.identity import Approach, Attacked, Group
from judges.runs.rows import DIVERGED

CENTRAL, FEDERATION, FILE = "central", "federation", "file"


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
        source: how the target was trained, "central" or "federation"; "file" where nobody says.
        round: round of the federation after which it was taken; number of epochs for a central training; 0 of a file.
    """

    source: str
    round: int

    @property
    def target(self) -> Target:
        """Return the key that all rows on the same kind of target share."""
        return Target(self.group, self.source, self.round)


@dataclass(frozen=True, kw_only=True)
class ClassScore(Approach, AttackedModel):
    """What one attack achieved on one class of one target. A diverged attack has a row too.

    Attributes:
        experiment, cell: names of the run and of the combination.
        target_seed: seed of the target's training.
        attack_seed: seed of the attack's or control's random draws.
        judge: the classifier that tells what an answer shows.
        label: the class.
        rank: rank of the class in the judge's belief, 1 for the first; a tie counts against the attack.
        predicted: the class that the judge sees; -1 for none.
        confidence: the judge's probability of the class, in [0, 1].
        distinctive: whether the judge believes in this class more for this answer than for the answers of all other
            classes; DAA is the share of such classes.
        target_confidence: the target's own posterior of the class for this answer; None for a control.
        iterations: iterations of the attack.
        stop_reason: why the attack stopped; "" for a control.
        density: share of voxels that spike; None for images.
        zeros: share of exact zeros among the pixels, or among the Bernoulli parameters if there are any.
        largest: largest pixel or Bernoulli parameter.
        nearest_train, nearest_test: Euclidean distance between the judge's input, averaged over time, and the nearest
            example.
        nearest_train_label: class of the nearest training example.
        nearer_train: whether the nearest of as many training examples as there are test examples is nearer than the
            nearest test example.
        seconds: wall time of the attack divided by the number of its classes.
        nearest_ssim: SSIM to the nearest training example, as the distances have both; None for pictures smaller than
            7x7.
        own_success: whether the attacked model itself believes in the class more than in any other; None, like all that
            follows, where answers are not tried on further targets.
        own_confidence: the attacked model's posterior of the class; of a control too, which it codes itself.
        second_targets: number of further targets, which the attack never saw.
        second_success: how many of them believe in the class more than in any other.
        second_confidence: their mean posterior of the class.
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
    nearest_ssim: float | None = None
    own_success: bool | None = None
    own_confidence: float | None = None
    second_targets: int = 0
    second_success: int | None = None
    second_confidence: float | None = None

    @property
    def diverged(self) -> bool:
        """Return whether the attack diverged."""
        return self.stop_reason == DIVERGED


@dataclass(frozen=True, kw_only=True)
class TargetFacts(AttackedModel):
    """A target and its performance.

    Attributes:
        seed: seed of its training.
        test_accuracy: accuracy on data that it was not trained on, in [0, 1].
        train_accuracy: accuracy in [0, 1]; None for the model of a federation.
        seconds: wall time of its training.
        classes, n_test: numbers of classes and of test examples of the data set.
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
    """A judge's scores of K reconstructions, each in [0, 1].

    Attributes:
        attack_accuracy: share whose attacked class is the judge's first.
        top3: share whose attacked class is among the judge's first three.
        confidence: mean probability of the attacked class.
        daa: distinctive attack accuracy: share of attacked classes in which the judge believes more for a
            reconstruction made for them than for all others.
    """

    attack_accuracy: float
    top3: float
    confidence: float
    daa: float


@dataclass(frozen=True)
class Repeated:
    """Mean and standard deviation of scores.

    Attributes:
        count: number of scores.
        mean: mean of each score.
        std: standard deviation of each score; None if it is not defined for one score.
    """

    count: int
    mean: InversionScores
    std: InversionScores | None
