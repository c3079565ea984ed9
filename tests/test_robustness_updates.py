"""Malformed updates, drawn by the hundred: refused by name, and the round goes on with the sound ones."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

with warnings.catch_warnings():
    # typer 0.20 reads two names that click 8.5 deprecates; neither is ours.
    warnings.filterwarnings("ignore", "'click", DeprecationWarning)
    import flwr.serverapp  # noqa: F401

import numpy as np
import numpy.typing as npt
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAdam, FedAvg, FedMedian, Strategy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fl_sim.errors import SpikeleakError
from fl_sim.federation.interception import CuriousGrid
from fl_sim.federation.local_grid import LocalGrid
from fl_sim.federation.ordering import SeededStrategy
from fl_sim.federation.replies import SoundReplies
from fl_sim.federation.strategies import FedSGD
from fl_sim.records import CapturedUpdate, InputSpec, ModelSpec

SHAPES = {"w": (2, 3), "b": (4,)}
SPEC = ModelSpec("any", InputSpec(channels=1, height=1, width=3, classes=2))
ORDERED = 2
STRATEGIES: dict[str, Callable[[], Strategy]] = {
    "FedAvg": lambda: FedAvg(fraction_evaluate=0.0),
    "FedSGD": lambda: FedSGD(FedAvg(fraction_evaluate=0.0), learning_rate=0.1),
    "FedAdam": lambda: FedAdam(fraction_evaluate=0.0),
    "FedMedian": lambda: FedMedian(fraction_evaluate=0.0),
}
Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Reply:
    """What a client sends.

    Attributes:
        arrays: by name.
        examples: as told.
        captured: whether the curious server records it: it saw a sound update or a part of one, whatever its weight.
    """

    arrays: Arrays
    examples: float = ORDERED
    captured: bool = False


def honest(partition: int) -> Arrays:
    return {name: np.full(shape, 0.1 * (partition + 1), np.float32) for name, shape in SHAPES.items()}


def federate(strategy: str, reply_of: Callable[[int], Reply]) -> tuple[dict[str, npt.NDArray[Any]], list[int]]:
    """Run one round of three clients; return the new global model and whose updates were captured."""

    def client(message: Message, context: Context) -> Message:
        partition = int(context.node_config["partition-id"])
        reply = reply_of(partition)
        content: dict[str, ArrayRecord | MetricRecord | ConfigRecord] = {
            "arrays": ArrayRecord({name: Array(array) for name, array in reply.arrays.items()}),
            "metrics": MetricRecord({"num-examples": reply.examples}),
            "client": ConfigRecord({"partition-id": partition}),
        }
        return Message(RecordDict(content), reply_to=message)

    captures: list[CapturedUpdate] = []
    grid = CuriousGrid(LocalGrid(client, 3), captures.append, model=SPEC)
    result = SeededStrategy(SoundReplies(STRATEGIES[strategy](), most_examples=ORDERED), seed=7).start(
        grid=grid,
        initial_arrays=ArrayRecord({name: Array(np.zeros(shape, np.float32)) for name, shape in SHAPES.items()}),
        num_rounds=1,
        train_config=ConfigRecord({"batch-size": ORDERED, "local-steps": 1}),
    )
    clients = sorted(capture.client for capture in captures)
    return {name: array.numpy() for name, array in result.arrays.items()}, clients


@st.composite
def malformed(draw: st.DrawFn) -> Reply:
    """Return one client's reply with one thing wrong with it."""
    arrays, name = honest(1), draw(st.sampled_from(sorted(SHAPES)))
    fault = draw(st.sampled_from(
        ["shape", "ten times the size", "dtype", "value", "large", "missing", "extra", "renamed", "examples", "more"]
    ))  # fmt: skip
    if fault == "shape":
        other = draw(st.lists(st.integers(0, 5), max_size=4).map(tuple).filter(lambda shape: shape != SHAPES[name]))
        arrays[name] = np.zeros(other, np.float32)
    elif fault == "ten times the size":
        arrays[name] = np.concatenate([arrays[name]] * 10)
    elif fault == "dtype":
        kind = draw(st.sampled_from(["i4", "i8", "u1", "c8", "?", "U4", "S4"]))
        arrays[name] = arrays[name].astype(kind)
        return Reply(arrays, captured=kind in ("i4", "i8", "u1", "?"))
    elif fault in ("value", "large"):
        exponent = st.floats(19.5, 38.5).map(lambda power: 10.0**power)
        value = st.sampled_from([np.nan, np.inf, -np.inf]) if fault == "value" else exponent
        arrays[name].flat[draw(st.integers(0, arrays[name].size - 1))] = draw(value) * draw(st.sampled_from([-1, 1]))
    elif fault == "missing":
        del arrays[name]
    elif fault == "extra":
        arrays[draw(st.text("abc/.\0", min_size=2, max_size=9))] = np.zeros(1, np.float32)
    elif fault == "renamed":
        arrays[name.upper()] = arrays.pop(name)
    elif fault == "examples":
        wrong = st.one_of(st.integers(-(2**62), 0), st.sampled_from([np.nan, np.inf, -np.inf, 0.5]))
        return Reply(arrays, draw(wrong), captured=True)
    else:
        return Reply(arrays, ORDERED * draw(st.integers(2, 2**60)), captured=True)
    return Reply(arrays, captured=fault in ("missing", "extra", "renamed"))


@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bad=malformed())
def test_a_malformed_update_is_dropped_and_logged_by_partition(
    strategy: str, bad: Reply, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="flwr"):
        model, captured = federate(strategy, lambda partition: bad if partition == 1 else Reply(honest(partition)))
    dropped = [record.getMessage() for record in caplog.records if "dropped" in record.getMessage()]
    assert len(dropped) == 1
    assert dropped[0].startswith("Round 1: reply of client 1 dropped: ")
    assert "\n" not in dropped[0]
    assert captured == ([0, 1, 2] if bad.captured else [0, 2])
    expected, _ = federate(strategy, lambda partition: Reply(honest(partition), 1 if partition != 1 else np.nan))
    for name, array in model.items():
        assert np.isfinite(array).all()
        np.testing.assert_array_equal(array, expected[name])


def test_the_largest_sound_update_is_kept_and_one_beyond_it_is_not() -> None:
    def reply(value: float) -> Callable[[int], Reply]:
        return lambda _: Reply({name: np.full(shape, value, np.float32) for name, shape in SHAPES.items()})

    model, captured = federate("FedAvg", reply(1.7e19))
    assert captured == [0, 1, 2]
    assert model["w"] == pytest.approx(1.7e19)
    with pytest.raises(SpikeleakError, match=r"none of the 3 clients.*squares are not finite"):
        federate("FedAvg", reply(1e38))


def test_an_aggregate_that_is_not_finite_is_never_sent() -> None:
    class Overflowing(FedAvg):
        """A strategy that is at fault itself."""

        def aggregate_train(self, server_round: int, replies: Any) -> Any:
            arrays, metrics = super().aggregate_train(server_round, replies)
            return ArrayRecord({name: Array(array.numpy() / 0.0) for name, array in (arrays or {}).items()}), metrics

    STRATEGIES["overflowing"] = lambda: Overflowing(fraction_evaluate=0.0)
    try:
        with np.errstate(divide="ignore"), pytest.raises(SpikeleakError, match=r"Round 1: the aggregate of . is not"):
            federate("overflowing", lambda partition: Reply(honest(partition)))
    finally:
        del STRATEGIES["overflowing"]
