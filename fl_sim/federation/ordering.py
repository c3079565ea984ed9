"""Bit-for-bit reproducible federations on every engine: ordered nodes and replies, seeded rounds.

Flower's node ids are random, its replies arrive as clients finish, and its strategies draw from the global `random` and
NumPy generators. None of this is reproducible by itself (flwr issue 3328).
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from fl_sim.errors import ConfigError, SpikeleakError
from fl_sim.federation.messages import LABELS, SIZES, brief_reason, told_partition
from fl_sim.federation.wrappers import GridWrapper, StrategyWrapper
from fl_sim.seeding import derive_seed

QUERY = "partition"
_REPLY_TIMEOUT = 600.0
_POLL_SECONDS = 0.2


def answer_partition_query(app: ClientApp) -> ClientApp:
    """Register on a client app the query by which `OrderedGrid` learns a node's partition id, and return the app."""

    @app.query(QUERY)
    def partition(message: Message, context: Context) -> Message:
        return Message(RecordDict({"client": client_record(context)}), reply_to=message)

    return app


def own_partition(context: Context) -> int:
    """Return the partition id of the client that a context is of.

    Raises:
        ConfigError: its SuperNode was started without one. A simulation gives each client its own.
    """
    told = context.node_config.get("partition-id")
    if told is None:
        raise ConfigError(
            "partition-id: expected the client's number in the node config of its SuperNode, found none; start it with "
            "--node-config 'partition-id=0', and each other SuperNode with the next number."
        )
    return int(told)


def client_record(context: Context, labels: Sequence[int] = (), sizes: Sequence[int] = ()) -> ConfigRecord:
    """Return the record in which a client reports its partition id, and labels and batch sizes if there are any."""
    told = ConfigRecord({"partition-id": own_partition(context)})
    if labels:
        told[LABELS] = list(labels)
    if sizes:
        told[SIZES] = list(sizes)
    return told


class OrderedGrid(GridWrapper):
    """A Grid whose nodes and replies are sorted by partition id.

    Each node is asked once, with a `query.partition` message that does not affect training. Nodes that connect later,
    and those that hold a partition beyond the number of clients, are left out.

    Args:
        grid: the Grid to order.
        clients: number of clients; the Grid waits for partitions 0 to clients - 1.
        timeout: seconds to wait for that many nodes to connect.

    Raises:
        SpikeleakError: too few nodes connected in time, a node did not answer, or two hold the same partition.
    """

    def __init__(self, grid: Grid, clients: int, *, timeout: float = 30.0) -> None:
        super().__init__(grid)
        found = _await_partitions(grid, clients, timeout)
        self._partitions = dict(sorted(found.items(), key=lambda item: item[1]))

    def partition_of(self, node_id: int) -> int:
        """Return the partition id of a node."""
        return self._partitions[node_id]

    def get_node_ids(self) -> Iterable[int]:
        """Return the node ids in the order of their partitions."""
        return list(self._partitions)

    def get_nodes(self) -> Iterable[Any]:
        """Return the nodes in the order of their partitions."""
        nodes = {node.node_id: node for node in self.grid.get_nodes()}
        return [nodes[node_id] for node_id in self._partitions if node_id in nodes]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Pull the replies, sorted by partition."""
        return self._sorted(self.grid.pull_messages(message_ids))

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Send messages and return the replies, sorted by partition."""
        return self._sorted(self.grid.send_and_receive(messages, timeout=timeout))

    def _sorted(self, replies: Iterable[Message]) -> list[Message]:
        last = len(self._partitions)
        return sorted(replies, key=lambda reply: self._partitions.get(reply.metadata.src_node_id, last))


class SeededStrategy(StrategyWrapper):
    """A strategy whose draws from the global `random` and NumPy generators depend only on the seed and the round.

    The state of both generators is restored afterwards.
    """

    def __init__(self, strategy: Strategy, seed: int) -> None:
        super().__init__(strategy)
        self._seed = seed

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Sample the round's clients from a stream of the round."""
        with global_generators(derive_seed(self._seed, "configure-train", server_round)):
            return list(self.strategy.configure_train(server_round, arrays, config, grid))

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Aggregate with a stream of the round, from which differential privacy draws its noise."""
        with global_generators(derive_seed(self._seed, "aggregate-train", server_round)):
            return self.strategy.aggregate_train(server_round, replies)

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Sample the clients that evaluate from a stream of the round."""
        with global_generators(derive_seed(self._seed, "configure-evaluate", server_round)):
            return list(self.strategy.configure_evaluate(server_round, arrays, config, grid))

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Aggregate the evaluation with a stream of the round."""
        with global_generators(derive_seed(self._seed, "aggregate-evaluate", server_round)):
            return self.strategy.aggregate_evaluate(server_round, replies)


@contextlib.contextmanager
def global_generators(seed: int) -> Iterator[None]:
    """Seed the global generators from which Flower's strategies and mods draw, and restore their state on exit."""
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002 - Flower uses this one
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - as above
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002 - as above


def _await_partitions(grid: Grid, clients: int, timeout: float) -> dict[int, int]:
    """Return {node id: partition id} of the nodes that hold partitions 0 to clients - 1."""
    deadline = time.monotonic() + timeout
    found: dict[int, int] = {}
    while True:
        asked = sorted(set(grid.get_node_ids()) - set(found))
        found |= _ask(grid, asked)
        wanted = {node: partition for node, partition in found.items() if partition < clients}
        if len(set(wanted.values())) < len(wanted):
            raise SpikeleakError(
                f"Two of the connected nodes hold the same partition: {sorted(wanted.values())}. Start each SuperNode "
                "with a partition-id of its own."
            )
        if len(wanted) == clients:
            return wanted
        if time.monotonic() >= deadline:
            raise SpikeleakError(
                f"federation.clients is {clients}, but only {len(wanted)} of them connected in {timeout:.0f} s. With "
                f"`flwr run`, add --federation-config 'num-supernodes={clients} client-resources-num-cpus=1' or "
                f"-c 'federation.clients={max(len(wanted), 1)}'."
            )
        time.sleep(_POLL_SECONDS)


def _ask(grid: Grid, nodes: Iterable[int]) -> dict[int, int]:
    """Return {node id: partition id} from the answers of the nodes."""
    questions = [Message(RecordDict(), node, f"query.{QUERY}") for node in nodes]
    found = {}
    for reply in grid.send_and_receive(questions, timeout=_REPLY_TIMEOUT) if questions else []:
        partition = told_partition(reply)
        if partition is None:
            reason = brief_reason(reply) if reply.has_error() else "no partition-id in its answer"
            raise SpikeleakError(f"A client did not report its partition: {reason}")
        found[reply.metadata.src_node_id] = partition
    return found
