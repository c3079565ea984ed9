"""Laws of the partitioners; closed forms of the Dirichlet distribution are the outside witness."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fl_sim.datasets.partition import DirichletPartitioner, IidPartitioner, Partitioner, make_partitioner
from fl_sim.errors import ConfigError

Labels = npt.NDArray[np.int64]


def labels_of(count: int, classes: int, seed: int = 0) -> Labels:
    return np.random.default_rng(seed).integers(0, classes, count)


def skew(partitioner: Partitioner, labels: Labels) -> float:
    """Mean distance (total variation) between a client's share of each class and that of the whole."""
    classes = labels.max() + 1
    whole = np.bincount(labels, minlength=classes) / len(labels)
    parts = partitioner.partition(labels)
    return float(
        np.mean([np.abs(np.bincount(labels[part], minlength=classes) / len(part) - whole).sum() / 2 for part in parts])
    )


@settings(deadline=None)  # a loaded machine is no failure
@given(
    name=st.sampled_from(["iid", "dirichlet"]),
    clients=st.integers(1, 8),
    count=st.integers(200, 400),
    classes=st.integers(1, 12),
    alpha=st.floats(0.5, 1e6),
    seed=st.integers(0, 2**32),
)
def test_partitions_cover_the_data_once_and_repeat(
    name: str, clients: int, count: int, classes: int, alpha: float, seed: int
) -> None:
    labels = labels_of(count, classes)
    partitioner = make_partitioner(name, num_partitions=clients, alpha=alpha, seed=seed)
    parts = partitioner.partition(labels)
    assert len(parts) == clients
    assert all(part.dtype == np.int64 and part.ndim == 1 and len(part) for part in parts)
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(count))
    again = make_partitioner(name, num_partitions=clients, alpha=alpha, seed=seed).partition(labels)
    assert all(np.array_equal(one, other) for one, other in zip(parts, again, strict=True))


@pytest.mark.parametrize("name", ["iid", "dirichlet"])
def test_another_seed_is_another_partition(name: str) -> None:
    labels = labels_of(100, 5)
    one, other = (make_partitioner(name, num_partitions=4, alpha=1.0, seed=seed).partition(labels) for seed in (1, 2))
    assert any(not np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@settings(deadline=None)  # a loaded machine is no failure
@given(clients=st.integers(1, 50), count=st.integers(50, 200), seed=st.integers(0, 2**32))
def test_iid_sizes_differ_by_one_at_most_and_examples_are_mixed(clients: int, count: int, seed: int) -> None:
    parts = IidPartitioner(clients, seed=seed).partition(np.zeros(count, dtype=np.int64))
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    assert not np.array_equal(np.concatenate(parts), np.arange(count))


def test_label_skew_grows_as_alpha_shrinks() -> None:
    labels = labels_of(4000, 10)
    alphas = (100.0, 1.0, 0.1)
    even, mixed, skewed = (
        np.mean([skew(DirichletPartitioner(5, alpha, seed=seed), labels) for seed in range(10)]) for alpha in alphas
    )
    iid = skew(IidPartitioner(5, seed=0), labels)
    assert iid < even + 0.05 < mixed < skewed
    assert even < 0.1
    assert skewed > 0.5


@pytest.mark.parametrize("alpha", [0.2, 1.0, 10.0])
def test_shares_have_the_variance_of_the_dirichlet_distribution(alpha: float) -> None:
    # Of one share of k: mean 1/k, variance (1/k)(1 - 1/k) / (k alpha + 1).
    clients, count = 4, 2000
    labels = np.zeros(count, dtype=np.int64)
    draws = [DirichletPartitioner(clients, alpha, min_partition_size=0, seed=seed) for seed in range(600)]
    shares = np.array([[len(part) / count for part in draw.partition(labels)] for draw in draws])
    variance = (1 / clients) * (1 - 1 / clients) / (clients * alpha + 1)
    assert shares.mean(axis=0) == pytest.approx(1 / clients, abs=4 * np.sqrt(variance / len(draws)))
    assert shares.var(axis=0).mean() == pytest.approx(variance, rel=0.15)


def test_every_client_has_the_smallest_size_at_least() -> None:
    labels = labels_of(600, 10)
    without = [DirichletPartitioner(6, 0.2, seed=seed).partition(labels) for seed in range(10)]
    assert min(len(part) for parts in without for part in parts) < 30
    parts = DirichletPartitioner(6, 0.2, min_partition_size=30, seed=0).partition(labels)
    assert min(len(part) for part in parts) >= 30


@pytest.mark.parametrize("alpha", [1e-3, 0.1])
def test_self_balancing_closes_full_clients(alpha: float) -> None:
    labels = np.arange(1000) % 10
    largest_class, average = 100, 1000 / 4
    for seed in range(10):
        parts = DirichletPartitioner(4, alpha, min_partition_size=0, self_balancing=True, seed=seed).partition(labels)
        assert max(len(part) for part in parts) <= average + largest_class
        assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(1000))
    unbalanced = DirichletPartitioner(4, alpha, min_partition_size=0, seed=0).partition(labels)
    assert max(len(part) for part in unbalanced) > average + largest_class


def test_without_shuffle_examples_come_class_by_class() -> None:
    labels = labels_of(200, 5)
    ordered = DirichletPartitioner(3, 5.0, shuffle=False).partition(labels)
    assert all((np.diff(labels[part]) >= 0).all() for part in ordered)
    shuffled = DirichletPartitioner(3, 5.0).partition(labels)
    assert all(set(one) == set(other) for one, other in zip(ordered, shuffled, strict=True))
    assert any((np.diff(labels[part]) < 0).any() for part in shuffled)


@pytest.mark.parametrize(
    ("partitioner", "key"),
    [
        (IidPartitioner(11), "federation.clients"),
        (IidPartitioner(0), "federation.clients"),
        (DirichletPartitioner(11, 1.0), "federation.clients"),
        (DirichletPartitioner(11, 1.0, min_partition_size=0), "federation.clients"),
        (DirichletPartitioner(4, 1.0, min_partition_size=3), "federation.clients"),
        (DirichletPartitioner(2, 0.0), "dataset.alpha"),
        (DirichletPartitioner(2, float("nan")), "dataset.alpha"),
        (DirichletPartitioner(2, float("inf")), "dataset.alpha"),
        (DirichletPartitioner(10, 1e-3), "dataset.alpha"),
    ],
)
def test_impossible_settings_are_refused_with_their_key(partitioner: Partitioner, key: str) -> None:
    with pytest.raises(ConfigError, match=key) as caught:
        partitioner.partition(np.arange(10) % 2)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"dataset\.partitioner: 'dirichlet2'.*Did you mean 'dirichlet'"):
        make_partitioner("dirichlet2", num_partitions=2, alpha=1.0, seed=0)


def test_partitioning_does_not_import_torch() -> None:
    code = "import sys, fl_sim.datasets.partition; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", ["iid", "dirichlet"])
def test_single_clients_hold_one_example_each_and_the_others_all_the_rest(name: str) -> None:
    labels = labels_of(200, 5)
    parts = make_partitioner(name, num_partitions=6, alpha=0.5, seed=3, singles=4).partition(labels)
    assert [len(part) for part in parts[:4]] == [1, 1, 1, 1]
    assert min(len(part) for part in parts[4:]) > 1
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(200))


def test_a_federation_of_single_clients_only_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"dataset.singles: expected fewer than the 4 clients"):
        make_partitioner("iid", num_partitions=4, alpha=0.5, seed=3, singles=4)
