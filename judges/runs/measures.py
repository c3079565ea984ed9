"""Measurements that accompany the rows: the health of the models under attack, what their updates tell without a
search, the sanity checks of the attacks, and distances between examples."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fl_sim.defences import NO_DEFENCE
from fl_sim.defences.claims import Claim
from judges.intervals import Distribution
from judges.runs.identity import Approach, Attacked, columns_of
from judges.runs.rows import LARGEST_MISMATCH

MARGINS: Mapping[str, tuple[float, float]] = {"SSIM": (0.05, 0.2), "tokens": (0.05, 0.2), "-MSE": (0.01, 0.08)}
"""{measure of similarity: difference between means that counts as none, of many examples and of a single one}.

The latter is 1.5 standard deviations of the similarity of unrelated pictures, measured: the SSIM of 8x8 pixels has one
of 0.13, the MSE of 14 pixels, relative to the squared data range, one of 0.05. Larger pictures vary less."""


@dataclass(frozen=True, kw_only=True)
class Health(Attacked):
    """The health of the model behind a group's captures: how much it gives an attack to work with.

    Attributes:
        captures: number of updates on which it was measured.
        accuracy: mean final test accuracy of the federations' global models; None if none was measured.
        chance: accuracy of guessing, 1 / classes.
        firing_rates: {layer: spikes per neuron and time step} on the clients' sealed inputs with the parameters that
            the server sent, mean over captures; {} for a non-spiking network.
        silent: {layer: share of its neurons that never spiked on an input}, mean over captures; {} likewise.
        zero_gradient: share of entries of the updates that are exactly 0, mean over captures.
        dead: share of updates that are exactly 0 everywhere outside the output layer, and so reveal nothing of the
            input.
        gradient_norm: distribution of the l2 norms of the gradients in the updates, see
            `fl_sim.observed.observed_gradient`; None if they are not known.
        told_labels: whether clients told the server their labels, which an attack then need not read.

    The updates are taken after the defence, so noise that it adds hides a dead network: `dead` is then 0, and only
    `silent` shows it.
    """

    captures: int
    accuracy: float | None
    chance: float
    firing_rates: Mapping[str, float]
    silent: Mapping[str, float]
    zero_gradient: float
    dead: float
    gradient_norm: Distribution | None
    told_labels: bool = False

    @property
    def all_silent(self) -> bool:
        """Return whether this is a spiking network of which no neuron in any layer spiked on any input."""
        return bool(self.silent) and min(self.silent.values()) >= 1.0


@dataclass(frozen=True, kw_only=True)
class ModelAccuracy(Attacked):
    """How well a federation's global model does on examples that no client holds.

    Attributes:
        round: rounds of training behind it; 0 for the initial model.
        repeat: repetition of the federation.
        accuracy: share of the examples whose label it finds, in [0, 1].
        examples: number of examples, all of the split that no client holds.
    """

    round: int
    repeat: int
    accuracy: float
    examples: int


@dataclass(frozen=True, kw_only=True)
class Readable(Attacked):
    """What the updates of a group tell without a search and without the truth, see `attacks.reading.reads`.

    Attributes:
        updates: number of updates that were read.
        examples: number of examples behind them, as far as the server knows.
        how: {rule by which labels were read: number of updates}; "" where they could not be.
        certain: share of the updates whose labels are certain.
        histogram: {class: number of its examples in all updates together}, as the labels are read.
        residual: share of the updates that give the residual of their logits and the features of their last layer.
        residual_error: median relative error of these, about 0 for the gradient of one example; None if there are none.
        active: mean share of the features that are not 0; None if there are none.
        inputs: {what the first layer's closed form gives: number of updates}; {} if it gives nothing.
        input_error: median relative error of these; None if there are none.
        fewest, most: smallest and largest lower bound on the number of different examples behind an update, by ranks;
            None if no update can be an unmodified gradient.
        unmodified: share of the updates whose ranks agree with the number of examples that they tell of.
    """

    updates: int
    examples: int
    how: Mapping[str, int]
    certain: float
    histogram: Mapping[str, int]
    residual: float
    residual_error: float | None
    active: float | None
    inputs: Mapping[str, int]
    input_error: float | None
    fewest: int | None
    most: int | None
    unmodified: float


@dataclass(frozen=True, kw_only=True)
class Claimed(Attacked):
    """What a defence, or a strategy that defends, claims of the federations of a group; see `fl_sim.defences.claims`.

    Attributes:
        by: name of the defence or of the strategy.
        against, epsilon, delta, unit, accountant, noise_multiplier, sampling_rate, releases, stated_epsilon,
            stated_delta, stated_is_sound, reason: as in `fl_sim.defences.claims.Claim`.
    """

    by: str
    against: str
    epsilon: float | None
    delta: float | None
    unit: str
    accountant: str
    noise_multiplier: float | None
    sampling_rate: float | None
    releases: int | None
    stated_epsilon: float | None
    stated_delta: float | None
    stated_is_sound: bool | None
    reason: str


def claimed(attacked: Attacked, claims: Iterable[Claim]) -> tuple[Claimed, ...]:
    """Return claims with the columns of what was attacked."""
    own = columns_of(attacked, Attacked)
    return tuple(Claimed(**own, by=one.defence, **one.model_dump(exclude={"defence"})) for one in claims)


@dataclass(frozen=True, kw_only=True)
class SanityCheck(Approach, Attacked):
    """What an attack scores on a few victims, and on updates that hold less of the same victims, or nothing.

    Attributes:
        cell, guess, thresholding, tau: as in the rows.
        victims: ids of the captured updates.
        examples: number of examples behind them, over which means are taken.
        measure: what the similarity to the truth is, see `MARGINS`.
        truth: median distance between the update of the truth and the captured one, relative to its norm, see
            `judges.runs.rows.Score`; None if it was not measured.
        plain: mean similarity of the attack's own answers.
        noisy: the same where to each tensor of the update Gaussian noise of the tensor's own norm was added; None if it
            was not measured.
        random: the same where each tensor was replaced by Gaussian noise of its norm, and no client told its labels.
        moved: for how many of the updates the attack on each alone finds an example that the attack on all does not, or
            the other way round; None if it was not measured, as where there is but one.
        controls: {kind: mean similarity of a control of the same victims that needs neither update nor labels}.
        best_control: mean similarity of each victim's own best of these controls; None where a victim has none.
        failure: why any of these was not measured; "" if they were.
    """

    cell: str
    guess: str
    thresholding: str
    tau: float | None
    victims: tuple[str, ...]
    examples: int
    measure: str
    truth: float | None
    plain: float
    noisy: float | None = None
    random: float | None = None
    moved: int | None = None
    controls: Mapping[str, float]
    best_control: float | None
    failure: str = ""

    @property
    def margin(self) -> float:
        """Return the difference between two mean similarities that counts as none, see `MARGINS`."""
        of_many, of_one = MARGINS[self.measure]
        return max(of_many, of_one / math.sqrt(self.examples))

    @property
    def truth_is_fixed(self) -> bool | None:
        """Return whether the attack has nothing to improve at the truth; None if that is not known.

        A defence changes the update of the truth, which is then no fixed point of any attack.
        """
        if self.truth is None or self.defence != NO_DEFENCE:
            return None
        return self.truth <= LARGEST_MISMATCH

    @property
    def random_finds_nothing(self) -> bool | None:
        """Return whether a random update scores no more than the best control, by the margin; None if not measured."""
        if self.random is None or self.best_control is None:
            return None
        return self.random <= self.best_control + self.margin

    @property
    def noise_hurts(self) -> bool | None:
        """Return whether less of the victim in the update makes the answers worse; None if it was not measured.

        Noise must not make them better by more than the margin, except up to the best control. Where they are better
        than that, noise must make them worse, be it added to the update or put in its place.
        """
        if self.noisy is None or self.random is None or self.best_control is None:
            return None
        helps = self.noisy > max(self.plain, self.best_control) + self.margin
        is_leak = self.plain > self.best_control + self.margin
        return not helps and (not is_leak or min(self.noisy, self.random) < self.plain)

    @property
    def is_own(self) -> bool | None:
        """Return whether no victim's result depends on those attacked with it; None if it was not measured."""
        return None if self.moved is None else self.moved == 0


@dataclass(frozen=True)
class Spread:
    """Distances of many pairs.

    Attributes:
        pairs: number of pairs; if it is 0, the other values are None.
        mean, std, low, high: statistics of the l2 distances, with the sample standard deviation.
    """

    pairs: int
    mean: float | None
    std: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class ClassDistances:
    """l2 distances of all pairs of distinct examples (arXiv 2511.21181, Table VI).

    Attributes:
        examples: number of examples compared.
        intra, inter: pairs of the same class, and of different classes.
        norm: mean l2 norm of an example, which is its distance to the empty recording.
    """

    examples: int
    intra: Spread
    inter: Spread
    norm: float
