"""Who is asked about of a recorded model: the examples that it was trained on, and others that the owner gives.

Of a federation the former are those that its clients sealed, which are opened here and nowhere else; of a model's file
those that its owner names. The others are public pictures, or the split of a data set that nobody trained on. Half of
them are asked about; the rest are the adversary's own, and train the control where members and others are two splits
of one data set. Elsewhere it learns from members that are not asked about, as long as there are enough of them. The
candidates are shuffled by a stream of the judge.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from attacks.contracts import Auxiliary, Candidates
from fl_sim.captures import SealedStore
from fl_sim.config import DatasetSettings
from fl_sim.datasets.examples import Chosen, Dataset, Examples, InMemory
from fl_sim.datasets.reading.public import read_public
from fl_sim.sealed_forms import formed
from fl_sim.seeding import torch_stream
from fl_sim.specs import InputSpec
from judges.scoring.membership.asked import Asked

_AT_ONCE = 500

LEAST = 10
"""Fewest members, and fewest others, of which an area under a curve says anything."""

_STREAM = "recorded membership"


@dataclass(frozen=True)
class Scaled:
    """A split whose inputs are mapped from one value range to another.

    Attributes:
        split: the split.
        given, wanted: (low, high) of its inputs, and of those of the model.
    """

    split: Examples
    given: tuple[float, float]
    wanted: tuple[float, float]

    @property
    def labels(self) -> Tensor:
        """Return the labels, int64 (N,)."""
        return self.split.labels

    def __len__(self) -> int:
        return len(self.split)

    def batch(self, indices: Tensor | slice = slice(None)) -> tuple[Tensor, Tensor]:
        """Return inputs and labels at `indices`, as `Examples.batch` does."""
        inputs, labels = self.split.batch(indices)
        (low, high), (least, most) = self.given, self.wanted
        return least + (most - least) * (inputs - low) / (high - low), labels


@dataclass(frozen=True)
class Others:
    """Where examples come from that the model was not trained on.

    Attributes:
        spec: what the model takes.
        dataset: the data set of the training, whose other split nobody holds; None for public pictures.
        folder: of public pictures, with one subfolder for each class.
    """

    spec: InputSpec
    dataset: DatasetSettings | None = None
    folder: str = ""

    def examples(self) -> Examples:
        """Return them in the value range of the model; errors as of a data set, or of `read_public`."""
        if self.dataset is None:
            return read_public(Path(self.folder), self.spec)
        data = self.dataset.load()
        split = self._split(data, self.dataset.split)
        ours, theirs = (self.spec.low, self.spec.high), (data.spec.low, data.spec.high)
        return split if ours == theirs else Scaled(split, theirs, ours)

    @staticmethod
    def _split(data: Dataset, trained: str) -> Examples:
        """Return the split of a data set that nobody was trained on."""
        return data.test if trained == "train" else data.train


class Members(Others):
    """Where the examples come from that a model's file was trained on: the split of a data set, or pictures."""

    @staticmethod
    def _split(data: Dataset, trained: str) -> Examples:
        """Return the split of a data set that the model was trained on."""
        return data.train if trained == "train" else data.test


@dataclass(frozen=True)
class Recorded:
    """The candidates of one recorded model; a value that can be sent to another process.

    Attributes:
        folder: of the audit, with sealed/ where it is one of a federation.
        captures: ids of the sealed batches whose examples are the members.
        others: where the others come from.
        most: largest number of candidates, members and others together.
        seed, target_seed: root seed of the audit, and the number of the model.
        members: where the members come from if they were not sealed.
        digest: hash of what lies in the folders.
    """

    folder: Path
    captures: tuple[str, ...]
    others: Others
    most: int
    seed: int
    target_seed: int
    members: Members | None = None
    digest: str = ""

    def question(self) -> Candidates:
        """Return the candidates, in an order that says nothing."""
        return _drawn(self).candidates

    def truth(self) -> Tensor:
        """Return which candidates are members, bool (n,)."""
        return _drawn(self).members

    def learned(self) -> Examples:
        """Return the members among the candidates."""
        split = _all_members(self)
        return Chosen(split, _shuffled(self, len(split))[: self._most_members(len(split))])

    def apart(self) -> Auxiliary:
        """Return what the control learns, of which none is a candidate: further members, if some are held back.

        So it knows where the members come from, as the model does, and has seen none of them: if they come from
        elsewhere than the others, it tells them apart as well. If none are held back, it learns further others.
        """
        split, axis = _all_members(self), 1 if self.others.spec.timesteps else 0
        if not self._holds_back(len(split)):
            return _drawn(self).own
        first, order = self._most_members(len(split)), _shuffled(self, len(split))
        asked = set(map(_content, split.batch(order[:first])[0].unbind(axis)))
        inputs, labels = split.batch(order[first : 2 * first])
        new = torch.tensor([_content(one) not in asked for one in inputs.unbind(axis)], dtype=torch.bool)
        kept = new.nonzero()[:, 0]
        return Auxiliary("members", inputs.index_select(axis, kept), labels[kept])

    def own(self) -> Auxiliary:
        """Return the adversary's own examples, of which none is a candidate or was sealed."""
        return _drawn(self).own

    def lack(self) -> str:
        """Return why a membership inference cannot be scored, or "" if there are enough members and others."""
        members = int(self.truth().sum())
        held = "members" if self._holds_back(len(_all_members(self))) else "others"
        counts = {
            f"examples that the model was trained on were {'sealed' if self.members is None else 'given'}": members,
            "others are to be asked about": len(self.truth()) - members,
            f"{held} are left for the control": len(self.apart().labels),
        }
        short = next(((what, count) for what, count in counts.items() if count < LEAST), None)
        return f"only {short[1]} {short[0]}, and fewer than {LEAST} tell nothing" if short else ""

    def _holds_back(self, count: int) -> bool:
        """Return whether some of so many members are not asked about: the others may come from elsewhere than they."""
        return self.members is not None or (self.others.dataset is None and count >= 2 * LEAST)

    def _most_members(self, count: int) -> int:
        """Return how many of so many members are asked about."""
        return min(self.most // 2, (count + 1) // 2 if self._holds_back(count) else count)


Questions = Asked | Recorded
"""Who is asked about, whatever the target."""


class _Drawn(NamedTuple):
    """The candidates, which of them are members, and the adversary's own examples."""

    candidates: Candidates
    members: Tensor
    own: Auxiliary


@functools.lru_cache(maxsize=4)
def _drawn(asked: Recorded) -> _Drawn:
    """Return what is drawn of the sealed and of the other examples; no other one was sealed as well."""
    axis, most = (1 if asked.others.spec.timesteps else 0), asked.most // 2
    inside, labels, known = _inside(asked, axis)
    split = asked.others.examples()
    order = torch.randperm(len(split), generator=_stream(asked, "others"))[: 2 * most]
    outside, theirs = split.batch(order)
    new = torch.tensor([_content(one) not in known for one in outside.unbind(axis)], dtype=torch.bool).nonzero()[:, 0]
    half = min(most, (len(new) + 1) // 2)
    parts = [outside.index_select(axis, new[:half]), outside.index_select(axis, new[half:])]
    truth = torch.cat([torch.ones(len(labels)), torch.zeros(half)]).bool()
    shuffled = torch.randperm(len(truth), generator=_stream(asked, "order", str(asked.target_seed)))
    inputs = torch.cat([inside, parts[0]], axis).index_select(axis, shuffled)
    targets = torch.cat([labels, theirs[new[:half]]])[shuffled]
    return _Drawn(Candidates(inputs, targets), truth[shuffled], Auxiliary("others", parts[1], theirs[new[half:]]))


def _inside(asked: Recorded, axis: int) -> tuple[Tensor, Tensor, Collection[bytes]]:
    """Return the members that are asked about, their labels, and the contents of all, which no other example may have.

    Splits of a data set are apart, so that their contents are not compared.
    """
    split = _all_members(asked)
    parts = (slice(start, start + _AT_ONCE) for start in range(0, len(split), _AT_ONCE))
    apart = asked.members is not None and asked.members.dataset is not None
    known = set() if apart else {_content(one) for part in parts for one in split.batch(part)[0].unbind(axis)}
    return *asked.learned().batch(), known


@functools.lru_cache(maxsize=4)
def _all_members(asked: Recorded) -> Examples:
    """Return all that the model was trained on, as far as it is known."""
    return _sealed(asked) if asked.members is None else asked.members.examples()


def _shuffled(asked: Recorded, count: int) -> Tensor:
    """Return so many members in the order in which they are asked about."""
    return torch.randperm(count, generator=_stream(asked, "members"))


def _sealed(asked: Recorded) -> InMemory:
    """Return different examples that the clients sealed, in the order of the captures."""
    store, spec = SealedStore(asked.folder / "sealed"), asked.others.spec
    axis = 1 if spec.timesteps else 0
    first: dict[bytes, tuple[Tensor, Tensor]] = {}
    for name in asked.captures:
        batch = formed(store.load(name), spec).batch
        for one, label in zip(batch.inputs.float().unbind(axis), batch.labels, strict=True):
            first.setdefault(_content(one), (one, label))
    frame = (spec.timesteps, *spec.frame) if axis else spec.frame
    inputs = torch.stack([one for one, _ in first.values()], axis) if first else torch.empty(0, *frame).movedim(0, axis)
    return InMemory(inputs, torch.tensor([int(label) for _, label in first.values()], dtype=torch.int64))


def _content(one: Tensor) -> bytes:
    return hashlib.blake2b(one.contiguous().numpy().tobytes(), digest_size=16).digest()


def _stream(asked: Recorded, *names: str) -> torch.Generator:
    return torch_stream(asked.seed, _STREAM, *names)
