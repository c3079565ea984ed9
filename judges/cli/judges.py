"""The command `spikeleak judge`: train a judge before an experiment, and list the trained judges."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from judges.cli.manual import epilogue
from judges.cli.terminal import print_table
from judges.fitted import Fitted, Head, Line

if TYPE_CHECKING:
    from fl_sim.specs import Scalar

# What is not needed for the help is imported inside the commands; torch only when the settings are right.

judge_app = typer.Typer(help="The judges: classifiers that tell what a reconstruction shows.", no_args_is_help=True)

COLUMNS = ("judge", "data set", "data source", "held-out", "train", "chance", "epochs", "seconds", "file")


@judge_app.command(epilog=epilogue("judge train"))
def train(
    dataset: Annotated[str, typer.Argument(help="Name of a data set.")],
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set a key of a config's table judge, or dataset.KEY."),
    ] = None,
    size: Annotated[
        int | None, typer.Option(help="Side to which images are resized; 0 for the data set's own.")
    ] = None,
) -> None:
    """Train a judge, or find it in the cache; an interrupted training is resumed."""
    from fl_sim.datasets.table import DATASETS
    from judges.classifiers import judge_for
    from judges.cli.tasks import read_task
    from judges.progress import Watch

    task = read_task(dataset, assignments or [], size)
    name = judge_for(task.judge, dataset, events=DATASETS[dataset].events)
    from judges.classifiers import get_judge
    from judges.classifiers.cache import cache_path

    data = task.dataset.load()
    options = task.judge.model_copy(update={"name": name})
    with Watch().task(f"judge {name} on {dataset}") as advance:
        judge = get_judge(options, data, progress=advance)
    _print({cache_path(options, data): judge.facts()})


@judge_app.command(name="list", epilog=epilogue("judge list"))
def list_() -> None:
    """List the trained judges in the cache."""
    from judges.classifiers.cache import cache_folder, cached_judges

    cached = cached_judges()
    sound = {path: facts for path, facts in cached.items() if facts is not None}
    if sound:
        _print(sound)
    else:
        typer.echo(f"no trained judge in {cache_folder()}")
    if len(sound) < len(cached):
        typer.echo(f"{len(cached) - len(sound)} more in {cache_folder()} are damaged or of another version", err=True)


def judges_table(judges: Mapping[Path, Mapping[str, Scalar]]) -> Fitted:
    """Return one line for each judge of {file: facts}; see `judges.classifiers.cache.Judge.facts`."""
    lines = []
    for path, facts in judges.items():
        shares = [f"{100 * float(facts[key]):.2f} %" for key in ("accuracy", "train_accuracy", "chance")]
        cells = [facts["name"], facts["dataset"], facts["source"], *shares, facts["epochs"]]
        lines.append(Line([str(cell) for cell in (*cells, f"{float(facts['seconds']):.0f}", path)]))
    return Fitted([Head(name, left=name not in COLUMNS[3:8]) for name in COLUMNS], lines)


def _print(judges: Mapping[Path, Mapping[str, Scalar]]) -> None:
    """Print a table as wide as the terminal, or with one line per judge to files and pipes."""
    print_table(judges_table(judges))
