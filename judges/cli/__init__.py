"""The command `spikeleak`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import click
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fl_sim.config import read_toml
from fl_sim.errors import DataError, SpikeleakError, unknown_name
from judges.bench.engine_options import LOCAL, EngineName, EngineOptions, RayAddress, Workers
from judges.cli.export import export
from judges.cli.judges import judge_app
from judges.cli.listing import WARNED, list_, warn_of_plugins
from judges.cli.runs import compare, execute, rerun, tell_failed, verify
from judges.cli.targets import invert, train
from judges.plans.model_inversion import TASK
from judges.progress import EventWatch, Watch

# Whatever loads torch or Flower is imported inside the command that needs it: a wrong config is refused at once.

app = typer.Typer(
    name="spikeleak",
    help="What does a federated client's update give away about private data, and is a spiking network safer?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
data_app = typer.Typer(help="The data sets: where they come from and where they lie.", no_args_is_help=True)
app.add_typer(data_app, name="data")
app.add_typer(judge_app, name="judge")
app.command()(train)
app.command()(invert)
for command in (verify, compare, rerun, export):
    app.command()(command)
app.command(name="list")(list_)

INTERRUPTED = 130
JSON_LINES = "jsonl"
Assignments = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting; a,b is a list (an axis).")
]
Device = Annotated[
    str, typer.Option("--device", help="Where attacks and judges compute: cpu or cuda; as the config says by default.")
]
Faces = Annotated[bool, typer.Option("--show-faces", help="Show pictures of real people in the report.")]


@app.callback()
def _options(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks; may stand anywhere.")] = False,  # noqa: ARG001 - see below
) -> None:
    """Options of all commands; `main` reads --debug before typer does."""
    if context.invoked_subcommand in WARNED:
        warn_of_plugins()


@app.command()
def run(
    config: Annotated[Path, typer.Argument(help="A TOML file such as those in configs/.")],
    assignments: Assignments = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the results; runs/NAME where not given.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Remove the results of an earlier run first.")] = False,
    device: Device = "",
    show_faces: Faces = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
    events: Annotated[
        str, typer.Option("--events", help="jsonl: print a line of JSON for each event in place of all else.")
    ] = "",
    workers: Workers = 1,
    engine: EngineName = LOCAL,
    ray_address: RayAddress = "",
) -> None:
    """Run an experiment: federations or targets, attacks, judgement, report."""
    from judges.plans.kinds import read_plan_of

    if events not in ("", JSON_LINES):
        raise unknown_name("--events", events, [JSON_LINES])
    plan = read_plan_of(config, [*(assignments or []), *([f"device={device}"] if device else [])])
    folder = out or Path("runs") / plan.base.name
    watch = EventWatch(sys.stdout) if events else Watch.silent() if quiet else Watch()
    options = EngineOptions(engine, workers, ray_address)
    options.check()
    page = execute(plan, folder, watch, fresh=fresh, show_faces=show_faces, options=options)
    if isinstance(watch, EventWatch):
        watch.tell("report", str(page.resolve()))
    elif not quiet:
        _finish(page, folder)
    tell_failed(folder)


@app.command()
def attack(
    run_dir: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    assignments: Assignments = None,
    device: Device = "",
    workers: Workers = 1,
    engine: EngineName = LOCAL,
    ray_address: RayAddress = "",
) -> None:
    """Run a new attack on the captures of an old run; no new federation."""
    from judges.bench.gradient_inversion import attack_run

    options = EngineOptions(engine, workers, ray_address)
    _finish(attack_run(run_dir, assignments or [], Watch(), device=device, options=options), run_dir)
    tell_failed(run_dir)


@app.command()
def report(run_dir: Annotated[Path, typer.Argument(help="Folder of a run.")], show_faces: Faces = False) -> None:
    """Write the report of a run anew."""
    if _inverts_models(run_dir):
        from judges.report.model_inversion.report import write_inversion_report

        page = write_inversion_report(run_dir, show_faces=show_faces)
    else:
        from judges.report.gradient_inversion.report import write_report

        page = write_report(run_dir, show_faces=show_faces)
    from judges.runs.integrity import REPORT, renew_hashes

    renew_hashes(run_dir, REPORT)
    _finish(page, run_dir)


@app.command()
def audit(
    folder: Annotated[
        Path, typer.Argument(help="With captures/ of your own federation, and sealed/ where it has one.")
    ],
    assignments: Assignments = None,
    imports: Annotated[
        list[str] | None, typer.Option("--import", help="A module that adds your model to MODELS.")
    ] = None,
    people: Annotated[bool, typer.Option("--people", help="The data show people: hide their pictures.")] = False,
    device: Device = "",
    show_faces: Faces = False,
) -> None:
    """Attack the captures of your own federation; score what its clients sealed; write a report."""
    from judges.plans.audit import read_audit

    extra = [*([f"device={device}"] if device else []), *(["people=true"] if people else [])]
    plan = read_audit([*(assignments or []), *extra])
    from judges.bench.audit import Audit, import_modules

    import_modules(imports or [])
    _finish(Audit(folder, plan, Watch()).execute(show_faces=show_faces), folder)


@data_app.command()
def info(
    name: Annotated[str, typer.Argument(help="Name of a data set.")],
    root: Annotated[str, typer.Option("--data-root", help="Folder to look in first.")] = "",
) -> None:
    """Print a data set's source, terms, counts, and where it is looked for."""
    from fl_sim.datasets import info as describe

    found = describe(name, root)
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    shape = "x".join(str(side) for side in found.shape) if found.shape else "depends on the files"
    rows = {
        "name": found.name,
        "what": found.summary,
        "source": found.source,
        "terms": found.terms,
        "counts": found.counts,
        "input (C x H x W)": shape,
        "classes": str(found.classes or "as many as the files hold"),
        "shows people": "yes: reports show pictures on request only" if found.people else "no",
    }
    for key, value in rows.items():
        table.add_row(key, value)
    for place in found.candidates:
        table.add_row("found" if place.found else "not found", Text(f"{place.path} ({place.origin})"))
    _console().print(table)


@data_app.command()
def fetch(name: Annotated[str, typer.Argument(help="Name of a data set.")]) -> None:
    """Download a data set into the cache of downloads and check it."""
    from fl_sim.datasets import fetch as download

    typer.echo(f"{name} lies in {download(name)}")


def _finish(page: Path, folder: Path) -> None:
    """Print the table of results and where the report is."""
    from judges.report.console import terminal_table

    if _inverts_models(folder):
        from judges.report.model_inversion.tables import results_table
        from judges.summaries.model_inversion import read_inversions

        _console().print(terminal_table(results_table(read_inversions(folder / "summary.json"))))
    else:
        from judges.report.gradient_inversion.tables_record import results_tables
        from judges.summaries.gradient_inversion import read_summary

        summary = read_summary(folder / "summary.json")
        if summary.cells:
            _console().print(terminal_table(*results_tables(summary)))
        else:
            typer.echo("Nothing could be scored; what attacks answered is in the report.")
    typer.echo(f"\nreport: {page.resolve().as_uri()}")


def _inverts_models(folder: Path) -> bool:
    """Return whether a run folder holds an experiment of model inversion."""
    path = folder / "config.toml"
    return path.is_file() and read_toml(path).get("task") == TASK


def _console() -> Console:
    """Return a console as wide as the terminal; files and pipes get what the longest line needs."""
    console = Console()
    return console if console.is_terminal else Console(width=160)


def main() -> None:
    """Entry point: errors that a user can act on are one paragraph and an exit code."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    try:
        code = app(args=arguments, prog_name="spikeleak", standalone_mode=False)
    except SpikeleakError as error:
        code = _complain(error, str(error), error.exit_code, debug)
    except click.exceptions.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.exceptions.Abort, KeyboardInterrupt):
        code = INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last line of defence of a command
        text = f"unexpected {type(error).__name__}: {error}. Run again with --debug for details."
        code = 1
        if isinstance(error, OSError) and error.filename:  # a path that cannot be: the user's to mend
            text, code = f"{error.filename}: it cannot be used ({error.strerror}).", DataError.exit_code
        code = _complain(error, text, code, debug)
    if code == INTERRUPTED:  # typer itself turns an interruption into this code, and says nothing
        typer.echo("interrupted; what was finished is kept, and the same command goes on from there.", err=True)
    sys.exit(code if isinstance(code, int) else 0)


def _complain(error: Exception, text: str, code: int, debug: bool) -> int:
    if debug:
        raise error
    # What a library says of a damaged file may have many lines; a user reads one paragraph.
    typer.echo(f"spikeleak: {' '.join(line.strip() for line in text.splitlines())}", err=True)
    return code
