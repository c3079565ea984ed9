"""`CuriousGrid` and `CuriousStrategy`: the two places where a server's messages can be observed."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result, Strategy

from fl_sim.federation.interception.recorder import Setup, Sink, UpdateRecorder
from fl_sim.federation.wrappers import GridWrapper, StrategyWrapper
from fl_sim.records import ModelSpec, Scalar


class _RecordingGrid(GridWrapper):
    """Shows a recorder what is sent and what comes back."""

    def __init__(self, grid: Grid, recorder: UpdateRecorder) -> None:
        super().__init__(grid)
        self._recorder = recorder

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


class CuriousGrid(_RecordingGrid):
    """A wrapper of a Grid that records every train reply and forwards everything unchanged.

    It understands the messages of Flower's strategies, of loops that send their own, and of a `NumPyClient` under
    `DefaultWorkflow`. Whatever is not recorded is logged with the reason. When a round is over, and when the wrapper is
    no longer used or the process ends, it logs how many replies were recorded.

    Under secure aggregation it records the mean of a round's updates; see `interception.aggregates`.

    Replies are forwarded in the order in which they come, on which the rounding of an average depends; wrap an
    `OrderedGrid` if a federation must repeat to the bit on Ray.

    Args:
        grid: the Grid that an app receives, or another wrapper.
        sink: called with each `CapturedUpdate` before the replies are passed on; a `CaptureStore`, a list's `append`,
            or an attack. The round waits for it, so a slow attack should run after the federation. Its exceptions are
            logged.
        model: specification of the model that is trained. If its architecture is in `fl_sim.models.MODELS`, captures
            have the model's own names also where a wrapper has put a prefix before them, or where arrays are sent as a
            list; otherwise they have the names that were sent.
        federation_id: name under which captures are stored; each run needs its own.
        client_of: node id -> partition id, such as `OrderedGrid.partition_of`. Without it, a client has the number that
            it reports in its reply's ConfigRecord "client", or else the rank of its node id.
        weighted_by_key: the metric with the number of examples; without it, usual names are looked for.
        client: facts about the clients' training that are not in the train config, such as {"epochs": 1,
            "batch-size": 32, "momentum": 0.9}: fields of `CapturedUpdate` and `ClientTraining`, and "share", what
            replies hold ("weights", "delta", "minus-delta" or "gradient"). A "num_examples" replaces what the clients
            report.

    Raises:
        ConfigError: `federation_id` is not valid as the name of a folder, or a fact in `client` is not known or not
            possible.
    """

    def __init__(
        self,
        grid: Grid,
        sink: Sink,
        *,
        model: ModelSpec,
        federation_id: str = "federation",
        client_of: Callable[[int], int] | None = None,
        weighted_by_key: str | None = None,
        client: Mapping[str, Scalar] | None = None,
    ) -> None:
        setup = Setup(sink, model, federation_id, client_of, weighted_by_key, client)
        super().__init__(grid, UpdateRecorder(setup))
        weakref.finalize(self, self._recorder.finish)


class CuriousStrategy(StrategyWrapper):
    """A wrapper of a strategy that records every train reply before it is aggregated.

    The arguments are those of `CuriousGrid`, with a strategy in place of the Grid; the number of examples is read from
    the metric by which the strategy weights. Make it the outermost wrapper, so that it sees updates before a
    server-side defence changes them.
    """

    def __init__(
        self,
        strategy: Strategy,
        sink: Sink,
        *,
        model: ModelSpec,
        federation_id: str = "federation",
        client_of: Callable[[int], int] | None = None,
        weighted_by_key: str | None = None,
        client: Mapping[str, Scalar] | None = None,
    ) -> None:
        super().__init__(strategy)
        weighted_by_key = weighted_by_key or _weighted_by_key(strategy)
        self._recorder = UpdateRecorder(Setup(sink, model, federation_id, client_of, weighted_by_key, client))
        weakref.finalize(self, self._recorder.finish)

    def start(self, grid: Grid, *args: Any, **kwargs: Any) -> Result:  # noqa: ANN401 - a strategy may add its own
        """Run the federation; a strategy with a `start` of its own runs it, over a Grid that records."""
        if type(self.strategy).start is Strategy.start:
            return super().start(grid, *args, **kwargs)
        return self.strategy.start(_RecordingGrid(grid, self._recorder), *args, **kwargs)

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
        self._recorder.close()
        return self.strategy.aggregate_train(server_round, received)


def _weighted_by_key(strategy: object) -> str | None:
    """Return the metric by which a strategy, or the one that it wraps, weights the replies; None if it does not say."""
    while strategy is not None:
        key = getattr(strategy, "weighted_by_key", None)
        if isinstance(key, str):
            return key
        strategy = getattr(strategy, "strategy", None)
    return None
