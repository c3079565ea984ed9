"""Contract checks for authors of models, data sets and defences.

Each check takes a name in a table, or an entry.

    from fl_sim.testing import check_dataset, check_defence, check_model

    def test_my_model():
        check_model("mine")

The checks need no test runner and run on the CPU.
"""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from fl_sim.datasets import DATASETS, DatasetEntry, read
from fl_sim.datasets.examples import Dataset, Examples
from fl_sim.errors import unknown_name
from fl_sim.models import MODELS, ModelEntry
from fl_sim.models.initialisation import initialise
from fl_sim.plugins import located
from fl_sim.specs import Framing, InputSpec, ModelSpec, OwnData, SpikingSpec
from fl_sim.testing.defences import DEFENCE_PROMISES, check_defence
from fl_sim.testing.promises import by_name, keep_promises, require
from fl_sim.training import load_parameters, parameters_of

__all__ = ["DATASET_PROMISES", "DEFENCE_PROMISES", "MODEL_PROMISES", "check_dataset", "check_defence", "check_model"]

SMALL = InputSpec(channels=1, height=16, width=16, classes=3)
STEPS = 4
BINS = 3
SEEN = 2000
"""Number of examples of each split that are compared with those of the other split."""


def check_model(
    model: str | ModelEntry, *, spec: InputSpec = SMALL, hidden: int = 8, only: Iterable[str] | None = None
) -> None:
    """Check the promises of a model.

    Args:
        model: a name in the table, or an entry.
        spec: specification of its inputs, which are images.
        hidden: units of the hidden layer, for models that use this setting.
        only: names in `MODEL_PROMISES`; None for all.

    Raises:
        AssertionError: a promise is broken; one sentence says which one and how.
        ConfigError: the model or a promise is not known.
    """
    if isinstance(model, str) and model not in MODELS:
        raise unknown_name("model", model, MODELS)
    name, entry = (model, MODELS[model]) if isinstance(model, str) else ("model", model)
    spiking = SpikingSpec(timesteps=STEPS) if entry.spiking else None
    keep_promises(name, _Model(name, entry, ModelSpec(name, spec, "torch", spiking, hidden)), MODEL_PROMISES, only)


def check_dataset(
    dataset: str | DatasetEntry, *, root: str | Path | None = None, only: Iterable[str] | None = None
) -> None:
    """Check the promises of a data set, which must be in `root` or in another place where its loader looks.

    Args:
        dataset: a name in the table, or an entry, whose data set must then be named "dataset".
        root: folder in which to look first; of data of your own, their file or folder.
        only: names in `DATASET_PROMISES`; None for all.

    Raises:
        AssertionError: a promise is broken; one sentence says which one and how.
        ConfigError: the data set or a promise is not known.
    """
    if isinstance(dataset, str) and dataset not in DATASETS:
        raise unknown_name("dataset", dataset, DATASETS)
    name, entry = (dataset, DATASETS[dataset]) if isinstance(dataset, str) else ("dataset", dataset)
    keep_promises(name, _Data(name, entry, Path(root) if root else None), DATASET_PROMISES, only)


@dataclass(frozen=True)
class _Model:
    """A model under test."""

    name: str
    entry: ModelEntry
    spec: ModelSpec

    def build(self, seed: int, init: str = "torch") -> nn.Module:
        model: nn.Module = located(self.entry.builder, f"model '{self.name}'")(self.spec)
        require(isinstance(model, nn.Module), f"its builder returned a {type(model).__name__}, not a torch.nn.Module.")
        initialise(model, init, seed=seed)
        return model

    def inputs(self, count: int = 4) -> Tensor:
        return torch.rand(count, *self.spec.input.frame, generator=torch.Generator().manual_seed(0))

    def frames(self, count: int = 4) -> Tensor:
        shape = (STEPS + 1, count, *self.spec.input.frame)
        return torch.rand(shape, generator=torch.Generator().manual_seed(1)).round()


def it_answers_with_finite_logits(model: _Model) -> None:
    """Logits have one row per example and one column per class; spiking models also read frames (T, N, C, H, W)."""
    module, classes = model.build(0), model.spec.input.classes
    for inputs in (model.inputs(), *([model.frames()] if model.entry.spiking else [])):
        logits = module(inputs)
        require(tuple(logits.shape) == (4, classes), f"expected logits {(4, classes)}, found {tuple(logits.shape)}.")
        require(logits.dtype == torch.float32, f"expected logits in float32, found {logits.dtype}.")
        require(bool(torch.isfinite(logits).all()), "expected finite logits, found NaN or infinity.")


def it_says_what_it_outputs_at_each_step(model: _Model) -> None:
    """`sequence` of a spiking model returns (T, N, classes). Only model inversion needs it, so it may be missing."""
    module: Any = model.build(0)
    if not hasattr(module, "sequence"):
        return
    for inputs, steps in ((model.inputs(), STEPS), (model.frames(), STEPS + 1)):
        shape, found = (steps, 4, model.spec.input.classes), tuple(module.sequence(inputs).shape)
        require(found == shape, f"sequence: expected {shape}, found {found}.")


def the_same_seed_gives_the_same_parameters_and_another_seed_others(model: _Model) -> None:
    """Under init "torch" each layer draws in `reset_parameters`, which a parameter outside of any layer lacks."""
    for init in ("uniform", "torch"):
        first, again, other = (parameters_of(model.build(seed, init)) for seed in (0, 0, 1))
        require(bool(first), "it has no parameters, so no client can train it.")
        for key, value in first.items():
            require(value.dtype == torch.float32, f"parameter '{key}': expected float32, found {value.dtype}.")
            require(value.equal(again[key]), f"parameter '{key}': init \"{init}\" does not draw it from the seed.")
        require(any(not value.equal(other[key]) for key, value in first.items()), "another seed draws the same.")


def its_parameters_are_all_that_it_is(model: _Model) -> None:
    """A model rebuilt from its spec and its named parameters has the same output: clients receive nothing else."""
    first, other = model.build(0), model.build(1)
    logits = first(model.inputs())
    require(first(model.inputs()).equal(logits), "a second call has another output: it keeps a state, or it draws.")
    load_parameters(other, parameters_of(first))
    require(other(model.inputs()).equal(logits), "rebuilt from its parameters it has another output.")
    require(copy.deepcopy(first)(model.inputs()).equal(logits), "its copy has another output.")


def its_examples_do_not_see_each_other(model: _Model) -> None:
    """The gradient of a batch is the mean of those of its examples, so there is no normalisation over the batch."""
    module, inputs = model.build(0), model.inputs()
    together, alone = module(inputs), torch.cat([module(one[None]) for one in inputs])
    near = torch.allclose(together, alone, rtol=1e-4, atol=1e-5)
    require(near, "an example's logits depend on the other examples of its batch.")


def every_parameter_gets_a_gradient(model: _Model) -> None:
    """The cross-entropy has a gradient with respect to every parameter, as a client's update contains all of them."""
    module = model.build(0)
    names, tensors = zip(*module.named_parameters(), strict=True)
    loss = functional.cross_entropy(module(model.inputs()), torch.arange(4) % model.spec.input.classes)
    found = torch.autograd.grad(loss, tensors, allow_unused=True)
    for name, value in zip(names, found, strict=True):
        require(value is not None, f"parameter '{name}': it is never read, so it has no gradient.")
        require(bool(torch.isfinite(value).all()), f"parameter '{name}': its gradient is not finite.")
    require(any(float(value.abs().max()) > 0 for value in found), "all gradients are 0.")


@dataclass(frozen=True)
class _Data:
    """A data set under test."""

    name: str
    entry: DatasetEntry
    root: Path | None

    def load(self, size: int = 0, framing: Framing | None = None) -> Dataset:
        return _load(self.entry, self.name, self.root, size, framing or Framing())

    @property
    def splits(self) -> dict[str, Examples]:
        data = self.load()
        return {"train": data.train, "test": data.test}


@functools.lru_cache(maxsize=2)
def _load(entry: DatasetEntry, name: str, root: Path | None, size: int, framing: Framing) -> Dataset:
    """Return a data set, cached because reading it takes long."""
    return read(entry, name, root, size, framing, OwnData())


def it_is_what_its_entry_says(data: _Data) -> None:
    """Name, shape, classes, and the descriptions that the report shows."""
    found, spec = data.load(), data.load().spec
    require(found.name == data.name, f"name: expected '{data.name}', as in the table, found '{found.name}'.")
    require(data.entry.shape in (None, spec.frame), f"shape: its entry says {data.entry.shape}, found {spec.frame}.")
    classes = data.entry.classes
    require(classes in (0, spec.classes), f"classes: its entry says {classes}, found {spec.classes}.")
    names = len(found.class_names)
    require(names == spec.classes, f"class_names: expected one for each of {spec.classes} classes, found {names}.")
    require(bool(found.source.strip()), "source: expected the place from which it was read, found nothing.")
    require(bool(re.fullmatch(r"[0-9a-f]{64}", found.digest)), f"digest: expected a SHA-256, found '{found.digest}'.")
    require(data.entry.events == bool(spec.timesteps), f"spec.timesteps: found {spec.timesteps}.")


def its_labels_are_classes(data: _Data) -> None:
    """Labels are int64 (N,) with N at least 1, each below the number of classes."""
    classes = data.load().spec.classes
    for which, split in data.splits.items():
        labels = split.labels
        require(len(split) > 0, f"{which}: it is empty.")
        require(labels.dtype == torch.int64, f"{which}: expected labels in int64, found {labels.dtype}.")
        require(tuple(labels.shape) == (len(split),), f"{which}: {len(split)} examples, labels {tuple(labels.shape)}.")
        least, most = int(labels.min()), int(labels.max())
        require(
            0 <= least <= most < classes, f"{which}: expected labels from 0 to {classes - 1}, found {least} to {most}."
        )


def its_inputs_are_as_it_says(data: _Data) -> None:
    """Inputs are float32 (n, C, H, W), or (T, n, C, H, W) for events, in the stated range, for any indices."""
    spec = data.load().spec
    steps = (spec.timesteps,) if spec.timesteps else ()
    for which, split in data.splits.items():
        inputs, labels = split.batch(slice(0, 3))
        count = min(3, len(split))
        shape = (*steps, count, *spec.frame)
        require(tuple(inputs.shape) == shape, f"{which}: expected inputs {shape}, found {tuple(inputs.shape)}.")
        require(inputs.dtype == torch.float32, f"{which}: expected inputs in float32, found {inputs.dtype}.")
        least, most = float(inputs.min()), float(inputs.max())
        require(
            spec.low <= least <= most <= spec.high,
            f"{which}: expected {spec.low} to {spec.high}, found {least} to {most}.",
        )
        require(labels.equal(split.labels[:3]), f"{which}: the labels of a batch differ from those in `labels`.")
        picked, picked_labels = split.batch(torch.tensor([count - 1, 0]))
        same = picked.select(-4, 0).equal(inputs.select(-4, count - 1)) and picked.select(-4, 1).equal(
            inputs.select(-4, 0)
        )
        require(
            same and picked_labels.tolist() == [int(labels[count - 1]), int(labels[0])],
            f"{which}: a batch does not follow its indices.",
        )


def it_is_read_the_same_twice(data: _Data) -> None:
    """The digest identifies the data: equal bytes have equal digests."""
    first = data.load()
    _load.cache_clear()
    require(data.load().digest == first.digest, "two reads of the data have different digests.")


def its_splits_share_no_examples(data: _Data) -> None:
    """Judges are tested on unseen examples, so fewer than half of the first 2,000 may be in both splits."""
    train, test = ({_bytes(split, index) for index in range(min(SEEN, len(split)))} for split in data.splits.values())
    shared = len(train & test) / len(test)
    require(shared < 0.5, f"{shared:.0%} of the test split's examples are in the train split too.")


def it_takes_the_size_or_the_frames_that_it_is_told(data: _Data) -> None:
    """`dataset.size` is the side of a square; `dataset.time_bins` is T."""
    spec = data.load(size=8).spec
    require((spec.height, spec.width) == (8, 8), f"size 8: found {spec.height} x {spec.width}.")
    if data.entry.events:
        spec = data.load(framing=Framing(time_bins=BINS)).spec
        require(spec.timesteps == BINS, f"time_bins {BINS}: found {spec.timesteps} frames.")


def _bytes(split: Examples, index: int) -> bytes:
    inputs, _ = split.batch(slice(index, index + 1))
    return inputs.numpy().tobytes()


MODEL_PROMISES: Mapping[str, Any] = by_name(
    it_answers_with_finite_logits,
    it_says_what_it_outputs_at_each_step,
    the_same_seed_gives_the_same_parameters_and_another_seed_others,
    its_parameters_are_all_that_it_is,
    its_examples_do_not_see_each_other,
    every_parameter_gets_a_gradient,
)
DATASET_PROMISES: Mapping[str, Any] = by_name(
    it_is_what_its_entry_says,
    its_labels_are_classes,
    its_inputs_are_as_it_says,
    it_is_read_the_same_twice,
    its_splits_share_no_examples,
    it_takes_the_size_or_the_frames_that_it_is_told,
)
