"""Opens the seal of captured updates: the truth behind each, in the form of the records, as far as it can be theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from attacks.engines.truth import Rounded
from fl_sim.captures import SealedStore
from fl_sim.config import DatasetSettings
from fl_sim.defences import NO_DEFENCE
from fl_sim.defences.claims import Claim
from fl_sim.errors import DataError
from fl_sim.records import CapturedUpdate, SealedBatch
from fl_sim.sealed_forms import formed
from fl_sim.specs import InputSpec, ModelSpec
from judges.runs.identity import Attacked
from judges.scoring.audit.checks import matched, measured, others_truth


@dataclass(frozen=True)
class Victim:
    """A captured update.

    Attributes:
        id: of the capture.
        round: server round.
        repeat: number of the repetition of the federation.
        sealed: ids of the sealed batches behind it, those of the clients in a sum; () for the one of its own id.
    """

    id: str
    round: int
    repeat: int = 0
    sealed: tuple[str, ...] = ()

    @property
    def seals(self) -> tuple[str, ...]:
        """Return the ids of the sealed batches behind it."""
        return self.sealed or (self.id,)


@dataclass(frozen=True)
class Evidence:
    """Captured updates that are attacked and scored together: those of a federation, or of one model of an audit.

    Attributes:
        name: their label in folders.
        attacked: their columns in the rows.
        victims: in the order in which they are attacked.
        seed: root seed, from which that of the attacks follows.
        model: the model that the clients train.
        dataset: the clients' data set; None if it is not known.
        models: files of the trained models, whose test accuracy is part of their health.
        claims: what the clients' defence and the strategy claim; () where neither defends, or it is not known.
    """

    name: str
    attacked: Attacked
    victims: tuple[Victim, ...]
    seed: int
    model: ModelSpec
    dataset: DatasetSettings | None = None
    models: Mapping[str, Path] = field(default_factory=dict)
    claims: tuple[Claim, ...] = ()

    @property
    def ids(self) -> list[str]:
        """Return the ids of the captures."""
        return [victim.id for victim in self.victims]

    @property
    def spec(self) -> InputSpec:
        """Return the spec of the inputs."""
        return self.model.input

    @property
    def timesteps(self) -> int:
        """Return T of a spiking model, which takes one step for each frame of a recording; 0 for an ANN."""
        if not self.attacked.spiking:
            return 0
        return self.spec.timesteps or (self.model.spiking.timesteps if self.model.spiking else 0)


class _NoExampleError(DataError):
    """There is no example behind an update."""


class Truths:
    """The truth behind captured updates, opened one piece of evidence after the other.

    Args:
        folder: folder of the run, with sealed/.

    Attributes:
        sealed: the truth of the captures.
        mismatches: {capture id: distance between the update of the truth, as an attack computes it, and the captured
            one, relative to its norm}, as far as they were measured; where the truth holds the batches of all epochs,
            in their order.
        reordered: {capture id: the same with the order of the first epoch in all}, where it is about 0 in the true
            order only.
        rounding: {capture id: what rounding alone does to the update of its truth}, where it is a reason why this is
            not the captured one. Where it leaves open whether it is, `mismatches` has nothing.
        converted: {capture id: how its truth was converted}, of the opened truths that clients sealed in another form.
        unfit: {capture id: why the answers to it are not scored}, where a truth cannot be that of its update.
    """

    def __init__(self, folder: Path) -> None:
        self.sealed = SealedStore(folder / "sealed")
        self.mismatches: dict[str, float] = {}
        self.reordered: dict[str, float] = {}
        self.rounding: dict[str, Rounded] = {}
        self.converted: dict[str, str] = {}
        self.unfit: dict[str, str] = {}
        self._truths: dict[str, SealedBatch] = {}
        self._opened: Evidence | None = None

    def open(self, evidence: Evidence, *, complete: bool) -> list[Victim]:
        """Load the truth of the evidence's captures in place of that loaded before, and return its victims.

        Truth that is loaded already is not read again, nor is what is `unfit`.

        Args:
            evidence: the captures.
            complete: whether the truth of all captures must exist and be readable.

        Raises:
            DataError: a truth that must exist is missing, corrupt, or cannot be that of an update of its model.
        """
        if evidence is not self._opened:
            there = None if complete else set(self.sealed.ids())
            self._truths = {}
            for victim in (one for one in evidence.victims if one.id not in self.unfit):
                if there is not None and not there.issuperset(victim.seals):
                    continue
                try:
                    self._truths[victim.id] = self._read(victim, evidence.spec)
                except DataError as error:
                    if complete and not isinstance(error, _NoExampleError):
                        raise
                    self._leave_out(victim.id, str(error))
            self._opened = evidence
        return self.known(evidence)

    def known(self, evidence: Evidence) -> list[Victim]:
        """Return the victims of the opened evidence whose truth is known."""
        return [victim for victim in evidence.victims if self.knows(victim.id)]

    def _leave_out(self, capture_id: str, reason: str) -> None:
        """Note that a truth cannot be that of its update, and forget it."""
        self.unfit[capture_id] = reason
        self._truths.pop(capture_id, None)
        self.converted.pop(capture_id, None)
        self.mismatches.pop(capture_id, None)
        self.reordered.pop(capture_id, None)
        self.rounding.pop(capture_id, None)

    def _read(self, victim: Victim, spec: InputSpec) -> SealedBatch:
        """Return the truth of a capture in the form of the records; that of a sum is composed here alone."""
        capture_id, sealed = victim.id, [self.sealed.load(name) for name in victim.seals]
        found = [formed(one, spec) for one in sealed if len(one.labels)]
        if not found:
            raise _NoExampleError(f"{capture_id}: its client drew no example at all, which Poisson sampling may do.")
        truth = composed(capture_id, [one.batch for one in found])
        converted = tuple(dict.fromkeys(words for one in found for words in one.converted))
        if truth.labels.is_floating_point() and spec.classes > 1:
            raise DataError(
                f"{capture_id}: its client sealed targets that are not whole numbers, and answers are scored beside "
                f"classes from 0 to {spec.classes - 1}; seal the classes, or remove this sealed batch to see the "
                "answers without scores."
            )
        if converted:
            self.converted[capture_id] = "; ".join(converted)
        return truth

    def compare(self, captures: Sequence[CapturedUpdate]) -> None:
        """Measure how far the updates of the truth are from the captured ones, see `mismatches` and `reordered`.

        Truth with the batches of several epochs is then cut to the examples of one. Truth of another size, and truth
        that does not explain its update where that of another client does, is left out as `unfit`.

        Args:
            captures: updates of the opened evidence whose truth is known, with all facts that an attack assumes.
        """
        sealed = {capture.id: self.truth(capture.id) for capture in captures}
        kept = [capture for capture in captures if self._is_cut(capture)]
        new = [capture for capture in kept if capture.id not in self.mismatches.keys() | self.rounding.keys()]
        found, reordered, rounding = measured(new, sealed, self._truths)
        self.mismatches |= found
        self.reordered |= reordered
        self.rounding |= rounding
        if self._opened is not None and self._opened.attacked.defence == NO_DEFENCE:
            for name, reason in others_truth(kept, self.mismatches).items():
                self._leave_out(name, reason)

    def _is_cut(self, capture: CapturedUpdate) -> bool:
        """Cut the truth of a capture to the examples of one epoch; leave it out if it is of another size."""
        try:
            self._truths[capture.id] = matched(capture, self._truths[capture.id])
        except DataError as error:
            self._leave_out(capture.id, str(error))
            return False
        return True

    def knows(self, capture_id: str) -> bool:
        """Return whether the truth of a capture of the opened evidence is known."""
        return capture_id in self._truths

    def truth(self, capture_id: str) -> SealedBatch:
        """Return the truth of a capture of the opened evidence."""
        return self._truths[capture_id]


def composed(capture_id: str, batches: Sequence[SealedBatch]) -> SealedBatch:
    """Return the batches of the clients behind a sum as one, in their order.

    Args:
        capture_id: id of the captured sum.
        batches: of each client, in the form of the records, one or more.
    """
    first = batches[0]
    if len(batches) == 1 and first.capture_id == capture_id:
        return first
    axis = first.inputs.dim() - 4  # event frames have time first
    inputs, labels = torch.cat([one.inputs for one in batches], axis), torch.cat([one.labels for one in batches])
    return SealedBatch(capture_id, inputs, labels, first.defence)
