"""The training data of a client: its partition of the clients' split, and the batches of a round."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from contextvars import ContextVar

import torch
from torch import Tensor

from fl_sim.config import DatasetSettings, SimulationConfig
from fl_sim.datasets import DATASETS
from fl_sim.datasets.examples import Dataset, Examples
from fl_sim.datasets.partition import Indices, make_partitioner
from fl_sim.defences.dp_sgd import poisson_draws
from fl_sim.errors import ConfigError
from fl_sim.models import MODELS
from fl_sim.records import InputSpec
from fl_sim.seeding import derive_seed

Batch = tuple[Tensor, Tensor]


def input_spec(config: SimulationConfig) -> InputSpec:
    """Return the specification of the inputs."""
    return load(config.dataset).spec


_GIVEN: ContextVar[Dataset | None] = ContextVar("given", default=None)


@contextlib.contextmanager
def holding(dataset: Dataset | None) -> Iterator[None]:
    """Let the clients of this process hold a data set instead of that which their config names, unless it is None."""
    token = _GIVEN.set(dataset)
    try:
        yield
    finally:
        _GIVEN.reset(token)


def load(settings: DatasetSettings) -> Dataset:
    """Return the data set of a config, or the one in its place.

    Raises:
        DataError: its files are missing or corrupt.
    """
    return _GIVEN.get() or settings.load()


def splits(settings: DatasetSettings) -> tuple[Examples, Examples]:
    """Return the split that the clients hold, then the other one."""
    data = load(settings)
    return (data.train, data.test) if settings.split == "train" else (data.test, data.train)


def partition_indices(config: SimulationConfig, partition: int) -> Tensor:
    """Return the indices, int64 (n,), of a client's examples in the clients' split.

    Raises:
        ConfigError: the partition does not exist.
    """
    clients = config.federation.clients
    if not 0 <= partition < clients:
        raise ConfigError(f"federation.clients is {clients}, so there is no partition {partition}.")
    seed = derive_seed(config.seed, "partition")
    return torch.from_numpy(_partitions(config.dataset, clients, seed, load(config.dataset).digest)[partition])


def is_captured(config: SimulationConfig, server_round: int, partition: int) -> bool:
    """Return whether the update of a client in a round, from 1, is captured and its batch sealed."""
    most = config.federation.capture_most
    return config.federation.captures(server_round) and (not most or len(partition_indices(config, partition)) <= most)


def draw_batches(
    config: SimulationConfig, partition: int, *, count: int, size: int, stream: torch.Generator
) -> list[Batch]:
    """Return a client's batches of one round, drawn without replacement.

    An epoch is a permutation of the client's examples cut into full batches; if a round needs more batches, another
    permutation follows.

    Args:
        config: the federation.
        partition: partition id of the client.
        count: number of batches.
        size: N, examples per batch.
        stream: draws the permutations.

    Returns:
        (inputs (N, C, H, W) or (T, N, C, H, W), labels (N,)) of each batch.

    Raises:
        ConfigError: the client holds fewer than `size` examples.
    """
    held = partition_indices(config, partition)
    if size > len(held):
        raise ConfigError(
            f"federation.batch_size: client {partition} holds {len(held)} examples, too few for a batch of {size}."
        )
    in_epoch = len(held) // size
    order: list[Tensor] = []
    while len(order) < count:
        permutation = held[torch.randperm(len(held), generator=stream)]
        order += permutation[: in_epoch * size].reshape(in_epoch, size).unbind()
    split, _ = splits(config.dataset)
    return [split.batch(indices) for indices in order[:count]]


def draw_samples(
    config: SimulationConfig, partition: int, *, count: int, size: int, stream: torch.Generator
) -> list[Batch]:
    """Return a client's Poisson samples of one round: each example is in each with probability `size` / n by itself.

    Args:
        config, partition, stream: as for `draw_batches`.
        count: number of samples, any of which may be empty.
        size: their mean size.

    Returns:
        As `draw_batches`, with batches of random sizes.
    """
    held = partition_indices(config, partition)
    split, _ = splits(config.dataset)
    places = poisson_draws(len(held), rate=min(1.0, size / len(held)), steps=count, generator=stream)
    return [split.batch(held[drawn]) if len(drawn) else _no_batch(split, held) for drawn in places]


def _no_batch(split: Examples, held: Tensor) -> Batch:
    """Return a batch of no examples, with the shape of others: not every data set can be asked for none."""
    inputs, labels = split.batch(held[:1])
    return inputs.narrow(inputs.dim() - 4, 0, 0), labels[:0]


def draw_epochs(
    config: SimulationConfig, partition: int, *, epochs: int, size: int, stream: torch.Generator
) -> list[Batch]:
    """Return a client's batches of so many passes over all examples that it holds, each in an order of its own.

    Args:
        config: the federation. With `client.drop_last`, the last batch of a pass is dropped if it is smaller.
        partition: partition id of the client.
        epochs: number of passes.
        size: N, examples per batch.
        stream: draws the orders.

    Returns:
        As `draw_batches`.
    """
    held = partition_indices(config, partition)
    split, _ = splits(config.dataset)
    order: list[Tensor] = []
    for _ in range(epochs):
        parts = torch.split(held[torch.randperm(len(held), generator=stream)], size)
        ragged = len(parts) > 1 and len(parts[-1]) < size
        order += parts[:-1] if ragged and config.client.drop_last else parts
    return [split.batch(indices) for indices in order]


def check_batches(config: SimulationConfig) -> None:
    """Check that every client can draw a batch that its model reads.

    Raises:
        ConfigError: there are more clients than examples, a client holds fewer than `federation.batch_size`, or the
            examples are frames of events but the model reads still images.
        DataError: the data set is missing or corrupt.
    """
    if DATASETS[config.dataset.name].events and not MODELS[config.model.name].spiking:
        raise ConfigError(
            f"model.name: '{config.model.name}' reads still images, and '{config.dataset.name}' holds recordings of "
            f"events; choose a spiking model."
        )
    if config.federation.local_epochs:  # any number of examples is enough
        partition_indices(config, 0)
        return
    size = config.federation.batch_size
    for partition in range(config.federation.clients):
        draw_batches(config, partition, count=1, size=size, stream=torch.Generator())


@functools.lru_cache(maxsize=8)
def _partitions(settings: DatasetSettings, clients: int, seed: int, digest: str) -> list[Indices]:  # noqa: ARG001
    """Return the indices of every client, computed once per process and data."""
    split, _ = splits(settings)
    partitioner = make_partitioner(
        settings.partitioner, num_partitions=clients, alpha=settings.alpha, singles=settings.singles, seed=seed
    )
    return partitioner.partition(split.labels.numpy())
