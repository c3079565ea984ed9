"""Numbers the rounds of a federation whose messages do not state them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from flwr.app import Message

from fl_sim.federation.messages import told_round


class Rounds:
    """Counts rounds: another model, or a node that is asked again, begins a new one.

    Messages that are sent together are of one round. A server may also ask its clients one by one, in which case they
    are sent the same model.
    """

    def __init__(self) -> None:
        self._number = 0
        self._nodes: set[int] = set()
        self._model = b""

    def of(self, messages: Sequence[Message]) -> list[int]:
        """Return the round of each of the train messages that are sent together."""
        stated = [told_round(message) for message in messages]
        if None in stated:
            self._count(messages)
        return [self._number if number is None else number for number in stated]

    def _count(self, messages: Sequence[Message]) -> None:
        nodes, model = {message.metadata.dst_node_id for message in messages}, _digest(messages[0])
        if not self._number or nodes & self._nodes or model != self._model:
            self._number += 1
            self._nodes = set()
        self._nodes |= nodes
        self._model = model


def _digest(message: Message) -> bytes:
    """Return a hash of the arrays in a message."""
    digest = hashlib.sha256()
    for record in message.content.array_records.values():
        for name, array in record.items():
            digest.update(name.encode())
            digest.update(array.data)
    return digest.digest()
