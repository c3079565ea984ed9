"""How well the global models of federations do on examples that no client holds, round after round.

This is the judges' own measurement on the whole split, for which no attack is asked and of which none is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from fl_sim.datasets.examples import Examples
from fl_sim.global_models import global_models
from fl_sim.models import build_model
from fl_sim.records import TrainedModel, load_record
from fl_sim.training import accuracy
from judges.runs.identity import Attacked, columns_of
from judges.runs.measures import ModelAccuracy

_BATCH = 250
"""Examples in memory at a time: the frames of all recordings at once could take gigabytes."""


def held_out_accuracy(model: TrainedModel, unseen: Examples, *, device: str = "cpu") -> float:
    """Return the share of examples whose largest logit is that of their label, in [0, 1].

    Args:
        model: a trained model.
        unseen: examples that it was not trained on.
        device: where to compute.
    """
    with torch.random.fork_rng(devices=[]):  # initial parameters are drawn and then replaced
        module = build_model(model.model, parameters=model.parameters)
    module.load_state_dict({**module.state_dict(), **model.parameters})
    module = module.eval().to(device)
    right = 0.0
    for part in torch.split(torch.arange(len(unseen)), _BATCH):
        inputs, labels = unseen.batch(part)
        right += accuracy(module, inputs.to(device), labels.to(device)) * len(part)
    return right / len(unseen)


class KeptModel(NamedTuple):
    """A global model on disk: repetition of its federation, rounds of training behind it, path of its record."""

    repeat: int
    round: int
    path: Path


def kept_models(trained: Sequence[Path]) -> list[KeptModel]:
    """Return the global models that were kept of the repetitions of a federation, round after round.

    Args:
        trained: path of the trained model of each repetition, beside which those of the kept rounds lie.
    """
    return [
        KeptModel(repeat, number, kept)
        for repeat, path in enumerate(trained)
        for number, kept in global_models(path.parent, path.stem).items()
    ]


def accuracies(
    attacked: Attacked, kept: Sequence[KeptModel], unseen: Examples, *, device: str = "cpu"
) -> Iterator[ModelAccuracy]:
    """Yield the accuracy of each kept global model of a federation, whose columns are `attacked`.

    The other arguments are those of `held_out_accuracy`.
    """
    for repeat, number, path in kept:
        share = held_out_accuracy(load_record(TrainedModel, path), unseen, device=device)
        yield ModelAccuracy(
            **columns_of(attacked, Attacked), round=number, repeat=repeat, accuracy=share, examples=len(unseen)
        )
