"""The judge models: a table name -> judge. Importing this does not import torch.

A judge is a classifier that is trained on the train split and says which class a reconstruction shows. Its answer
is read beside its accuracy on the test split, its accuracy on the true pictures (the ceiling) and chance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fl_sim.errors import unknown_name

if TYPE_CHECKING:
    from torch import nn

    from fl_sim.datasets.examples import Dataset
    from fl_sim.records import InputSpec
    from judges.classifiers.cache import Judge

JudgeProgress = Callable[[int, int], None]
"""Called with (epochs finished, epochs at most)."""


@dataclass(frozen=True)
class JudgeEntry:
    """A line of the table of judges.

    Attributes:
        builder: a callable `InputSpec -> nn.Module`, or where to import it from ("package.module:name").
        summary: one line for `spikeleak list judges`.
    """

    builder: str | Callable[[InputSpec], nn.Module]
    summary: str


JUDGES: dict[str, JudgeEntry] = {
    "lenet": JudgeEntry(
        "judges.classifiers.lenet:JudgeLeNet",
        summary="LeNet-5 with ReLU and max pooling, trained on the train split with shifts of up to 2 pixels",
    ),
}


def get_judge(name: str, dataset: Dataset, *, seed: int, progress: JudgeProgress | None = None) -> Judge:
    """Return a trained judge: from the cache where it holds a sound one, else trained now and cached.

    Args:
        name: in `JUDGES`.
        dataset: what to judge; its train split trains the judge, its test split measures it.
        seed: of initialisation, order of the examples and shifts; part of the key of the cache.
        progress: called after each epoch; not called when the cache is used.

    Raises:
        ConfigError: no such judge.
    """
    if name not in JUDGES:
        raise unknown_name("judge", name, JUDGES)
    from judges.classifiers.cache import cached_judge

    return cached_judge(name, dataset, seed=seed, progress=progress)
