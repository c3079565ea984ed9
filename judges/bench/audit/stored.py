"""The captures of a folder that is audited, read with what is assumed of the clients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from fl_sim.captures import CaptureStore, StoredUpdate
from fl_sim.errors import ConfigError, DataError
from fl_sim.models import MODELS
from fl_sim.observed import same_problem
from fl_sim.records import CapturedUpdate
from fl_sim.specs import Scalar
from judges.scoring.audit.checks import filled


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
