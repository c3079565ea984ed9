"""Partitioners of the examples among clients, with the names and parameters of flwr-datasets, for NumPy arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fl_sim.errors import ConfigError, unknown_name

Indices = npt.NDArray[np.int64]

ATTEMPTS = 100
LARGEST_ALPHA = 1e6  # the split is even long before NumPy's Dirichlet overflows, far above this


class Partitioner(Protocol):
    """Divides a data set among clients."""

    def partition(self, labels: npt.NDArray[np.integer]) -> list[Indices]:
        """Return the indices of each client's examples, a partition of the indices of `labels` (N,)."""
        ...


@dataclass(frozen=True)
class IidPartitioner:
    """Every client draws from the same distribution: the examples are shuffled and dealt out evenly.

    Attributes:
        num_partitions: number of clients.
        seed: seed of the shuffle.
    """

    num_partitions: int
    seed: int = 42

    def partition(self, labels: npt.NDArray[np.integer]) -> list[Indices]:
        """Return the clients' indices; the numbers of examples differ by at most one.

        Raises:
            ConfigError: there are more clients than examples.
        """
        _check_counts(labels, self.num_partitions, 1)
        order = np.random.default_rng(self.seed).permutation(len(labels)).astype(np.int64)
        return list(np.array_split(order, self.num_partitions))


@dataclass(frozen=True)
class DirichletPartitioner:
    """Label skew: the clients' shares of each class are drawn from a Dirichlet distribution.

    Attributes:
        num_partitions: number of clients.
        alpha: concentration: small for few classes per client, large for an even split.
        min_partition_size: minimum number of examples per client; shares are redrawn until it is met (flwr-datasets:
            10).
        self_balancing: whether a client with more than the average number of examples receives no further class (as in
            the paper's code, but not in its text; flwr-datasets: true).
        shuffle: whether a client's examples are shuffled; otherwise they are ordered by class.
        seed: seed of the shares and the shuffle.

    Source: Yurochkin et al., "Bayesian Nonparametric Federated Learning of Neural Networks", 2019, section 4.
    """

    num_partitions: int
    alpha: float
    min_partition_size: int = 1
    self_balancing: bool = False
    shuffle: bool = True
    seed: int = 42

    def partition(self, labels: npt.NDArray[np.integer]) -> list[Indices]:
        """Return the clients' indices.

        Raises:
            ConfigError: alpha is out of range, there are too few examples, or no draw gives every client enough of
                them.
        """
        _check_counts(labels, self.num_partitions, self.min_partition_size)
        if not 0 < self.alpha <= LARGEST_ALPHA:
            raise ConfigError(f"dataset.alpha: expected a number above 0, up to {LARGEST_ALPHA:g}, found {self.alpha}.")
        stream = np.random.default_rng(self.seed)
        for _ in range(ATTEMPTS):
            parts = self._draw(labels, stream)
            if min(len(part) for part in parts) >= self.min_partition_size:
                return [stream.permutation(part) for part in parts] if self.shuffle else parts
        raise ConfigError(
            f"dataset.alpha: with {self.alpha:g}, none of {ATTEMPTS} draws gave each of {self.num_partitions} clients "
            f"at least {self.min_partition_size} of {len(labels)} examples; raise alpha or use fewer clients."
        )

    def _draw(self, labels: npt.NDArray[np.integer], stream: np.random.Generator) -> list[Indices]:
        parts: list[list[Indices]] = [[] for _ in range(self.num_partitions)]
        sizes = np.zeros(self.num_partitions)
        for label in np.unique(labels):
            members = np.flatnonzero(labels == label).astype(np.int64)
            shares = stream.dirichlet(np.full(self.num_partitions, self.alpha))
            if self.self_balancing:
                shares = _balanced(shares, sizes <= len(labels) / self.num_partitions)
            # The ends are rounded rather than the shares, so that the parts add up to all members.
            ends = np.rint(np.cumsum(shares)[:-1] * len(members)).astype(np.int64)
            for client, chosen in enumerate(np.split(members, ends)):
                parts[client].append(chosen)
                sizes[client] += len(chosen)
        return [np.concatenate(part) for part in parts]


@dataclass(frozen=True)
class SinglesPartitioner:
    """Quantity skew at its extreme: the first clients hold a single example each, the others divide the rest.

    Attributes:
        singles: number of clients with a single example.
        others: divides the rest of the examples among the other clients.
        seed: seed of the draw of the single examples.
    """

    singles: int
    others: Partitioner
    seed: int = 42

    def partition(self, labels: npt.NDArray[np.integer]) -> list[Indices]:
        """Return the clients' indices.

        Raises:
            ConfigError: there are too few examples.
        """
        _check_counts(labels, self.singles, 1)
        order = np.random.default_rng(self.seed).permutation(len(labels)).astype(np.int64)
        rest = np.sort(order[self.singles :])
        parts = self.others.partition(labels[rest])
        return [*np.split(order[: self.singles], self.singles), *(rest[part] for part in parts)]


def make_partitioner(name: str, *, num_partitions: int, alpha: float, seed: int, singles: int = 0) -> Partitioner:
    """Return the partitioner called `name` ("iid" or "dirichlet"); "iid" has no alpha.

    Args:
        name: of the partitioner.
        num_partitions: number of clients.
        alpha: of "dirichlet".
        seed: of its draws.
        singles: number of clients, the first ones, that hold a single example each.

    Raises:
        ConfigError: the partitioner is not known, or no client is left for more than a single example.
    """
    if singles >= num_partitions:
        raise ConfigError(
            f"dataset.singles: expected fewer than the {num_partitions} clients of the federation, found {singles}."
        )
    partitioners: dict[str, Partitioner] = {
        "iid": IidPartitioner(num_partitions - singles, seed=seed),
        "dirichlet": DirichletPartitioner(num_partitions - singles, alpha, seed=seed),
    }
    if name not in partitioners:
        raise unknown_name("dataset.partitioner", name, partitioners)
    return SinglesPartitioner(singles, partitioners[name], seed) if singles else partitioners[name]


def _check_counts(labels: npt.NDArray[np.integer], clients: int, least: int) -> None:
    if clients < 1:
        raise ConfigError(f"federation.clients: expected at least 1, found {clients}.")
    least = max(least, 1)  # more clients than examples is a mistake even where empty clients are allowed
    if clients * least > len(labels):
        raise ConfigError(
            f"federation.clients: {clients} clients with at least {least} examples each need {clients * least}, but "
            f"the data set has {len(labels)}; use fewer clients."
        )


def _balanced(shares: npt.NDArray[np.float64], is_open: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Return the shares with those of full clients divided among the open ones, of which there is always one."""
    kept = np.where(is_open, shares, 0.0)
    if not kept.any():
        # With a tiny alpha, a whole class may be drawn for full clients; the open ones then share it equally.
        kept = np.where(is_open, 1.0, 0.0)
    balanced: npt.NDArray[np.float64] = kept / kept.sum()
    return balanced
