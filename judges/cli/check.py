"""The command `spikeleak check`: whether and how a client can be attacked, before anything is computed for it."""

from __future__ import annotations

from typing import Annotated

import typer

from fl_sim.errors import ConfigError
from judges.cli.terminal import Imports, imported, print_facts

# What is not needed for the help is imported inside the command; torch only when the settings are right.


def check(
    target: Annotated[
        str,
        typer.Argument(
            help="module:name of your model (a module, its class, or a function that returns it), a model of the "
            "table, or a folder with captures/."
        ),
    ],
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="input.KEY (channels, height, width, classes, low, high, timesteps, vocabulary), assumed.KEY (what "
            "the client does; see `spikeleak config reference`), or model.KEY for a model of the table.",
        ),
    ] = None,
    imports: Imports = None,
) -> None:
    """Say whether and how a client can be attacked; exit code 2 if it cannot. Nothing is written."""
    from judges.cli.preflight.facts import facts_of
    from judges.cli.preflight.subjects import subjects

    imported(imports)
    found = list(subjects(target, assignments or []))
    from attacks.preflight import examine

    refusals = []
    for number, subject in enumerate(found):
        if number:
            typer.echo()
        examined = examine(subject.assumed)
        print_facts(facts_of(examined, subject.captured, subject.inferred), width=120)
        refusals += [examined.refusal] if examined.refusal else []
    if refusals:
        more = f" ({len(refusals)} of {len(found)} kinds of client cannot be attacked)" if len(found) > 1 else ""
        raise ConfigError(f"{target}: cannot be attacked. {refusals[0]}{more}")
