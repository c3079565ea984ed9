"""The command `spikeleak export`: a finished run for TensorBoard or MLflow."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from fl_sim.errors import ConfigError, unknown_name

# Whatever loads torch is imported inside the command: a wrong option is refused at once.

TENSORBOARD, MLFLOW = "tensorboard", "mlflow"
_SQLITE = "sqlite:///"


def export(
    run_dir: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    to: Annotated[str, typer.Option("--to", help="tensorboard or mlflow.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for tensorboard, of this run's own; RUN.tensorboard where not given."),
    ] = None,
    tracking_uri: Annotated[
        str, typer.Option("--tracking-uri", help="Of mlflow; a SQLite file in RUN.mlflow where not given.")
    ] = "",
    show_faces: Annotated[bool, typer.Option("--show-faces", help="Export pictures of real people too.")] = False,
) -> None:
    """Write a finished run for TensorBoard or MLflow; the files of the run stay as they are.

    To export a run again replaces its earlier export.
    """
    if to not in (TENSORBOARD, MLFLOW):
        raise unknown_name("--to", to, (TENSORBOARD, MLFLOW))
    if (to == MLFLOW and out) or (to == TENSORBOARD and tracking_uri):
        raise ConfigError("export: --out is where tensorboard's files go, --tracking-uri where mlflow's runs go.")
    if importlib.util.find_spec(to) is None:  # each is the name of a package, and of our extra
        raise ConfigError(f"--to {to}: it is not installed; pip install 'spikeleak[{to}]' adds it.")
    if to == TENSORBOARD:
        _to_tensorboard(run_dir, out or _beside(run_dir, to), show_faces)
    else:
        if show_faces:
            raise ConfigError("export: --show-faces is of tensorboard; mlflow is given no pictures.")
        _to_mlflow(run_dir, tracking_uri)


def _to_tensorboard(run_dir: Path, folder: Path, show_faces: bool) -> None:
    _refuse_inside(run_dir, folder, "--out")
    from judges.export.cells import read_export
    from judges.export.trackers import write_tensorboard

    write_tensorboard(read_export(run_dir, show_faces=show_faces), folder)
    typer.echo(f"tensorboard --logdir {folder}")


def _to_mlflow(run_dir: Path, uri: str) -> None:
    from judges.export.cells import read_export
    from judges.export.trackers import log_mlflow

    if uri.startswith(_SQLITE):
        _refuse_inside(run_dir, Path(uri.removeprefix(_SQLITE)), "--tracking-uri")
    found = read_export(run_dir)
    folder = _beside(run_dir, MLFLOW)
    if not uri:
        folder.mkdir(exist_ok=True)
    uri = uri or f"{_SQLITE}{folder / 'mlflow.db'}"
    log_mlflow(found, uri)
    typer.echo(f"experiment '{found.name}' in {uri}")


def _beside(run_dir: Path, ending: str) -> Path:
    """Return the folder beside a run that has its name and an ending."""
    folder = run_dir.resolve()
    return folder.with_name(f"{folder.name}.{ending}")


def _refuse_inside(run_dir: Path, path: Path, option: str) -> None:
    """Refuse a path in the folder of the run: `spikeleak verify` knows every file there."""
    if path.resolve().is_relative_to(run_dir.resolve()):
        raise ConfigError(f"{option} {path}: lies in the folder of the run, whose files stay as they are.")
