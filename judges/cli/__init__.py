"""The command `spikeleak`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import click
import typer
from rich.text import Text

from fl_sim.errors import DataError, SpikeleakError
from judges.bench.engine_options import LOCAL
from judges.cli.audit import audit
from judges.cli.check import check
from judges.cli.configs import config_app
from judges.cli.export import export
from judges.cli.judges import judge_app
from judges.cli.listing import WARNED, list_, warn_of_plugins
from judges.cli.manual import FOUR_WAYS, epilogue, flowing
from judges.cli.runs import board, compare, refuse_audit, rerun, statement, submit, verify
from judges.cli.signals import ended_like_ctrl_c
from judges.cli.targets import invert, train
from judges.cli.terminal import (
    Assignments,
    Device,
    EngineName,
    Events,
    Faces,
    Follow,
    Fresh,
    Imports,
    Isolate,
    Quiet,
    RayAddress,
    Workers,
    engine_options,
    imported,
    of_device,
    print_facts,
    print_forecast,
    print_results,
    work,
)
from judges.fitted import write_anything

# What is not needed for the help is imported inside the commands; torch and Flower only when their arguments are right.

app = typer.Typer(
    name="spikeleak",
    help="What does a federated client's update give away about private data, and is a spiking network safer?",
    epilog=FOUR_WAYS,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="The data sets: where they come from and where they are stored.", no_args_is_help=True)
app.add_typer(data_app, name="data")
app.add_typer(judge_app, name="judge")
app.add_typer(config_app, name="config")
for command in (audit, check, train, invert, verify, compare, rerun, statement, submit, board, export):
    app.command(help=flowing(command.__doc__), epilog=epilogue(command.__name__))(command)
app.command(name="list", epilog=epilogue("list"))(list_)

INTERRUPTED = 130


def _print_version(asked: bool) -> None:
    if asked:
        import importlib.metadata

        typer.echo(f"spikeleak {importlib.metadata.version('spikeleak')}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 - its callback ends the command
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks; allowed anywhere.")] = False,  # noqa: ARG001 - see below
) -> None:
    """Options of all commands; `main` reads --debug before typer does."""
    if context.invoked_subcommand in WARNED:
        warn_of_plugins()


@app.command(epilog=epilogue("run"))
def run(
    config: Annotated[
        Path, typer.Argument(help="A TOML file, or the name of a config that comes with spikeleak, such as demo.")
    ],
    assignments: Assignments = None,
    imports: Imports = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the results; runs/NAME by default.")] = None,
    fresh: Fresh = False,
    device: Device = "",
    show_faces: Faces = False,
    quiet: Quiet = False,
    events: Events = "",
    workers: Workers = None,
    engine: EngineName = LOCAL,
    ray_address: RayAddress = "",
    isolate: Isolate = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only say what it would do: cells, victims, time, what lacks or is trained."),
    ] = False,
) -> None:
    """Run an experiment: federations or targets, attacks, judgement, report."""
    from judges.kinds import read_plan
    from judges.plans.reading import find_config

    follow = Follow(quiet, events)
    options = engine_options(workers, engine, ray_address, imported(imports), isolate=isolate)
    path = find_config(config)
    refuse_audit(path)
    plan = read_plan(path, [*(assignments or []), *of_device(device)], follow.note)
    folder = out or Path("runs") / plan.base.name
    if dry_run:
        print_forecast(plan, folder)
        return
    work(plan, folder, follow, options, fresh=fresh, show_faces=show_faces)


@app.command(epilog=epilogue("demo"))
def demo(fresh: Fresh = False, workers: Workers = None, quiet: Quiet = False) -> None:
    """Run the config demo: two networks, three attacks, a report in runs/demo; one to five minutes, no download."""
    from judges.plans.reading import shipped_configs

    run(shipped_configs()["demo"], fresh=fresh, workers=workers, quiet=quiet)


@app.command(epilog=epilogue("attack"))
def attack(
    run_dir: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    assignments: Assignments = None,
    imports: Imports = None,
    device: Device = "",
    quiet: Quiet = False,
    events: Events = "",
    workers: Workers = None,
    engine: EngineName = LOCAL,
    ray_address: RayAddress = "",
    isolate: Isolate = False,
) -> None:
    """Run a new attack on the captures of an earlier run, without a new federation."""
    follow = Follow(quiet, events)
    options = engine_options(workers, engine, ray_address, imported(imports), isolate=isolate)
    from judges.bench.gradient_inversion.added import attack_run

    watch = follow.watch()
    follow.finish(attack_run(run_dir, assignments or [], watch, device=device, options=options), run_dir, watch)


@app.command(epilog=epilogue("report"))
def report(
    run_dir: Annotated[Path, typer.Argument(help="Folder of a run.")],
    show_faces: Faces = False,
    figures: Annotated[
        bool, typer.Option("--figures", help="Write the figures as PDF, SVG and PNG for articles as well.")
    ] = False,
) -> None:
    """Write the report of a run again."""
    from judges.kinds import kind_in
    from judges.runs.integrity import REPORT, check_sources, renew_hashes
    from judges.runs.lock import sole_writer

    kind = kind_in(run_dir)
    with sole_writer(run_dir):
        check_sources(run_dir)
        page = kind.part("report")(run_dir, show_faces=show_faces, figures=figures)
        renew_hashes(run_dir, REPORT)
        print_results(page, run_dir, figures=figures)


_PEOPLE = {
    (False, False): "no",
    (True, False): "yes: reports show pictures on request only",
    (True, True): "perhaps: reports show pictures on request only, unless dataset.people is false",
}


@data_app.command(epilog=epilogue("data info"))
def info(
    name: Annotated[str, typer.Argument(help="Name of a data set.")],
    root: Annotated[str, typer.Option("--data-root", help="Folder in which to look first.")] = "",
) -> None:
    """Print a data set's source, terms and counts, and where its files are searched."""
    from fl_sim.datasets import info as describe

    data = describe(name, root)
    facts = [
        ("name", data.name),
        ("what", data.summary),
        ("source", data.source),
        ("terms", data.terms),
        ("counts", data.counts),
        ("input (C x H x W)", "x".join(str(side) for side in data.shape) if data.shape else "depends on the files"),
        ("classes", str(data.classes or "as many as the files hold")),
        ("shows people", _PEOPLE[data.people, data.own]),
    ]
    places = [("found" if one.found else "not found", Text(f"{one.path} ({one.origin})")) for one in data.candidates]
    print_facts([*facts, *places], width=160)


@data_app.command(epilog=epilogue("data fetch"))
def fetch(
    name: Annotated[str, typer.Argument(help="Name of a data set, or hf:OWNER/NAME for one of Hugging Face.")],
) -> None:
    """Download a data set into the cache of downloads and verify it."""
    from fl_sim.datasets import fetch as download

    typer.echo(f"{name} lies in {download(name)}")


def main() -> None:
    """Run the command; an error that a user can act on becomes one paragraph and an exit code."""
    write_anything(sys.stdout, sys.stderr)
    arguments = [_at_home(argument) for argument in sys.argv[1:] if argument != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    try:
        with ended_like_ctrl_c():
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
        if isinstance(error, OSError) and error.filename:  # an unusable path, which the user can correct
            text, code = f"{error.filename}: it cannot be used ({error.strerror}).", DataError.exit_code
        code = _complain(error, text, code, debug)
    if code == INTERRUPTED:  # typer itself returns this code silently on an interruption
        typer.echo("interrupted; what was finished is kept, and the same command goes on from there.", err=True)
    sys.exit(code if isinstance(code, int) else 0)


def _at_home(argument: str) -> str:
    """Return an argument with the user's home in place of ~/, where the shell has left it, as in --out=~/results."""
    name, equals, value = argument.rpartition("=")
    return f"{name}{equals}{Path(value).expanduser()}" if value.startswith("~/") else argument


def _complain(error: Exception, text: str, code: int, debug: bool) -> int:
    if debug:
        raise error
    # A library's message about a damaged file may have many lines; print one paragraph.
    typer.echo(f"spikeleak: {' '.join(line.strip() for line in text.splitlines())}", err=True)
    return code
