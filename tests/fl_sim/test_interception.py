"""The curious server changes nothing, misses nothing, and records nothing that does not fit the model."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

with warnings.catch_warnings():
    # typer 0.20 reads two names that click 8.5 deprecates; neither is ours.
    warnings.filterwarnings("ignore", "'click", DeprecationWarning)
    import flwr.serverapp  # noqa: F401

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAdam, FedAvg, Strategy
from torch import nn

from fl_sim.captures import CaptureStore, SealedStore
from fl_sim.config import SimulationConfig, validate
from fl_sim.errors import ConfigError, SpikeleakError
from fl_sim.federation.client_app import build_client_app
from fl_sim.federation.client_data import input_spec
from fl_sim.federation.interception import CuriousGrid, CuriousStrategy, Sink
from fl_sim.federation.local_grid import LocalGrid
from fl_sim.federation.messages import NDArray
from fl_sim.federation.ordering import OrderedGrid, SeededStrategy
from fl_sim.federation.replies import SoundReplies
from fl_sim.federation.settings import RunSettings
from fl_sim.federation.strategies import build_strategy
from fl_sim.federation.wrappers import GridWrapper
from fl_sim.models import build_model
from fl_sim.records import CapturedUpdate, InputSpec, ModelSpec, record_bytes
from fl_sim.training import capture_gradient, parameters_of
from tests.fl_sim.slow_strategies import strategies

CLIENTS = 3
HELD = (433, 432, 432)
"""Examples that the clients hold."""
Client = Callable[[Message, Context], Message]
Observer = Literal["nobody", "grid", "strategy"]


def config_of(strategy: str = "FedSGD", **federation: object) -> SimulationConfig:
    table = {"clients": CLIENTS, "rounds": 2, "batch_size": 2, **federation}
    return validate(SimulationConfig, {"strategy": {"name": strategy}, "federation": table})


def federate(
    config: SimulationConfig,
    sink: Sink,
    *,
    observer: Observer = "grid",
    client: Client | None = None,
    output: Path | None = None,
) -> dict[str, bytes]:
    """Run a federation in this process and return the bytes of the global model."""
    settings = RunSettings(config, output, "test").flat()
    grid: Grid = OrderedGrid(LocalGrid(client or build_client_app(), CLIENTS, run_config=settings), CLIENTS)
    spec = config.model.spec(input_spec(config))
    strategy: Strategy = SeededStrategy(SoundReplies(build_strategy(config)), seed=7)
    if observer == "grid":
        grid = CuriousGrid(grid, sink, model=spec, federation_id="test")
    if observer == "strategy":
        strategy = CuriousStrategy(strategy, sink, model=spec, federation_id="test")
    federation = config.federation
    orders = ConfigRecord({
        "share": "weights",
        "learning-rate": federation.learning_rate,
        "batch-size": federation.batch_size,
        "local-steps": federation.local_steps,
    })  # fmt: skip
    result = strategy.start(
        grid=grid,
        initial_arrays=ArrayRecord(dict(parameters_of(build_model(spec, seed=1)))),
        num_rounds=federation.rounds,
        train_config=orders,
    )
    return {name: array.data for name, array in result.arrays.items()}


@pytest.mark.parametrize("name", strategies(["FedSGD", "FedAvg", "FedProx", "FedAdam", "QFedAvg"]))
def test_observing_changes_no_bit_and_both_observers_record_the_same_bytes(name: str) -> None:
    by_grid: list[CapturedUpdate] = []
    by_strategy: list[CapturedUpdate] = []
    config = config_of(name)
    unobserved = federate(config, by_grid.append, observer="nobody")
    assert not by_grid
    assert federate(config, by_grid.append, observer="grid") == unobserved
    assert federate(config, by_strategy.append, observer="strategy") == unobserved
    assert [capture.id for capture in by_grid] == [f"test/r{r:03d}-c{c:03d}" for r in (1, 2) for c in range(CLIENTS)]
    assert [record_bytes(capture) for capture in by_grid] == [record_bytes(capture) for capture in by_strategy]


def test_a_captured_gradient_is_that_of_the_sealed_batch(tmp_path: Path) -> None:
    captures: list[CapturedUpdate] = []
    federate(config_of(), captures.append, output=tmp_path)
    sealed = SealedStore(tmp_path / "sealed")
    assert sealed.ids() == [capture.id for capture in captures]
    for capture in captures:
        truth = sealed.load(capture.id)
        expected = capture_gradient(capture.model, capture.parameters, truth.inputs, truth.labels)
        assert capture.kind == "gradient"
        assert (capture.batch_size, capture.local_steps) == (2, 1)
        assert capture.num_examples == HELD[capture.client]  # as the client reports
        for name, gradient in expected.update.items():
            torch.testing.assert_close(capture.update[name], gradient)


def test_the_delta_of_one_step_is_minus_rate_times_gradient(tmp_path: Path) -> None:
    captures: list[CapturedUpdate] = []
    federate(config_of("FedAvg", learning_rate=0.5), captures.append, output=tmp_path)
    for capture in captures:
        truth = SealedStore(tmp_path / "sealed").load(capture.id)
        expected = capture_gradient(capture.model, capture.parameters, truth.inputs, truth.labels)
        assert capture.kind == "delta"
        assert capture.learning_rate == 0.5
        for name, gradient in expected.update.items():
            # Weights of size 0.5 in float32 carry 3e-8 each; the delta is known to their sum.
            torch.testing.assert_close(capture.update[name], -0.5 * gradient, rtol=1e-5, atol=1e-7)


def test_several_local_steps_are_sealed_whole_and_their_number_is_known(tmp_path: Path) -> None:
    captures: list[CapturedUpdate] = []
    federate(config_of("FedProx", local_steps=3), captures.append, output=tmp_path)
    truth = SealedStore(tmp_path / "sealed").load("test/r001-c000")
    assert len(truth.labels) == len(truth.inputs) == 3 * 2
    assert (captures[0].local_steps, captures[0].batch_size) == (3, 2)
    assert captures[0].config["proximal-mu"] == 0.0
    assert [capture.config["server-round"] for capture in captures] == [1, 1, 1, 2, 2, 2]


def test_a_float64_model_is_captured_as_the_client_loaded_it() -> None:
    captures: list[CapturedUpdate] = []
    model = federate(config_of("FedAdam"), captures.append)
    dtypes = {
        str(tensor.dtype) for capture in captures for tensor in [*capture.parameters.values(), *capture.update.values()]
    }
    assert dtypes == {"torch.float32"}
    assert all(b"f8" in data[:128] for data in model.values())


def change_arrays(reply: Message, change: Callable[[dict[str, Array]], object]) -> Message:
    arrays = dict(reply.content.array_records["arrays"])
    change(arrays)
    reply.content["arrays"] = ArrayRecord(arrays)
    return reply


def set_array(arrays: dict[str, Array], values: NDArray) -> None:
    arrays["head.bias"] = Array(values)


def garbage(arrays: dict[str, Array]) -> None:
    honest = arrays["head.bias"]
    arrays["head.bias"] = Array(honest.dtype, tuple(honest.shape), honest.stype, b"garbage")


def no_examples(reply: Message) -> Message:
    reply.content["metrics"] = MetricRecord({"num-examples": 0, "train-loss": 1.0})
    return reply


def no_metrics(reply: Message) -> Message:
    del reply.content["metrics"]
    return reply


def crash(reply: Message) -> Message:
    raise OSError("a traceback\nthe disk of client 1 is full")


FAULTS: dict[str, tuple[Callable[[Message], Message], str]] = {
    "crash": (crash, "the disk of client 1 is full"),
    "nan": (lambda reply: change_arrays(reply, lambda a: set_array(a, np.full(10, np.nan, "f4"))), "not finite"),
    "shape": (lambda reply: change_arrays(reply, lambda a: set_array(a, np.zeros(9, "f4"))), "shape (9,)"),
    "text": (
        lambda reply: change_arrays(reply, lambda a: set_array(a, np.array(["x"] * 10))),
        "not an array of numbers",
    ),
    "bytes": (lambda reply: change_arrays(reply, garbage), "not an array"),
}
UNWEIGHTED: dict[str, Callable[[Message], Message]] = {
    "missing": lambda reply: change_arrays(reply, lambda a: a.pop("head.bias")),
    "examples": no_examples,
    "metrics": no_metrics,
}
"""Replies that a strategy cannot average, but from which the server has seen as much."""


def with_fault(fault: Callable[[Message], Message], *, of: Iterable[int] = (1,)) -> Client:
    """Return our client app with a fault in the train replies of some clients."""
    honest = build_client_app()

    def client(message: Message, context: Context) -> Message:
        reply = honest(message, context)
        is_faulty = int(context.node_config["partition-id"]) in of and message.metadata.message_type == "train"
        return fault(reply) if is_faulty else reply

    return client


@pytest.mark.parametrize("observer", ["grid", "strategy"])
@pytest.mark.parametrize("strategy", ["FedSGD", "FedAvg"])
@pytest.mark.parametrize("fault", FAULTS)
def test_the_round_survives_a_bad_reply_which_is_logged_and_not_recorded(
    fault: str, strategy: str, observer: Observer, caplog: pytest.LogCaptureFixture
) -> None:
    captures: list[CapturedUpdate] = []
    change, reason = FAULTS[fault]
    model = federate(config_of(strategy, rounds=1), captures.append, client=with_fault(change), observer=observer)
    assert [capture.client for capture in captures] == [0, 2]
    complaints = [record.getMessage() for record in caplog.records if "is not recorded" in record.getMessage()]
    assert len(complaints) == 1
    assert reason in complaints[0]
    assert "\n" not in complaints[0]
    assert all(np.isfinite(Array("float32", (), "numpy.ndarray", data).numpy()).all() for data in model.values())


@pytest.mark.parametrize("observer", ["grid", "strategy"])
@pytest.mark.parametrize("fault", UNWEIGHTED)
def test_what_the_server_has_seen_is_recorded_whatever_the_strategy_makes_of_it(
    fault: str, observer: Observer, caplog: pytest.LogCaptureFixture
) -> None:
    captures: list[CapturedUpdate] = []
    federate(config_of("FedAvg", rounds=1), captures.append, client=with_fault(UNWEIGHTED[fault]), observer=observer)
    assert [(capture.client, capture.num_examples) for capture in captures] == [
        (0, HELD[0]), (1, HELD[1] if fault == "missing" else 0), (2, HELD[2])
    ]  # fmt: skip
    names = set(captures[0].update)
    assert set(captures[1].update) == (names - {"head.bias"} if fault == "missing" else names)
    assert set(captures[1].parameters) == names
    assert "is not recorded" not in caplog.text
    assert "reply of client 1 dropped" in caplog.text


def test_a_bad_reply_is_logged_by_partition(caplog: pytest.LogCaptureFixture) -> None:
    federate(config_of(rounds=1), print, client=with_fault(FAULTS["nan"][0]))
    assert any("the reply of client 1 in round 1" in record.getMessage() for record in caplog.records)


def test_a_federation_of_failures_is_an_error() -> None:
    with pytest.raises(SpikeleakError, match=r"none of the 3 clients.*the disk of client 1 is full"):
        federate(config_of(), print, client=with_fault(crash, of=range(CLIENTS)))


@pytest.mark.parametrize("observer", ["grid", "strategy"])
def test_a_sink_that_raises_changes_no_bit(observer: Observer, caplog: pytest.LogCaptureFixture) -> None:
    calls: list[str] = []

    def sink(capture: CapturedUpdate) -> None:
        calls.append(capture.id)
        capture.parameters["head.bias"].zero_()
        raise KeyError("attack")

    assert federate(config_of("FedAvg"), sink, observer=observer) == federate(
        config_of("FedAvg"), print, observer="nobody"
    )
    assert len(calls) == 2 * CLIENTS
    logged = [record for record in caplog.records if "is not recorded: " in record.getMessage()]
    assert len(logged) == 2 * CLIENTS
    assert sum("KeyError: 'attack'" in record.getMessage() for record in logged) == 2  # in full once a round
    assert {record.levelno for record in logged} == {logging.ERROR}


def test_both_updates_of_a_partition_told_twice_are_recorded_and_the_clash_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def lie(reply: Message) -> Message:
        reply.content["client"] = ConfigRecord({"partition-id": 0})
        return reply

    honest: list[CapturedUpdate] = []
    captures: list[CapturedUpdate] = []
    federate(config_of(rounds=1), honest.append)
    federate(config_of(rounds=1), captures.append, client=with_fault(lie))
    assert [capture.client for capture in captures] == [0, 900, 2]
    for capture, true in zip(captures, honest, strict=True):
        assert all(torch.equal(value, true.update[name]) for name, value in capture.update.items())
    assert "both say that they are client 0; the update of the second one is recorded as that of client 900" in (
        caplog.text
    )


def test_a_store_is_a_sink_and_gives_back_equal_bytes(tmp_path: Path) -> None:
    captures: list[CapturedUpdate] = []
    store = CaptureStore(tmp_path)

    def sink(capture: CapturedUpdate) -> None:
        captures.append(capture)
        store(capture)

    federate(config_of(), sink)
    assert [record_bytes(capture) for capture in store] == [record_bytes(capture) for capture in captures]
    assert len(list(tmp_path.glob("test/model-*"))) == 2  # one for each round, not for each client


def test_pushed_and_pulled_messages_are_recorded() -> None:
    class Polling(GridWrapper):
        """A Grid whose users push and pull by themselves."""

        def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
            assert timeout is not None
            return self.pull_messages(self.push_messages(messages))

    config = config_of("FedAvg", rounds=1)
    spec = config.model.spec(input_spec(config))
    captures: list[CapturedUpdate] = []
    local = LocalGrid(build_client_app(), CLIENTS, run_config=RunSettings(config).flat())
    grid = Polling(CuriousGrid(local, captures.append, model=spec))
    orders = ConfigRecord({"learning-rate": 0.1, "batch-size": 1})
    arrays = ArrayRecord(dict(parameters_of(build_model(spec, seed=1))))
    FedAvg(fraction_evaluate=0.0).start(grid=grid, initial_arrays=arrays, num_rounds=1, train_config=orders)
    assert {capture.id for capture in captures} == {f"federation/r001-c{client:03d}" for client in range(CLIENTS)}
    assert {capture.config["server-round"] for capture in captures} == {1}


class TheirNet(nn.Module):
    """A user's model that this project has never heard of, with buffers of integer type."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 3)
        self.norm = nn.BatchNorm1d(3)
        self.second = nn.Linear(3, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.second(self.norm(self.first(inputs)).relu())
        return logits


def their_client_app() -> ClientApp:
    """The client of Flower's PyTorch quickstart, in short."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        net = TheirNet()
        net.load_state_dict(message.content.array_records["arrays"].to_torch_state_dict())
        stream = torch.Generator().manual_seed(int(context.node_config["partition-id"]))
        inputs, labels = torch.rand(8, 4, generator=stream), torch.arange(8) % 2
        loss = nn.functional.cross_entropy(net(inputs), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        rate = float(str(message.content.config_records["config"]["lr"]))
        with torch.no_grad():
            for parameter in net.parameters():
                assert parameter.grad is not None
                parameter.sub_(rate * parameter.grad)
        metrics = MetricRecord({"train_loss": loss.item(), "num-examples": 8})
        return Message(RecordDict({"arrays": ArrayRecord(net.state_dict()), "metrics": metrics}), reply_to=message)

    return app


@pytest.mark.parametrize("strategy", [FedAvg, FedAdam])
def test_any_flower_app_can_be_observed(strategy: type[FedAvg]) -> None:
    net = TheirNet()
    captures: list[CapturedUpdate] = []
    spec = ModelSpec("their-net", InputSpec(channels=1, height=1, width=4, classes=2))
    grid = CuriousGrid(LocalGrid(their_client_app(), 4), captures.append, model=spec, federation_id="theirs")
    strategy(fraction_evaluate=0.0).start(
        grid=grid, initial_arrays=ArrayRecord(net.state_dict()), num_rounds=2, train_config=ConfigRecord({"lr": 0.1})
    )
    assert sorted(capture.id for capture in captures) == [f"theirs/r{r:03d}-c{c:03d}" for r in (1, 2) for c in range(4)]
    for capture in captures:
        assert capture.kind == "delta"
        assert capture.learning_rate == 0.1
        assert (capture.batch_size, capture.local_steps, capture.num_examples) == (None, None, 8)
        assert set(capture.update) == set(net.state_dict())
        assert float(capture.update["norm.num_batches_tracked"]) == 1.0


def test_a_federation_id_that_leaves_the_folder_is_refused_at_once() -> None:
    spec = ModelSpec("lenet", InputSpec(channels=1, height=1, width=4, classes=2))
    with pytest.raises(ConfigError, match="federation_id"):
        CuriousGrid(LocalGrid(build_client_app(), 1), print, model=spec, federation_id="../elsewhere")
