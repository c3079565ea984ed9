"""The row that a judge writes of one attacked class, and what is measured of all classes of an attack together."""

from __future__ import annotations

from dataclasses import dataclass

from judges.runs.rows import Answer

CENTRAL, FEDERATION = "central", "federation"


@dataclass(frozen=True)
class ClassScore(Answer):
    """What one attack achieved on one class of one target. A diverged attack is a row too.

    Attributes:
        experiment, cell: names of the run and of the combination that the row belongs to.
        dataset, model: what was attacked.
        source: how the target was trained, "central" or "federation".
        round: after which round of the federation; of a central training, how many epochs.
        target_seed: of the target's training.
        attack: its name; a control's starts with `CONTROL_PREFIX`.
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
    dataset: str
    model: str
    source: str
    round: int
    target_seed: int
    attack: str
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
    def target(self) -> tuple[str, str, str, int]:
        """Return what was attacked: (data set, model, source, round)."""
        return self.dataset, self.model, self.source, self.round


@dataclass(frozen=True)
class TargetFacts:
    """A target: how well it does what it was trained for.

    Attributes:
        dataset, model, source, round, seed: as in `ClassScore`.
        test_accuracy: in [0, 1] on data that it was not trained on.
        train_accuracy: in [0, 1]; None of a federation's.
        seconds: wall time of its training.
        classes, n_test: of the data set.
        shape: (C, H, W) of an input.
    """

    dataset: str
    model: str
    source: str
    round: int
    seed: int
    test_accuracy: float
    train_accuracy: float | None
    seconds: float
    classes: int
    n_test: int
    shape: tuple[int, int, int]

    @property
    def target(self) -> tuple[str, str, str, int]:
        """Return what rows call it."""
        return self.dataset, self.model, self.source, self.round
