"""Shared parts of the commands: options, progress, and the output at the end."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from fl_sim.errors import unknown_name
from judges.bench.engine_options import EngineOptions

if TYPE_CHECKING:
    from judges.kinds import RunPlan
    from judges.progress import Watch

# What is not needed for the help is imported inside the functions; torch only when the config is right.

JSON_LINES = "jsonl"
INCOMPLETE = 4
"""Exit code of a run in which cells could not be computed."""

Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a setting; a,b is a list (an axis). `spikeleak config reference` lists the keys.",
    ),
]
Device = Annotated[
    str,
    typer.Option(
        "--device", help="Where attacks and judges compute: cpu, cuda, cuda:N or mps; the config's by default."
    ),
]
Faces = Annotated[bool, typer.Option("--show-faces", help="Show pictures of real people in the report.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Remove the results of an earlier call first.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]
Events = Annotated[str, typer.Option("--events", help="jsonl: print a line of JSON for each event, and nothing else.")]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        envvar="SPIKELEAK_WORKERS",
        help="Processes that do the work; the results are the same. By default two where two cores are free.",
    ),
]
Imports = Annotated[
    list[str] | None, typer.Option("--import", help="A module that adds your model to MODELS; may be repeated.")
]
EngineName = Annotated[str, typer.Option("--engine", help="local, or ray for a running Ray cluster.")]
Isolate = Annotated[
    bool,
    typer.Option("--isolate", help="Keep attacks apart: in a process of their own, without the data and the truth."),
]
RayAddress = Annotated[str, typer.Option("--ray-address", help="HOST:PORT of the cluster; found by Ray by default.")]


@dataclasses.dataclass(frozen=True)
class Follow:
    """How a command shows progress and results.

    Args:
        quiet: print nothing but errors.
        events: JSON_LINES for a line of JSON for each event; "" for none.

    Raises:
        ConfigError: the format of events is not known.
    """

    quiet: bool = False
    events: str = ""

    def __post_init__(self) -> None:
        if self.events not in ("", JSON_LINES):
            raise unknown_name("--events", self.events, [JSON_LINES])

    def watch(self) -> Watch:
        """Return the object that shows progress."""
        from judges.progress import EventWatch, Watch

        return EventWatch(sys.stdout) if self.events else Watch.silent() if self.quiet else Watch()

    def note(self, text: str) -> None:
        """Print a note on the error stream, unless nothing but errors or events is to be printed."""
        if not (self.quiet or self.events):
            typer.echo(f"note: {text}", err=True)

    def finish(self, page: Path, folder: Path, watch: Watch) -> None:
        """Print the table of results and the place of the report, and name the cells that failed."""
        from judges.progress import EventWatch

        if isinstance(watch, EventWatch):
            watch.tell("report", str(page.resolve()))
        elif not self.quiet:
            print_results(page, folder)
        report_failed(folder)


def engine_options(
    workers: int | None, engine: str, ray_address: str, imports: tuple[str, ...] = (), *, isolate: bool = False
) -> EngineOptions:
    """Return where jobs run; a ConfigError if the options contradict each other."""
    options = EngineOptions(engine, workers, ray_address, imports, isolate)
    options.check()
    return options


def imported(names: list[str] | None) -> tuple[str, ...]:
    """Import the modules of `--import` and return their names.

    Raises:
        ConfigError: one cannot be imported.
    """
    if names:
        from judges.bench.process import import_modules

        import_modules(names)
    return tuple(names or [])


def of_device(device: str) -> list[str]:
    """Return the assignment that `--device` stands for; none without it."""
    return [f"device={device}"] if device else []


def work(
    plan: RunPlan,
    folder: Path,
    follow: Follow,
    options: EngineOptions,
    *,
    fresh: bool = False,
    show_faces: bool = False,
) -> None:
    """Carry out a plan in a folder, and print the results."""
    from judges.bench.audit.ladder import carried_out

    watch = follow.watch()
    for page, where in carried_out(plan, folder, watch, options=options, fresh=fresh, show_faces=show_faces):
        follow.finish(page, where, watch)


def print_forecast(plan: RunPlan, folder: Path) -> None:
    """Print what a plan would do in a folder; a ConfigError if its device is not here."""
    from judges.bench.process import check_device, prepare_process
    from judges.kinds import kind_of

    check_device(plan.base.device)
    prepare_process(plan.base.threads)
    print_facts(kind_of(plan.raw).part("forecast")(plan, folder), width=120)


def print_results(page: Path, folder: Path, *, figures: bool = False) -> None:
    """Print the table of results and the place of the report, and where its figures are, if they were asked for."""
    from judges.figures.files import CAPTIONS
    from judges.figures.files import FOLDER as FIGURES
    from judges.kinds import kind_in

    table = kind_in(folder).part("results")(folder)
    if table is None:
        typer.echo("Nothing could be scored; what attacks answered is in the report.")
    else:
        print_table(table)
    typer.echo(f"\nreport: {page.resolve().as_uri()}")
    if figures and (folder / FIGURES).is_dir():
        typer.echo(f"figures: {folder / FIGURES}, with their captions in {CAPTIONS}")


def report_failed(folder: Path) -> None:
    """Name the cells of a run that failed, and exit with `INCOMPLETE` if there are any."""
    from judges.runs.manifest import FAILED, manifest_so_far

    failed: dict[str, str] = manifest_so_far(folder).get(FAILED, {})
    for cell, reason in failed.items():
        typer.echo(f"spikeleak: {cell}: not done: {reason}.", err=True)
    if failed:
        raise typer.Exit(INCOMPLETE)


def wide_console(width: int = 1000) -> Console:
    """Return a console as wide as the terminal, or of the given width for files and pipes."""
    console = Console()
    return console if console.is_terminal else Console(width=width)


def print_table(table: RenderableType, width: int = 1000) -> None:
    """Print a table; into files and pipes without the blanks that fill its lines."""
    console = wide_console(width)
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as caught:
        console.print(table)
    for line in caught.get().splitlines():
        typer.echo(line.rstrip())


def print_facts(facts: Iterable[tuple[str, str | Text]], width: int = 1000) -> None:
    """Print (name, value) of facts, one per line."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in facts:
        table.add_row(key, value)
    print_table(table, width)
