"""For any client app: stores the truth behind an update out of band, so that an audit can score reconstructions."""

from __future__ import annotations

from pathlib import Path

from flwr.app import Context, Message, RecordDict
from torch import Tensor

from fl_sim.captures import SealedStore, capture_id
from fl_sim.errors import ConfigError, DataError
from fl_sim.federation.messages import told_round
from fl_sim.federation.ordering import client_record
from fl_sim.records import SealedBatch, record_bytes


def seal(
    folder: str | Path,
    federation_id: str,
    message: Message,
    context: Context,
    content: RecordDict,
    inputs: Tensor,
    labels: Tensor,
) -> Path:
    """Write FOLDER/sealed/FEDERATION/rRRR-cCCC and report the client's partition to the server in the reply.

    Node ids are random in Flower, so without that record the server would number its clients differently.

    Args:
        folder: parent of the folder captures/ to which the server's `CaptureStore` writes.
        federation_id: the same as that of `CuriousGrid`.
        message: the train message; its config contains the round, as Flower's strategies set it.
        context: context of the client.
        content: content of the reply; a record "client" is added to it.
        inputs: the inputs from which the update was computed, in the value range of the model's `InputSpec`:
            (N, C, H, W), or (T, N, C, H, W) for events. For several local steps, all their batches.
        labels: (N,).

    Raises:
        ConfigError: the message does not contain the round.
        DataError: a different batch of that client and round exists: each federation needs its own folder or name.
    """
    number = told_round(message)
    if number is None:
        raise ConfigError("server-round: expected the round in the config of the train message, found none.")
    record = client_record(context)
    content["client"] = record
    name = capture_id(federation_id, number, int(str(record["partition-id"])))
    batch = SealedBatch(name, inputs.detach().cpu(), labels.detach().cpu())
    store = SealedStore(Path(folder) / "sealed")
    if store.path(name).is_file() and record_bytes(store.load(name)) != record_bytes(batch):
        raise DataError(
            f"{store.path(name)}: already holds another batch. Use a new folder, or another federation_id, for each "
            "run."
        )
    return store(batch)
