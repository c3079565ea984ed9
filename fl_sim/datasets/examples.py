"""The data set that every loader returns, for any kind of input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

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
