"""The captures of a folder that is audited, read with what is assumed of the clients."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fl_sim.captures import CaptureStore, StoredUpdate
from fl_sim.client_training import BCE, TAKEN, ClientTraining
from fl_sim.datasets.examples import Dataset
from fl_sim.errors import ConfigError, DataError
from fl_sim.files import sha256
from fl_sim.models import MODELS
from fl_sim.observed import same_problem
from fl_sim.records import CapturedUpdate
from fl_sim.specs import ModelSpec, Scalar
from judges.plans.audit import AuditSettings
from judges.runs.identity import AS_SENT, Attacked
from judges.runs.names import group_label
from judges.runs.pictures import CAPTURES
from judges.scoring.audit.checks import filled
from judges.scoring.truths import Evidence, Victim

_OWN = ("learning_rate", "local_steps", "epochs", "batch_size", "num_examples")
"""What a captured update itself tells of its client, beside the client's training."""


def clients_in(folder: Path, assumed: Mapping[str, Scalar]) -> list[tuple[CapturedUpdate, CapturedUpdate]]:
    """Return one update of each problem among the captures of a folder, as captured, and with what is assumed.

    Args:
        folder: holds captures/.
        assumed: facts about the clients to assume where their captures do not state them.

    Raises:
        ConfigError: a model is not in the table, or a fact that an attack needs is neither known nor assumed.
        DataError: there are no captures, or a file is corrupt.
    """
    firsts = {same_problem(capture): capture.id for capture in reversed(list(stored_updates(folder, assumed)))}
    loaded = [CaptureStore(folder / "captures").load(name) for name in reversed(firsts.values())]
    return [(capture, filled(capture, assumed)) for capture in loaded]


def client_facts(captured: CapturedUpdate, whole: CapturedUpdate) -> dict[str, Any]:
    """Return what a kind of client shares, and what the attack knew, assumed and took it to do, for the manifest.

    Args:
        captured: an update as captured.
        whole: the same with what is assumed.
    """
    own = {key: (getattr(captured, key) or None, getattr(whole, key) or None) for key in _OWN}
    names = ClientTraining.model_fields
    own |= {key: (getattr(captured.training, key), getattr(whole.training, key)) for key in names}
    taken = {**TAKEN, **({"loss": BCE} if captured.model.input.classes == 1 else {})}
    return {
        "shares": captured.kind,
        "known": {key: known for key, (known, _) in own.items() if known is not None},
        "assumed": {key: value for key, (known, value) in own.items() if known is None and value is not None},
        "taken": {key: taken[key] for key, (_, value) in own.items() if value is None and key in taken},
    }


def stored_updates(folder: Path, assumed: Mapping[str, Scalar]) -> Iterator[StoredUpdate]:
    """Yield the captures of a folder without their parameters, with what is assumed; see `clients_in`."""
    store = CaptureStore(folder / "captures")
    keys = store.listed()
    if not keys:
        guess = f" Did you mean '{folder.parent}'?" if folder.name == "captures" else ""
        raise DataError(
            f"{folder / 'captures'}: expected captures, found none.{guess} Record them with "
            'CuriousGrid(grid, CaptureStore("FOLDER/captures"), model=spec, federation_id="mine").'
            + "".join(f" {remark}" for remark in remarks_on(store))
        )
    for key in keys:
        capture = filled(store.stored(key.id), assumed)
        if capture.model.architecture not in MODELS:
            raise ConfigError(
                f"{folder}: its model '{capture.model.architecture}' is in no table. Put it into "
                "fl_sim.models.MODELS in a module of yours and name that module with --import."
            )
        yield capture


def remarks_on(store: CaptureStore) -> list[str]:
    """Return what the curious servers noted beside their captures, as sentences."""
    return [
        " ".join([f"The curious server of {federation} {account.sentence()}.", *account.remarks])
        for federation, account in store.accounts().items()
    ]


def in_groups(
    groups: Mapping[tuple[ModelSpec, int | None], Sequence[Victim]], base: AuditSettings
) -> Iterator[Evidence]:
    """Yield the captures of each model and batch size as evidence with a name of its own.

    Args:
        groups: {(model, batch size): captures}.
        base: settings of the audit.
    """
    names = Counter[str]()
    for (model, size), victims in groups.items():
        own = _varied(model, size, groups)
        attacked = Attacked(
            dataset=base.dataset.name if base.dataset else CAPTURES,
            model=model.architecture,
            family=MODELS[model.architecture].family or model.architecture,
            spiking=MODELS[model.architecture].spiking,
            varied=own,
            init=AS_SENT,
            defence=base.defence,
        )
        label = group_label(attacked)
        names[label] += 1
        name = label if names[label] == 1 else f"{label}-{names[label]}"
        yield Evidence(name, attacked, tuple(victims), seed=base.seed, model=model, dataset=base.dataset)


def _varied(model: ModelSpec, size: int | None, groups: Iterable[tuple[ModelSpec, int | None]]) -> dict[str, Scalar]:
    """Return the settings in which a group of captures differs from other groups of its architecture."""
    others = [_flat(*group) for group in groups if group[0].architecture == model.architecture]
    return {key: value for key, value in _flat(model, size).items() if any(other.get(key) != value for other in others)}


def _flat(model: ModelSpec, size: int | None) -> dict[str, Scalar]:
    """Return the settings of a model and the batch size, by key."""
    flat: dict[str, Scalar] = {"batch_size": size or 0}
    for key, value in asdict(model).items():
        inner = value.model_dump() if hasattr(value, "model_dump") else value
        flat |= inner if isinstance(inner, dict) else {key: "" if inner is None else inner}
    return flat


def digest_of(paths: Iterable[Path]) -> str:
    """Return a hash of the names and contents of files."""
    lines = [f"{path.parent.name}/{path.name} {sha256(path)}" for path in paths]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def check_dataset(dataset: Dataset | None, model: ModelSpec) -> None:
    """Raise a ConfigError if a data set is named whose examples a model cannot take as inputs."""
    if dataset is None:
        return
    ours, theirs = dataset.spec, model.input
    if (ours.frame, ours.timesteps, ours.classes) != (theirs.frame, theirs.timesteps, theirs.classes):
        raise ConfigError(
            f"dataset.name: inputs of {dataset.name} are {ours.frame} in {ours.classes} classes, but those of the "
            f"model '{model.architecture}' are {theirs.frame} in {theirs.classes}; set "
            "dataset.size and the settings of frames as in the training, or leave dataset out."
        )


def conversions(converted: Mapping[str, str]) -> list[str]:
    """Return how truths that clients sealed in another form were converted, as sentences.

    Args:
        converted: {capture id: what was done}.
    """
    captures: dict[str, list[str]] = defaultdict(list)
    for name, words in converted.items():
        captures[words].append(name)
    return [
        f"{own[0]}{f' and {len(own) - 1} more' if len(own) > 1 else ''}: of the sealed truth, took {words}."
        for words, own in captures.items()
    ]
