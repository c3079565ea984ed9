"""The command `spikeleak judge`: train a judge ahead of an experiment, and see which ones there are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from fl_sim.config import DatasetSettings, Raw, override, validate
from fl_sim.datasets.table import DATASETS
from fl_sim.errors import ConfigError, nearest
from fl_sim.specs import Framing, Scalar, Settings
from judges.classifiers import JudgeOptions, judge_for
from judges.cli.terminal import wide_console
from judges.progress import Watch

# Whatever loads torch is imported inside the command that needs it: a wrong setting is refused at once.

judge_app = typer.Typer(help="The judges: classifiers that say what a reconstruction shows.", no_args_is_help=True)

COLUMNS = ("judge", "data set", "data source", "held-out", "train", "chance", "epochs", "seconds", "file")
_OF_THE_DATA = ("root", "size", *Framing.model_fields)


class Task(Settings):
    """What to train.

    Attributes:
        judge: which, and how.
        dataset: on what.
    """

    judge: JudgeOptions
    dataset: DatasetSettings


@judge_app.command()
def train(
    dataset: Annotated[str, typer.Argument(help="Name of a data set.")],
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Set what a config's [judge] may hold, or dataset.KEY for the data."
        ),
    ] = None,
    size: Annotated[int | None, typer.Option(help="Side that images are resized to; the data set's own if 0.")] = None,
) -> None:
    """Train a judge, or find it among those that are kept; a training that was stopped goes on where it was."""
    task = read_task(dataset, assignments or [], size)
    name = judge_for(task.judge, dataset, events=DATASETS[dataset].events)
    from fl_sim.datasets import load_dataset
    from judges.classifiers import get_judge
    from judges.classifiers.cache import cache_path

    data = load_dataset(dataset, root=task.dataset.root, size=task.dataset.size, framing=task.dataset.framing)
    options = task.judge.model_copy(update={"name": name})
    with Watch().task(f"judge {name} on {dataset}") as advance:
        judge = get_judge(options, data, progress=advance)
    _print({cache_path(options, data): judge.facts()})


@judge_app.command(name="list")
def list_() -> None:
    """List the trained judges that are kept."""
    from judges.classifiers.cache import cache_folder, cached_judges

    found = cached_judges()
    sound = {path: facts for path, facts in found.items() if facts is not None}
    if sound:
        _print(sound)
    else:
        typer.echo(f"no trained judge in {cache_folder()}")
    if len(sound) < len(found):
        typer.echo(f"{len(found) - len(sound)} more in {cache_folder()} are damaged or of another version", err=True)


def read_task(dataset: str, assignments: Iterable[str], size: int | None) -> Task:
    """Return what to train.

    Args:
        dataset: its name.
        assignments: "key=value" for the judge, as is "judge.key=value"; "dataset.key=value" for the data.
        size: side of the images, before any assignment; None where it was not told.

    Raises:
        ConfigError: an unknown name or key, a wrong value, or no judge.
    """
    raw = override({}, assignments, ("judge", "dataset"))
    own, data = _table(raw, "judge"), _table(raw, "dataset")
    for key in data:
        if key not in _OF_THE_DATA:
            known = ", ".join(_OF_THE_DATA)
            raise ConfigError(f"dataset.{key}: no judge depends on it.{nearest(key, _OF_THE_DATA)} Known: {known}.")
    told = {"name": dataset} if size is None else {"name": dataset, "size": size}
    task = validate(Task, {"judge": {**raw, **own}, "dataset": {**data, **told}})
    if task.judge.name == "none":
        raise ConfigError("judge.name: 'none' is no judge that could be trained.")
    return task


def judges_table(judges: Mapping[Path, Mapping[str, Scalar]]) -> Table:
    """Return one line for each judge.

    Args:
        judges: {file: facts}, see `judges.classifiers.cache.Judge.facts`.
    """
    table = Table(box=None, pad_edge=False)
    for name in COLUMNS:
        folded = name in ("data source", "file")
        table.add_column(name, justify="right" if name in COLUMNS[3:8] else "left", overflow="fold", no_wrap=not folded)
    for path, facts in judges.items():
        shares = [f"{100 * float(facts[key]):.2f} %" for key in ("accuracy", "train_accuracy", "chance")]
        cells = [facts["name"], facts["dataset"], facts["source"], *shares, facts["epochs"]]
        table.add_row(*(Text(str(cell)) for cell in (*cells, f"{float(facts['seconds']):.0f}", path)))
    return table


def _table(raw: Raw, name: str) -> Raw:
    """Take a table out of `raw`."""
    table: Raw = raw.pop(name, {})
    return table


def _print(judges: Mapping[Path, Mapping[str, Scalar]]) -> None:
    """Print a table: as wide as the terminal, and a line a judge into files and pipes."""
    wide_console(1000).print(judges_table(judges))
