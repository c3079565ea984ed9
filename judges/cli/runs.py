"""The commands about finished runs: `spikeleak verify`, `compare`, `rerun`, `statement`, `submit`, `board`."""

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
    print_table,
    report_failed,
)
from judges.fitted import Fitted, Head, Line

if TYPE_CHECKING:
    from judges.runs.comparison import Comparison

# What is not needed for the help is imported inside the commands; torch only when their arguments are right.

DIFFERENT = 1
DAMAGED = DataError.exit_code
MOST_SHOWN = 20
MOST_NAME = 200

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
    workers: Workers = None,
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
    refuse_audit(path)
    plan, folder = plan_of(read_toml(path)), out or run_dir.with_name(f"{run_dir.resolve().name}.rerun")
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


def submit(
    run_dir: RunFolder,
    by: Annotated[str, typer.Option(metavar="NAME", help="Who hands it in; shown on the board.")] = "",
    out: Annotated[Path | None, typer.Option(help="File to write; RUN.submission.json by default.")] = None,
) -> None:
    """Write what a finished run of an experiment hands in to a board: figures, budgets, victims, hashes, versions."""
    from judges.kinds import kind_in
    from judges.runs.lock import whole

    kind = kind_in(run_dir)
    if not kind.submission:
        raise ConfigError(
            f"{run_dir}: nobody else can attack the victims of this run, so it has nothing to hand in; submit a run of "
            "an experiment on fixed victims, such as `spikeleak run board/digits_lenet`."
        )
    path = out or run_dir.resolve().with_name(f"{run_dir.resolve().name}.submission.json")
    if path.resolve().is_relative_to(run_dir.resolve()):
        raise ConfigError(f"--out {path}: lies in the folder of the run, whose files must stay unchanged.")
    if len(by) > MOST_NAME:
        raise ConfigError(f"--by: expected at most {MOST_NAME} characters, got {len(by)}.")
    from fl_sim.files import atomic_write
    from judges.board.submission import to_json
    from judges.runs.integrity import check_finished

    with whole(run_dir):
        check_finished(run_dir)
        submission = kind.part("submission")(run_dir, by)
    atomic_write(path, to_json(submission.model_dump(mode="json")))
    names = sorted({entry.victims.set for entry in submission.entries if entry.victims.set})
    typer.echo(f"{len(submission.entries)} entries in {path}, on {', '.join(names) or 'victims of no fixed set'}")
    if not all(entry.victims.set for entry in submission.entries):
        typer.echo("note: a board refuses a file with victims of no fixed set; those are the configs board/NAME.")


def board(folder: Annotated[Path, typer.Argument(help="Folder of submissions, FOLDER/*.json.")]) -> None:
    """Check submissions and rank them in board.html and board.md, by victims and by what the adversary knows.

    Files that are refused are named with the reason, and the exit code is then 3; the others are ranked all the same.
    """
    from judges.board.page import write_board
    from judges.board.ranking import board_of
    from judges.runs.lock import sole_writer

    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder of submissions, found none.")
    with sole_writer(folder):
        found = board_of(folder)
        page = write_board(folder, found)
    for standing in found.standings:
        first = standing.places[0]
        others = f", {len(standing.places)} entries" if len(standing.places) > 1 else ""
        typer.echo(
            f"{standing.victims.set}, adversary {standing.adversary}: {first.entry.attack} ({first.file}){others}"
        )
    typer.echo(f"board: {page.resolve().as_uri()}")
    for name, why in found.refused.items():
        typer.echo(f"spikeleak: {name}: refused: {why}", err=True)
    if found.refused:
        raise typer.Exit(DAMAGED)


def refuse_audit(path: Path) -> None:
    """Raise a ConfigError if a config is that of an audit, not of an experiment."""
    from fl_sim.config import read_toml
    from judges.kinds import kind_of

    command = kind_of(read_toml(path)).command
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
        print_table(Fitted(heads, lines))
    rows, verdict = sum(cell.rows for cell in comparison.cells), "equal" if comparison.is_equal else "not equal"
    typer.echo(f"{verdict}: {rows} rows in {len(comparison.cells)} cells compared.")
