"""Trained judges, kept as safetensors: a file that does not check out is trained anew, never trusted."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fl_sim.datasets.examples import Dataset
from fl_sim.errors import DataError
from fl_sim.records import Scalar, load_record, save_record
from judges.classifiers import JUDGES, JudgeOptions, JudgeProgress
from judges.classifiers.checkpoints import Checkpoint, digest_of, fits, load_checkpoint, save_checkpoint
from judges.classifiers.model import JudgeModel, build, device_of
from judges.classifiers.training import EVALUATED_AT_ONCE, JudgeSettings, Trained, measured_accuracy, train

CODE_VERSION = 2
"""Raised whenever the same settings would train another judge, or other facts of it are kept."""

TRAIN_MEASURED = 10_000
"""Examples that the accuracy on the train split is measured on at most."""

_LOCK = threading.Lock()


@dataclasses.dataclass(frozen=True)
class Judge:
    """A trained classifier and how far to believe it.

    Attributes:
        name: in the table of judges.
        dataset: name of the data set.
        model: maps inputs (N, C, H, W), or (T, N, P, H, W) of events, to logits (N, classes).
        accuracy: on the test split, which it never saw, in [0, 1].
        chance: 1 / classes.
        n_train, n_test: sizes of the splits.
        description: one line.
        events: whether it reads recordings of events.
        train_accuracy: on the train split, or on `TRAIN_MEASURED` examples of it, in [0, 1]; None where not measured.
        epochs: passes over the train split.
        seconds: wall time of the training.
        source: where the data set was read from.
        digest: of the data set.
    """

    name: str
    dataset: str
    model: nn.Module
    accuracy: float
    chance: float
    n_train: int
    n_test: int
    description: str
    events: bool = False
    train_accuracy: float | None = None
    epochs: int = 0
    seconds: float = 0.0
    source: str = ""
    digest: str = ""

    @torch.no_grad()
    def predict(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the class that each input shows, int64 (N,), and the judge's confidence in it, float64 (N,).

        An input that holds NaN or infinity shows no class: label -1, confidence 0.

        Args:
            inputs: (N, C, H, W) in the value range of the data set, or (T, N, P, H, W) for a judge of events.

        Raises:
            ValueError: images for a judge of events, or the other way round.
        """
        expected = "(T, N, P, H, W)" if self.events else "(N, C, H, W)"
        if inputs.dim() != (5 if self.events else 4):
            raise ValueError(f"the judge '{self.name}' reads {expected}, got {tuple(inputs.shape)}")
        device, dtype = device_of(self.model), next(self.model.parameters()).dtype
        examples = inputs.shape[-4]
        pixels = max(1, inputs[..., 0, :, :].numel() // max(1, examples))
        answers = [
            self.model(part.detach().to(device, dtype).nan_to_num(0.0, 0.0, 0.0)).double().cpu()
            for part in torch.split(inputs, max(1, EVALUATED_AT_ONCE // pixels), dim=-4)
        ]
        confidence, labels = torch.cat(answers).softmax(dim=1).max(dim=1)
        seen = inputs.movedim(-4, 0).flatten(1).isfinite().all(dim=1).cpu()
        return labels.where(seen, torch.tensor(-1)), confidence.where(seen, torch.tensor(0.0).double())

    def facts(self) -> dict[str, Scalar]:
        """Return everything but the model that is known, as plain values for a summary."""
        known = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "model"}
        return {name: value for name, value in known.items() if value is not None}


@dataclasses.dataclass(frozen=True)
class StoredJudge:
    """What the cache holds of a judge.

    Attributes:
        state: {name: tensor}, parameters and buffers.
        facts: as `Judge.facts`.
        digest: SHA-256 over both.
    """

    state: Mapping[str, Tensor]
    facts: Mapping[str, Scalar]
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


def settings_for(options: JudgeOptions) -> JudgeSettings:
    """Return how a judge is trained: its own way, but for the passes and examples that `options` asks for."""
    asked: dict[str, Any] = {"max_epochs": options.max_epochs, "max_examples": options.max_examples}
    own: dict[str, Any] = dict(JUDGES[options.name].training)
    return JudgeSettings(**own | {key: value for key, value in asked.items() if value})


def cache_path(
    options: JudgeOptions, dataset: Dataset, *, settings: JudgeSettings | None = None, device: str = "cpu"
) -> Path:
    """Return where a judge is kept: the name is a hash of everything that it depends on.

    Args:
        options: its name is in the table; what its builder does not read does not count.
        dataset: that trains it.
        settings: of the training; None for those that `options` asks for.
        device: where it is trained: another one rounds in another way.
    """
    key = {
        "code": CODE_VERSION,
        "judge": options.name,
        "options": {name: getattr(options, name) for name in JUDGES[options.name].options},
        "data": dataset.digest,
        "input": dataclasses.asdict(dataset.spec),
        "settings": dataclasses.asdict(settings or settings_for(options)),
        "seed": options.seed,
        "torch": torch.__version__,
        **({} if device == "cpu" else {"device": device}),
    }
    text = json.dumps(key, sort_keys=True)
    return cache_folder() / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.safetensors"


def cached_judge(
    options: JudgeOptions,
    dataset: Dataset,
    *,
    settings: JudgeSettings | None = None,
    device: str = "cpu",
    progress: JudgeProgress | None = None,
) -> Judge:
    """Return a judge from the cache or train it; see `judges.classifiers.get_judge`.

    Args:
        options: its name is in the table.
        dataset: what to judge.
        settings: of the training; None for those that `options` asks for.
        device: where it is trained and judges.
        progress: called after each epoch.
    """
    settings = settings or settings_for(options)
    path = cache_path(options, dataset, settings=settings, device=device)
    with _LOCK:
        model = build(functools.partial(_builder(options.name), dataset.spec, options), seed=options.seed)
        model.to(device)
        stored = load_judge(path)
        if stored is None or not fits(stored.state, model):
            with _one_thread():
                trained = _trained(model, dataset, settings, path, seed=options.seed, progress=progress)
                facts = _facts(options.name, model, dataset, trained)
            stored = StoredJudge(trained.state, facts, _digest(trained.state, facts))
            save_record(stored, path)
            _checkpoint_path(path).unlink(missing_ok=True)
        model.load_state_dict(dict(stored.state))
    facts_of_it: dict[str, Any] = dict(stored.facts)
    return Judge(model=model.eval().requires_grad_(False), **facts_of_it)


def cached_judges() -> dict[Path, dict[str, Scalar] | None]:
    """Return the facts of every judge in the cache by its file, None for a file that is no sound one."""
    found = {path: load_judge(path) for path in sorted(cache_folder().glob("*.safetensors"))}
    return {path: dict(stored.facts) if stored else None for path, stored in found.items()}


def load_judge(path: Path) -> StoredJudge | None:
    """Return what is stored at `path`, or None where that is nothing or not sound."""
    try:
        stored = load_record(StoredJudge, path)
    except DataError:
        return None
    return stored if stored.digest == _digest(stored.state, stored.facts) else None


def _trained(
    model: JudgeModel,
    dataset: Dataset,
    settings: JudgeSettings,
    path: Path,
    *,
    seed: int,
    progress: JudgeProgress | None,
) -> Trained:
    """Train a judge, from where an earlier training was stopped."""
    checkpoint, epochs = _checkpoint_path(path), settings.epochs(len(dataset.train))

    def keep(now: Checkpoint) -> None:
        save_checkpoint(now, checkpoint)
        if progress is not None:
            progress(now.epoch, epochs)

    resume = load_checkpoint(checkpoint, model)
    return train(model, dataset.train, settings, seed=seed, resume=resume, keep=keep)


def _facts(name: str, model: JudgeModel, dataset: Dataset, trained: Trained) -> dict[str, Scalar]:
    """Return what is known of a judge that was just trained."""
    return Judge(
        name=name,
        dataset=dataset.name,
        model=model,
        accuracy=measured_accuracy(model, dataset.test),
        chance=1.0 / dataset.spec.classes,
        n_train=len(dataset.train),
        n_test=len(dataset.test),
        description="; ".join(part for part in (JUDGES[name].summary, model.note) if part),
        events=JUDGES[name].events,
        train_accuracy=measured_accuracy(model, dataset.train, at_most=TRAIN_MEASURED),
        epochs=trained.epochs,
        seconds=round(trained.seconds, 3),
        source=dataset.source,
        digest=dataset.digest,
    ).facts()


def _checkpoint_path(path: Path) -> Path:
    """Return where an unfinished training of the judge at `path` is kept."""
    return path.with_suffix(".checkpoint")


def _digest(state: Mapping[str, Tensor], facts: Mapping[str, Scalar]) -> str:
    return digest_of(sorted(facts.items()), state)


def _builder(name: str) -> Any:  # noqa: ANN401 - a class or a function that makes a JudgeModel
    """Return what builds a judge in the table from an InputSpec and its options."""
    builder = JUDGES[name].builder
    if isinstance(builder, str):
        module, _, attribute = builder.partition(":")
        builder = getattr(importlib.import_module(module), attribute)
    return builder
