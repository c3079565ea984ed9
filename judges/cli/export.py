"""The command `spikeleak export`: a finished run for TensorBoard or MLflow."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fl_sim.errors import ConfigError, unknown_name
from fl_sim.extras import require

# Modules that load torch are imported inside the command, so that a wrong option fails at once.

TENSORBOARD, MLFLOW = "tensorboard", "mlflow"
_SQLITE = "sqlite:///"


def export(
    run_dir: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    to: Annotated[str, typer.Option("--to", help="tensorboard or mlflow.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for tensorboard, used by this run only; RUN.tensorboard by default."),
    ] = None,
    tracking_uri: Annotated[
        str, typer.Option("--tracking-uri", help="Store of mlflow; a SQLite file in RUN.mlflow by default.")
    ] = "",
    show_faces: Annotated[bool, typer.Option("--show-faces", help="Export pictures of real people too.")] = False,
) -> None:
    """Write a finished run for TensorBoard or MLflow; the files of the run stay unchanged.

    Exporting a run again replaces its earlier export.
    """
    if to not in (TENSORBOARD, MLFLOW):
        raise unknown_name("--to", to, (TENSORBOARD, MLFLOW))
    if (to == MLFLOW and out) or (to == TENSORBOARD and tracking_uri):
        raise ConfigError("export: --out is where tensorboard's files go, --tracking-uri where mlflow's runs go.")
    require(to, f"--to {to}")  # our extras have the names of the trackers
    folder = run_dir.resolve()
    folder = folder.with_name(f"{folder.name}.{to}")
    if to == TENSORBOARD:
        _to_tensorboard(run_dir, out or folder, show_faces)
    elif show_faces:
        raise ConfigError("export: --show-faces works with tensorboard only; mlflow is given no pictures.")
    else:
        _to_mlflow(run_dir, tracking_uri, folder)


def _to_tensorboard(run_dir: Path, folder: Path, show_faces: bool) -> None:
    _refuse_inside(run_dir, folder, "--out")
    from judges.export.cells import read_export
    from judges.export.trackers import write_tensorboard

    write_tensorboard(read_export(run_dir, show_faces=show_faces), folder)
    typer.echo(f"tensorboard --logdir {folder}")


def _to_mlflow(run_dir: Path, uri: str, folder: Path) -> None:
    from judges.export.cells import read_export
    from judges.export.trackers import log_mlflow

    if uri.startswith(_SQLITE):
        _refuse_inside(run_dir, Path(uri.removeprefix(_SQLITE)), "--tracking-uri")
    run = read_export(run_dir)
    if not uri:
        folder.mkdir(exist_ok=True)
        uri = f"{_SQLITE}{folder / 'mlflow.db'}"
    log_mlflow(run, uri)
    typer.echo(f"experiment '{run.name}' in {uri}")


def _refuse_inside(run_dir: Path, path: Path, option: str) -> None:
    """Reject a path in the folder of the run, every file of which `spikeleak verify` checks."""
    if path.resolve().is_relative_to(run_dir.resolve()):
        raise ConfigError(f"{option} {path}: lies in the folder of the run, whose files must stay unchanged.")
