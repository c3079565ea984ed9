"""Every attack that fits a victim, within a budget, and the choice of an answer without the truth."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import torch

from attacks import ATTACKS, build_attack
from attacks.contracts import Auxiliary, Progress, Reconstruction, StopReason, UsesAuxiliary
from attacks.engines.truth import mismatches
from attacks.reading.head import FAINT, read_head
from attacks.reading.labels import best_labels
from attacks.settings import EnsembleSettings
from attacks.unattempted import grey_inputs
from fl_sim.errors import ConfigError
from fl_sim.observed import batch_size
from fl_sim.records import CapturedUpdate, Scalar

Settings = Mapping[str, Scalar]

Answers = dict[str, tuple[Reconstruction, float]]
"""{member and letter: answer, and the distance of its update from the captured one}."""


ROUNDING = 1e-3
"""Distance of an update from the captured one, relative to its norm, up to which they differ by rounding only."""


class Member(NamedTuple):
    """An attack of the ensemble.

    Attributes:
        name: in the table of attacks.
        efforts: {effort: settings}; efforts that are not named do without it.
        spiking: the least effort at which it is tried on spiking networks, whose surrogates mislead it.
        auxiliary: whether it needs auxiliary data.
        prior: whether it takes the setting `dark_background`.
    """

    name: str
    efforts: Mapping[str, Settings]
    spiking: str = "quick"
    auxiliary: bool = False
    prior: bool = False

    @property
    def letter(self) -> str:
        """Return the letter of the adversary."""
        return "D" if self.auxiliary else ATTACKS[self.name].adversary

    def takes(self, capture: CapturedUpdate, effort: str) -> bool:
        """Return whether it is tried on a victim."""
        is_spiking = capture.model.spiking is not None
        return not is_spiking or EFFORTS.index(effort) >= EFFORTS.index(self.spiking)


EFFORTS = ("none", "quick", "standard", "thorough")

_SEARCH: Settings = {"guess": "uniform", "restarts": 1, "tolerance_change": 1e-12}
_STROKES: Settings = {"prior": "strokes"}
_DATA: Settings = {"prior": "auxiliary"}

MEMBERS = (
    Member("exact", {"quick": {}, "standard": {}, "thorough": {}}),
    Member(
        "idlg",
        {
            "quick": {**_SEARCH, "iterations": 30, "label_rule": "auto"},
            "standard": {**_SEARCH, "iterations": 100},
            "thorough": {**_SEARCH, "iterations": 300, "restarts": 2},
        },
        spiking="standard",
    ),
    Member("dlg", {"standard": {**_SEARCH, "iterations": 100}, "thorough": {**_SEARCH, "iterations": 300}}),
    Member(
        "inverting_gradients",
        {"quick": {"steps": 500}, "standard": {"steps": 1000}, "thorough": {"steps": 4800, "restarts": 1}},
        spiking="standard",
        prior=True,
    ),
    Member(
        "frozen_delta",
        {"quick": {"steps": 300}, "standard": {"steps": 300}, "thorough": {"steps": 1000}},
        prior=True,
    ),
    Member(
        "feature_kalman",
        {"quick": {**_STROKES, "prior_count": 2000, "draws": 400}, "standard": _STROKES, "thorough": _STROKES},
        prior=True,
    ),
    Member(
        "feature_kalman",
        {"quick": {**_DATA, "prior_count": 2000, "draws": 400}, "standard": _DATA, "thorough": _DATA},
        auxiliary=True,
        prior=True,
    ),
    Member("learned", {"quick": {}, "standard": {}, "thorough": {}}, auxiliary=True),
    Member("grnn", {"thorough": {"steps": 1000}}),
)


class Ensemble:
    """Tries the attacks of an adversary on each victim and names one answer.

    An answer whose update is the captured one, but for rounding, wins by the smallest distance. If there is none, the
    distance does not say which answer is best: under a spiking network's surrogate, noise fits the update as well as
    the picture does. Then the order of `preference` decides, which depends on what the update tells and on the kind of
    model, never on the truth. attacks/README.md has the measurement.

    Adversary B, or D with auxiliary data. `Reconstruction.engine` names the member and its engine.
    """

    name = "ensemble"

    def __init__(self, settings: EnsembleSettings | None = None, auxiliary: Auxiliary | None = None) -> None:
        self.settings = settings or EnsembleSettings()
        self._auxiliary = auxiliary

    def informed(self, auxiliary: Auxiliary) -> Self:
        """Return this attack with auxiliary data."""
        return type(self)(self.settings, auxiliary)

    def reconstruct(
        self, captures: Sequence[CapturedUpdate], *, seed: int, device: str = "cpu", progress: Progress | None = None
    ) -> list[Reconstruction]:
        """Return one reconstruction for each captured update, in the same order.

        Members that do not take a victim, for its kind of input, model or update, are passed over. A victim whose
        update an answer matches but for rounding is left to no further member.

        Args:
            captures: captured updates of any model specs; each may have its own parameters.
            seed: of all draws.
            device: where to compute.
            progress: called whenever victims are finished.

        Raises:
            ConfigError: no attack takes a victim; the message is that of the last one.
        """
        started = time.perf_counter()
        if self.settings.effort == "none":
            return [self._grey(capture, seed) for capture in captures]
        found: list[Answers] = [{} for _ in captures]
        refused: list[dict[str, str]] = [{} for _ in captures]
        self._try(captures, found, refused, spare=True, seed=seed, device=device)
        if not all(found):  # but for members that spiking networks are spared
            self._try(captures, found, refused, spare=False, seed=seed, device=device)
        if not all(found):
            last = [text for own, told in zip(found, refused, strict=True) if not own for text in told.values()]
            raise ConfigError(last[-1] if last else "attack.adversary: no attack of this adversary takes the victims.")
        seconds = (time.perf_counter() - started) / len(captures)
        if progress is not None:
            progress(len(captures), len(captures))
        return [
            self._chosen(*victim, seed=seed, seconds=seconds) for victim in zip(captures, found, refused, strict=True)
        ]

    def _try(
        self,
        captures: Sequence[CapturedUpdate],
        found: Sequence[Answers],
        refused: Sequence[dict[str, str]],
        *,
        spare: bool,
        seed: int,
        device: str,
    ) -> None:
        """Let each member answer for those victims that need it.

        Args:
            captures: of all victims.
            found: their answers so far, to which others are added.
            refused: why members do not take them, to which others are added.
            spare: whether to try a member on those only that it takes at this effort; if not, on those without answers.
            seed, device: as for `reconstruct`.
        """
        for member in self._members():
            takes = [self._takes(member, capture, spare=spare) for capture in captures]
            over = [_is_matched(own) if spare else bool(own) for own in found]
            wanted = [index for index in range(len(captures)) if takes[index] and not over[index]]
            chosen = [captures[index] for index in wanted]
            try:
                answers = self._built(member).reconstruct(chosen, seed=seed, device=device) if chosen else []
            except ConfigError as error:
                for index in wanted:
                    refused[index][member.name] = str(error)
                continue
            for index, answer, distance in zip(wanted, answers, _distances(chosen, answers), strict=True):
                if member.name == "exact" and answer.stop_reason is StopReason.NOT_ATTEMPTED:
                    continue  # there is no closed form, so it names labels only
                found[index][f"{member.name} {member.letter}"] = answer, distance

    def _takes(self, member: Member, capture: CapturedUpdate, *, spare: bool) -> bool:
        """Return whether a member is tried on a victim; of too many examples, if it then reads what can be."""
        can_read = member.name == "exact" or "most_examples" in ATTACKS[member.name].settings.model_fields
        if not can_read and batch_size(capture) > self.settings.most_examples:
            return False
        return member.takes(capture, self.settings.effort) or not spare

    def _members(self) -> list[Member]:
        """Return the members of the adversary that have a budget in this effort."""
        letter = self.settings.adversary
        if letter == "auto":
            letter = "B" if self._auxiliary is None else "D"
        if letter == "D" and self._auxiliary is None:
            raise ConfigError("attack.adversary: 'D' needs auxiliary data, and the experiment names none.")
        return [member for member in MEMBERS if self.settings.effort in member.efforts and member.letter <= letter]

    def _built(self, member: Member) -> Any:  # noqa: ANN401 - a GradientInversion, perhaps with auxiliary data
        settings = dict(member.efforts[self.settings.effort])
        if member.prior:
            settings["dark_background"] = self.settings.dark_background
        for name in ("snapshots", "most_examples"):
            if name in ATTACKS[member.name].settings.model_fields:
                settings[name] = getattr(self.settings, name)
        attack = build_attack(member.name, settings)
        if self._auxiliary is not None and isinstance(attack, UsesAuxiliary):
            return attack.informed(self._auxiliary)
        return attack

    def _chosen(
        self, capture: CapturedUpdate, found: Answers, refused: Mapping[str, str], *, seed: int, seconds: float
    ) -> Reconstruction:
        """Return the answer to a victim, with the counts of all members, and why others did not take it."""
        own = {name: answer for name, (answer, _) in found.items()}
        nearest = min(found, key=lambda name: found[name][1])
        preferred = [name for name in preference(capture) if name in own]
        name = nearest if _is_matched(found) or not preferred else preferred[0]
        answer = own[name]
        return dataclasses.replace(
            answer,
            attack=self.name,
            settings=self.settings.model_dump(),
            iterations=sum(one.iterations for one in own.values()),
            gradient_evaluations=sum(one.gradient_evaluations for one in own.values()),
            restarts=sum(one.restarts for one in own.values()),
            seconds=seconds,
            seed=seed,
            engine=f"{answer.attack}: {answer.engine}",
            refused=dict(refused) or None,
        )

    def _grey(self, capture: CapturedUpdate, seed: int) -> Reconstruction:
        """Return grey images, or empty recordings, and labels that are read."""
        grey = grey_inputs(capture)
        return Reconstruction(
            capture_id=capture.id,
            attack=self.name,
            settings=self.settings.model_dump(),
            inputs=grey,
            labels=best_labels(capture).cpu(),
            matching_loss=float("inf"),
            last_inputs=grey.clone(),
            loss_history=torch.empty(0),
            iterations=0,
            gradient_evaluations=0,
            restarts=1,
            stop_reason=StopReason.BUDGET,
            seconds=0.0,
            seed=seed,
        )


def _distances(captures: Sequence[CapturedUpdate], answers: Sequence[Reconstruction]) -> list[float]:
    """Return how far the updates of answers are from the captured ones, relative to their norm.

    Grey inputs that stand for a victim that was not attempted are at no distance: infinity.
    """
    tried = [index for index, answer in enumerate(answers) if answer.stop_reason is not StopReason.NOT_ATTEMPTED]
    examples = [(answers[index].inputs, answers[index].labels) for index in tried]
    found = dict(zip(tried, mismatches([captures[index] for index in tried], examples), strict=True))
    return [found.get(index, math.inf) for index in range(len(answers))]


def _is_matched(found: Answers) -> bool:
    """Return whether the update of an answer is the captured one but for rounding."""
    return any(distance <= ROUNDING for _, distance in found.values())


def preference(capture: CapturedUpdate) -> tuple[str, ...]:
    """Return the members, with their letters, whose answers are preferred where no answer matches; () for the nearest.

    For spiking networks: for recordings and colour the learned regression, for grey images the inversion of features
    where these are active, then frozen deltas.
    """
    if capture.model.spiking is None:
        return ()
    frozen = ("frozen_delta B", "inverting_gradients B")
    if capture.model.input.timesteps or capture.model.input.channels > 1:
        return ("learned D", *frozen)
    read = read_head(capture)
    if read is None or read.active < FAINT:
        return frozen
    return ("feature_kalman D", "feature_kalman B", *frozen)
