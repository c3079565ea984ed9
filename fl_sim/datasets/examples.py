"""The data set that every loader returns, for any kind of input."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from fl_sim.specs import InputSpec


class Examples(Protocol):
    """One split of a data set."""

    @property
    def labels(self) -> Tensor:
        """Return the labels, int64 (N,)."""
        ...

    def __len__(self) -> int:
        """Return N."""
        ...

    def batch(self, indices: Tensor | slice = ...) -> tuple[Tensor, Tensor]:
        """Return inputs, float32, and labels (n,) at `indices`; all of them by default.

        Images are (n, C, H, W) in the value range of the data set, event frames (T, n, C, H, W).
        """
        ...


@dataclass(frozen=True)
class Dataset:
    """A data set.

    Attributes:
        name: name in the table of data sets.
        spec: size, classes and value range of one input.
        train, test: the two disjoint splits.
        class_names: one for each label.
        source: where it was read from and, for a subset, which part of the original it contains.
        digest: SHA-256 over inputs and labels of both splits, hexadecimal.
        people: whether it may show real people, as its entry in the table or the user says.
    """

    name: str
    spec: InputSpec
    train: Examples
    test: Examples
    class_names: tuple[str, ...]
    source: str
    digest: str
    people: bool = True


@dataclass(frozen=True)
class Chosen:
    """Some examples of a split.

    Attributes:
        split: the whole split.
        indices: (n,), which of its examples, in this order.
    """

    split: Examples
    indices: Tensor

    @property
    def labels(self) -> Tensor:
        """Return the labels, int64 (n,)."""
        return self.split.labels[self.indices]

    def __len__(self) -> int:
        """Return n."""
        return len(self.indices)

    def batch(self, indices: Tensor | slice = slice(None)) -> tuple[Tensor, Tensor]:
        """Return inputs and labels at `indices` of the chosen ones, as `Examples.batch` does."""
        return self.split.batch(self.indices[indices])


@dataclass(frozen=True)
class InMemory:
    """Examples as tensors, which are neither read nor decoded again.

    Attributes:
        inputs: float32, (N, C, H, W), or of event frames (T, N, C, H, W).
        labels: int64 (N,).
    """

    inputs: Tensor
    labels: Tensor

    def __len__(self) -> int:
        """Return N."""
        return len(self.labels)

    def batch(self, indices: Tensor | slice = slice(None)) -> tuple[Tensor, Tensor]:
        """Return inputs and labels at `indices`, as `Examples.batch` does."""
        inputs = self.inputs[:, indices] if self.inputs.dim() == 5 else self.inputs[indices]
        return inputs, self.labels[indices]


def with_train(dataset: Dataset, split: Examples, indices: Tensor) -> Dataset:
    """Return a data set whose train split is some examples of one of its splits, with a digest of its own.

    Args:
        dataset: whose test split stays.
        split: one of the two splits.
        indices: (n,), which of its examples.
    """
    side = "train" if split is dataset.train else "test"
    chosen = hashlib.sha256(indices.to(torch.int64).numpy().tobytes()).hexdigest()
    digest = hashlib.sha256(f"{dataset.digest} {side} {chosen}".encode()).hexdigest()
    told = f"{len(indices)} examples of the {side} split of {dataset.source}"
    return replace(dataset, train=Chosen(split, indices), digest=digest, source=told)
