"""Attack a model of one's own, audit a folder, run a config: the same work as on the command line."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from fl_sim.config import read_toml
from fl_sim.errors import ConfigError
from judges.bench.audit.ladder import carried_out
from judges.bench.engine_options import EngineOptions
from judges.bench.process import import_modules
from judges.kinds import kind_of, read_plan
from judges.notebook.client import clients_of
from judges.notebook.display import working
from judges.notebook.own_models import Model
from judges.notebook.results import AttackResult, Result
from judges.notebook.settings import assignments_of, attacks_in
from judges.plans.audit import DEFAULT_ATTACK, AuditPlan, read_audit
from judges.plans.audit.weights import WeightsAuditPlan, beside, is_file, read_weights_audit
from judges.plans.reading import find_config


def attack(
    model: Model,
    images: Tensor,
    labels: Tensor | Sequence[int],
    attacks: str | Sequence[str] = DEFAULT_ATTACK,
    *,
    clients: int = 1,
    defence: str | Mapping[str, Any] = "none",
    checks: int = 0,
    set: Mapping[str, Any] | None = None,  # noqa: A002 - as on the command line
    folder: str | Path | None = None,
    low: float = 0.0,
    high: float = 1.0,
    classes: int = 0,
    people: bool = False,
    show_faces: bool = False,
    device: str = "cpu",
    seed: int = 0,
    progress: bool = True,
    **training: Any,  # noqa: ANN401 - the fields of Assumptions
) -> AttackResult:
    """Let a client train on images, attack what it shares, and judge the answers beside controls.

    The client shares the gradient of one batch of all its images or, with a learning rate, the change of its weights.
    The model of the caller is copied, and stays as it is.

    Args:
        model: any torch module; or a model of the table, by its name ("spiking_lenet") or by its settings
            ({"name": "spiking_lenet", "timesteps": 5}), with parameters that are drawn from the seed.
        images: (N, C, H, W), or frames of events (T, N, C, H, W).
        labels: (N,), whole numbers from 0.
        attacks: name of an attack, or several; `spikeleak list attacks` names them.
        clients: number of clients among whom the images are divided; as many as images for one client each.
        defence: name of the clients' defence, or its settings, such as {"name": "prune", "prune_ratio": 0.9}.
        checks: number of clients on which the sanity checks of each attack are made, which take some ten times as long
            as the attack itself.
        set: settings of an audit, such as {"attack.iterations": 20, "attack.snapshots": 6}; with {"dataset.name":
            "digits"} the mean pictures of a data set are controls.
        folder: where to leave everything; by default a temporary one, which goes when the result does.
        low, high: the values of black and white.
        classes: number of classes, where the model does not say it.
        people: whether the images show people, which are then hidden.
        show_faces: show them all the same.
        device: where attacks compute: "cpu" or "cuda".
        seed: of all that is drawn.
        progress: whether a line tells of progress.
        training: how the client trains, such as learning_rate=0.1, local_steps=4, batch_size=2, momentum=0.9; see
            `fl_sim.client_training.ClientTraining` and `judges.plans.audit.Assumptions`.

    Raises:
        ConfigError: a name or setting is not known or wrong, the images are not what the model takes, or the model
            cannot be attacked.
    """
    given = {"attack": attacks_in(attacks), "seed": seed, "device": device, "people": people, "checks": checks}
    trained = clients_of(
        model, images, labels, count=clients, classes=classes, limits=(low, high), defence=defence, seed=seed,
        training=training,
    )  # fmt: skip
    given["defence"] = trained.defence_name
    plan = read_audit(assignments_of({**given, **(set or {})}))
    with _place(folder) as where, working(progress=progress) as watch:
        ids = trained.write(where)
        list(carried_out(plan, where, watch, options=EngineOptions(), show_faces=show_faces))
        return AttackResult(
            where,
            trained,
            ids,
            plan.cells,
            people=plan.base.people,
            temporary=folder is None,
            show_faces=show_faces,
            notes=watch.notes,
        )


def audit(
    folder: str | Path,
    attacks: str | Sequence[str] | None = None,
    *,
    set: Mapping[str, Any] | None = None,  # noqa: A002 - as on the command line
    public: str | Path = "",
    members: str | Path = "",
    workers: int = 1,
    imports: Sequence[str] = (),
    fresh: bool = False,
    show_faces: bool = False,
    progress: bool = True,
) -> Result:
    """Attack the captures of a federation, or the model in a file, and score the answers, as `spikeleak audit` does.

    Args:
        folder: holds captures/, and sealed/ where the truth is known; the results go there too. Or the file of a
            trained model, whose results go into a folder beside it.
        attacks: name of an attack on captures, or several; the ensemble by default.
        set: settings such as {"assumed.learning_rate": 0.1, "people": True, "ladder.examples": 8}; of a file, which
            model it is, such as {"model": "mlp", "model.hidden": 50, "dataset": "digits"}.
        public: folder of public pictures of the same kind as the clients'.
        members: what the model of a file was trained on: "train", for that split of the data set, or pictures.
        workers: number of processes that do the work.
        imports: modules that add a model to `MODELS`, which every process imports first.
        fresh: remove the results of an earlier call first.
        show_faces: show pictures of real people.
        progress: whether a line tells of progress.

    Raises:
        ConfigError: a setting is not known or wrong, or the captures or the model cannot be attacked.
        DataError: there are no captures, or a file is corrupt.
    """
    named = {} if attacks is None else {"attack": attacks_in(attacks)}
    options, where = _options(workers, imports), Path(folder)
    plan: AuditPlan | WeightsAuditPlan
    if is_file(where, str(members)):
        plan = read_weights_audit(
            str(folder), assignments_of({**named, **(set or {})}), public=str(public), members=str(members)
        )
        where = beside(where)
    elif members:
        raise ConfigError(f"members: is for the file of a trained model, and '{folder}' is none.")
    else:
        plan = read_audit(assignments_of({**named, **(set or {})}), public=str(public))
    with working(progress=progress) as watch:
        list(carried_out(plan, where, watch, options=options, fresh=fresh, show_faces=show_faces))
    return Result(where, show_faces=show_faces, notes=watch.notes)


def run(
    config: str | Path,
    *,
    set: Mapping[str, Any] | None = None,  # noqa: A002 - as on the command line
    folder: str | Path | None = None,
    workers: int = 1,
    imports: Sequence[str] = (),
    fresh: bool = False,
    show_faces: bool = False,
    progress: bool = True,
) -> Result:
    """Run an experiment: federations or trained targets, attacks, judgement, report; as `spikeleak run` does.

    Args:
        config: path of a TOML file, or the name of a config that comes with spikeleak, such as "demo".
        set: settings in place of the config's, such as {"attack.iterations": 20, "repeats": 2}; a list is an axis.
        folder: of the results; runs/NAME by default. An unfinished run in it is taken up where it ended.
        workers: number of processes that do the work; with more than one, a script must call this below
            `if __name__ == "__main__":`.
        imports, fresh, show_faces, progress: as for `audit`.

    Raises:
        ConfigError: there is no such config, or a setting is not known or wrong.
        DataError: a data set or a file of the run is missing or corrupt.
    """
    options = _options(workers, imports)
    path = find_config(Path(config))
    if kind_of(read_toml(path)).command != "run":
        raise ConfigError(f"{path}: is the config of an audit, not of an experiment; call audit(FOLDER, set=...).")
    plan = read_plan(path, assignments_of(set))
    where = Path(folder) if folder is not None else Path("runs") / plan.base.name
    with working(progress=progress) as watch:
        list(carried_out(plan, where, watch, options=options, fresh=fresh, show_faces=show_faces))
    return Result(where, show_faces=show_faces, notes=watch.notes)


@contextlib.contextmanager
def _place(folder: str | Path | None) -> Iterator[Path]:
    """Yield the folder that is named, or a temporary one, which is removed after an error."""
    if folder is not None:
        yield Path(folder)
        return
    where = Path(tempfile.mkdtemp(prefix="spikeleak-"))
    try:
        yield where
    except BaseException:
        shutil.rmtree(where, ignore_errors=True)
        raise


def _options(workers: int, imports: Sequence[str]) -> EngineOptions:
    """Return where jobs run, with the user's modules imported."""
    options = EngineOptions(workers=workers, imports=tuple(imports))
    options.check()
    import_modules(options.imports, "imports: ")
    return options
