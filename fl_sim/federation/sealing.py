"""For any client app: stores the truth behind an update out of band, so that an audit can score reconstructions."""

from __future__ import annotations

from logging import INFO, WARNING
from pathlib import Path

from flwr.app import Context, Message, RecordDict
from flwr.common.logger import log
from torch import Tensor

from fl_sim.captures import SealedStore, capture_id
from fl_sim.errors import ConfigError, DataError, SpikeleakError
from fl_sim.federation.messages import told_round
from fl_sim.federation.ordering import client_record
from fl_sim.records import SealedBatch, record_bytes
from fl_sim.sealed_forms import Formed, formed
from fl_sim.specs import InputSpec, ModelSpec


def seal(
    folder: str | Path,
    federation_id: str,
    message: Message,
    context: Context,
    content: RecordDict,
    inputs: Tensor,
    labels: Tensor,
    model: ModelSpec | InputSpec | None = None,
) -> Path | None:
    """Write FOLDER/sealed/FEDERATION/rRRR-cCCC and report the client's partition to the server in the reply.

    Node ids are random in Flower, so without that record the server would number its clients differently.

    Nothing is raised into a training. A batch that cannot be sealed is left out, and Flower's log has one warning that
    says why; its update is then attacked and not scored. Where something was converted, the log says what.

    Args:
        folder: parent of the folder captures/ to which the server's `CaptureStore` writes.
        federation_id: the same as that of `CuriousGrid`.
        message: the train message; its config contains the round, as Flower's strategies set it.
        context: context of the client.
        content: content of the reply; a record "client" is added to it.
        inputs: the inputs from which the update was computed, in the value range of the model's `InputSpec`:
            (N, C, H, W), or (T, N, C, H, W) for events. For several local steps, all their batches. Other forms are
            converted, see `fl_sim.sealed_forms.formed`.
        labels: (N,), from 0; (N, 1) and one-hot labels are converted.
        model: what the model takes. With it, a batch that is not of its shape or classes is refused here and not when
            the audit opens the seal, which converts it otherwise.

    Returns:
        The path of the sealed batch; None if there is none.
    """
    try:
        name = _name(federation_id, message, context, content)
        found = formed(SealedBatch(name, inputs, labels), model.input if isinstance(model, ModelSpec) else model)
        path = _store(folder, found)
    except Exception as error:  # noqa: BLE001 - sealing is no part of the training and must not end it
        reason = str(error) if isinstance(error, SpikeleakError) else f"{type(error).__name__}: {error}"
        log(WARNING, "Sealing: a batch is left out and its update will not be scored: %s", reason)
        return None
    if found.converted:
        log(INFO, "Sealing: %s took %s", name, "; ".join(found.converted))
    return path


def _store(folder: str | Path, found: Formed) -> Path:
    """Write a batch to FOLDER/sealed and return its path.

    Raises:
        DataError: a different batch of that client and round exists: each federation needs its own folder or name.
        WriteError: the folder cannot be written.
    """
    sealed = SealedStore(Path(folder) / "sealed")
    path = sealed.path(found.batch.capture_id)
    if path.is_file() and record_bytes(sealed.load(found.batch.capture_id)) != record_bytes(found.batch):
        raise DataError(
            f"{path}: already holds another batch; use a new folder, or another federation_id, for each run."
        )
    return sealed(found.batch)


def _name(federation_id: str, message: Message, context: Context, content: RecordDict) -> str:
    """Return the capture id, and add the record of the client to the reply.

    Raises:
        ConfigError: the client does not know its number, or the message does not contain the round.
    """
    record = client_record(context)
    content["client"] = record
    number = told_round(message)
    if number is None:
        raise ConfigError("server-round: expected the round in the config of the train message, found none.")
    return capture_id(federation_id, number, int(str(record["partition-id"])))
