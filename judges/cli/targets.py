"""The commands `spikeleak train` and `spikeleak invert`: train a target without a federation, and invert it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from judges.cli.terminal import Imports, imported, print_facts, print_table
from judges.fitted import Fitted, Head, Line

if TYPE_CHECKING:
    from torch import Tensor

    from attacks.contracts import Inversion
    from fl_sim.records import TrainedModel
    from judges.cli.tasks import InversionTask

# What is not needed for the help is imported inside the commands; torch only when the settings are right.

PANEL, GAP = 112, 4
"""Approximate width of a reconstruction in pixels, and the distance between two."""

Device = Annotated[str, typer.Option("--device", help="Where to compute: cpu, cuda, cuda:N or mps.")]


def train(
    dataset: Annotated[str, typer.Argument(help="Name of a data set.")],
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="model=NAME, model.KEY, training.KEY (training.preset names the authors' constants), dataset.KEY or "
            "seed. The default is the spiking_mlp of BrainLeaks, trained as its authors did on that data set.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File of the model; one in runs/targets by default.")] = None,
    device: Device = "cpu",
) -> None:
    """Train a model without a federation, or find it in the cache; an interrupted training is resumed."""
    from judges.bench.process import check_device
    from judges.cli.tasks import read_target
    from judges.plans.model_inversion import with_brainleaks_neurons
    from judges.progress import Watch

    check_device(device)
    task = read_target(dataset, assignments or [])
    from fl_sim.central import central_training
    from fl_sim.records import save_record

    data = task.dataset.load()
    spec = with_brainleaks_neurons(task.model).spec(data.spec)
    with Watch().task(f"{task.model.name} on {dataset}") as advance:
        done = central_training(spec, data, task.training, seed=task.seed, device=device, progress=advance)
    usual = Path("runs") / "targets" / f"{dataset}-{task.model.name}-{done.path.stem[:8]}.safetensors"
    path = save_record(done.model, out or usual)
    print_facts(
        [
            ("model", task.model.name),
            ("data set", dataset),
            ("preset", task.training.preset),
            ("test accuracy", f"{100 * done.model.test_accuracy:.2f} %"),
            ("train accuracy", f"{100 * done.train_accuracy:.2f} %"),
            ("epochs", str(done.epochs)),
            ("seconds", f"{done.seconds:.0f}"),
            ("file", str(path)),
        ]
    )


def invert(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            help="A trained model written by `spikeleak train` or by a run; or anybody's state_dict, as a .pt or "
            "safetensors file, whose model and data set you name."
        ),
    ],
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="attack=NAME, attack.KEY (attack.preset) or seed. For a state_dict also model=NAME, model.KEY, and "
            "dataset=NAME, dataset.KEY or input.KEY (channels, height, width, classes, low, high, timesteps).",
        ),
    ] = None,
    imports: Imports = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the results; beside the model, or beside its run, by default.")
    ] = None,
    device: Device = "cpu",
) -> None:
    """Invert a trained model: write one input for each of its classes, as a record and as a picture."""
    from judges.bench.process import check_device
    from judges.cli.tasks import read_inversion

    imported(imports)
    check_device(device)
    task = read_inversion(assignments or [])
    from judges.bench.audit.weights import read_checkpoint
    from judges.plans.audit.weights import beside

    inversion = _inverted(read_checkpoint(checkpoint, task, typer.echo), task, device)
    _keep(inversion, out or beside(checkpoint, inversion.attack))


def _inverted(model: TrainedModel, task: InversionTask, device: str) -> Inversion:
    """Return one input for each class of a model, by the attack that is named, or else by what fits the model."""
    from attacks import MODEL_INVERSIONS, build_inversion
    from fl_sim.config import validate
    from fl_sim.models import MODELS
    from judges.progress import Watch

    architecture = model.model.architecture
    spiking = architecture in MODELS and MODELS[architecture].spiking
    name = task.attack.name or ("brainleaks_v2" if spiking else "mi_face")
    said = task.attack.model_extra or {}
    settings = validate(MODEL_INVERSIONS[name].settings, said).model_dump(include=set(said))
    attack = build_inversion(name, settings)
    with Watch().task(f"{name} on {architecture}") as advance:
        return attack.invert(model, range(model.model.input.classes), seed=task.seed, device=device, progress=advance)


def _keep(inversion: Inversion, folder: Path) -> None:
    """Write an inversion into a folder as a record and as a picture, and print what is known of each class."""
    from fl_sim.files import atomic_write
    from fl_sim.records import save_record

    record, picture = folder / "inversion.safetensors", folder / "inversion.png"
    save_record(inversion, record)
    atomic_write(picture, grid_png(inversion.inputs))
    lines = [
        Line([str(label), f"{confidence:.4f}", str(iterations), reason.value])
        for label, (confidence, iterations, reason) in enumerate(
            zip(inversion.confidence.tolist(), inversion.iterations.tolist(), inversion.stop_reasons, strict=True)
        )
    ]
    heads = [Head("class"), Head("confidence on the target"), Head("iterations"), Head("ended", left=True)]
    print_table(Fitted(heads, lines))
    typer.echo(f"\n{record}\n{picture}")


def grid_png(inputs: Tensor) -> bytes:
    """Return reconstructions as one PNG in rows of 5, or of 8 if there are more than 10.

    Each is scaled so that its minimum is black and its maximum white. Spikes are first averaged over time, and channels
    are averaged to grey unless there are three.

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
