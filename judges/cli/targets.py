"""The commands `spikeleak train` and `spikeleak invert`: a target trained without a federation, and its inversion."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pydantic
import typer
from pydantic import Field
from rich.table import Table

from attacks import MODEL_INVERSIONS
from fl_sim.config import DatasetSettings, ModelSettings, Raw, override, validate
from fl_sim.datasets.table import constants_of
from fl_sim.errors import ConfigError, nearest, unknown_name
from fl_sim.models import MODELS
from fl_sim.specs import Framing, Settings, TrainingSettings
from judges.cli.terminal import print_facts, wide_console
from judges.plans.model_inversion import with_brainleaks_neurons
from judges.progress import Watch

if TYPE_CHECKING:
    from torch import Tensor

# Whatever loads torch is imported inside the command that needs it: a wrong setting is refused at once.

_OF_THE_DATA = ("root", "size", *Framing.model_fields)
_TABLES = ("model", "training", "dataset")
PANEL, GAP = 112, 4
"""About how many pixels wide a reconstruction is drawn, and the distance between two."""

Device = Annotated[str, typer.Option("--device", help="Where to compute: cpu or cuda.")]


class TargetTask(Settings):
    """What to train.

    Attributes:
        model: which, and with which neurons.
        dataset: on what.
        training: how.
        seed: of its parameters, the order of the examples and the spikes.
    """

    model: ModelSettings
    dataset: DatasetSettings
    training: TrainingSettings
    seed: int = Field(default=0, ge=0)


class Inverting(Settings):
    """Which inversion; every further key is one of its settings.

    Attributes:
        name: in `attacks.MODEL_INVERSIONS`; "" for brainleaks_v2 on a spiking model and mi_face on an ANN.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="allow", strict=True)
    name: str = ""

    @pydantic.field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name and name not in MODEL_INVERSIONS:
            raise ValueError(str(unknown_name("", name, MODEL_INVERSIONS)).removeprefix(": "))
        return name


class InversionTask(Settings):
    """How to attack.

    Attributes:
        attack: which, and its settings.
        seed: of what the attack draws.
    """

    attack: Inverting = Inverting()
    seed: int = Field(default=0, ge=0)


def train(
    dataset: Annotated[str, typer.Argument(help="Name of a data set.")],
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="model=NAME, model.KEY, training.KEY (training.preset names the authors' constants), dataset.KEY or "
            "seed. By default the spiking_mlp of BrainLeaks, trained as its authors did on that data set.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File of the model; one in runs/targets where not given.")] = None,
    device: Device = "cpu",
) -> None:
    """Train a model without a federation, or find it among those kept; one that was stopped goes on where it was."""
    task = read_target(dataset, assignments or [])
    from fl_sim.central import central_training
    from fl_sim.datasets import load_dataset
    from fl_sim.records import save_record

    data = load_dataset(dataset, root=task.dataset.root, size=task.dataset.size, framing=task.dataset.framing)
    spec = with_brainleaks_neurons(task.model).spec(data.spec)
    with Watch().task(f"{task.model.name} on {dataset}") as advance:
        done = central_training(spec, data, task.training, seed=task.seed, device=device, progress=advance)
    usual = Path("runs") / "targets" / f"{dataset}-{task.model.name}-{done.path.stem[:8]}.safetensors"
    path = save_record(done.model, out or usual)
    print_facts(
        {
            "model": task.model.name,
            "data set": dataset,
            "preset": task.training.preset,
            "test accuracy": f"{100 * done.model.test_accuracy:.2f} %",
            "train accuracy": f"{100 * done.train_accuracy:.2f} %",
            "epochs": str(done.epochs),
            "seconds": f"{done.seconds:.0f}",
            "file": str(path),
        }
    )


def invert(
    checkpoint: Annotated[Path, typer.Argument(help="A trained model, as `spikeleak train` or a run wrote it.")],
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="attack=NAME, attack.KEY (attack.preset) or seed."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the results; beside the model where not given.")] = None,
    device: Device = "cpu",
) -> None:
    """Invert a trained model: one input for each of its classes, as a record and as a picture."""
    task = validate(InversionTask, override({}, assignments or [], ("attack",)))
    from attacks import build_inversion
    from fl_sim.files import atomic_write
    from fl_sim.records import TrainedModel, load_record, save_record

    model = load_record(TrainedModel, checkpoint)
    name = task.attack.name or _usual_inversion(model.model.architecture)
    given = task.attack.model_extra or {}
    attack = build_inversion(name, validate(MODEL_INVERSIONS[name].settings, given).model_dump(include=set(given)))
    classes = range(model.model.input.classes)
    with Watch().task(f"{name} on {model.model.architecture}") as advance:
        inversion = attack.invert(model, classes, seed=task.seed, device=device, progress=advance)
    folder = out or checkpoint.parent / f"{checkpoint.stem}-{name}"
    save_record(inversion, folder / "inversion.safetensors")
    atomic_write(folder / "inversion.png", grid_png(inversion.inputs))
    table = Table("class", "confidence on the target", "iterations", "ended", box=None, pad_edge=False)
    for row, label in enumerate(classes):
        confidence, iterations = float(inversion.confidence[row]), int(inversion.iterations[row])
        table.add_row(str(label), f"{confidence:.4f}", str(iterations), inversion.stop_reasons[row].value)
    wide_console(1000).print(table)
    typer.echo(f"\n{folder / 'inversion.safetensors'}\n{folder / 'inversion.png'}")


def read_target(dataset: str, assignments: Iterable[str]) -> TargetTask:
    """Return what to train; where no preset is told, that of the data set and kind of model, if there is one.

    Args:
        dataset: its name.
        assignments: "model=NAME", "seed=N", or "model.KEY=VALUE", "training.KEY=VALUE", "dataset.KEY=VALUE".

    Raises:
        ConfigError: an unknown name or key, or a wrong value.
    """
    raw = override({}, assignments, _TABLES)
    data: Raw = raw.pop("dataset", {})
    for key in data:
        if key not in _OF_THE_DATA:
            known = ", ".join(_OF_THE_DATA)
            raise ConfigError(f"dataset.{key}: no target depends on it.{nearest(key, _OF_THE_DATA)} Known: {known}.")
    model: Raw = {"name": "spiking_mlp", **raw.pop("model", {})}
    training: Raw = dict(raw.pop("training", {}))
    if "name" in training:
        raise ConfigError("training: it has no name; the authors' constants are training.preset.")
    if model["name"] in MODELS:
        spiking = MODELS[model["name"]].spiking
        training.setdefault("preset", TrainingSettings.preset_for(constants_of(dataset), spiking=spiking))
    tables = {"model": model, "dataset": {**data, "name": dataset}, "training": training}
    return validate(TargetTask, {**raw, **tables})


def grid_png(inputs: Tensor) -> bytes:
    """Return reconstructions as one PNG, in rows of 5, or of 8 where there are more than 10.

    Each is scaled to black and white by its own least and largest value; spikes are averaged over time before, and
    channels other than three to grey.

    Args:
        inputs: (K, C, H, W), or spikes (T, K, C, H, W).
    """
    import torch
    from PIL import Image

    from judges.scoring.class_metrics import min_max_scaled, rate_decoded

    images = rate_decoded(inputs).float()
    if images.shape[1] != 3:
        images = images.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    scaled = (min_max_scaled(images).nan_to_num(0.0) * 255.0).round().to(torch.uint8).permute(0, 2, 3, 1)
    count, height, width = scaled.shape[:3]
    columns = min(count, 5 if count <= 10 else 8)
    factor = max(1, round(PANEL / width))
    across, down = width * factor + GAP, height * factor + GAP
    sheet = Image.new("RGB", (columns * across - GAP, -(-count // columns) * down - GAP), "white")
    for place, picture in enumerate(scaled.numpy()):
        panel = Image.fromarray(picture).resize((width * factor, height * factor), Image.Resampling.NEAREST)
        sheet.paste(panel, (place % columns * across, place // columns * down))
    content = io.BytesIO()
    sheet.save(content, format="PNG", optimize=True)
    return content.getvalue()


def _usual_inversion(architecture: str) -> str:
    """Return the inversion that is used on a model where none is told."""
    return "brainleaks_v2" if architecture in MODELS and MODELS[architecture].spiking else "mi_face"
