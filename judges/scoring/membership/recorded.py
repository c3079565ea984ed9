"""Who is asked about of a recorded federation: the examples that its clients sealed, and others that the owner gives.

Whether an example was in the training is known of the sealed ones alone, which are opened here and nowhere else. The
others are public pictures, or the split of a data set that no client holds. Half of them are asked about; the rest are
the adversary's own, and train the control. The candidates are shuffled by a stream of the judge.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from attacks.contracts import Auxiliary, Candidates
from fl_sim.captures import SealedStore
from fl_sim.config import DatasetSettings
from fl_sim.datasets.examples import Examples
from fl_sim.datasets.reading.public import read_public
from fl_sim.records import TrainedModel
from fl_sim.sealed_forms import formed
from fl_sim.seeding import torch_stream
from fl_sim.specs import InputSpec
from judges.scoring.membership.asked import Asked
from judges.scoring.models.accuracy import held_out_accuracy

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
    """Where examples come from that no client holds.

    Attributes:
        spec: what the model takes.
        dataset: the clients' data set, whose other split no client holds; None for public pictures.
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
        split = data.test if self.dataset.split == "train" else data.train
        ours, theirs = (self.spec.low, self.spec.high), (data.spec.low, data.spec.high)
        return split if ours == theirs else Scaled(split, theirs, ours)


@dataclass(frozen=True)
class Recorded:
    """The candidates of one recorded global model; a value that can be sent to another process.

    Attributes:
        folder: of the audit, with sealed/.
        captures: ids of the sealed batches whose examples are the members.
        others: where the others come from.
        most: largest number of candidates, members and others together.
        seed, target_seed: root seed of the audit, and the number of the model.
    """

    folder: Path
    captures: tuple[str, ...]
    others: Others
    most: int
    seed: int
    target_seed: int

    def question(self) -> Candidates:
        """Return the candidates, in an order that says nothing."""
        return _drawn(self).candidates

    def truth(self) -> Tensor:
        """Return which candidates are members, bool (n,)."""
        return _drawn(self).members

    def own(self) -> Auxiliary:
        """Return the adversary's own examples, of which none is a candidate or was sealed."""
        return _drawn(self).own

    def lack(self) -> str:
        """Return why a membership inference cannot be scored, or "" if there are enough members and others."""
        members = int(self.truth().sum())
        counts = {
            "examples that the model was trained on were sealed": members,
            "others are to be asked about": len(self.truth()) - members,
            "others are left for the control": len(self.own().labels),
        }
        short = next(((what, count) for what, count in counts.items() if count < LEAST), None)
        return f"only {short[1]} {short[0]}, and fewer than {LEAST} tell nothing" if short else ""


Questions = Asked | Recorded
"""Who is asked about, whatever the target."""


def accuracy_on(others: Others, model: TrainedModel, *, device: str) -> float:
    """Return a model's accuracy on examples that no client holds, in [0, 1]."""
    return held_out_accuracy(model, others.examples(), device=device)


class _Drawn(NamedTuple):
    """The candidates, which of them are members, and the adversary's own examples."""

    candidates: Candidates
    members: Tensor
    own: Auxiliary


@functools.lru_cache(maxsize=4)
def _drawn(asked: Recorded) -> _Drawn:
    """Return what is drawn of the sealed and of the other examples; no other one was sealed as well."""
    spec = asked.others.spec
    axis, most = (1 if spec.timesteps else 0), asked.most // 2
    inside, labels = _sealed(asked, axis)
    known = set(map(_content, inside.unbind(axis)))
    split = asked.others.examples()
    order = torch.randperm(len(split), generator=_stream(asked, "others"))[: 2 * most]
    outside, theirs = split.batch(order)
    new = torch.tensor([_content(one) not in known for one in outside.unbind(axis)], dtype=torch.bool).nonzero()[:, 0]
    half = min(most, (len(new) + 1) // 2)
    parts = [outside.index_select(axis, new[:half]), outside.index_select(axis, new[half:])]
    chosen = torch.randperm(len(labels), generator=_stream(asked, "members"))[:most]
    truth = torch.cat([torch.ones(len(chosen)), torch.zeros(half)]).bool()
    shuffled = torch.randperm(len(truth), generator=_stream(asked, "order", str(asked.target_seed)))
    inputs = torch.cat([inside.index_select(axis, chosen), parts[0]], axis).index_select(axis, shuffled)
    targets = torch.cat([labels[chosen], theirs[new[:half]]])[shuffled]
    return _Drawn(Candidates(inputs, targets), truth[shuffled], Auxiliary("others", parts[1], theirs[new[half:]]))


def _sealed(asked: Recorded, axis: int) -> tuple[Tensor, Tensor]:
    """Return different examples that the clients sealed, in the order of the captures."""
    store, spec = SealedStore(asked.folder / "sealed"), asked.others.spec
    first: dict[bytes, tuple[Tensor, Tensor]] = {}
    for name in asked.captures:
        batch = formed(store.load(name), spec).batch
        for one, label in zip(batch.inputs.float().unbind(axis), batch.labels, strict=True):
            first.setdefault(_content(one), (one, label))
    frame = (spec.timesteps, *spec.frame) if axis else spec.frame
    inputs = torch.stack([one for one, _ in first.values()], axis) if first else torch.empty(0, *frame).movedim(0, axis)
    return inputs, torch.tensor([int(label) for _, label in first.values()], dtype=torch.int64)


def _content(one: Tensor) -> bytes:
    return one.contiguous().numpy().tobytes()


def _stream(asked: Recorded, *names: str) -> torch.Generator:
    return torch_stream(asked.seed, _STREAM, *names)
