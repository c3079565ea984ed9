"""The parts of a federation one by one: stores, settings, client, order, strategies, and the in-process Grid."""

from __future__ import annotations

import random
import subprocess
import sys
import typing
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

with warnings.catch_warnings():
    # typer 0.20 reads two names that click 8.5 deprecates; neither is ours.
    warnings.filterwarnings("ignore", "'click", DeprecationWarning)
    import flwr.serverapp

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAvg
from hypothesis import given, settings
from hypothesis import strategies as st

from fl_sim.captures import CaptureStore, SealedStore, capture_id
from fl_sim.config import STRATEGIES, SimulationConfig, validate
from fl_sim.config.strategies import FIXED_ARGUMENTS, STRATEGY_ARGUMENTS, STRATEGY_CLAIMS
from fl_sim.defences import DEFENCES
from fl_sim.encoders import Encoder
from fl_sim.errors import ConfigError, DataError, SpikeleakError
from fl_sim.federation.client_app import build_client_app
from fl_sim.federation.client_data import draw_batches, input_spec, partition_indices, splits
from fl_sim.federation.local_grid import ClientCall, LocalGrid
from fl_sim.federation.messages import NDArray
from fl_sim.federation.ordering import OrderedGrid, SeededStrategy, answer_partition_query
from fl_sim.federation.settings import RunSettings, TrainOrder
from fl_sim.federation.strategies import FedSGD, build_strategy
from fl_sim.federation.wrappers import GridWrapper
from fl_sim.models import build_model
from fl_sim.records import CapturedUpdate, InputSpec, ModelSpec, SealedBatch, record_bytes
from fl_sim.seeding import torch_stream
from fl_sim.simulation import run_federation
from fl_sim.specs import Scalar
from fl_sim.training import parameters_of
from tests.fl_sim.slow_strategies import strategies

SPEC = ModelSpec("lenet", InputSpec(channels=1, height=28, width=28, classes=10))
ORDERS: dict[str, Scalar] = {"server-round": 1, "learning-rate": 0.1, "batch-size": 2, "local-steps": 1}
HOSTILE = ["", ".", "..", "../x", "/etc", "a/b", "a\\b", "a\0b", ".hidden", "-rf", "a\n", "x" * 101, "é"]


def config_of(**tables: object) -> SimulationConfig:
    """Return a config of four clients unless the tables say otherwise."""
    federation = tables.pop("federation", {})
    assert isinstance(federation, dict)
    return validate(SimulationConfig, {"federation": {"clients": 4, **federation}, **tables})


def capture_of(name: str, *, sent: float = 1.0) -> CapturedUpdate:
    return CapturedUpdate(
        id=name,
        round=1,
        client=0,
        model=SPEC,
        parameters={"w": torch.full((2, 3), sent), "b": torch.zeros(())},
        update={"w": torch.ones(2, 3), "b": torch.ones(())},
        kind="delta",
        learning_rate=0.1,
        config={"share": "weights", "server-round": 1, "fast": True, "learning-rate": 0.1},
    )


class TestStores:
    def test_what_is_loaded_is_equal_to_the_byte(self, tmp_path: Path) -> None:
        store = CaptureStore(tmp_path)
        capture = capture_of("f/r001-c000")
        store(capture)
        assert record_bytes(CaptureStore(tmp_path).load(capture.id)) == record_bytes(capture)

    def test_sent_parameters_are_stored_once_and_shared_by_nobody(self, tmp_path: Path) -> None:
        store = CaptureStore(tmp_path)
        for client in range(3):
            store(capture_of(f"f/r001-c{client:03d}"))
        store(capture_of("f/r002-c000", sent=2.0))
        assert len(list(tmp_path.glob("f/model-*.safetensors"))) == 2
        first, second, *_ = store
        first.parameters["w"].zero_()
        assert second.parameters["w"].sum() == 6
        assert store.load(first.id).parameters["w"].sum() == 6

    def test_ids_are_sorted_by_number(self, tmp_path: Path) -> None:
        store = SealedStore(tmp_path)
        names = ["a/r002-c000", "a/r010-c000", "a/r1000-c001", "b/r001-c000"]
        for name in reversed(names):
            store(SealedBatch(name, torch.zeros(1, 1, 2, 2), torch.zeros(1, dtype=torch.int64)))
        (tmp_path / "a" / "notes.txt").write_text("not a record")
        assert store.ids() == names
        assert len(store) == 4
        assert [batch.capture_id for batch in store] == names

    def test_an_empty_folder_has_no_ids(self, tmp_path: Path) -> None:
        assert CaptureStore(tmp_path / "nowhere").ids() == []

    @pytest.mark.parametrize("name", HOSTILE)
    def test_no_name_leaves_the_folder(self, name: str, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="federation_id"):
            capture_id(name, 1, 0)
        with pytest.raises(DataError, match="capture id"):
            CaptureStore(tmp_path).load(f"{name}/r001-c000")
        with pytest.raises(DataError, match="capture id"):
            SealedStore(tmp_path)(SealedBatch(f"f/{name}", torch.zeros(1), torch.zeros(1)))
        assert not list(tmp_path.iterdir())

    @given(st.text())
    def test_a_path_is_inside_or_refused(self, name: str) -> None:
        folder = Path("/records")
        try:
            path = CaptureStore(folder).path(name)
        except DataError:
            return
        assert path.parent.parent == folder

    def test_swapped_files_are_noticed(self, tmp_path: Path) -> None:
        store = CaptureStore(tmp_path)
        store(capture_of("f/r001-c000"))
        store.path("f/r001-c000").rename(store.path("f/r001-c001"))
        with pytest.raises(DataError, match=r"expected the capture f/r001-c001, found f/r001-c000"):
            store.load("f/r001-c001")

    def test_changed_parameters_are_noticed(self, tmp_path: Path) -> None:
        CaptureStore(tmp_path)(capture_of("f/r001-c000"))
        CaptureStore(tmp_path)(capture_of("f/r002-c000", sent=2.0))
        one, two = tmp_path.glob("f/model-*")
        one.write_bytes(two.read_bytes())
        two.unlink()
        for name in ("f/r001-c000", "f/r002-c000"):
            with pytest.raises(DataError, match=r"content does not match the hash in its name|no such file"):
                CaptureStore(tmp_path).load(name)

    def test_captures_are_read_without_flower(self) -> None:
        code = "import fl_sim.captures, sys; sys.exit('flwr' in sys.modules or 'ray' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class TestSettings:
    def test_what_is_flattened_is_read_back(self, tmp_path: Path) -> None:
        config = config_of(strategy={"name": "FedProx", "proximal_mu": 0.5}, federation={"clients": 7})
        settings = RunSettings(config, tmp_path, "f")
        assert RunSettings.read(settings.flat()) == settings
        assert RunSettings.read(RunSettings(config).flat()).output is None

    def test_an_empty_run_config_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="run config is empty"):
            RunSettings.read({})

    def test_a_relative_output_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="absolute"):
            RunSettings.read({"output": "runs"})

    def test_an_unknown_key_is_refused_by_its_path(self) -> None:
        with pytest.raises(ConfigError, match=r"federation.batchsize.*batch_size"):
            RunSettings.read({"federation.batchsize": 1})


class TestClientData:
    @settings(deadline=None)  # the first call reads the data
    @given(count=st.integers(1, 7), size=st.integers(1, 200))
    def test_an_epoch_holds_no_example_twice(self, count: int, size: int) -> None:
        config = config_of()
        batches = draw_batches(config, 2, count=count, size=size, stream=torch_stream(0, "x"))
        assert [len(labels) for _, labels in batches] == [size] * count
        epoch = torch.cat([inputs for inputs, _ in batches[: 324 // size]]).flatten(1)
        assert len(torch.unique(epoch, dim=0)) == len(epoch)

    def test_too_large_a_batch_is_refused(self) -> None:
        with pytest.raises(ConfigError, match=r"federation.batch_size: client 0 holds 325"):
            draw_batches(config_of(), 0, count=1, size=1000, stream=torch_stream(0))

    def test_clients_share_no_example(self) -> None:
        parts = [set(partition_indices(config_of(), client).tolist()) for client in range(4)]
        assert len(set.union(*parts)) == sum(len(part) for part in parts) == 1297

    def test_a_partition_beyond_the_clients_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="no partition 4"):
            partition_indices(config_of(), 4)


class TestClientApp:
    def reply(
        self,
        orders: Mapping[str, Scalar] | None = None,
        *,
        message_type: str = "train",
        config: SimulationConfig | None = None,
        client: ClientCall | None = None,
    ) -> Message:
        config = config or config_of()
        grid = LocalGrid(client or build_client_app(), 4, run_config=RunSettings(config).flat())
        arrays = ArrayRecord(dict(parameters_of(build_model(config.model.spec(input_spec(config)), seed=1))))
        content = RecordDict({"arrays": arrays, "config": ConfigRecord({**ORDERS, **(orders or {})})})
        (reply,) = grid.send_and_receive([Message(content, list(grid.get_node_ids())[2], message_type)])
        return reply

    def test_the_server_decides_what_is_shared(self) -> None:
        gradient, weights = self.reply({"share": "gradient"}), self.reply({"share": "weights"})
        assert gradient.content.config_records["client"]["partition-id"] == 2
        assert gradient.content.metric_records["metrics"]["num-examples"] == 324  # what it holds, not what it used
        shared = weights.content.array_records["arrays"]
        for name, array in gradient.content.array_records["arrays"].items():
            assert not np.array_equal(array.numpy(), shared[name].numpy())

    def test_the_proximal_term_acts_from_the_second_step(self) -> None:
        def weights(steps: int, mu: float) -> NDArray:
            reply = self.reply({"proximal-mu": mu, "local-steps": steps})
            return reply.content.array_records["arrays"]["head.bias"].numpy()

        assert np.array_equal(weights(1, 1.0), weights(1, 0.0))
        assert not np.array_equal(weights(2, 1.0), weights(2, 0.0))

    def test_a_round_and_a_client_have_their_own_batch(self) -> None:
        one, two = (self.reply({"server-round": number}).content.metric_records["metrics"] for number in (1, 2))
        assert one["train-loss"] != two["train-loss"]

    def test_a_client_evaluates_on_its_own_data(self) -> None:
        metrics = self.reply(message_type="evaluate").content.metric_records["metrics"]
        assert metrics["num-examples"] == 324
        assert 0 <= float(str(metrics["eval-acc"])) <= 1
        assert float(str(metrics["eval-loss"])) > 0

    def test_threads_and_global_generators_are_left_alone(self) -> None:
        kept: list[bool] = []

        def client(message: Message, context: Context) -> Message:
            state = torch.get_rng_state()
            reply = build_client_app()(message, context)
            kept.append(torch.get_num_threads() == 2 and torch.equal(torch.get_rng_state(), state))
            return reply

        threads = torch.get_num_threads()
        torch.set_num_threads(2)
        try:
            self.reply(client=client)
        finally:
            torch.set_num_threads(threads)
        assert kept == [True]

    @pytest.mark.parametrize(
        ("orders", "problem"),
        [
            ({"share": "everything"}, "share"),
            ({"share": "gradient", "local-steps": 2}, "local-steps"),
            ({"batch-size": 0}, "batch-size"),
            ({"learning-rate": "fast"}, "learning-rate"),
        ],
    )
    def test_a_wrong_order_is_an_error_that_names_the_key(self, orders: dict[str, Scalar], problem: str) -> None:
        reply = self.reply(orders)
        assert reply.has_error()
        assert problem in str(reply.error.reason)

    def test_an_order_ignores_keys_of_other_strategies(self) -> None:
        assert validate(TrainOrder, {**ORDERS, "theirs": 1}).proximal_mu == 0.0

    @pytest.mark.parametrize(("encoder", "is_random"), [("rate", True), ("direct", False)])
    def test_a_rate_coded_client_draws_its_own_spikes_each_round(self, encoder: str, is_random: bool) -> None:
        def gradient(server_round: int) -> NDArray:
            """Return the gradient of all that the client holds, so that rounds differ by their spikes only."""
            config = config_of(model={"name": "spiking_lenet", "encoder": encoder, "timesteps": 3})
            reply = self.reply({"share": "gradient", "batch-size": 324, "server-round": server_round}, config=config)
            return reply.content.array_records["arrays"]["head.weight"].numpy()

        assert np.array_equal(gradient(1), gradient(1))
        assert np.allclose(gradient(1), gradient(2), atol=1e-6) is not is_random

    def test_every_step_of_every_client_draws_its_own_spikes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seeds: list[int] = []
        encode = Encoder.forward

        def noted(encoder: Encoder, inputs: torch.Tensor) -> torch.Tensor:
            if torch.is_grad_enabled():  # training, not the test of the global model
                seeds.append(encoder.seed)
            return encode(encoder, inputs)

        monkeypatch.setattr(Encoder, "forward", noted)
        model = {"name": "spiking_mlp", "hidden": 4, "encoder": "rate", "timesteps": 2}
        config = config_of(model=model, strategy={"name": "FedAvg"}, federation={"rounds": 2, "local_steps": 3})
        for _ in range(2):
            run_federation(config, output=tmp_path, federation_id="f")
        assert len(set(seeds[:24])) == 4 * 2 * 3  # clients, rounds and steps
        assert seeds[24:] == seeds[:24]


class Shuffled(GridWrapper):
    """A Grid with random node order and random reply order, as Flower's own."""

    def get_node_ids(self) -> Iterable[int]:
        nodes = list(self.grid.get_node_ids())
        return random.SystemRandom().sample(nodes, len(nodes))

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        replies = list(self.grid.send_and_receive(messages, timeout=timeout))
        return random.SystemRandom().sample(replies, len(replies))


class TestOrder:
    def test_nodes_and_replies_are_sorted_by_partition(self) -> None:
        grid = OrderedGrid(Shuffled(LocalGrid(answer_partition_query(ClientApp()), 20)), 20)
        assert [grid.partition_of(node) for node in grid.get_node_ids()] == list(range(20))
        assert [grid.partition_of(node.node_id) for node in grid.get_nodes()] == list(range(20))
        questions = [Message(RecordDict(), node, "query.partition") for node in reversed(list(grid.get_node_ids()))]
        replies = grid.send_and_receive(questions)
        assert [grid.partition_of(reply.metadata.src_node_id) for reply in replies] == list(range(20))

    def test_surplus_nodes_are_left_out(self) -> None:
        grid = OrderedGrid(Shuffled(LocalGrid(answer_partition_query(ClientApp()), 5)), 3)
        assert [grid.partition_of(node) for node in grid.get_node_ids()] == [0, 1, 2]

    def test_too_few_nodes_are_an_error_that_says_what_to_do(self) -> None:
        with pytest.raises(SpikeleakError, match=r"federation.clients is 4, but only 2.*num-supernodes=4"):
            OrderedGrid(LocalGrid(answer_partition_query(ClientApp()), 2), 4, timeout=0.3)

    def test_late_nodes_are_awaited(self) -> None:
        class Late(GridWrapper):
            asked = 0

            def get_node_ids(self) -> Iterable[int]:
                self.asked += 1
                return list(self.grid.get_node_ids())[: self.asked]

        grid = OrderedGrid(Late(LocalGrid(answer_partition_query(ClientApp()), 3)), 3)
        assert len(list(grid.get_node_ids())) == 3

    def test_a_partition_held_twice_is_an_error(self) -> None:
        def same(message: Message, context: Context) -> Message:
            return Message(RecordDict({"client": ConfigRecord({"partition-id": 0})}), reply_to=message)

        with pytest.raises(SpikeleakError, match="same partition"):
            OrderedGrid(LocalGrid(same, 2), 2)

    def test_a_client_without_the_query_is_an_error(self) -> None:
        with pytest.raises(SpikeleakError, match=r"did not report its partition.*No query function"):
            OrderedGrid(LocalGrid(ClientApp(), 2), 2)

    def test_a_seeded_strategy_samples_by_round_and_leaves_global_generators_alone(self) -> None:
        grid = LocalGrid(answer_partition_query(ClientApp()), 10)

        def sampled(seed: int) -> list[list[int]]:
            seeded = SeededStrategy(FedAvg(fraction_train=0.3, fraction_evaluate=0.0), seed)
            rounds = (seeded.configure_train(number, ArrayRecord(), ConfigRecord(), grid) for number in range(1, 6))
            return [[message.metadata.dst_node_id for message in messages] for messages in rounds]

        before = random.getstate()
        first = sampled(1)
        assert random.getstate() == before
        assert sampled(1) == first
        assert sampled(2) != first
        assert len({tuple(nodes) for nodes in first}) > 1


class TestLocalGrid:
    def test_messages_share_no_record_and_contexts_last(self) -> None:
        def client(message: Message, context: Context) -> Message:
            assert "x" in message.content.array_records["arrays"]
            message.content.array_records["arrays"].clear()
            seen = context.state.metric_records.get("seen", MetricRecord({"count": 0}))
            context.state["seen"] = MetricRecord({"count": int(str(seen["count"])) + 1})
            return Message(RecordDict({"seen": context.state["seen"]}), reply_to=message)

        grid = LocalGrid(client, 3)
        content = RecordDict({"arrays": ArrayRecord({"x": Array(np.ones(2))})})
        for turn in (1, 2):
            replies = list(grid.send_and_receive([Message(content, node, "train") for node in grid.get_node_ids()]))
            assert [reply.content.metric_records["seen"]["count"] for reply in replies] == [turn] * 3
        assert list(content.array_records["arrays"]) == ["x"]

    def test_a_missing_node_is_an_error_reply(self) -> None:
        grid = LocalGrid(ClientApp(), 1)
        (reply,) = grid.send_and_receive([Message(RecordDict(), 99, "train")])
        assert "no node 99" in str(reply.error.reason)

    def test_replies_are_pulled_once(self) -> None:
        grid = LocalGrid(answer_partition_query(ClientApp()), 2)
        ids = list(grid.push_messages([Message(RecordDict(), node, "query.partition") for node in grid.get_node_ids()]))
        assert [reply.metadata.reply_to_message_id for reply in grid.pull_messages(ids)] == ids
        assert list(grid.pull_messages(ids)) == []


class TestStrategies:
    @pytest.mark.parametrize("name", strategies(STRATEGIES))
    def test_every_strategy_of_the_table_runs(self, name: str, tmp_path: Path) -> None:
        defence = next((own for own, entry in DEFENCES.items() if entry.strategy == name), "none")
        tables = {"strategy": name_table(name), "defence": {"name": defence}}
        config = config_of(**tables, federation={"clients": 7, "rounds": 2})
        trained = run_federation(config, output=tmp_path, federation_id="f")
        assert all(bool(tensor.isfinite().all()) for tensor in trained.parameters.values())
        assert len(CaptureStore(tmp_path / "captures")) == 14

    @pytest.mark.parametrize("name", STRATEGIES)
    def test_the_table_of_arguments_is_flowers(self, name: str) -> None:
        constructor = (FedAvg if name == "FedSGD" else getattr(flwr.serverapp.strategy, name)).__init__
        told = {key: kind for key, kind in typing.get_type_hints(constructor).items() if kind in (int, float)}
        assert STRATEGY_ARGUMENTS[name] == {key: kind for key, kind in told.items() if key not in FIXED_ARGUMENTS}

    @pytest.mark.parametrize(
        ("table", "problem"),
        [
            ({"name": "FedProx", "proximal_nu": 1.0}, r"strategy.proximal_nu: unknown.*'proximal_mu'"),
            ({"name": "FedProx", "proximal_mu": "big"}, r"strategy.proximal_mu: .*number, got 'big'"),
            ({"name": "FedAvg", "fraction_train": 0.5}, r"strategy.fraction_train: set by federation.fraction"),
            ({"name": "FedSGD", "eta": 0.5}, r"strategy.eta: unknown argument of FedSGD. It has none."),
            ({"name": "QFedAvg", "client_learning_rate": 0.5}, r"set by federation.learning_rate"),
        ],
    )
    def test_a_wrong_argument_is_refused_by_its_path(self, table: dict[str, object], problem: str) -> None:
        with pytest.raises(ConfigError, match=problem):
            build_strategy(config_of(strategy=table))

    def test_fedsgd_steps_along_the_mean_gradient_weighted_by_examples(self) -> None:
        def client(message: Message, context: Context) -> Message:
            assert message.content.config_records["config"]["share"] == "gradient"
            value = float(context.node_config["partition-id"])
            metrics = MetricRecord({"num-examples": 1 + int(value)})
            gradient = ArrayRecord({"w": Array(np.full(2, value, np.float32))})
            return Message(RecordDict({"arrays": gradient, "metrics": metrics}), reply_to=message)

        start = ArrayRecord({"w": Array(np.ones(2, np.float32)), "buffer": Array(np.full(1, 5, np.int64))})
        strategy = FedSGD(FedAvg(fraction_evaluate=0.0), learning_rate=0.1)
        result = strategy.start(grid=LocalGrid(client, 3), initial_arrays=start, num_rounds=2)
        # The mean of 0, 1, 2 with weights 1, 2, 3 is 8/6; two steps of 0.1.
        np.testing.assert_allclose(result.arrays["w"].numpy(), 1 - 2 * 0.1 * 8 / 6, rtol=1e-6)
        assert result.arrays["w"].numpy().dtype == np.float32
        assert result.arrays["buffer"].numpy() == 5


def name_table(name: str) -> dict[str, object]:
    """Return the strategy's table; Krum's family need at most (n - 3) / 4 malicious clients, here one of seven."""
    if name in STRATEGY_CLAIMS:
        norm = {} if "Adaptive" in name else {"clipping_norm": 1.0}
        return {"name": name, "noise_multiplier": 0.2, **norm}
    return {"name": name, "num_malicious_nodes": 1} if name in ("Krum", "MultiKrum", "Bulyan") else {"name": name}


class TestRunFederation:
    def test_no_example_of_a_client_is_in_the_test_of_the_global_model(self) -> None:
        held, unseen = splits(config_of(dataset={"split": "test"}).dataset)
        assert (len(held), len(unseen)) == (500, 1297)

    @pytest.mark.parametrize("federation", [{"batch_size": 1000}, {"clients": 5000}])
    def test_a_client_without_a_batch_is_refused_before_the_engine_starts(
        self, tmp_path: Path, federation: dict[str, int]
    ) -> None:
        with pytest.raises(ConfigError, match=r"325 examples, too few|clients|partitions"):
            run_federation(config_of(federation=federation), output=tmp_path / "run", federation_id="f")
        assert not (tmp_path / "run").exists()

    def test_a_file_in_the_place_of_the_output_fails_the_federation(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(SpikeleakError, match="none of the 4 clients"):
            run_federation(config_of(), output=tmp_path / "file", federation_id="f")

    def test_flower_is_quiet_unless_asked(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        run_federation(config_of(), output=tmp_path, federation_id="f")
        assert not caplog.records
        run_federation(config_of(), output=tmp_path, federation_id="f", verbose=True)
        assert any("configure_train: Sampled 4 nodes" in record.getMessage() for record in caplog.records)

    def test_a_sink_replaces_the_store(self, tmp_path: Path) -> None:
        captures: list[CapturedUpdate] = []
        run_federation(config_of(), output=tmp_path, federation_id="f", sink=captures.append)
        assert [capture.client for capture in captures] == [0, 1, 2, 3]
        assert not (tmp_path / "captures").exists()
        assert len(SealedStore(tmp_path / "sealed")) == 4


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A federation in this process needs no socket."""

    def refuse(*_: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr("socket.socket.connect", refuse)


@pytest.mark.parametrize("share", [True, False])
def test_labels_are_recorded_in_the_order_of_use_if_clients_share_them(share: bool, tmp_path: Path) -> None:
    federation = {"clients": 2, "local_steps": 2, "batch_size": 3, "share_labels": share}
    config = config_of(federation=federation, strategy={"name": "FedAvg"})
    run_federation(config, output=tmp_path, federation_id="f")
    captures, sealed = CaptureStore(tmp_path / "captures"), SealedStore(tmp_path / "sealed")
    assert len(captures.ids()) == 2
    for name in captures.ids():
        told, labels = captures.load(name).labels, sealed.load(name).labels
        assert (told is not None and told.equal(labels)) if share else told is None
