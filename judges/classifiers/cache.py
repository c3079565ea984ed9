"""Trained judges, kept as safetensors: a file that does not check out is trained anew, never trusted."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from fl_sim.datasets.examples import Dataset
from fl_sim.errors import DataError
from fl_sim.records import Scalar, load_record, save_record
from fl_sim.training import load_parameters
from judges.classifiers import JUDGES, JudgeProgress
from judges.classifiers.training import JudgeSettings, build, measured_accuracy, train

CODE_VERSION = 1
"""Raised whenever the same settings would train another judge."""

_LOCK = threading.Lock()


@dataclass(frozen=True)
class Judge:
    """A trained classifier and how far to believe it.

    Attributes:
        name: in the table of judges.
        dataset: name of the data set.
        model: maps inputs (N, C, H, W) to logits (N, classes).
        accuracy: on the test split, which it never saw, in [0, 1].
        chance: 1 / classes.
        n_train, n_test: sizes of the splits.
        description: one line.
    """

    name: str
    dataset: str
    model: nn.Module
    accuracy: float
    chance: float
    n_train: int
    n_test: int
    description: str

    @torch.no_grad()
    def predict(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the class that each picture shows, int64 (N,), and the judge's confidence in it, float64 (N,).

        A picture that holds NaN or infinity shows no class: label -1, confidence 0.

        Args:
            inputs: (N, C, H, W) in the value range of the data set.
        """
        dtype = next(self.model.parameters()).dtype
        logits = self.model(inputs.detach().to("cpu", dtype).nan_to_num(0.0, 0.0, 0.0)).double()
        confidence, labels = logits.softmax(dim=1).max(dim=1)
        seen = inputs.flatten(1).isfinite().all(dim=1).cpu()
        return labels.where(seen, torch.tensor(-1)), confidence.where(seen, torch.tensor(0.0).double())

    def facts(self) -> dict[str, Scalar]:
        """Return everything but the model, as plain values for a summary."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "model"}


@dataclass(frozen=True)
class StoredJudge:
    """What the cache holds of a judge.

    Attributes:
        parameters: {name: tensor}.
        accuracy: on the test split.
        digest: SHA-256 over the parameters and the accuracy.
    """

    parameters: Mapping[str, Tensor]
    accuracy: float
    digest: str


@contextmanager
def _one_thread() -> Iterator[None]:
    """Train the same judge whatever the caller's number of threads: it changes the order of sums."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def cache_folder() -> Path:
    """Return the folder of trained judges: under SPIKELEAK_CACHE, else the user's cache folder."""
    own = os.environ.get("SPIKELEAK_CACHE")
    if own:
        return Path(own).expanduser() / "judges"
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "spikeleak" / "judges"


def cache_path(name: str, dataset: Dataset, *, seed: int, settings: JudgeSettings) -> Path:
    """Return where a judge is kept: the name is a hash of everything that it depends on."""
    key = {
        "code": CODE_VERSION,
        "judge": name,
        "data": dataset.digest,
        "input": dataclasses.asdict(dataset.spec),
        "settings": dataclasses.asdict(settings),
        "seed": seed,
        "torch": torch.__version__,
    }
    text = json.dumps(key, sort_keys=True)
    return cache_folder() / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.safetensors"


def cached_judge(
    name: str,
    dataset: Dataset,
    *,
    seed: int,
    settings: JudgeSettings | None = None,
    progress: JudgeProgress | None = None,
) -> Judge:
    """Return a judge from the cache or train it; see `judges.classifiers.get_judge`."""
    settings = settings or JudgeSettings()
    path = cache_path(name, dataset, seed=seed, settings=settings)
    with _LOCK:
        model = build(_builder(name), dataset.spec, seed=seed)
        accuracy = _load(path, model)
        if accuracy is None:
            with _one_thread():
                parameters = train(model, dataset.train, settings, seed=seed, progress=progress)
                accuracy = measured_accuracy(model, dataset.test)
            save_record(StoredJudge(parameters, accuracy, _digest(parameters, accuracy)), path)
    return Judge(
        name=name,
        dataset=dataset.name,
        model=model.eval().requires_grad_(False),
        accuracy=accuracy,
        chance=1.0 / dataset.spec.classes,
        n_train=len(dataset.train),
        n_test=len(dataset.test),
        description=JUDGES[name].summary,
    )


def _load(path: Path, model: nn.Module) -> float | None:
    """Put the parameters at `path` into the model and return the accuracy, or None where the file is not sound."""
    try:
        stored = load_record(StoredJudge, path)
    except DataError:
        return None
    expected = {key: parameter.shape for key, parameter in model.named_parameters()}
    found = {key: tensor.shape for key, tensor in stored.parameters.items()}
    if expected != found or stored.digest != _digest(stored.parameters, stored.accuracy):
        return None
    load_parameters(model, stored.parameters)
    return stored.accuracy


def _digest(parameters: Mapping[str, Tensor], accuracy: float) -> str:
    """Return the SHA-256 over names, values and accuracy."""
    digest = hashlib.sha256(repr(accuracy).encode())
    for name, tensor in sorted(parameters.items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _builder(name: str) -> type[nn.Module]:
    """Return the model class of a judge in the table."""
    builder = JUDGES[name].builder
    if isinstance(builder, str):
        module, _, attribute = builder.partition(":")
        builder = getattr(importlib.import_module(module), attribute)
    return builder  # type: ignore[return-value]
