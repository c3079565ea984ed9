"""The captures of a folder that is audited, read with what is assumed of the clients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fl_sim.captures import CaptureStore, StoredUpdate
from fl_sim.client_training import BCE, TAKEN, ClientTraining
from fl_sim.errors import ConfigError, DataError
from fl_sim.models import MODELS
from fl_sim.observed import same_problem
from fl_sim.records import CapturedUpdate
from fl_sim.specs import Scalar
from judges.scoring.audit.checks import filled

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
