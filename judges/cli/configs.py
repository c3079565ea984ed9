"""The command `spikeleak config`: the keys of a config. Importing this does not import torch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from judges.cli.manual import epilogue

if TYPE_CHECKING:
    from judges.plans.keys import Entry, Place

# What is not needed for the help is imported inside the functions.

config_app = typer.Typer(help="Configs: every key that they may hold.", no_args_is_help=True)

_NOT_OF_A_MODEL = ("dataset.split", "dataset.partitioner", "dataset.alpha", "dataset.singles")
_NOT_OF_A_TARGET = ("dataset.name", *_NOT_OF_A_MODEL)
_NAMED = {"model.name": "to be given", "dataset.name": "to be given"}


@config_app.command(epilog=epilogue("config reference"))
def reference(
    key: Annotated[str, typer.Argument(help="A key such as federation.rounds; all keys by default.")] = "",
    plugins: Annotated[bool, typer.Option("--plugins", help="Include the entries of installed packages.")] = False,
) -> None:
    """Print every key of a config in Markdown: its values, its default, where it is read."""
    from judges.plans.reference import entry_of
    from judges.plans.reference import reference as whole

    read_by = all_places(plugins=plugins)
    entries = all_entries(read_by)
    typer.echo(entry_of(key, entries) if key else whole(entries, read_by), nl=False)


def all_places(*, plugins: bool = False) -> tuple[Place, ...]:
    """Return the readers of settings: those of `judges.plans.places.places`, and the commands of this package."""
    from judges.classifiers.settings import PAPER
    from judges.classifiers.table import JUDGES
    from judges.cli.tasks import CheckTask, InversionTask, TargetTask, Task
    from judges.plans.keys import Place
    from judges.plans.places import places

    gradients, models, over_rounds, members, audit, flower = places(plugins=plugins)
    train = replace(
        models,
        name="`train`",
        what="`spikeleak train DATASET`, by `--set`",
        settings=TargetTask,
        unread=_NOT_OF_A_TARGET,
        axis=None,
    )
    invert = replace(
        models,
        name="`invert`",
        what="`spikeleak invert`, by `--set`; `[model]`, `[dataset]` and `[input]` for weights of somebody else",
        settings=InversionTask,
        unread=_NOT_OF_A_MODEL,
        axis=None,
        defaults={key: value for key, value in models.defaults.items() if key.startswith("model.")} | _NAMED,
    )
    judge = replace(
        gradients,
        name="`judge train`",
        what="`spikeleak judge train DATASET`, by `--set`, where `judge.` may be left out",
        settings=Task,
        names={**gradients.names, "judge.name": [*JUDGES, PAPER]},
        unread=_NOT_OF_A_TARGET,
        axis=None,
    )
    check = Place(
        "`check`",
        "`spikeleak check`, by `--set`; of captures only `[assumed]`, and `[model]` of a model of the table",
        CheckTask,
        names=gradients.names,
        unread=("model.name",),
    )
    return gradients, models, over_rounds, members, audit, train, invert, judge, check, flower


def all_entries(read_by: tuple[Place, ...]) -> list[Entry]:
    """Return every key of these places, and the keys that belong to no settings class."""
    from judges.plans.keys import entries_of, ordered
    from judges.plans.places import FURTHER

    return ordered([*entries_of(read_by), *FURTHER])
