"""The judge models: a table name -> judge. Importing this does not import torch.

A judge is a classifier, trained on the train split, that tells which class a reconstruction shows. Its answers are to
be compared with its accuracy on the test split, its accuracy on the true inputs (the ceiling) and chance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fl_sim.cache import Progress
from fl_sim.errors import ConfigError, unknown_name
from fl_sim.extras import require
from judges.classifiers.settings import NONE, PAPER, JudgeOptions, judge_for
from judges.classifiers.table import JUDGES, JudgeEntry

if TYPE_CHECKING:
    from fl_sim.datasets.examples import Dataset
    from judges.classifiers.cache import Judge

__all__ = ["JUDGES", "JudgeEntry", "JudgeOptions", "check_judge", "get_judge", "judge_for"]


def get_judge(
    options: JudgeOptions | str,
    dataset: Dataset,
    *,
    seed: int | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Judge:
    """Return a trained judge from the cache if a valid copy is there; otherwise train it now and cache it.

    An interrupted training is resumed after its last finished epoch.

    Args:
        options: the judge and its training; a name stands for `JudgeOptions(name=...)`.
        dataset: the data set to judge; its train split trains the judge, its test split measures it.
        seed: replaces that of `options`.
        device: device for training and judging.
        progress: called after each epoch; not called when the judge comes from the cache.

    Raises:
        ConfigError: the judge is not known, is "none", does not read the data set's inputs, or needs an extra that is
            not installed.
        DataError: pretrained weights are not available.
    """
    from judges.classifiers.cache import cached_judge

    chosen = _chosen(options, dataset)
    chosen = chosen if seed is None else chosen.model_copy(update={"seed": seed})
    return cached_judge(chosen, dataset, device=device, progress=progress)


def check_judge(options: JudgeOptions, dataset: Dataset, *, device: str = "cpu") -> None:
    """Check before anything is computed that a judge will be there: in the cache, or trained and written to it.

    Args:
        options, dataset, device: as for `get_judge`; the judge "none" is always there.

    Raises:
        ConfigError: the judge is not in the cache, and the cache cannot be written; or it needs an extra that is not
            installed.
    """
    from judges.classifiers.cache import check_cache

    if options.name != NONE:
        check_cache(_chosen(options, dataset), dataset, device=device)


def kept_judge(options: JudgeOptions, dataset: Dataset, *, device: str = "cpu") -> tuple[str, bool]:
    """Return the name of a data set's judge, and whether it is in the cache; see `get_judge`."""
    from judges.classifiers.cache import cache_path, load_judge

    chosen = _chosen(options, dataset)
    return chosen.name, load_judge(cache_path(chosen, dataset, device=device)) is not None


def _chosen(options: JudgeOptions | str, dataset: Dataset) -> JudgeOptions:
    """Return the options of a judge in the table; see `get_judge`."""
    if isinstance(options, str):
        if options not in (*JUDGES, PAPER, NONE):
            raise unknown_name("judge", options, [*JUDGES, PAPER, NONE])
        options = JudgeOptions(name=options)
    name = judge_for(options, dataset.name, events=dataset.spec.timesteps > 0)
    if name == NONE:
        raise ConfigError("judge.name: 'none' is no judge that could be trained.")
    require(JUDGES[name].extra, f"judge.name: '{name}'")
    return options.model_copy(update={"name": name})
