"""The command `spikeleak audit`: of a federation's captures, or of a model's file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fl_sim.errors import ConfigError
from judges.bench.engine_options import LOCAL
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
    work,
)

# What is not needed for the help is imported inside the command; torch only when its arguments are right.

Target = Annotated[
    Path,
    typer.Argument(
        help="Folder with captures/ of your own federation, and sealed/ if it has one; or the file of a trained model, "
        "whose model and data set you name."
    ),
]
Public = Annotated[
    str,
    typer.Option(
        metavar="FOLDER",
        help="Public pictures of the same kind, best with one subfolder for each class: their means are controls.",
    ),
]
Threats = Annotated[
    str,
    typer.Option(
        help="gradient,model,membership: the last two attack the last recorded global model, or that of the file."
    ),
]
Members = Annotated[
    str,
    typer.Option(
        metavar="train|FOLDER",
        help="What the model of a file was trained on: the train split of the data set named, or pictures.",
    ),
]
Out = Annotated[Path | None, typer.Option(help="Folder of the results on a file; FILE-audit by default.")]
People = Annotated[bool, typer.Option("--people", help="The data show people: hide their pictures.")]
Ladder = Annotated[
    bool,
    typer.Option("--ladder", help="Attack the clients from the attacker's best case to their own setting as well."),
]


def audit(
    target: Target,
    assignments: Assignments = None,
    imports: Imports = None,
    public: Public = "",
    threats: Threats = "",
    members: Members = "",
    out: Out = None,
    people: People = False,
    ladder: Ladder = False,
    fresh: Fresh = False,
    device: Device = "",
    show_faces: Faces = False,
    quiet: Quiet = False,
    events: Events = "",
    workers: Workers = None,
    engine: EngineName = LOCAL,
    ray_address: RayAddress = "",
    isolate: Isolate = False,
) -> None:
    """Attack the captures of your own federation, or your model's file; score against what was kept; write a report."""
    from judges.plans.audit import read_audit
    from judges.plans.audit.weights import beside, is_file, read_weights_audit

    follow = Follow(quiet, events)
    options = engine_options(workers, engine, ray_address, imported(imports), isolate=isolate)
    flags = [*(["people=true"] if people else []), *(["ladder.examples=8"] if ladder else [])]
    said = [*flags, *(assignments or []), *of_device(device)]
    if is_file(target, members):
        if ladder or isolate:
            raise ConfigError(f"{'--ladder' if ladder else '--isolate'}: is for captures of clients, not for a file.")
        file = read_weights_audit(str(target), said, public=public, members=members, threats=threats)
        place = out or beside(target)
        work(file, place, follow, options, fresh=fresh, show_faces=show_faces)
        return
    for option, value in (("--members", members), ("--out", out)):
        if value:
            raise ConfigError(f"{option}: is for the file of a trained model, and '{target}' is none.")
    plan = read_audit(said, public=public, threats=threats)
    work(plan, target, follow, options, fresh=fresh, show_faces=show_faces)
