"""The commands about finished runs: `spikeleak verify`, `spikeleak compare`, `spikeleak rerun`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from fl_sim.config import read_toml
from fl_sim.errors import ConfigError, DataError
from judges.bench.engine_options import LOCAL
from judges.cli.terminal import EngineName, RayAddress, Workers, engine_options, wide_console
from judges.kinds import RunPlan, kind_in, kind_of, plan_of
from judges.progress import Watch
from judges.runs.integrity import verify as check

if TYPE_CHECKING:
    from judges.runs.comparison import Comparison

# Whatever loads torch is imported inside the command that needs it.

DIFFERENT = 1
DAMAGED = DataError.exit_code
MOST_SHOWN = 20

RunFolder = Annotated[Path, typer.Argument(help="Folder of a finished run.")]


def verify(run_dir: RunFolder) -> None:
    """Check every file of a run against the hashes that it was finished with."""
    found = check(run_dir)
    typer.echo(f"{found.sound} files are as they were when the run was finished.")
    for word, paths in (("changed", found.changed), ("missing", found.missing), ("not in the list", found.unlisted)):
        if paths:
            more = f" and {len(paths) - MOST_SHOWN} more" if len(paths) > MOST_SHOWN else ""
            typer.echo(f"{len(paths)} {word}: {', '.join(paths[:MOST_SHOWN])}{more}")
    if not found.is_sound:
        raise typer.Exit(DAMAGED)


def compare(first: RunFolder, second: Annotated[Path, typer.Argument(help="Folder of another one.")]) -> None:
    """Print how two runs differ: configs, what made them, scores. Exit code 0 where all scores are equal, else 1."""
    from judges.runs.comparison import compare as side_by_side

    _print(side_by_side(first, second))


def rerun(
    run_dir: RunFolder,
    out: Annotated[Path | None, typer.Option(help="Folder of the new run; RUN.rerun where not given.")] = None,
    workers: Workers = 1,
    engine: EngineName = LOCAL,
    ray_address: RayAddress = "",
) -> None:
    """Run a finished run's config again in another folder, and say whether the scores are equal to the last digit.

    The same code, versions and number of threads give the same scores; what else differs is printed. Trained judges
    and targets are taken from the cache: to train them anew too, point SPIKELEAK_CACHE to an empty folder.
    """
    options = engine_options(workers, engine, ray_address)
    kind_in(run_dir)
    path = run_dir / "config.toml"
    plan, folder = plan_of(read_toml(path)), out or run_dir.with_name(f"{run_dir.resolve().name}.rerun")
    refuse_audit(plan, path)
    from judges.bench.execution import run_plan
    from judges.runs.comparison import compare as side_by_side

    run_plan(plan, folder, Watch(), options=options)
    _print(side_by_side(run_dir, folder))


def refuse_audit(plan: RunPlan, path: Path) -> None:
    """Refuse the plan of an audit where that of an experiment is wanted.

    Raises:
        ConfigError: it is.
    """
    command = kind_of(plan.raw).command
    if command != "run":
        raise ConfigError(
            f"{path}: is the config of an audit, not of an experiment; call `spikeleak {command} FOLDER` with its "
            "settings again."
        )


def _print(found: Comparison) -> None:
    """Print a comparison; end with an exit code of its own where the scores differ."""
    for title, differences in (("config", found.config), ("made with", found.made_by)):
        for key, (ours, theirs) in differences.items():
            typer.echo(f"{title}: {key}: {ours} | {theirs}")
    table = Table(
        "cell", "rows", "differ", "only first", "only second", "largest differences", box=None, pad_edge=False
    )
    for cell in found.cells:
        if not cell.is_equal:
            columns = ", ".join(f"{name} {value:.3g}" for name, value in cell.columns.items())
            counts = (cell.rows, cell.differing, cell.only_first, cell.only_second)
            table.add_row(cell.cell, *map(str, counts), columns)
    if table.row_count:
        wide_console(200).print(table)
    rows = sum(cell.rows for cell in found.cells)
    typer.echo(f"{'equal' if found.is_equal else 'not equal'}: {rows} rows in {len(found.cells)} cells compared.")
    if not found.is_equal:
        raise typer.Exit(DIFFERENT)
