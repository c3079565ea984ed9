"""What secure aggregation leaves to see: the mean of a round's updates, in the next model that is sent.

Under SecAgg and SecAgg+ a client's reply is uniformly random to the server, which learns the sum of all replies alone.
Flower's workflow unmasks it inside itself, so an observer of the messages sees it when the server sends the next model:
to train or to evaluate. With a strategy that takes steps of its own, such as FedAdam, the difference of two models is
that step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from flwr.app import Array, Message

from fl_sim.federation.interception.exchange import Request, arrays_in, check_success, count_of, is_train
from fl_sim.federation.messages import NDArray, ReplyError, decode, told_round

MASKED = "it is masked by secure aggregation, of which a server sees the mean over the clients only"


@dataclass
class Aggregate:
    """The round of a federation with secure aggregation.

    Attributes:
        request: what was sent to one of the clients.
        members: the clients whose masked replies came.
        num_examples: sum of what they reported.
    """

    request: Request
    members: list[int] = field(default_factory=list)
    num_examples: int = 0

    @property
    def clients(self) -> int:
        """Return the number of clients whose masked replies came."""
        return len(self.members)


Finished = Callable[[Aggregate, Mapping[str, NDArray], Mapping[str, NDArray]], None]
"""Called with a round, the model that was sent in it, and the one sent next."""


class Aggregates:
    """Waits for the model that follows a round of masked replies.

    Args:
        finished: called when that model is sent.
        refused: called with a round whose mean cannot be seen, and the reason.
    """

    def __init__(self, finished: Finished, refused: Callable[[Aggregate, str], None]) -> None:
        self._finished = finished
        self._refused = refused
        self._waiting: Aggregate | None = None

    def replied(self, request: Request, reply: Message, client: int) -> None:
        """Count a masked reply of a client.

        Raises:
            ReplyError: the client failed.
        """
        check_success(reply)
        if self._waiting is None:
            self._waiting = Aggregate(request)
        self._waiting.members.append(client)
        self._waiting.num_examples += count_of(reply, None)

    def sent(self, message: Message) -> None:
        """Compare a model that is being sent with the one of the round before, if a round waits for that."""
        waiting, records = self._waiting, arrays_in(message) if message.has_content() else {}
        if waiting is None or not records:
            return
        if is_train(message) and told_round(message) == waiting.request.round:
            return  # the same model, to another client of the round
        self._waiting = None
        try:
            before, after = _matching(waiting.request.records, records)
        except ReplyError as problem:
            self._refused(waiting, str(problem))
            return
        if all(np.array_equal(before[name], after[name]) for name in before):
            self._refused(waiting, f"{MASKED}, and the model that was sent next is the same: the aggregation failed")
            return
        self._finished(waiting, before, after)

    def finish(self) -> None:
        """Give up the round that still waits: the server sends no further model."""
        if self._waiting is not None:
            self._refused(self._waiting, f"{MASKED}, in the next model, and no model was sent after this round")
            self._waiting = None


def _matching(
    sent: Mapping[str, Mapping[str, Array]], later: Mapping[str, Mapping[str, Array]]
) -> tuple[dict[str, NDArray], dict[str, NDArray]]:
    """Return the arrays that were sent in a round and those of the same names that were sent next, in float32."""
    before, after = next(iter(sent.values())), next(iter(later.values()))
    if set(before) != set(after):
        raise ReplyError(f"{MASKED}, and the model that was sent next has other arrays")
    pairs = {name: (_single(name, before[name]), _single(name, after[name])) for name in before}
    for name, (first, second) in pairs.items():
        if first.shape != second.shape:
            raise ReplyError(f"{MASKED}, and {name} of the model that was sent next has another shape")
    return {name: first for name, (first, _) in pairs.items()}, {name: second for name, (_, second) in pairs.items()}


def _single(name: str, array: Array) -> NDArray:
    """Return an array as a client loads it: the aggregate is sent in float64."""
    values = decode(name, array)
    return values.astype(np.float32) if values.dtype.kind == "f" else values
