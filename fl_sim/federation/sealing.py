"""For a client app of one's own: keeps the truth behind an update out of band, for an audit to score its answers."""

from __future__ import annotations

from pathlib import Path

from flwr.app import Context, Message, RecordDict
from torch import Tensor

from fl_sim.captures import SealedStore, capture_id
from fl_sim.errors import ConfigError, DataError
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
    """Write FOLDER/sealed/FEDERATION/rRRR-cCCC and tell the server in the reply which partition it is from.

    A node's number in Flower is random, so without that line the server would count its clients in another order.

    Args:
        folder: the one whose captures/ the server's `CaptureStore` writes to.
        federation_id: as it was given to `CuriousGrid`.
        message: the train message that is answered; its config tells the round, as Flower's strategies do.
        context: of the client.
        content: of the reply; a record "client" is added to it.
        inputs: what the update was computed on, in the value range of the model's `InputSpec`: (N, C, H, W), or
            (T, N, C, H, W) of events. Of several local steps: all their batches.
        labels: (N,).

    Raises:
        ConfigError: the message tells no round.
        DataError: another batch of that client and round is there: each federation needs a folder, or name, of its own.
    """
    configs = list(message.content.config_records.values())
    number = configs[0].get("server-round") if configs else None
    if not isinstance(number, int):
        raise ConfigError(f"server-round: expected the round in the config of the train message, found {number!r}.")
    told = client_record(context)
    content["client"] = told
    name = capture_id(federation_id, number, int(str(told["partition-id"])))
    batch = SealedBatch(name, inputs.detach().cpu(), labels.detach().cpu())
    store = SealedStore(Path(folder) / "sealed")
    if store.path(name).is_file() and record_bytes(store.load(name)) != record_bytes(batch):
        raise DataError(
            f"{store.path(name)}: holds another batch already. Use a fresh folder, or another federation_id, for each "
            "run."
        )
    return store(batch)
