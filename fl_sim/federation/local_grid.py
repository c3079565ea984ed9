"""An in-process Grid: a whole federation without Ray, SuperLink or network. The default engine, also used in tests.

This is the only file that uses private parts of Flower: message ids, the identity of the task, and the wire format.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from logging import ERROR

from flwr.app import Context, Error, Message, RecordDict
from flwr.common.constant import SUPERLINK_NODE_ID, ErrorCode
from flwr.common.logger import log
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from fl_sim.errors import lack_of_memory
from fl_sim.specs import Scalar

ClientCall = Callable[[Message, Context], Message]
_RUN_ID = 1
_FIRST_NODE = SUPERLINK_NODE_ID + 1


class LocalGrid(Grid):
    """A Grid whose nodes run one after another in this process, in the order of the messages.

    Each message and each reply passes through Flower's wire format, so that server and clients never share a record, as
    on the other engines. A client's exception becomes an error reply. Each node keeps its Context across rounds.

    Args:
        client_app: a `ClientApp`, or any callable of a message and a context.
        num_supernodes: number of nodes; their partition ids count from 0.
        run_config: the clients' `context.run_config`.
    """

    def __init__(
        self, client_app: ClientCall, num_supernodes: int, *, run_config: Mapping[str, Scalar] | None = None
    ) -> None:
        _identify()
        self._client_app = client_app
        self._run = Run.create_empty(_RUN_ID)
        self._replies: dict[str, Message] = {}
        self._told: set[str] = set()
        self._messages = 0
        self._lock = threading.Lock()
        self._contexts = {
            _FIRST_NODE + partition: Context(
                run_id=_RUN_ID,
                node_id=_FIRST_NODE + partition,
                node_config={"partition-id": partition, "num-partitions": num_supernodes},
                state=RecordDict(),
                run_config=dict(run_config or {}),
            )
            for partition in range(num_supernodes)
        }

    def set_run(self, run: Run) -> None:
        """Set the run's description, which has no other effect."""
        self._run = run

    @property
    def run(self) -> Run:
        """Return the run's description."""
        return self._run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Return a new message to a node."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """Return the node ids in the order of their partitions."""
        return list(self._contexts)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Let the nodes handle the messages, store their replies, and return the message ids."""
        return [self._deliver(message) for message in messages]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Return and forget the replies to these messages."""
        return [self._replies.pop(message_id) for message_id in message_ids if message_id in self._replies]

    def send_and_receive(
        self,
        messages: Iterable[Message],
        *,
        timeout: float | None = None,  # noqa: ARG002 - nothing runs meanwhile
    ) -> Iterable[Message]:
        """Let the nodes handle the messages and return their replies; `timeout` is ignored."""
        return self.pull_messages(self.push_messages(messages))

    def _deliver(self, message: Message) -> str:
        """Run the client to which a message is addressed, store its reply, and return the message's id."""
        with self._lock:  # Flower's legacy server sends from several threads
            message_id = self._number(message)
            reply = self._handle(message)
            self._number(reply)
            self._replies[message_id] = reply
            return message_id

    def _handle(self, message: Message) -> Message:
        """Return the reply of the client to which a message is addressed; an exception becomes an error reply."""
        node = message.metadata.dst_node_id
        if node not in self._contexts:
            error = Error(ErrorCode.NODE_UNAVAILABLE, f"there is no node {node}")
            return Message(error, reply_to=message)
        try:
            return _copied(self._client_app(_copied(message), self._contexts[node]))
        except Exception as error:  # as on any engine, no failure of a client may end the server
            if lack_of_memory(error):
                raise  # this process itself lacks memory; the round must not silently go on without that client
            partition = self._contexts[node].node_config["partition-id"]
            reason = f"{type(error).__name__}: {error}"
            if reason not in self._told:  # a defence of the user's own may fail for all clients alike
                self._told.add(reason)
                log(ERROR, "Client %s raised %s", partition, reason)
            return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason), reply_to=message)

    def _number(self, message: Message) -> str:
        """Assign an id to a message, as Flower's own grids do."""
        self._messages += 1
        message_id = f"local-{self._messages:08d}"
        message.metadata.__dict__["_message_id"] = message_id
        return message_id


def _copied(message: Message) -> Message:
    """Return a copy of a message by way of the wire format, which shares no record with the original."""
    return message_from_proto(message_to_proto(message))


def _identify() -> None:
    """Set the identity that `Message` requires, unless an engine has set it."""
    try:
        _ = TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id
    except RuntimeError:
        TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = _RUN_ID, 1, SUPERLINK_NODE_ID
