"""Public pictures as a data set that trains and measures the judge of a recorded model's inversions."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from fl_sim.datasets.examples import Chosen, Dataset, InMemory
from fl_sim.datasets.reading.public import PublicPictures, read_public
from fl_sim.seeding import torch_stream
from fl_sim.specs import InputSpec

_TEST = 0.25
"""Share of each class that measures the judge; at least one picture."""

_LEAST = 2


def lack_of_pictures(pictures: PublicPictures, *, judge: bool) -> str:
    """Return why public pictures cannot be labelled examples or, where asked, cannot train a judge; or ""."""
    if not pictures.classes:
        return "the public pictures have no classes; give their folder one subfolder for each class"
    counts = torch.bincount(pictures.labels, minlength=len(pictures.classes))
    if judge and int(counts.min()) < _LEAST:
        name = pictures.classes[int(counts.argmin())]
        return f"the public pictures of class '{name}' are fewer than {_LEAST}: one trains the judge, one measures it"
    return ""


def judged_by(folder: str, spec: InputSpec, name: str, *, people: bool, seed: int) -> Dataset:
    """Return public pictures as a data set in [0, 1], as judges of model inversions take answers.

    Args:
        folder: one subfolder for each class.
        spec: what the attacked model takes.
        name: of the data set, in rows and pages.
        people: whether they may show people.
        seed: draws which pictures measure the judge, a quarter of each class.

    Raises:
        ConfigError, DataError: as `read_public`.
    """
    unit = dataclasses.replace(spec, low=0.0, high=1.0)
    pictures = read_public(Path(folder), unit)
    held = InMemory(*pictures.batch())
    tests = torch.zeros(len(held), dtype=torch.bool)
    for label in range(len(pictures.classes)):
        own = (held.labels == label).nonzero()[:, 0]
        order = torch.randperm(len(own), generator=torch_stream(seed, "judged by", label))
        tests[own[order[: max(1, round(_TEST * len(own)))]]] = True
    return Dataset(
        name,
        unit,
        Chosen(held, (~tests).nonzero()[:, 0]),
        Chosen(held, tests.nonzero()[:, 0]),
        pictures.classes,
        f"{len(pictures)} public pictures, '{folder}' ({pictures.told})",
        pictures.digest,
        people,
    )
