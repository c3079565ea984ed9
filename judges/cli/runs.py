"""The commands about finished runs: `spikeleak verify`, `compare`, `rerun`, `statement`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fl_sim.errors import ConfigError, DataError
from judges.bench.engine_options import LOCAL
from judges.cli.terminal import (
    EngineName,
    Imports,
    RayAddress,
    Workers,
    engine_options,
    imported,
    report_failed,
    wide_console,
)
from judges.fitted import Fitted, Head, Line

if TYPE_CHECKING:
    from judges.kinds import RunPlan
    from judges.runs.comparison import Comparison

# What is not needed for the help is imported inside the commands; torch only when their arguments are right.

DIFFERENT = 1
DAMAGED = DataError.exit_code
MOST_SHOWN = 20

RunFolder = Annotated[Path, typer.Argument(help="Folder of a finished run.")]


def verify(
    run_dir: RunFolder,
    deep: Annotated[
        bool, typer.Option("--deep", help="Score the attacks' answers again as well, and compare with scores.csv.")
    ] = False,
    imports: Imports = None,
) -> None:
    """Check every file of a run against the hashes written when it finished, and name the cells that were not done."""
    from judges.runs.lock import whole

    imported(imports)
    with whole(run_dir):
        _verify(run_dir, deep=deep)


def _verify(run_dir: Path, *, deep: bool) -> None:
    """Do the work of `verify` in a folder in which nobody writes."""
    from judges.runs.integrity import verify as check

    files = check(run_dir)
    typer.echo(f"{files.sound} files are as they were when the run was finished.")
    for word, paths in (("changed", files.changed), ("missing", files.missing), ("not in the list", files.unlisted)):
        if paths:
            more = f" and {len(paths) - MOST_SHOWN} more" if len(paths) > MOST_SHOWN else ""
            typer.echo(f"{len(paths)} {word}: {', '.join(paths[:MOST_SHOWN])}{more}")
    if not files.is_sound:
        raise typer.Exit(DAMAGED)
    report_failed(run_dir)
    if deep:
        from judges.cli.deep import rows_again

        comparison = rows_again(run_dir)
        _print(comparison)
        if not comparison.is_equal:
            raise typer.Exit(DAMAGED)


def compare(first: RunFolder, second: Annotated[Path, typer.Argument(help="Folder of another run.")]) -> None:
    """Print how two runs differ: configs, versions, scores. Exit code 0 if all scores are equal, else 1."""
    from judges.runs.comparison import compare as side_by_side

    _finish(side_by_side(first, second))


def rerun(
    run_dir: RunFolder,
    out: Annotated[Path | None, typer.Option(help="Folder of the new run; RUN.rerun by default.")] = None,
    imports: Imports = None,
    workers: Workers = 1,
    engine: EngineName = LOCAL,
    ray_address: RayAddress = "",
) -> None:
    """Run the config of a finished run in another folder, and report whether the scores are equal to the last digit.

    The same code, versions and number of threads give the same scores; differences in these are printed. Trained judges
    and targets come from the cache: to train them again too, point SPIKELEAK_CACHE to an empty folder.
    """
    from fl_sim.config import read_toml
    from judges.kinds import kind_in, plan_of
    from judges.progress import Watch

    options = engine_options(workers, engine, ray_address, imported(imports))
    kind_in(run_dir)
    path = run_dir / "config.toml"
    plan, folder = plan_of(read_toml(path)), out or run_dir.with_name(f"{run_dir.resolve().name}.rerun")
    refuse_audit(plan, path)
    from judges.bench.execution import run_plan
    from judges.runs.comparison import compare as side_by_side

    run_plan(plan, folder, Watch(), options=options)
    _finish(side_by_side(run_dir, folder))


def statement(run_dir: RunFolder) -> None:
    """Write one page of A4 for a data-protection officer: what was attacked and tried, what came of it, what is open.

    The page, statement.html with the same in statement.md, says nothing that the files of the run do not. Later calls
    in the folder write it anew.
    """
    from judges.kinds import kind_in
    from judges.runs.integrity import STATEMENT, check_sources, renew_hashes
    from judges.runs.lock import sole_writer

    kind = kind_in(run_dir)
    with sole_writer(run_dir):
        check_sources(run_dir)
        page: Path = kind.part("statement")(run_dir)
        renew_hashes(run_dir, STATEMENT)
    typer.echo(f"statement: {page.resolve().as_uri()}")


def refuse_audit(plan: RunPlan, path: Path) -> None:
    """Raise a ConfigError if the plan is that of an audit, not of an experiment."""
    from judges.kinds import kind_of

    command = kind_of(plan.raw).command
    if command != "run":
        raise ConfigError(
            f"{path}: is the config of an audit, not of an experiment; call `spikeleak {command} FOLDER` with its "
            "settings again."
        )


def _finish(comparison: Comparison) -> None:
    """Print a comparison, and exit with `DIFFERENT` if the scores differ."""
    _print(comparison)
    if not comparison.is_equal:
        raise typer.Exit(DIFFERENT)


def _print(comparison: Comparison) -> None:
    """Print a comparison."""
    for title, differences in (("config", comparison.config), ("made with", comparison.made_by)):
        for key, (ours, theirs) in differences.items():
            typer.echo(f"{title}: {key}: {ours} | {theirs}")
    lines = []
    for cell in comparison.cells:
        if not cell.is_equal:
            columns = ", ".join(f"{name} {value:.3g}" for name, value in cell.columns.items())
            counts = (cell.rows, cell.differing, cell.only_first, cell.only_second)
            lines.append(Line([cell.cell, *map(str, counts), columns]))
    if lines:
        numbers = map(Head, ("rows", "differ", "only first", "only second"))
        heads = [Head("cell", left=True), *numbers, Head("largest differences", left=True)]
        wide_console().print(Fitted(heads, lines))
    rows, verdict = sum(cell.rows for cell in comparison.cells), "equal" if comparison.is_equal else "not equal"
    typer.echo(f"{verdict}: {rows} rows in {len(comparison.cells)} cells compared.")
