"""Who is asked about, and the truth: which examples were in a training, which were not, and what the adversary has.

Of a central training, the candidates are a random part of the train split; a random half of them, another one for each
seed, trains the target. Of a federation, the members are the sealed examples of the clients, or, where few clients are
captured and seal, what all clients held that trained; the others come from the split that no client holds. The
candidates are then shuffled by a stream of the judge, which no attack can rebuild.
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
from fl_sim.datasets.examples import Dataset, Examples, with_train
from fl_sim.datasets.partition import make_partitioner
from fl_sim.errors import ConfigError
from fl_sim.sealed_forms import formed
from fl_sim.seeding import derive_seed, torch_stream
from judges.runs.rows.classes import CENTRAL

_STREAM = "membership"


class Half(NamedTuple):
    """What one shadow model is trained on: the data, and which of the candidates, or of the auxiliary examples."""

    dataset: Dataset
    chosen: Tensor


class _Pools(NamedTuple):
    """The examples of one split that a membership inference is about: those asked about, and the adversary's own."""

    dataset: Dataset
    split: Examples
    asked: Tensor
    auxiliary: Tensor


class Held(NamedTuple):
    """The clients that have trained a federation's global model on all that they hold, some of whom sealed nothing.

    Attributes:
        clients: number of clients among whom the split was divided.
        trained: partition ids of those who have trained, ascending.
    """

    clients: int
    trained: tuple[int, ...]


@dataclass(frozen=True)
class Asked:
    """The candidates of one model, or of one update.

    Attributes:
        dataset: the data.
        target: how the target is trained, "central" or "federation".
        candidates: largest number of candidates; half of them are members of a central training.
        auxiliary: number of examples that the adversary has besides.
        seed: root seed of the experiment, which draws candidates and auxiliary examples.
        target_seed: seed of the target, which draws its members.
        folder: of the run, with sealed/.
        captures: ids of the updates whose sealed examples are the members; () for a central training.
        held: of a federation, the clients whose examples are the members in place of the sealed ones; None for these.
    """

    dataset: DatasetSettings
    target: str
    candidates: int
    auxiliary: int
    seed: int
    target_seed: int
    folder: Path = Path()
    captures: tuple[str, ...] = ()
    held: Held | None = None

    def question(self) -> Candidates:
        """Return the candidates, in an order that says nothing."""
        return _asked(self)[0]

    def truth(self) -> Tensor:
        """Return which candidates are members, bool (n,)."""
        return _asked(self)[1]

    def own(self) -> Auxiliary:
        """Return the adversary's own examples, of which none is a candidate."""
        pools = _pools(self)
        return Auxiliary(pools.dataset.name, *pools.split.batch(pools.auxiliary))

    def trained_on(self) -> Dataset:
        """Return the data of the target of a central training: its members are the train split."""
        pools = _pools(self)
        return with_train(pools.dataset, pools.split, pools.asked[_members(self)])

    def never_trained_on(self) -> Dataset:
        """Return as many examples as train the target, none of which is a candidate."""
        pools = _pools(self)
        return with_train(pools.dataset, pools.split, pools.auxiliary[: self.candidates // 2])

    def half(self, number: int, *, online: bool) -> Half:
        """Return what a shadow model is trained on: half of the candidates online, else half of the auxiliary ones.

        Args:
            number: of the shadow model, from 0; every second has the half that the one before it has not.
            online: whether it is trained on candidates.
        """
        pools = _pools(self)
        pool = pools.asked if online else pools.auxiliary
        order = torch.randperm(len(pool), generator=self._stream("shadow", int(online), number // 2))
        half = torch.zeros(len(pool), dtype=torch.bool)
        half[order[: len(pool) // 2]] = True
        half = ~half if number % 2 else half
        return Half(with_train(pools.dataset, pools.split, pool[half]), half)

    def check(self) -> None:
        """Raise a ConfigError if the data set has too few examples."""
        _pools(self)

    def _stream(self, *names: str | int) -> torch.Generator:
        return torch_stream(self.seed, _STREAM, *names)


@functools.lru_cache(maxsize=8)
def _pools(asked: Asked) -> _Pools:
    """Return the examples that are asked about, or those of them who are not members, and the adversary's own."""
    dataset, central = asked.dataset.load(), asked.target == CENTRAL
    split = dataset.train if (asked.dataset.split == "train") == central else dataset.test
    count = asked.candidates if central else asked.candidates // 2
    if count + asked.auxiliary > len(split):
        raise ConfigError(
            f"candidates: {count} examples to ask about and auxiliary = {asked.auxiliary} of the adversary's own are "
            f"more than the {len(split)} of '{dataset.name}' that they come from; set candidates or auxiliary lower."
        )
    order = torch.randperm(len(split), generator=torch_stream(asked.seed, _STREAM, "pool"))
    return _Pools(dataset, split, order[:count], order[count : count + asked.auxiliary])


def _members(asked: Asked) -> Tensor:
    """Return which of the candidates of a central training are members, bool (n,): half of them."""
    order = torch.randperm(asked.candidates, generator=torch_stream(asked.seed, _STREAM, "members", asked.target_seed))
    members = torch.zeros(asked.candidates, dtype=torch.bool)
    members[order[: asked.candidates // 2]] = True
    return members


@functools.lru_cache(maxsize=8)
def _asked(asked: Asked) -> tuple[Candidates, Tensor]:
    """Return the candidates, and which are members."""
    pools = _pools(asked)
    outside, labels = pools.split.batch(pools.asked)
    if asked.target == CENTRAL:  # their order is that of the pool, which is random
        return Candidates(outside, labels), _members(asked)
    inside, own = _sealed(asked, pools.dataset) if asked.held is None else _examples_held(asked, asked.held, pools)
    axis = 1 if outside.dim() == 5 else 0
    members = torch.cat([torch.ones(len(own)), torch.zeros(len(labels))]).bool()
    names = (str(asked.target_seed), *asked.captures)
    order = torch.randperm(len(members), generator=torch_stream(asked.seed, _STREAM, "order", *names))
    inputs = torch.cat([inside, outside], axis).index_select(axis, order)
    return Candidates(inputs, torch.cat([own, labels])[order]), members[order]


def _sealed(asked: Asked, dataset: Dataset) -> tuple[Tensor, Tensor]:
    """Return different examples that the clients sealed, at most half as many as there may be candidates."""
    store = SealedStore(asked.folder / "sealed")
    batches = [formed(store.load(key), dataset.spec).batch for key in asked.captures]
    axis = 1 if batches[0].inputs.dim() == 5 else 0
    inputs, labels = torch.cat([one.inputs for one in batches], axis), torch.cat([one.labels for one in batches])
    order = torch.randperm(len(labels), generator=torch_stream(asked.seed, _STREAM, "sealed", *asked.captures))
    first: dict[bytes, int] = {}
    for place in order.tolist():
        first.setdefault(inputs.select(axis, place).contiguous().numpy().tobytes(), place)
    chosen = torch.tensor(list(first.values())[: asked.candidates // 2])
    return inputs.index_select(axis, chosen), labels[chosen]


def _examples_held(asked: Asked, held: Held, pools: _Pools) -> tuple[Tensor, Tensor]:
    """Return different examples of the clients that have trained, at most half as many as there may be candidates."""
    data, settings = pools.dataset, asked.dataset
    split = data.train if settings.split == "train" else data.test
    partitioner = make_partitioner(
        settings.partitioner,
        num_partitions=held.clients,
        alpha=settings.alpha,
        singles=settings.singles,
        seed=derive_seed(asked.seed, "partition"),
    )
    parts = partitioner.partition(split.labels.numpy())
    indices = torch.cat([torch.from_numpy(parts[client]) for client in held.trained])
    stream = torch_stream(asked.seed, _STREAM, "held", asked.target_seed, *held.trained)
    order = torch.randperm(len(indices), generator=stream)
    return split.batch(indices[order[: asked.candidates // 2]])
