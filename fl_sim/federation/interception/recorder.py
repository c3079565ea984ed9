"""Turns the messages of a federation into captures."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from logging import ERROR, WARNING
from typing import Any

from flwr.app import Message
from flwr.common.logger import log
from flwr.serverapp import Grid

from fl_sim.accounts import Account
from fl_sim.captures import capture_id, check_federation_id
from fl_sim.errors import DataError
from fl_sim.federation.interception.aggregates import Aggregate, Aggregates
from fl_sim.federation.interception.exchange import Request, is_train, read_exchange, request_of
from fl_sim.federation.interception.facts import GRADIENT, WEIGHTS, KnownFacts
from fl_sim.federation.interception.ledger import Ledger
from fl_sim.federation.interception.rounds import Rounds
from fl_sim.federation.interception.updates import as_loaded, likeness, tensors, update_in
from fl_sim.federation.messages import NDArray, ReplyError, told_partition
from fl_sim.models.layout import layout_of, misfit, own_names
from fl_sim.records import CapturedUpdate, ModelSpec, Scalar

Sink = Callable[[CapturedUpdate], object]
_LONGEST_LIST = 200
_CLASHES = 900
"""First number of a client whose own number another node has claimed before it."""

_LEAST_ALIKE = 0.5
"""Cosine between weights before and after training below which a reply may be something else than weights."""


@dataclass(frozen=True)
class Setup:
    """What the operator says of the federation; the arguments of `CuriousGrid`."""

    sink: Sink
    model: ModelSpec
    federation_id: str
    client_of: Callable[[int], int] | None
    weighted_by_key: str | None
    client: Mapping[str, Scalar] | None


class UpdateRecorder:
    """Matches replies to requests and passes a `CapturedUpdate` of each valid reply to the sink.

    After the construction it never raises an exception: error replies, replies that do not fit what was sent and
    failures of the sink are logged by partition. Flower's legacy server calls it from several threads.

    Raises:
        ConfigError: the federation's name or a fact about the clients is not valid.
    """

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._facts = KnownFacts(setup.client)
        # Now, not at the first reply: building a model moves torch's generator for a moment, and clients in other
        # threads of this process may be drawing from it by then.
        self._layout = layout_of(setup.model)
        self._ledger = Ledger(_note(setup.sink, check_federation_id(setup.federation_id)))
        self._aggregates = Aggregates(self._record_mean, self._refuse_mean)
        self._open: dict[int, list[Request]] = {}
        self._ranks: dict[int, int] = {}
        self._recorded: dict[str, int] = {}
        self._rounds = Rounds()
        self._lock = threading.RLock()

    def sent(self, messages: Iterable[Message], grid: Grid) -> None:
        """Remember those of the messages that ask for training; they are about to be sent over `grid`."""
        with self._lock:
            try:
                self._sent(list(messages), grid)
            except Exception as error:  # noqa: BLE001 - whatever an app sends, the round must not fail
                log(ERROR, "Curious server: messages are not understood: %s: %s", type(error).__name__, error)

    def received(self, replies: Iterable[Message]) -> None:
        """Record the replies to train messages, in the order given."""
        with self._lock:
            for reply in replies:
                request = self._request_of(reply)
                if request is not None:
                    self._receive(request, reply)

    def close(self) -> None:
        """End the rounds that have begun, and log what was recorded of them."""
        with self._lock:
            self._ledger.close()

    def finish(self) -> None:
        """End the federation, and log what was recorded of it."""
        with self._lock:
            self._aggregates.finish()
            self._ledger.finish()

    def _sent(self, messages: list[Message], grid: Grid) -> None:
        for message in messages:
            self._aggregates.sent(message)
        train = [message for message in messages if is_train(message)]
        self._ledger.sent(len(messages))
        requests = [request_of(*item) for item in zip(train, self._rounds.of(train), strict=True)]
        for request in requests:
            node = request.metadata.dst_node_id
            same_round = [item for item in self._open.get(node, []) if item.round == request.round]
            self._open[node] = [*same_round, request]
        self._ledger.close(but=requests[-1].round if requests else None)
        if train and self._setup.client_of is None:
            new = sorted({message.metadata.dst_node_id for message in train} | set(grid.get_node_ids()))
            for node in new:
                self._ranks.setdefault(node, len(self._ranks))

    def _request_of(self, reply: Message) -> Request | None:
        """Return and forget the request to which a message replies; None if that was not a train message."""
        waiting = self._open.get(reply.metadata.src_node_id, [])
        wanted = reply.metadata.reply_to_message_id
        for index, request in enumerate(waiting):
            if request.metadata.message_id == wanted:
                return waiting.pop(index)
        return None

    def _receive(self, request: Request, reply: Message) -> None:
        """Record a reply, or count and log why it is not recorded."""
        who = f"node {reply.metadata.src_node_id}"
        level, problem = WARNING, ""
        try:
            if not request.records and (reply.has_error() or not any(reply.content.array_records.values())):
                return  # neither a model nor an update, as in the first steps of secure aggregation
            client = self._client(reply)
            who = f"client {client}"
            if request.is_masked:
                self._aggregates.replied(request, reply, client)
            else:
                self._record(request, reply, client)
        except DataError as error:
            problem = str(error)
        except Exception as error:  # noqa: BLE001 - the caller's sink must not make the round fail
            level, problem = ERROR, f"{type(error).__name__}: {error}"
        if problem:
            self._ledger.refuse(request.round, who, problem, level=level)

    def _record(self, request: Request, reply: Message, client: int) -> None:
        """Pass one capture to the sink.

        Raises:
            DataError: the reply does not fit what was sent, or is there already.
        """
        exchange = read_exchange(request, reply, weighted_by_key=self._setup.weighted_by_key)
        if exchange.ignored:
            ignored = ", ".join(exchange.ignored)[:_LONGEST_LIST]
            self._ledger.remark(f"Replies hold arrays that were not sent, and they are ignored: {ignored}.")
        sent = as_loaded(exchange.sent, exchange.received)
        facts = self._facts.of(request.config)
        if facts.share is None and likeness(sent, exchange.received) < _LEAST_ALIKE:
            self._ledger.remark(
                "Replies hardly resemble the weights that were sent, and are recorded as weights all the same. If they "
                'are the change of the weights or a gradient, say client={"share": "delta"} or {"share": "gradient"}.'
            )
        update = {
            name: update_in(facts.share or WEIGHTS, sent[name], array) for name, array in exchange.received.items()
        }
        counts = facts.num_examples or exchange.num_examples, 1
        told = {"labels": exchange.labels, "sizes": exchange.sizes}
        self._pass_on(request, self._free(request, client), sent, update, counts, told)
        self._ledger.record(request.round)

    def _record_mean(self, aggregate: Aggregate, before: Mapping[str, NDArray], after: Mapping[str, NDArray]) -> None:
        """Record the mean of a round's masked updates. Its client is the number after that of the last node."""
        clients = f"{aggregate.clients} clients"
        level, problem, server_round = WARNING, "", aggregate.request.round
        try:
            update = {name: update_in(WEIGHTS, before[name], after[name]) for name in before}
            counts = aggregate.num_examples, aggregate.clients
            told = {"members": tuple(aggregate.members)}
            self._pass_on(aggregate.request, len(self._ranks), before, update, counts, told)
        except DataError as error:
            problem = str(error)
        except Exception as error:  # noqa: BLE001 - the caller's sink must not make the round fail
            level, problem = ERROR, f"{type(error).__name__}: {error}"
        if problem:
            self._ledger.refuse(server_round, clients, problem, level=level, replies=aggregate.clients)
        else:
            self._ledger.record(server_round, masked=aggregate.clients)

    def _refuse_mean(self, aggregate: Aggregate, reason: str) -> None:
        clients = f"{aggregate.clients} clients"
        self._ledger.refuse(aggregate.request.round, clients, reason, replies=aggregate.clients)

    def _free(self, request: Request, client: int) -> int:
        """Return the number under which a reply is recorded: another one than the client's if a second node claims it.

        Who of them lies is not known, so both updates are kept, and the clash is told.
        """
        node = request.metadata.dst_node_id
        name = capture_id(self._setup.federation_id, request.round, client)
        if self._recorded.get(name, node) == node:
            return client
        federation = self._setup.federation_id
        free = next(
            number
            for number in itertools.count(max(len(self._ranks), _CLASHES))
            if capture_id(federation, request.round, number) not in self._recorded
        )
        self._ledger.remark(
            f"In round {request.round} the nodes {self._recorded[name]} and {node} both say that they are client "
            f"{client}; the update of the second one is recorded as that of client {free}, and the truth of client "
            f"{client} may be that of either."
        )
        return free

    def _pass_on(
        self,
        request: Request,
        client: int,
        sent: Mapping[str, NDArray],
        update: Mapping[str, NDArray],
        counts: tuple[int, int],
        told: Mapping[str, Any],
    ) -> None:
        """Pass a capture, with its numbers of examples and of clients and what else was told of it, to the sink.

        Raises:
            DataError: a capture of this name was passed on before.
        """
        setup = self._setup
        name = capture_id(setup.federation_id, request.round, client)
        if name in self._recorded:
            raise ReplyError(
                f"a capture {name} exists already; give each run its own federation_id, and each client one "
                "train message a round"
            )
        names = self._names(sent)
        facts = self._facts.of(request.config)
        steps: Mapping[str, Any] = facts.steps
        capture = CapturedUpdate(
            id=name,
            round=request.round,
            client=client,
            model=setup.model,
            parameters=tensors(sent, names),
            update=tensors(update, names),
            kind="gradient" if facts.share == GRADIENT else "delta",
            config=request.config,
            training=facts.training,
            num_examples=counts[0],
            clients=counts[1],
            **told,
            **steps,
        )
        setup.sink(capture)
        self._recorded[name] = request.metadata.dst_node_id

    def _names(self, sent: Mapping[str, NDArray]) -> dict[str, str]:
        """Return {name as sent: name in the capture}, which is the model's own where the model is known and fits."""
        layout, architecture = self._layout, self._setup.model.architecture
        as_sent = {name: name for name in sent}
        if layout is None:
            if "0" in sent:
                self._ledger.remark(
                    f"The arrays come as a list, and the model '{architecture}' that would give them names is not in "
                    "fl_sim.models.MODELS here: import the module that registers it."
                )
            return as_sent
        shapes = {name: array.shape for name, array in sent.items()}
        try:
            names = own_names(layout, shapes)
            problem = misfit(layout, {own: shapes[name] for name, own in names.items()})
        except DataError as error:
            names, problem = as_sent, str(error)
        if len(names) < len(sent):
            self._ledger.remark(
                f"The server sends a list of {len(sent)} arrays, and the first {len(names)} of them are the model "
                f"'{architecture}'; the others are ignored."
            )
        if problem:
            self._ledger.remark(
                f"The arrays that are sent are not those of the model '{architecture}': {problem}. They are recorded "
                "under the names that they have; an audit needs the right model."
            )
        return names

    def _client(self, reply: Message) -> int:
        """Return the partition id: from the caller's function, else as the client reports it, else the node's rank."""
        node = reply.metadata.src_node_id
        if self._setup.client_of is not None:
            return self._setup.client_of(node)
        partition = told_partition(reply)
        return self._ranks[node] if partition is None else partition


def _note(sink: Sink, federation_id: str) -> Callable[[Account], object] | None:
    """Return what keeps the account of a federation: the `note` of the sink, if it has one, as a `CaptureStore`."""
    note: Callable[[str, Account], object] | None = getattr(sink, "note", None)
    return None if note is None else lambda account: note(federation_id, account)
