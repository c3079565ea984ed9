"""Apps of `NumPyClient`s under Flower's legacy workflows, with and without secure aggregation."""

from __future__ import annotations

import gc
import random
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

with warnings.catch_warnings():
    # typer 0.20 reads two names that click 8.5 deprecates; neither is ours.
    warnings.filterwarnings("ignore", "'click", DeprecationWarning)
    import flwr.serverapp  # noqa: F401

import numpy as np
import numpy.typing as npt
import pytest
import torch
from flwr.app import Context, RecordDict
from flwr.client import ClientApp, NumPyClient
from flwr.client.mod import secaggplus_mod
from flwr.common import ndarrays_to_parameters
from flwr.server import LegacyContext, ServerApp, ServerAppComponents, ServerConfig
from flwr.server.strategy import FedAvg
from flwr.server.workflow import DefaultWorkflow, SecAggPlusWorkflow
from flwr.serverapp import Grid
from torch import nn

from fl_sim.captures import CaptureStore
from fl_sim.federation.interception import CuriousGrid
from fl_sim.federation.local_grid import LocalGrid
from fl_sim.models import MODELS, ModelEntry
from fl_sim.observed import batch_size, observed_gradient
from fl_sim.records import CapturedUpdate, InputSpec, ModelSpec
from fl_sim.training import gradient
from tests.readmes import block

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

SPEC = ModelSpec("net_of_a_list", InputSpec(channels=1, height=4, width=4, classes=3))
RATE, CLIENTS, HELD = 0.5, 3, 2
Arrays = list[npt.NDArray[Any]]


def net() -> nn.Sequential:
    return nn.Sequential(OrderedDict(
        body=nn.Conv2d(1, 2, 3), norm=nn.BatchNorm2d(2), act=nn.Sigmoid(), flat=nn.Flatten(), head=nn.Linear(8, 3)
    ))  # fmt: skip


@pytest.fixture(autouse=True)
def _known() -> Iterator[None]:
    MODELS["net_of_a_list"] = ModelEntry(lambda _: net(), spiking=False, summary="a network of a user")
    yield
    del MODELS["net_of_a_list"]


def batch(partition: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(partition)
    return torch.rand(HELD, 1, 4, 4, generator=generator), torch.tensor([partition % 3, (partition + 1) % 3])


def names(model: nn.Module, part: str) -> list[str]:
    """Return the names that an app shares of the state dict."""
    chosen: dict[str, Callable[[str], bool]] = {
        "all": lambda _: True, "all but norm": lambda name: "norm" not in name, "head": lambda name: "head" in name
    }  # fmt: skip
    return [name for name in model.state_dict() if chosen[part](name)]


class Client(NumPyClient):
    def __init__(self, partition: int, part: str) -> None:
        self.partition, self.part = partition, part

    def fit(self, parameters: Arrays, config: dict[str, Any]) -> tuple[Arrays, int, dict[str, Any]]:
        if config.get("fails") == self.partition:
            raise ValueError("out of coffee")
        model = net()
        mine = zip(names(model, self.part), parameters, strict=True)
        model.load_state_dict({name: torch.tensor(array) for name, array in mine}, strict=False)
        for name, slope in gradient(model, *batch(self.partition)).items():
            model.get_parameter(name).data -= float(config["lr"]) * slope
        state = [model.state_dict()[name].numpy() for name in names(model, self.part)]
        return state, HELD, {"partition-id": self.partition}

    def evaluate(self, *_: Any) -> tuple[float, int, dict[str, Any]]:
        return 0.5, HELD, {}


def client_app(part: str = "all", mods: Any = None) -> ClientApp:
    return ClientApp(
        client_fn=lambda context: Client(int(context.node_config["partition-id"]), part).to_client(), mods=mods
    )


def strategy(part: str = "all", *, evaluate: bool = False, **config: Any) -> FedAvg:
    torch.manual_seed(0)
    state = net().state_dict()
    initial = [state[name].numpy() for name in names(net(), part)]
    return FedAvg(
        fraction_evaluate=float(evaluate),
        min_fit_clients=CLIENTS,
        min_available_clients=CLIENTS,
        initial_parameters=ndarrays_to_parameters(initial),
        on_fit_config_fn=lambda _: {"lr": RATE, "local_steps": 1, "batch_size": HELD, **config},
    )


def context_of(rounds: int, plan: FedAvg) -> LegacyContext:
    blank = Context(run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config={})
    return LegacyContext(context=blank, config=ServerConfig(num_rounds=rounds), strategy=plan)


def run(
    watch: Callable[[Grid], Grid], app: ClientApp, plan: FedAvg, rounds: int = 2, workflow: Any = None
) -> list[bytes]:
    """Run a federation and return the bytes of its model."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - the quantisation of SecAgg+ draws from this one
    context = context_of(rounds, plan)
    (workflow or DefaultWorkflow())(watch(LocalGrid(app, CLIENTS)), context)
    return [array.data for record in context.state.array_records.values() for array in record.values()]


@pytest.mark.parametrize("part", ["all", "all but norm", "head"])
def test_a_list_of_arrays_is_recorded_by_the_names_of_the_model(part: str) -> None:
    captures: list[CapturedUpdate] = []
    app = client_app(part)
    with_it = run(lambda grid: CuriousGrid(grid, captures.append, model=SPEC), app, strategy(part))
    assert with_it == run(lambda grid: grid, app, strategy(part))
    assert sorted((capture.round, capture.client) for capture in captures) == [
        (number, client) for number in (1, 2) for client in range(CLIENTS)
    ]
    for capture in captures:
        assert list(capture.update) == list(capture.parameters) == names(net(), part)
        known = capture.learning_rate, capture.local_steps, capture.batch_size, capture.num_examples
        assert known == (RATE, 1, HELD, HELD)
    if part == "all":
        for capture in captures:
            model = net()
            model.load_state_dict(dict(capture.parameters))
            for name, slope in gradient(model, *batch(capture.client)).items():
                torch.testing.assert_close(observed_gradient(capture)[name], slope, rtol=1e-4, atol=1e-6)
            assert float(capture.update["norm.num_batches_tracked"]) == 1.0


def test_a_server_app_of_components_runs_over_a_watched_grid() -> None:
    """As in the README. Its legacy server asks each client from a thread of its own."""
    captures: list[CapturedUpdate] = []
    names: dict[str, Any] = {
        "ServerApp": ServerApp, "Grid": Grid, "Context": Context, "CuriousGrid": CuriousGrid, "spec": SPEC,
        "server_fn": lambda _: ServerAppComponents(strategy=strategy(), config=ServerConfig(num_rounds=2)),
        "store": captures.append,
    }  # fmt: skip
    exec(block("fl_sim/README.md", "components_server.py"), names)  # noqa: S102
    context = Context(run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config={})
    names["app"](LocalGrid(client_app(), CLIENTS), context)
    assert sorted(capture.id for capture in captures) == [
        f"federation/r{number:03d}-c{client:03d}" for number in (1, 2) for client in range(CLIENTS)
    ]
    assert {(capture.local_steps, capture.epochs) for capture in captures} == {(1, 1)}


def test_a_client_that_fails_is_not_recorded_and_the_rest_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = CaptureStore(tmp_path)
    watch: Callable[[Grid], Grid] = lambda grid: CuriousGrid(grid, store, model=SPEC)  # noqa: E731
    run(watch, client_app(), strategy(fails=1), rounds=1)
    gc.collect()
    assert [key.client for key in store.listed()] == [0, 2]
    assert "client 1 in round 1 is not recorded: the client failed: ValueError: out of coffee" in caplog.text
    assert store.accounts()["federation"].refused[0].replies == 1


@pytest.mark.parametrize("known", [True, False])
def test_a_list_that_does_not_fit_the_model_is_recorded_by_position(
    known: bool, caplog: pytest.LogCaptureFixture
) -> None:
    captures: list[CapturedUpdate] = []
    other = ModelSpec("lenet" if known else "nobody_knows", SPEC.input)
    run(lambda grid: CuriousGrid(grid, captures.append, model=other), client_app(), strategy(), rounds=1)
    assert [list(capture.update) for capture in captures] == [[str(index) for index in range(9)]] * CLIENTS
    reason = "9 arrays come as a list without names" if known else "'nobody_knows' that would give them names is not in"
    assert caplog.text.count(reason) == 1


# Secure aggregation


def secure(app_part: str = "all") -> tuple[ClientApp, DefaultWorkflow]:
    workflow = SecAggPlusWorkflow(num_shares=3, reconstruction_threshold=2, clipping_range=4.0)
    return client_app(app_part, mods=[secaggplus_mod]), DefaultWorkflow(fit_workflow=workflow)


@pytest.mark.parametrize("evaluate", [True, False])
def test_of_masked_replies_the_mean_is_recorded_from_the_next_model(
    evaluate: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = CaptureStore(tmp_path)
    app, workflow = secure()
    with_it = run(lambda grid: CuriousGrid(grid, store, model=SPEC), app, strategy(evaluate=evaluate), 2, workflow)
    assert with_it == run(lambda grid: grid, app, strategy(evaluate=evaluate), 2, workflow)
    gc.collect()
    captures = list(store)
    # The model after the last round is sent to those that evaluate it.
    assert [(capture.round, capture.clients, capture.num_examples) for capture in captures] == [
        (number, CLIENTS, CLIENTS * HELD) for number in ((1, 2) if evaluate else (1,))
    ]
    assert {capture.client for capture in captures} == {CLIENTS}  # none of them
    everything = torch.cat([batch(client)[0] for client in range(CLIENTS)])
    assert batch_size(captures[0]) == len(everything) == 6
    mean: dict[str, torch.Tensor] = {}
    for client in range(CLIENTS):
        model = net()
        model.load_state_dict(dict(captures[0].parameters))
        for name, slope in gradient(model, *batch(client)).items():
            mean[name] = mean.get(name, torch.zeros(())) + slope / CLIENTS
    for name, slope in mean.items():  # to the precision of SecAgg's quantisation
        torch.testing.assert_close(observed_gradient(captures[0])[name], slope, rtol=0, atol=3e-3)
    assert "recorded 3 of 3 replies (3 of them as a part of a mean, which is all that secure" in caplog.text
    refused = [account.refused[0] for account in store.accounts().values()]
    if evaluate:
        assert refused == []
    else:
        assert (refused[0].replies, refused[0].first) == (3, "3 clients in round 2")
        assert "masked by secure aggregation" in refused[0].reason
        assert "no model was sent after this round" in refused[0].reason
