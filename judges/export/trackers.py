"""Writes a run's export as TensorBoard's event files and as MLflow's runs; both are optional extras.

A repeated export replaces the earlier one, and removes nothing that another program wrote.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fl_sim.errors import ConfigError
from judges.export.cells import Export, ExportedCell
from judges.runs.names import file_name

SUFFIX = ".spikeleak"
"""End of the name of each of our event files."""
CELL_TAG, DIGEST_TAG = "spikeleak.cell", "spikeleak.digest"
"""Tags of an MLflow run: its cell, and a hash of its content, which is set when the content is complete."""

_MOST_METRICS, _MOST_PARAMETERS, _MOST_TEXT = 900, 100, 500
"""Limits of MLflow: metrics (with tags, 1,000 in all) and parameters in a call, and characters of a value."""


def write_tensorboard(export: Export, folder: Path) -> None:
    """Write event files into a subfolder for each cell, and remove those of an earlier export.

    Args:
        export: the run.
        folder: a folder that this run alone uses.

    Raises:
        ImportError: TensorBoard is not installed.
    """
    from torch.utils.tensorboard import SummaryWriter
    from torch.utils.tensorboard.summary import hparams

    earlier = list(folder.rglob(f"events.out.tfevents.*{SUFFIX}"))
    for place, cell in _places(export.cells).items():
        scores = {f"score/{name}": value for name, value in cell.numbers.items()}
        make: Any = SummaryWriter  # it has no annotations
        with make(str(folder / place), filename_suffix=SUFFIX) as writer:
            for summary in hparams(dict(cell.settings), scores):  # type: ignore[no-untyped-call]
                writer.file_writer.add_summary(summary, walltime=export.written)
            for name, value in scores.items():
                writer.add_scalar(name, value, cell.step, walltime=export.written)
            for name, text in cell.words.items():
                writer.add_text(name, text, cell.step, walltime=export.written)
            for name, picture in cell.pictures.items():
                writer.add_image(f"gallery/{name}", picture, cell.step, export.written, dataformats="HWC")
            for number, step, loss in _losses(cell):
                writer.add_scalar(f"loss/{number:02d}", loss, step, walltime=export.written)
            for name, step, value in _over_time(cell):
                writer.add_scalar(f"time/{name}", value, step, walltime=export.written)
    for path in earlier:  # last, so that an interruption leaves the earlier export
        path.unlink()
        with contextlib.suppress(OSError):  # it is not empty unless its cell is gone
            path.parent.rmdir()


def log_mlflow(export: Export, uri: str) -> None:
    """Write an MLflow run for each cell, in an experiment with the name of the run.

    Runs of an earlier export stay if their content is the same, and are deleted otherwise.

    Args:
        export: the run.
        uri: address of a tracking store, "sqlite:///PATH" or that of a server.

    Raises:
        ConfigError: MLflow rejects the address or the content.
        ImportError: MLflow is not installed.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # for privacy; read when MLflow is imported
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        client = MlflowClient(uri)
        known = client.get_experiment_by_name(export.name)
        experiment = known.experiment_id if known else client.create_experiment(export.name)
        wanted = {cell.name: cell for cell in export.cells}
        for run in list(_earlier_runs(client, experiment)):
            cell = wanted.get(run.data.tags[CELL_TAG])
            if cell is not None and run.data.tags.get(DIGEST_TAG) == export.digest(cell):
                del wanted[cell.name]
            else:
                client.delete_run(run.info.run_id)
        for cell in wanted.values():
            _log_run(client, experiment, export, cell)
    except MlflowException as error:
        raise ConfigError(f"--tracking-uri {uri}: MLflow refuses it ({error.message}).") from error


def _log_run(client: Any, experiment: str, export: Export, cell: ExportedCell) -> None:  # noqa: ANN401
    """Write the run of a cell with MLflow's client; the digest last, so that an interrupted run is written again."""
    from mlflow.entities import Metric, Param, RunTag

    when = round(1000 * export.written)
    tags = {CELL_TAG: cell.name}
    run = client.create_run(experiment, start_time=when, tags=tags, run_name=cell.name).info.run_id
    metrics = [Metric(name, value, when, cell.step) for name, value in cell.numbers.items()]
    metrics += [Metric(f"time/{name}", value, when, step) for name, step, value in _over_time(cell)]
    client.log_batch(
        run,
        metrics=metrics[:_MOST_METRICS],
        tags=[RunTag(name, text) for name, text in {**export.tags, **cell.words}.items()],
    )
    for start in range(_MOST_METRICS, len(metrics), _MOST_METRICS):
        client.log_batch(run, metrics=metrics[start : start + _MOST_METRICS])
    settings = [Param(name, str(value)[:_MOST_TEXT]) for name, value in cell.settings.items()]
    for start in range(0, len(settings), _MOST_PARAMETERS):
        client.log_batch(run, params=settings[start : start + _MOST_PARAMETERS])
    client.set_terminated(run, end_time=when)
    client.set_tag(run, DIGEST_TAG, export.digest(cell))


def _earlier_runs(client: Any, experiment: str) -> Iterator[Any]:  # noqa: ANN401 - MLflow may not be installed
    """Yield the runs of an experiment that an export wrote, page by page."""
    token = None
    while True:
        page = client.search_runs([experiment], page_token=token)
        yield from (run for run in page if CELL_TAG in run.data.tags)
        token = page.token
        if not token:
            return


def _losses(cell: ExportedCell) -> Iterator[tuple[int, int, float]]:
    """Yield (curve, step, loss) of the finite losses."""
    for number, curve in enumerate(cell.curves.tolist()):
        yield from ((number, step, loss) for step, loss in enumerate(curve) if math.isfinite(loss))


def _over_time(cell: ExportedCell) -> Iterator[tuple[str, int, float]]:
    """Yield (measure, time step, mean) of the finite means over time."""
    for name, values in cell.over_time.items():
        yield from ((name, step, value) for step, value in enumerate(values, start=1) if math.isfinite(value))


def _places(cells: tuple[ExportedCell, ...]) -> Mapping[str, ExportedCell]:
    """Return {path of a subfolder: cell}; paths are unique and cannot leave the folder."""
    places: dict[str, ExportedCell] = {}
    for cell in cells:
        path = "/".join(file_name(part).strip(".") or "_" for part in cell.name.split("/"))
        number = sum(place == path or place.startswith(f"{path}~") for place in places)
        places[f"{path}~{number}" if number else path] = cell
    return places
