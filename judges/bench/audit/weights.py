"""The model in a file: a trained one of ours, or weights of somebody else and what they are of."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Collection
from pathlib import Path

import torch

from fl_sim.datasets import DATASETS
from fl_sim.datasets.examples import Dataset
from fl_sim.errors import ConfigError, DataError
from fl_sim.foreign_weights import fitted, listed, measured, read_weights
from fl_sim.models import MODELS, build_model
from fl_sim.records import TrainedModel, is_record, load_record
from fl_sim.specs import InputSpec
from judges.plans.audit.weights import SIZES, Whose
from judges.plans.model_inversion import with_brainleaks_neurons

_SEED, _FEW = 5, 4

Tell = Callable[[str], object]


def read_checkpoint(checkpoint: Path, whose: Whose, tell: Tell, *, besides: Collection[str] = ()) -> TrainedModel:
    """Return the trained model in a file, and tell what had to be found out about somebody else's.

    Args:
        checkpoint: path of the file.
        whose: of which model somebody else's weights are.
        tell: called with each line.
        besides: tables of `whose` that say something else as well, and so may be there for a file of ours.

    Raises:
        ConfigError: the file is of somebody else and `whose` does not say of which model; or it is ours, and it does.
        DataError: the file is missing or damaged, or not of the model that is named.
    """
    if not checkpoint.is_file() or is_record(checkpoint):
        said = sorted(whose.named - set(besides))
        if said and checkpoint.is_file():
            tables = [name for name in ("model", "dataset", "input") if name not in besides]
            raise ConfigError(
                f"{said[0]}: '{checkpoint}' was written by spikeleak and says itself which model and "
                f"input it is of; leave out {', '.join(tables[:-1])} and {tables[-1]}."
            )
        return load_record(TrainedModel, checkpoint)
    if "model" not in whose.named or whose.named == {"model"}:
        raise ConfigError(_how_to_say(checkpoint))
    return _foreign(checkpoint, whose, tell)


@torch.no_grad()
def answers_of(model: TrainedModel) -> str:
    """Return a hash of what a model answers to a few fixed inputs, which tells that its code has changed."""
    spec, few = model.model.input, torch.Generator().manual_seed(_SEED)
    frame = (spec.timesteps, _FEW, *spec.frame) if spec.timesteps else (_FEW, *spec.frame)
    inputs = spec.low + (spec.high - spec.low) * torch.rand(frame, generator=few)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        module = build_model(model.model, parameters=model.parameters)
        module.load_state_dict({**module.state_dict(), **model.parameters})
        answers = module.eval()(inputs.round() if spec.timesteps else inputs)
    return hashlib.sha256(answers.float().numpy().tobytes()).hexdigest()


def _how_to_say(checkpoint: Path) -> str:
    """Return which options say of what model the weights in a file are."""
    return (
        f"{checkpoint}: holds weights ({listed(read_weights(checkpoint))}) and does not say of which model. Name the "
        "model and the data set that it was trained on, such as: --set model=mlp --set model.hidden=50 --set "
        f"dataset=digits. Models: {', '.join(MODELS)}; one of your own is added to them by --import MODULE. In place "
        "of a data set: --set input.channels=1 --set input.height=28 --set input.width=28 --set input.classes=10."
    )


def _foreign(checkpoint: Path, whose: Whose, tell: Tell) -> TrainedModel:
    """Return somebody else's weights as a model, with its accuracy if the data set that is named is there."""
    data, unknown = None, "no data set was named"
    if "dataset" in whose.named:
        one = whose.dataset
        try:
            data = one.load()
        except DataError as error:
            entry = DATASETS[one.name]
            if entry.shape is None or entry.events or one.size:
                raise  # only the data say what the inputs look like
            unknown = str(error)
    spec = with_brainleaks_neurons(whose.model).spec(_input(whose, data))
    prefix, model = fitted(checkpoint, spec)
    if prefix:
        tell(f"prefix of all names, taken off: {prefix}")
    theirs = None if data is None else dataclasses.replace(data.spec, low=spec.input.low, high=spec.input.high)
    if data is not None and theirs == spec.input:
        model = measured(model, data)
        tell(f"test accuracy on {data.name}: {100 * model.test_accuracy:.2f} %")
    else:
        unknown = unknown if data is None else f"the inputs of {data.name} are of another size"
        tell(f"test accuracy: not known ({unknown})")
    return model


def _input(whose: Whose, data: Dataset | None) -> InputSpec:
    """Return what the inputs of the model look like: as in the data set, but for what is set."""
    given = whose.input.given
    if data is not None:
        return dataclasses.replace(data.spec, **given)
    entry = DATASETS[whose.dataset.name]
    if "dataset" in whose.named and entry.shape is not None:
        channels, height, width = entry.shape
        given = {"channels": channels, "height": height, "width": width, "classes": entry.classes} | given
    missing = [name for name in SIZES if name not in given]
    if missing:
        raise ConfigError(
            f"input.{missing[0]}: expected a number, found none; without a data set, the input is {', '.join(SIZES)}."
        )
    return InputSpec(**given)
