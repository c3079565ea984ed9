"""A user's own app trains to the same bit whether or not it is observed, and whatever happens to the records."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg
from torch import nn

from fl_sim.captures import CaptureStore, SealedStore
from fl_sim.federation.interception import CuriousGrid, CuriousStrategy
from fl_sim.federation.local_grid import LocalGrid
from fl_sim.federation.ordering import OrderedGrid, answer_partition_query
from fl_sim.federation.sealing import seal
from fl_sim.records import InputSpec, ModelSpec

SPEC = ModelSpec("their-net", InputSpec(channels=1, height=1, width=4, classes=2))
CLIENTS, ROUNDS = 3, 2


def client_app(folder: Path | None, shift: float = 0.0) -> ClientApp:
    """A client that draws its batch and its dropout from torch's global generator, and seals if there is a folder."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        partition = int(context.node_config["partition-id"])
        net = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.3), nn.Linear(3, 2))
        net.load_state_dict(message.content.array_records["arrays"].to_torch_state_dict())
        torch.manual_seed(partition)
        inputs, labels = torch.rand(2, 4) + shift, torch.tensor([0, 1])
        content = RecordDict()
        if folder is not None:
            seal(folder, "theirs", message, context, content, inputs, labels)
        nn.functional.cross_entropy(net(inputs), labels).backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            for parameter in net.parameters():
                assert parameter.grad is not None
                parameter.sub_(0.1 * parameter.grad)
        content["arrays"] = ArrayRecord(net.state_dict())
        content["metrics"] = MetricRecord({"num-examples": 2})
        return Message(content, reply_to=message)

    return answer_partition_query(app)


def trained(folder: Path | None, *, observer: str = "nobody", shift: float = 0.0) -> dict[str, bytes]:
    """Return the bytes of the model after two rounds."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.3), nn.Linear(3, 2))
    grid: Grid = OrderedGrid(LocalGrid(client_app(folder, shift), CLIENTS), CLIENTS)
    strategy = FedAvg(fraction_evaluate=0.0)
    store = CaptureStore((folder or Path()) / "captures")
    if observer == "grid":
        grid = CuriousGrid(grid, store, model=SPEC, federation_id="theirs")
    observed = CuriousStrategy(strategy, store, model=SPEC, federation_id="theirs") if observer == "strategy" else None
    result = (observed or strategy).start(
        grid=grid, initial_arrays=ArrayRecord(net.state_dict()), num_rounds=ROUNDS, train_config=ConfigRecord({})
    )
    return {name: array.data for name, array in result.arrays.items()}


def nothing(_folder: Path, _patch: pytest.MonkeyPatch) -> None:
    """Leave all as it is."""


def no_folder(folder: Path, _patch: pytest.MonkeyPatch) -> None:
    """Put files where the folders should be."""
    for name in ("captures", "sealed"):
        (folder / name).write_text("in the way")


def read_only(folder: Path, _patch: pytest.MonkeyPatch) -> None:
    folder.chmod(0o500)


def other_federation(folder: Path, _patch: pytest.MonkeyPatch) -> None:
    """Let another federation of the same name use the folder before."""
    trained(folder, observer="grid", shift=0.5)


def full_disk(_folder: Path, patch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    patch.setattr(os, "fsync", full)


@pytest.mark.parametrize("observer", ["grid", "strategy"])
@pytest.mark.parametrize("harm", [nothing, no_folder, read_only, other_federation, full_disk])
def test_a_training_ends_in_the_same_bits_whatever_happens_to_the_records(
    harm: Callable[[Path, pytest.MonkeyPatch], None],
    observer: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    expected = trained(None)
    harm(tmp_path, monkeypatch)
    caplog.set_level(logging.WARNING, "flwr")
    caplog.clear()
    assert trained(tmp_path, observer=observer) == expected
    told = [one.getMessage() for one in caplog.records]
    left_out = [text for text in told if text.startswith("Sealing: a batch is left out")]
    monkeypatch.undo()
    tmp_path.chmod(0o700)
    if harm is nothing:
        assert left_out == []
        assert len(SealedStore(tmp_path / "sealed")) == CLIENTS * ROUNDS
    if harm in (no_folder, full_disk, other_federation):
        assert len(left_out) == CLIENTS * ROUNDS
    if harm in (no_folder, full_disk):
        assert sum("is not recorded" in text for text in told) == CLIENTS * ROUNDS
