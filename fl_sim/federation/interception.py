"""The curious server: wrappers that record every client's update and forward everything unchanged.

One line added to an existing app, with any strategy:

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        grid = CuriousGrid(grid, CaptureStore(Path("/data/captures")), model=spec)
        FedAvg().start(grid=grid, initial_arrays=arrays)

`CuriousStrategy` does the same by wrapping the strategy instead. Both record the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from logging import ERROR, WARNING

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, Metadata, MetricRecord
from flwr.common.logger import log
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy
from torch import Tensor

from fl_sim.captures import capture_id, check_federation_id
from fl_sim.federation.replies import NDArray, ReplyError, TrainReply, read_reply, scalars, told_partition
from fl_sim.federation.wrappers import GridWrapper, StrategyWrapper
from fl_sim.records import CapturedUpdate, ModelSpec, Scalar

Sink = Callable[[CapturedUpdate], object]


@dataclass(frozen=True)
class _Request:
    """A copy of a train message as it was sent, since strategies reuse and empty their records afterwards."""

    metadata: Metadata
    arrays: Mapping[str, Array]
    config: Mapping[str, Scalar]
    round: int


class UpdateRecorder:
    """Matches replies to requests and passes a `CapturedUpdate` of each valid reply to the sink.

    It never raises an exception: error replies, replies that do not fit the model and failures of the sink are logged
    by partition.
    """

    def __init__(
        self, sink: Sink, model: ModelSpec, federation_id: str, client_of: Callable[[int], int] | None
    ) -> None:
        self._sink = sink
        self._model = model
        self._federation_id = check_federation_id(federation_id)
        self._client_of = client_of
        self._open: dict[int, list[_Request]] = {}
        self._ranks: dict[int, int] = {}
        self._recorded: set[str] = set()
        self._times_sent = 0

    def sent(self, messages: Iterable[Message], grid: Grid) -> None:
        """Remember those of the messages that ask for training; they are about to be sent over `grid`."""
        train = [message for message in messages if _is_train(message)]
        self._times_sent += bool(train)
        for message in train:
            configs = list(message.content.config_records.values())
            config = scalars(configs[0]) if configs else {}
            arrays = next(iter(message.content.array_records.values()))
            request = _Request(message.metadata, dict(arrays), config, self._round(config, message.metadata))
            node = message.metadata.dst_node_id
            same_round = [item for item in self._open.get(node, []) if item.round == request.round]
            self._open[node] = [*same_round, request]
        if train and self._client_of is None:
            new = sorted({message.metadata.dst_node_id for message in train} | set(grid.get_node_ids()))
            for node in new:
                self._ranks.setdefault(node, len(self._ranks))

    def received(self, replies: Iterable[Message]) -> None:
        """Record the replies to train messages, in the order given."""
        for reply in replies:
            request = self._request_of(reply)
            if request is None:
                continue
            node = reply.metadata.src_node_id
            client: int | None = None
            try:
                client = self._client(reply)
                self._record(request, read_reply(reply, request.arrays), client)
            except ReplyError as problem:
                _log_problem(WARNING, node, client, request.round, str(problem))
            except Exception as error:  # noqa: BLE001 - the caller's sink must not make the round fail
                _log_problem(ERROR, node, client, request.round, f"{type(error).__name__}: {error}")

    def _record(self, request: _Request, reply: TrainReply, client: int) -> None:
        """Pass one capture to the sink."""
        name = capture_id(self._federation_id, request.round, client)
        if name in self._recorded:
            raise ReplyError(f"a capture {name} exists already; give each run its own federation_id")
        config = request.config
        sent = {key: _as_sent(request.arrays[key], array) for key, array in reply.arrays.items()}
        is_gradient = config.get("share") == "gradient"
        update = reply.arrays if is_gradient else {key: _delta(sent[key], reply.arrays[key]) for key in sent}
        capture = CapturedUpdate(
            id=name,
            round=request.round,
            client=client,
            model=self._model,
            parameters=_tensors(sent),
            update=_tensors(update),
            kind="gradient" if is_gradient else "delta",
            learning_rate=_positive(config.get("learning-rate", config.get("lr"))),
            local_steps=_positive_integer(config.get("local-steps")),
            batch_size=_positive_integer(config.get("batch-size")),
            num_examples=reply.num_examples,
            config=config,
        )
        self._sink(capture)
        self._recorded.add(name)

    def _request_of(self, reply: Message) -> _Request | None:
        """Return and forget the request to which a message replies; None if that was not a train message."""
        waiting = self._open.get(reply.metadata.src_node_id, [])
        wanted = reply.metadata.reply_to_message_id
        for index, request in enumerate(waiting):
            if request.metadata.message_id == wanted:
                return waiting.pop(index)
        return None

    def _client(self, reply: Message) -> int:
        """Return the partition id: from the caller's function, else as the client reports it, else the node's rank."""
        node = reply.metadata.src_node_id
        if self._client_of is not None:
            return self._client_of(node)
        partition = told_partition(reply)
        return self._ranks[node] if partition is None else partition

    def _round(self, config: Mapping[str, Scalar], metadata: Metadata) -> int:
        """Return the round: from the config, else from the message's group, else the number of times sent so far."""
        server_round = _positive_integer(config.get("server-round"))
        if server_round is not None:
            return server_round
        return int(metadata.group_id) if metadata.group_id.isdecimal() else self._times_sent


class CuriousGrid(GridWrapper):
    """A wrapper of a Grid that records every train reply and forwards everything unchanged.

    Args:
        grid: the Grid that an app receives, or another wrapper.
        sink: called with each `CapturedUpdate` before the replies are passed on; a `CaptureStore`, a list's `append`,
            or an attack. The round waits for it, so a slow attack should run after the federation. Its exceptions are
            logged.
        model: specification of the model that is trained.
        federation_id: name under which captures are stored; each run needs its own.
        client_of: node id -> partition id, such as `OrderedGrid.partition_of`. Without it, a client has the number that
            it reports in its reply's ConfigRecord "client", or else the rank of its node id.

    Raises:
        ConfigError: `federation_id` is not valid as the name of a folder.
    """

    def __init__(
        self,
        grid: Grid,
        sink: Sink,
        *,
        model: ModelSpec,
        federation_id: str = "federation",
        client_of: Callable[[int], int] | None = None,
    ) -> None:
        super().__init__(grid)
        self._recorder = UpdateRecorder(sink, model, federation_id, client_of)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Push messages and remember them."""
        outgoing = list(messages)
        self._recorder.sent(outgoing, self.grid)
        return self.grid.push_messages(outgoing)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Pull replies and record them."""
        replies = list(self.grid.pull_messages(message_ids))
        self._recorder.received(replies)
        return replies

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Send messages, wait for the replies, and record them."""
        outgoing = list(messages)
        self._recorder.sent(outgoing, self.grid)
        replies = list(self.grid.send_and_receive(outgoing, timeout=timeout))
        self._recorder.received(replies)
        return replies


class CuriousStrategy(StrategyWrapper):
    """A wrapper of a strategy that records every train reply before it is aggregated.

    The arguments are those of `CuriousGrid`, with a strategy in place of the Grid. Make it the outermost wrapper, so
    that it sees updates before a server-side defence changes them.
    """

    def __init__(
        self,
        strategy: Strategy,
        sink: Sink,
        *,
        model: ModelSpec,
        federation_id: str = "federation",
        client_of: Callable[[int], int] | None = None,
    ) -> None:
        super().__init__(strategy)
        self._recorder = UpdateRecorder(sink, model, federation_id, client_of)

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Configure the round and remember its messages."""
        outgoing = list(self.strategy.configure_train(server_round, arrays, config, grid))
        self._recorder.sent(outgoing, grid)
        return outgoing

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Record the replies, then aggregate them."""
        received = list(replies)
        self._recorder.received(received)
        return self.strategy.aggregate_train(server_round, received)


def _is_train(message: Message) -> bool:
    """Return whether a message asks for training and contains a model."""
    category = message.metadata.message_type.partition(".")[0]
    return category == "train" and message.has_content() and len(message.content.array_records) == 1


def _log_problem(level: int, node: int, client: int | None, server_round: int, problem: str) -> None:
    name = f"node {node}" if client is None else f"client {client}"
    log(level, "Curious server: the reply of %s in round %d is not recorded: %s", name, server_round, problem)


def _as_sent(sent: Array, received: NDArray) -> NDArray:
    """Return the sent values in the client's dtype, as the client loads them: FedAdam and QFedAvg send float64."""
    return sent.numpy().astype(received.dtype)


def _delta(sent: NDArray, received: NDArray) -> NDArray:
    """Return received minus sent, computed in float64 and stored in the client's dtype.

    The weights are already rounded to the client's dtype, which limits the precision of the delta far more than
    rounding the difference itself (6e-8 relative in float32); and attacks compute in the client's dtype.
    """
    dtype = received.dtype if np.issubdtype(received.dtype, np.floating) else np.dtype(np.float32)
    with np.errstate(over="ignore"):
        difference = (received.astype(np.float64) - sent.astype(np.float64)).astype(dtype)
    if not np.isfinite(difference).all():
        raise ReplyError("its weights are too far from those that were sent to it")
    return difference


def _tensors(arrays: Mapping[str, NDArray]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}


def _positive(value: object) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and isinstance(value, int | float) and value > 0 else None


def _positive_integer(value: object) -> int | None:
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    return value if is_integer and isinstance(value, int) and value > 0 else None
