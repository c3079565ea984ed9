"""Training of one model on a whole train split, without a federation: the targets of model inversion attacks.

An interrupted training resumes after its last finished epoch, with bit-identical results. A finished model is cached.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fl_sim.cache import Progress, cache_root, key_of, path_of
from fl_sim.checkpoints import Checkpoint, Keep, State, Stored, trained_once
from fl_sim.config.training import TrainingSettings
from fl_sim.datasets.examples import Dataset, Examples
from fl_sim.encoders import Encoder
from fl_sim.epochs import TRAIN_MEASURED, EpochLoop, batch_for, spread_over
from fl_sim.errors import ConfigError
from fl_sim.models import build_model
from fl_sim.records import TrainedModel
from fl_sim.seeding import derive_seed, torch_stream
from fl_sim.specs import ModelSpec, Scalar

CODE_VERSION = 1
"""Part of the cache key. Increase it when the same settings would train a different model or store different facts."""

EVALUATED_AT_ONCE = 200


@dataclasses.dataclass(frozen=True)
class CentralTraining:
    """A centrally trained model with the accuracy, length and duration of its training.

    Attributes:
        model: the trained model; its `round` counts epochs.
        train_accuracy: accuracy on the train split, or on `TRAIN_MEASURED` examples spread over it, in [0, 1].
        epochs: passes over the train split.
        seconds: wall time of the training, including that of interrupted runs up to their last finished epoch.
        path: the file in the cache.
    """

    model: TrainedModel
    train_accuracy: float
    epochs: int
    seconds: float
    path: Path


class StoredTarget(Stored):
    """A target as stored in the cache; its facts are accuracies, epochs and seconds."""


def central_training(
    spec: ModelSpec,
    dataset: Dataset,
    settings: TrainingSettings | None = None,
    *,
    seed: int,
    folder: Path | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
) -> CentralTraining:
    """Return the model from the cache if a valid copy is there; otherwise train it now and cache it.

    The parameters, the order of the examples and the spikes are drawn from streams derived from the seed; no global
    random state is touched. Each batch is encoded with fresh draws. The number of threads changes the order of
    summation, and with it the last digits of the trained parameters; it is not part of the cache key.

    Args:
        spec: the model to train.
        dataset: trains on its train split, is tested on its test split.
        settings: of the training; None for the defaults.
        seed: root of all random streams.
        folder: the cache; None for "targets" in `fl_sim.cache.cache_root`.
        device: where to compute.
        progress: called after each epoch; not called when the model comes from the cache.

    Raises:
        ConfigError: the model does not read the inputs that the data set holds, or has no output spikes to count.
    """
    settings = settings or TrainingSettings()
    _check(spec, dataset, settings)
    path = target_path(spec, dataset, settings, seed=seed, folder=folder, device=device)
    with torch.random.fork_rng(devices=[]):  # layers draw from the global state when they are constructed
        model = build_model(spec, seed=derive_seed(seed, "central")).to(device)

    def train(resume: Checkpoint | None, keep: Keep) -> tuple[State, Mapping[str, Scalar]]:
        end = _loop(model, dataset.train, settings, seed).run(resume=resume, keep=keep)
        model.eval()
        return {name: tensor.cpu() for name, tensor in end.model.items()}, {
            "test_accuracy": measured_accuracy(model, dataset.test, settings.answer),
            "train_accuracy": measured_accuracy(model, dataset.train, settings.answer, at_most=TRAIN_MEASURED),
            "epochs": end.epoch,
            "seconds": round(end.seconds, 3),
        }

    stored = trained_once(StoredTarget, path, model, train, epochs=settings.epochs, progress=progress)
    measured: dict[str, Any] = dict(stored.facts)
    parameters = {name: stored.state[name] for name, _ in model.named_parameters()}
    trained = TrainedModel(spec, parameters, measured.pop("test_accuracy"), round=measured["epochs"], seed=seed)
    return CentralTraining(trained, path=path, **measured)


def target_path(
    spec: ModelSpec,
    dataset: Dataset,
    settings: TrainingSettings,
    *,
    seed: int,
    folder: Path | None = None,
    device: str = "cpu",
) -> Path:
    """Return the path of a trained model in the cache; its name is a hash of everything that the model depends on.

    Args:
        spec, dataset, settings, seed, folder, device: as for `central_training`. Of a preset, the values count and
            not the name; the device counts because devices round differently.
    """
    spiking = None if spec.spiking is None else spec.spiking.model_dump()
    fields = {field.name: getattr(spec, field.name) for field in dataclasses.fields(spec)}
    key = {
        "code": CODE_VERSION,
        "data": dataset.digest,
        "model": {**fields, "input": spec.input.facts(), "spiking": spiking},
        "settings": settings.model_dump(exclude={"preset"}),
        "seed": seed,
        "torch": torch.__version__,
        **({} if device == "cpu" else {"device": device}),
    }
    return path_of(cache_root() / "targets" if folder is None else folder, key_of(key))


def batch_loss(outputs: Tensor, labels: Tensor, kind: str = "sum_over_time") -> Tensor:
    """Return the mean loss of a batch.

    Args:
        outputs: (T, N, classes), the output of a spiking model at each step, or logits (N, classes).
        labels: (N,).
        kind: see `TrainingSettings.loss`.
    """
    steps = outputs if outputs.dim() == 3 else outputs[None]
    if kind == "mean_output":
        return F.cross_entropy(steps.mean(0), labels)
    return F.cross_entropy(steps.flatten(0, 1), labels.repeat(len(steps)), reduction="sum") / len(labels)


def draw_afresh(model: nn.Module, seed: int) -> None:
    """Set the seed of a model's rate encoders; every later forward pass draws the spikes of this seed."""
    for module in model.modules():
        if isinstance(module, Encoder):
            module.seed = seed


@torch.no_grad()
def measured_accuracy(model: nn.Module, split: Examples, answer: str = "mean_output", *, at_most: int = 0) -> float:
    """Return the accuracy of a model on a split, in [0, 1]. Each batch of the evaluation draws new spikes.

    Args:
        model: on any device.
        split: the examples.
        answer: see `TrainingSettings.answer`.
        at_most: maximum number of examples to measure on, spread evenly over the split; 0 for all of them.
    """
    indices, right = spread_over(split, at_most), 0
    for number, part in enumerate(torch.split(indices, EVALUATED_AT_ONCE)):
        draw_afresh(model, derive_seed(0, "central", "accuracy", number))
        inputs, labels = batch_for(model, split, part)
        right += int((_answers(model, inputs, answer).argmax(dim=1) == labels).sum())
    return right / len(indices)


def _answers(model: Any, inputs: Tensor, answer: str) -> Tensor:  # noqa: ANN401 - nn.Module's attributes are untyped
    """Return (N, classes), whose largest entry is the predicted class."""
    scores: Tensor = model.output_spikes(inputs).sum(0) if answer == "spike_count" else model(inputs)
    return scores


def _check(spec: ModelSpec, dataset: Dataset, settings: TrainingSettings) -> None:
    """Raise ConfigError if the model could not be trained or its accuracy could not be measured."""
    if spec.input != dataset.spec:
        raise ConfigError(
            f"model: expected one that reads {dataset.spec}, as '{dataset.name}' holds, got {spec.input}."
        )
    fires = spec.spiking is not None and spec.spiking.readout != "membrane"
    if settings.answer == "spike_count" and not fires:
        raise ConfigError('training.answer: "spike_count" needs a spiking model whose readout is spikes or potential.')


def _loop(model: Any, split: Examples, settings: TrainingSettings, seed: int) -> EpochLoop:  # noqa: ANN401
    """Return the training of a model."""

    def loss(indices: Tensor, epoch: int, number: int) -> Tensor:
        draw_afresh(model, derive_seed(seed, "central", "spikes", epoch, number))
        inputs, labels = batch_for(model, split, indices)
        outputs = model.sequence(inputs) if hasattr(model, "sequence") else model(inputs)
        return batch_loss(outputs, labels, settings.loss)

    return EpochLoop(
        model,
        torch.optim.Adam(model.parameters(), lr=settings.learning_rate),
        torch_stream(seed, "central", "order"),
        members=torch.arange(len(split)),
        cut=lambda shuffled: torch.split(shuffled, settings.batch_size),
        loss=loss,
        epochs=settings.epochs,
        clip=settings.clip,
    )
