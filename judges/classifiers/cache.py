"""Trained judges, cached as safetensors. A file that fails verification is never used; the judge is trained again."""

from __future__ import annotations

import dataclasses
import functools
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fl_sim.cache import Progress, cache_root, key_of, path_of
from fl_sim.checkpoints import Checkpoint, Keep, State, Stored, load_stored, trained_once
from fl_sim.datasets.examples import Dataset
from fl_sim.datasets.table import constants_of
from fl_sim.epochs import TRAIN_MEASURED, device_of
from fl_sim.errors import ConfigError
from fl_sim.plugins import located
from fl_sim.records import Scalar
from judges.classifiers import JUDGES, JudgeOptions
from judges.classifiers.model import JudgeModel, build
from judges.classifiers.training import EVALUATED_AT_ONCE, JudgeSettings, measured_accuracy, train

CODE_VERSION = 2
"""Part of the cache key. Increase it when the same settings would train a different judge or store different facts."""

ADDED = ("schedule",)
"""Settings added later, part of the cache key only if they differ from their defaults, so that older judges match."""

ADDED_OPTIONS = ("margin", "scale")
"""Options of builders added later, likewise."""

OVERFITTED: Mapping[str, Any] = {
    "holdout": 0.0, "shift": 0, "zoom": 0.0, "flip": False, "weight_decay": 0.0, "schedule": "constant",
    "max_epochs": 100, "max_examples": 2**31,
}  # fmt: skip
"""Settings of a training until the judge knows the train split by heart."""

_LOCK = threading.Lock()


@dataclasses.dataclass(frozen=True)
class Judge:
    """A trained classifier and its performance.

    Attributes:
        name: in the table of judges.
        dataset: name of the data set.
        model: maps inputs (N, C, H, W), or (T, N, P, H, W) for events, to logits (N, classes).
        accuracy: accuracy on the test split, which was not used in training, in [0, 1].
        chance: 1 / classes.
        n_train, n_test: sizes of the splits; at most `JudgeSettings.max_examples` of the train split are seen.
        description: one line.
        events: whether it reads recordings of events.
        train_accuracy: accuracy on the train split, or on `TRAIN_MEASURED` of its examples, in [0, 1]; None if unknown.
        epochs: number of epochs.
        seconds: wall time of the training.
        source: origin of the data set.
        digest: digest of the data set.
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

        An input with NaN or infinity shows no class: label -1, confidence 0.

        Args:
            inputs: (N, C, H, W) in the value range of the data set, or (T, N, P, H, W) for a judge of events; a judge
                of images whose model reads spikes accepts both.

        Raises:
            ValueError: a judge of events gets images, or vice versa.
        """
        logits, seen = self._answers(inputs)
        confidence, labels = logits.softmax(dim=1).max(dim=1)
        return labels.where(seen, torch.tensor(-1)), confidence.where(seen, torch.tensor(0.0).double())

    @torch.no_grad()
    def log_probabilities(self, inputs: Tensor) -> Tensor:
        """Return the logarithm of the judge's confidence in each class, float64 (N, classes); see `predict`.

        An input with NaN or infinity shows no class: minus infinity.
        """
        logits, seen = self._answers(inputs)
        return logits.log_softmax(dim=1).where(seen[:, None], torch.tensor(-torch.inf).double())

    def _answers(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits, float64 (N, classes), and whether all elements of each input are finite, (N,)."""
        reads = {5: "(T, N, P, H, W)"} if self.events else {4: "(N, C, H, W)"}
        if isinstance(self.model, JudgeModel) and self.model.reads_spikes:
            reads.setdefault(5, "(T, N, C, H, W)")
        if inputs.dim() not in reads:
            raise ValueError(f"the judge '{self.name}' reads {' or '.join(reads.values())}, got {tuple(inputs.shape)}")
        device, dtype = device_of(self.model), next(self.model.parameters()).dtype
        examples = inputs.shape[-4]
        pixels = max(1, inputs[..., 0, :, :].numel() // max(1, examples))
        answers = [
            self.model(part.detach().to(device, dtype).nan_to_num(0.0, 0.0, 0.0)).double().cpu()
            for part in torch.split(inputs, max(1, EVALUATED_AT_ONCE // pixels), dim=-4)
        ]
        return torch.cat(answers), inputs.movedim(-4, 0).flatten(1).isfinite().all(dim=1).cpu()

    def facts(self) -> dict[str, Scalar]:
        """Return all known fields except the model, as plain values for a summary."""
        known = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "model"}
        return {name: value for name, value in known.items() if value is not None}


class StoredJudge(Stored):
    """A judge in the cache, with the facts of `Judge.facts`."""


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one thread, since the number of threads changes the order of summation and thus the trained judge."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def cache_folder() -> Path:
    """Return the folder of trained judges; see `fl_sim.cache.cache_root`."""
    return cache_root() / "judges"


def settings_for(options: JudgeOptions, dataset: str = "") -> JudgeSettings:
    """Return the training of a judge on a data set, with the epochs and examples that `options` sets."""
    limits: dict[str, Any] = {"max_epochs": options.max_epochs, "max_examples": options.max_examples}
    entry = JUDGES[options.name]
    own: dict[str, Any] = {**entry.training, **entry.training_on.get(constants_of(dataset), {})}
    if options.fit == "overfitted":
        own |= OVERFITTED
    return JudgeSettings(**own | {key: value for key, value in limits.items() if value})


def cache_path(
    options: JudgeOptions, dataset: Dataset, *, settings: JudgeSettings | None = None, device: str = "cpu"
) -> Path:
    """Return the path of a judge in the cache, whose name is a hash of all that the judge depends on.

    Args:
        options: a judge in the table; options that its builder does not read are ignored.
        dataset: the data set that trains it.
        settings: settings of the training; None for `settings_for` the options.
        device: device of the training, which affects rounding.
    """
    settings = settings or settings_for(options, dataset.name)
    late = {name for name in ADDED if getattr(settings, name) == getattr(JudgeSettings, name)}
    key = {
        "code": CODE_VERSION,
        "judge": options.name,
        "options": _options_read(options),
        "data": dataset.digest,
        "input": dataset.spec.facts(),
        "settings": {name: value for name, value in dataclasses.asdict(settings).items() if name not in late},
        "seed": options.seed,
        "torch": torch.__version__,
        **({} if device == "cpu" else {"device": device}),
    }
    return path_of(cache_folder(), key_of(key))


def _options_read(options: JudgeOptions) -> dict[str, Scalar]:
    """Return the options that a judge's builder reads; those that came later only where they are not the default."""
    read: dict[str, Scalar] = {name: getattr(options, name) for name in JUDGES[options.name].options}
    usual = {name: JudgeOptions.model_fields[name].default for name in ADDED_OPTIONS}
    return {name: value for name, value in read.items() if name not in usual or value != usual[name]}


def cached_judge(
    options: JudgeOptions,
    dataset: Dataset,
    *,
    settings: JudgeSettings | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Judge:
    """Return a judge of the table from the cache or train it; see `judges.classifiers.get_judge` and `cache_path`."""
    settings = settings or settings_for(options, dataset.name)
    path = cache_path(options, dataset, settings=settings, device=device)
    with _LOCK:
        builder = located(JUDGES[options.name].builder, f"judge '{options.name}'")
        model = build(functools.partial(builder, dataset.spec, options), seed=options.seed)
        model.to(device)

        def train_it(resume: Checkpoint | None, keep: Keep) -> tuple[State, Mapping[str, Scalar]]:
            with _one_thread():
                trained = train(model, dataset.train, settings, seed=options.seed, resume=resume, keep=keep)
                return trained.best_state, _facts(options.name, model, dataset, settings, trained)

        epochs = settings.epochs(len(dataset.train))
        stored = trained_once(StoredJudge, path, model, train_it, epochs=epochs, progress=progress)
        model.load_state_dict(dict(stored.state))
        model.to(memory_format=model.memory_format)
    facts: dict[str, Any] = dict(stored.facts)
    return Judge(model=model.eval().requires_grad_(False), **facts)


def check_cache(options: JudgeOptions, dataset: Dataset, *, device: str = "cpu") -> None:
    """Raise a ConfigError if a judge is not in the cache and the cache cannot be written."""
    path = cache_path(options, dataset, device=device)
    if load_judge(path) is not None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise ConfigError(
            f"{path.parent}: expected a folder that can be written ({error.strerror}), since the judge "
            f"'{options.name}' of {dataset.name} is to be trained and kept there. Set SPIKELEAK_CACHE to a folder of "
            "your own, or leave the judge out with judge=none."
        ) from error


def cached_judges() -> dict[Path, dict[str, Scalar] | None]:
    """Return {file: facts} of every judge in the cache, None for a file that is not valid."""
    judges = {path: load_judge(path) for path in sorted(cache_folder().glob("*.safetensors"))}
    return {path: dict(judge.facts) if judge else None for path, judge in judges.items()}


def load_judge(path: Path) -> StoredJudge | None:
    """Return the judge stored at `path`, or None if there is no valid one."""
    return load_stored(StoredJudge, path)


def _facts(
    name: str, model: JudgeModel, dataset: Dataset, settings: JudgeSettings, trained: Checkpoint
) -> dict[str, Scalar]:
    """Return the facts about a judge that was just trained."""
    return Judge(
        name=name,
        dataset=dataset.name,
        model=model,
        accuracy=measured_accuracy(model, dataset.test),
        chance=1.0 / dataset.spec.classes,
        n_train=min(len(dataset.train), settings.max_examples),
        n_test=len(dataset.test),
        description="; ".join(part for part in (JUDGES[name].summary, _augmentation(settings), model.note) if part),
        events=dataset.spec.timesteps > 0,
        train_accuracy=measured_accuracy(model, dataset.train, at_most=TRAIN_MEASURED),
        epochs=trained.epoch,
        seconds=round(trained.seconds, 3),
        source=dataset.source,
        digest=dataset.digest,
    ).facts()


def _augmentation(settings: JudgeSettings) -> str:
    """Return how the training pictures were changed, and whether none were held out."""
    changes = [f"shifts of up to {settings.shift} pixels"] * bool(settings.shift)
    changes += [f"zooms of up to {settings.zoom:.0%}"] * bool(settings.zoom) + ["flips"] * settings.flip
    told = f"with {', '.join(changes)}" if changes else "without augmentation"
    return told if settings.holdout else f"{told}, and nothing held out"
