"""The commands about finished runs: `spikeleak verify`, `spikeleak compare`, `spikeleak rerun`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from fl_sim.config import read_toml
from fl_sim.errors import DataError
from judges.bench.engine_options import LOCAL, EngineName, EngineOptions, RayAddress, Workers
from judges.plans.gradient_inversion import Plan
from judges.plans.kinds import plan_of
from judges.plans.model_inversion import InversionPlan
from judges.progress import Watch

if TYPE_CHECKING:
    from judges.runs.comparison import Comparison

# Whatever loads torch is imported inside the command that needs it.

DIFFERENT = 1
INCOMPLETE = 4
DAMAGED = DataError.exit_code
MOST_SHOWN = 20

RunFolder = Annotated[Path, typer.Argument(help="Folder of a finished run.")]


def verify(run_dir: RunFolder) -> None:
    """Check every file of a run against the hashes that it was finished with."""
    from judges.runs.integrity import verify as check

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
    path = run_dir / "config.toml"
    if not path.is_file():
        raise DataError(f"{run_dir}: expected the folder of a run, found no config.toml in it.")
    plan, folder = plan_of(read_toml(path)), out or run_dir.with_name(f"{run_dir.resolve().name}.rerun")
    execute(plan, folder, Watch(), options=EngineOptions(engine, workers, ray_address))
    from judges.runs.comparison import compare as side_by_side

    _print(side_by_side(run_dir, folder))


def execute(
    plan: Plan | InversionPlan,
    folder: Path,
    watch: Watch,
    *,
    fresh: bool = False,
    show_faces: bool = False,
    options: EngineOptions | None = None,
) -> Path:
    """Run an experiment of either kind in a folder and return the path of the report; see the room `judges.bench`."""
    if isinstance(plan, InversionPlan):
        from judges.bench.model_inversion import run_inversions

        return run_inversions(plan, folder, watch, fresh=fresh, show_faces=show_faces, options=options)
    from judges.bench.gradient_inversion import run_experiment

    return run_experiment(plan, folder, watch, fresh=fresh, show_faces=show_faces, options=options)


def tell_failed(folder: Path) -> None:
    """Name the cells of a run that could not be done, and end with an exit code of its own where there are any."""
    from judges.runs.manifest import manifest_so_far

    failed: dict[str, str] = manifest_so_far(folder).get("failed", {})
    for cell, reason in failed.items():
        typer.echo(f"spikeleak: {cell}: not done: {reason}.", err=True)
    if failed:
        raise typer.Exit(INCOMPLETE)


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
        console = Console()
        (console if console.is_terminal else Console(width=200)).print(table)
    rows = sum(cell.rows for cell in found.cells)
    typer.echo(f"{'equal' if found.is_equal else 'not equal'}: {rows} rows in {len(found.cells)} cells compared.")
    if not found.is_equal:
        raise typer.Exit(DIFFERENT)
