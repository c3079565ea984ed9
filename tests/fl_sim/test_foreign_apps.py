"""Other people's Flower apps: what their strategies aggregate is recorded, and training ends in the same bits."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

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
from torch import Tensor, nn

from fl_sim.federation.interception import CuriousGrid, CuriousStrategy
from fl_sim.federation.local_grid import LocalGrid
from fl_sim.models import MODELS, ModelEntry
from fl_sim.observed import batch_size
from fl_sim.records import CapturedUpdate, InputSpec, ModelSpec

SPEC = ModelSpec("net_of_others", InputSpec(channels=1, height=4, width=4, classes=3))
RATE, CLIENTS = 0.1, 3
Reply = Callable[[dict[str, Tensor], Context], dict[str, Any]]


class Net(nn.Module):
    def __init__(self, *, norm: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.norm = nn.BatchNorm2d(2) if norm else nn.Identity()
        self.head = nn.Linear(8, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        features = torch.sigmoid(self.norm(self.conv(inputs.to(self.conv.weight.dtype))))
        logits: Tensor = self.head(features.flatten(1))
        return logits


@pytest.fixture(autouse=True)
def _known() -> Iterator[None]:
    MODELS["net_of_others"] = ModelEntry(lambda _: Net(), spiking=False, summary="a network of a user")
    yield
    del MODELS["net_of_others"]


def step(net: nn.Module, partition: int, examples: int = 4) -> None:
    """One plain SGD step on a batch of this client's."""
    generator = torch.Generator().manual_seed(partition)
    inputs, labels = torch.rand(examples, 1, 4, 4, generator=generator), torch.arange(examples) % 3
    net.zero_grad()
    nn.functional.cross_entropy(net(inputs).float(), labels).backward()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.grad is not None:
                parameter.sub_(RATE * parameter.grad)


@dataclass(frozen=True)
class Kind:
    """A habit of an app.

    Attributes:
        net: the model.
        record: name of the ArrayRecord.
        sends: whether the server sends an array of this name.
        prefix: put before all names by a wrapper.
        reply: content of a client's reply, from its state after training.
        num_examples: as recorded of clients 0, 1, 2.
        strategy: arguments of the strategy.
    """

    net: Callable[[], nn.Module] = Net
    record: str = "arrays"
    sends: Callable[[str], bool] = lambda _: True
    prefix: str = ""
    reply: Reply = lambda state, _: {"arrays": ArrayRecord(state), "metrics": MetricRecord({"num-examples": 4})}
    num_examples: tuple[int, ...] = (4, 4, 4)
    strategy: Mapping[str, Any] = field(default_factory=dict)


def told(**metrics: float) -> Reply:
    spelled = {key.replace("_", "-"): value for key, value in metrics.items()}
    return lambda state, _: {"arrays": ArrayRecord(state), "metrics": MetricRecord({**spelled, "loss": 1.0})}


def named(name: str) -> Reply:
    return lambda state, _: {name: ArrayRecord(state), "metrics": MetricRecord({"num-examples": 4})}


def none_of_client_one(state: dict[str, Tensor], context: Context) -> dict[str, Any]:
    count = 0 if context.node_config["partition-id"] == 1 else 4
    return told(num_examples=count)(state, context)


def with_extra(state: dict[str, Tensor], context: Context) -> dict[str, Any]:
    return told(num_examples=4)({**state, "momentum": torch.ones(3)}, context)


def only(part: str) -> Reply:
    return lambda state, context: told(num_examples=4)(
        {name: tensor for name, tensor in state.items() if part in name}, context
    )


def frozen() -> Net:
    net = Net()
    net.conv.requires_grad_(requires_grad=False)
    return net


KINDS: dict[str, Kind] = {
    "plain": Kind(),
    "another key of the weight": Kind(reply=told(samples=4), strategy={"weighted_by_key": "samples"}),
    "a key of one's own": Kind(reply=told(held=4), strategy={"weighted_by_key": "held"}),
    "another name of the arrays": Kind(record="model", reply=named("model"), strategy={"arrayrecord_key": "model"}),
    "no examples": Kind(reply=none_of_client_one, num_examples=(4, 0, 4)),
    "a float count": Kind(reply=told(num_examples=4.0)),
    "a fraction of an example": Kind(reply=told(num_examples=4.5), num_examples=(0, 0, 0)),
    "batch normalisation": Kind(lambda: Net(norm=True)),
    "a frozen layer": Kind(frozen),
    "half precision": Kind(lambda: Net().half()),
    "only the head is shared": Kind(sends=lambda name: "head" in name, reply=only("head")),
    "only the head comes back": Kind(reply=only("head"), strategy={}),
    "all but batch normalisation": Kind(
        lambda: Net(norm=True), sends=lambda name: "norm" not in name,
        reply=lambda state, context: told(num_examples=4)({k: v for k, v in state.items() if "norm" not in k}, context),
    ),
    "more than was sent": Kind(reply=with_extra),
    "DataParallel": Kind(prefix="module."),
    "Opacus": Kind(prefix="_module."),
    "torch.compile": Kind(prefix="_orig_mod."),
    "a member of a class": Kind(prefix="model."),
    "half of the clients": Kind(strategy={"fraction_train": 0.7}),
}  # fmt: skip


def client_app(kind: Kind) -> ClientApp:
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        net = kind.net()
        sent = message.content.array_records[kind.record].to_torch_state_dict()
        net.load_state_dict({name.removeprefix(kind.prefix): tensor for name, tensor in sent.items()}, strict=False)
        step(net, int(context.node_config["partition-id"]))
        state = {kind.prefix + name: tensor for name, tensor in net.state_dict().items()}
        return Message(RecordDict(kind.reply(state, context)), reply_to=message)

    return app


def run(kind: Kind, observe: Callable[[Grid, Strategy], tuple[Grid, Strategy]], rounds: int = 2) -> dict[str, bytes]:
    """Run a federation and return the bytes of its model."""
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - Flower draws from this one
    initial = {kind.prefix + name: tensor for name, tensor in kind.net().state_dict().items() if kind.sends(name)}
    strategy = FedAvg(fraction_evaluate=0.0, **kind.strategy)
    grid, watched = observe(LocalGrid(client_app(kind), CLIENTS), strategy)
    config = ConfigRecord({"lr": RATE, "local-steps": 1, "batch-size": 4})
    result = watched.start(grid=grid, initial_arrays=ArrayRecord(initial), train_config=config, num_rounds=rounds)
    return {name: array.data for name, array in result.arrays.items()}


def names_of(kind: Kind) -> set[str]:
    """Return the model's own names of what comes back of what was sent."""
    state = {name: tensor for name, tensor in kind.net().state_dict().items() if kind.sends(name)}
    context = Context(run_id=1, node_id=1, node_config={"partition-id": 0}, state=RecordDict(), run_config={})
    return {name for record in RecordDict(kind.reply(state, context)).array_records.values() for name in record} & set(
        state
    )


@pytest.mark.filterwarnings("ignore:.*fraction_evaluate")
@pytest.mark.parametrize("observer", ["grid", "strategy"])
@pytest.mark.parametrize("name", KINDS)
def test_an_app_is_recorded_and_trains_as_before(name: str, observer: str, caplog: pytest.LogCaptureFixture) -> None:
    kind, captures = KINDS[name], list[CapturedUpdate]()

    def observe(grid: Grid, strategy: Strategy) -> tuple[Grid, Strategy]:
        if observer == "grid":
            return CuriousGrid(grid, captures.append, model=SPEC, weighted_by_key=_key(strategy)), strategy
        return grid, CuriousStrategy(strategy, captures.append, model=SPEC)

    assert run(kind, observe) == run(kind, lambda grid, strategy: (grid, strategy))
    assert "is not recorded" not in caplog.text
    per_round = 2 if name == "half of the clients" else CLIENTS
    assert [capture.round for capture in captures] == [1] * per_round + [2] * per_round
    assert all(capture.num_examples == kind.num_examples[capture.client] for capture in captures)
    names = names_of(kind)
    for capture in captures:
        assert set(capture.update) - {"momentum"} == names  # an array that comes back is sent in the next round
        assert set(capture.parameters) >= names


def _key(strategy: Strategy) -> str | None:
    return getattr(strategy, "weighted_by_key", None)


def observed(kind: Kind, **more: Any) -> list[CapturedUpdate]:
    captures: list[CapturedUpdate] = []
    run(kind, lambda grid, strategy: (CuriousGrid(grid, captures.append, model=SPEC, **more), strategy), rounds=1)
    return captures


@pytest.mark.parametrize("name", ["plain", "torch.compile", "half precision", "a frozen layer", "batch normalisation"])
def test_the_update_is_what_the_client_did(name: str) -> None:
    kind = KINDS[name]
    for capture in observed(kind):
        net = kind.net()
        net.load_state_dict(dict(capture.parameters))
        step(net, capture.client)
        for key, tensor in net.state_dict().items():
            expected = (tensor.double() - capture.parameters[key].double()).to(capture.update[key].dtype)
            torch.testing.assert_close(capture.update[key], expected, rtol=0, atol=0)
    if name == "half precision":
        assert {tensor.dtype for tensor in [*capture.update.values(), *capture.parameters.values()]} == {torch.float16}
    if name == "batch normalisation":
        assert float(capture.update["norm.num_batches_tracked"]) == 1.0


def test_the_client_that_holds_less_than_a_batch() -> None:
    def app(message: Message, context: Context) -> Message:
        held = 3 if context.node_config["partition-id"] == 1 else 4
        content = RecordDict({
            "arrays": message.content.array_records["arrays"], "metrics": MetricRecord({"num-examples": held})
        })  # fmt: skip
        return Message(content, reply_to=message)

    captures: list[CapturedUpdate] = []
    grid = CuriousGrid(LocalGrid(app, 2), captures.append, model=SPEC)
    config = ConfigRecord({"lr": RATE, "local-steps": 1, "batch-size": 4})
    initial = ArrayRecord(Net().state_dict())
    FedAvg(fraction_evaluate=0.0).start(grid=grid, initial_arrays=initial, train_config=config, num_rounds=1)
    found = {one.client: (one.batch_size, one.num_examples, batch_size(one)) for one in captures}
    assert found == {0: (4, 4, 4), 1: (4, 3, 3)}


def message_loop(reply: Callable[[RecordDict], RecordDict], sent: RecordDict, **more: Any) -> list[CapturedUpdate]:
    """Send one message as an app without a strategy does, and return what is recorded."""
    captures: list[CapturedUpdate] = []
    local = LocalGrid(lambda message, _: Message(reply(message.content), reply_to=message), 1)
    grid = CuriousGrid(local, captures.append, model=SPEC, **more)
    node = next(iter(grid.get_node_ids()))
    list(grid.send_and_receive([Message(sent, node, "train", group_id="7")]))
    return captures


def plus(content: RecordDict, amount: float, record: str = "arrays") -> ArrayRecord:
    return ArrayRecord({
        name: Array(array.numpy() + np.asarray(amount, array.numpy().dtype))
        for name, array in content.array_records[record].items()
    })  # fmt: skip


def test_the_model_is_told_from_other_arrays_in_the_reply_and_in_what_is_sent() -> None:
    """SCAFFOLD sends control variates of the same names; others send a momentum of other names back."""
    sent = RecordDict({"arrays": ArrayRecord(Net().state_dict()), "control": ArrayRecord(Net().state_dict())})

    def client(content: RecordDict) -> RecordDict:
        return RecordDict({
            "momentum": ArrayRecord({"m": torch.zeros(2)}), "control": plus(content, 7.0, "control"),
            "arrays": plus(content, 1.0), "timing": MetricRecord({"seconds": 1.0, "step": 3}),
            "metrics": MetricRecord({"held": 5, "loss": 0.5}),
        })  # fmt: skip

    (capture,) = message_loop(client, sent)
    assert (capture.round, capture.num_examples) == (7, 5)
    for name, tensor in capture.update.items():
        torch.testing.assert_close(tensor, torch.ones_like(capture.parameters[name]), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("share", "sign"), [("delta", 1.0), ("minus-delta", -1.0), ("gradient", 1.0)])
def test_replies_that_are_no_weights_are_taken_for_what_the_operator_says(share: str, sign: float) -> None:
    sent = RecordDict({"arrays": ArrayRecord(Net().state_dict())})

    def client(_: RecordDict) -> RecordDict:
        return RecordDict({"arrays": ArrayRecord({k: torch.full_like(v, 3.0) for k, v in Net().state_dict().items()})})

    (capture,) = message_loop(client, sent, client={"share": share, "num-examples": 9})
    assert capture.num_examples == 9
    assert capture.kind == ("gradient" if share == "gradient" else "delta")
    assert all((tensor == 3.0 * sign).all() for tensor in capture.update.values())


def test_replies_that_do_not_look_like_weights_are_remarked(caplog: pytest.LogCaptureFixture) -> None:
    generator = torch.Generator().manual_seed(0)
    noise = {k: 0.01 * torch.randn(v.shape, generator=generator) for k, v in Net().state_dict().items()}
    sent = RecordDict({"arrays": ArrayRecord(Net().state_dict())})
    message_loop(lambda _: RecordDict({"arrays": ArrayRecord(noise)}), sent)
    assert "Replies hardly resemble the weights that were sent" in caplog.text
    caplog.clear()
    message_loop(lambda _: RecordDict({"arrays": ArrayRecord(noise)}), sent, client={"share": "delta"})
    message_loop(lambda content: RecordDict({"arrays": plus(content, 0.01)}), sent)
    assert "Replies hardly resemble" not in caplog.text


def test_a_server_that_asks_one_by_one_and_states_no_round_is_counted() -> None:
    captures: list[CapturedUpdate] = []
    local = LocalGrid(lambda message, _: Message(message.content, reply_to=message), 2)
    grid = CuriousGrid(local, captures.append, model=SPEC)
    first, second = grid.get_node_ids()
    old, new = (RecordDict({"arrays": ArrayRecord(Net().state_dict())}) for _ in range(2))
    for content, node in [(old, first), (old, second), (old, first), (new, second)]:
        list(grid.send_and_receive([Message(content, node, "train")]))
    assert [(capture.round, capture.client) for capture in captures] == [(1, 0), (1, 1), (2, 0), (3, 1)]


def test_a_prefix_on_one_side_only_is_no_obstacle() -> None:
    def client(content: RecordDict) -> RecordDict:
        return RecordDict({"arrays": ArrayRecord({f"_module.{k}": v for k, v in plus(content, 1.0).items()})})

    (capture,) = message_loop(client, RecordDict({"arrays": ArrayRecord(Net().state_dict())}))
    assert set(capture.update) == set(Net().state_dict())
    assert capture.num_examples == 0


def test_bfloat16_counters_and_masks_do_not_break() -> None:
    """NumPy has no bfloat16: packages store it as two bytes each, with its name beside."""

    def bfloat16(tensor: Tensor) -> Array:
        raw = tensor.bfloat16().view(torch.int16).numpy().view("V2")
        return Array("bfloat16", tuple(raw.shape), "numpy.ndarray", Array(raw).data)

    sent = {"w": bfloat16(torch.tensor([1.0, -2.0])), "n": Array(np.array(3)), "mask": Array(np.array([True, False]))}
    back = {"w": bfloat16(torch.tensor([1.5, -2.0])), "n": Array(np.array(4)), "mask": sent["mask"]}
    (capture,) = message_loop(
        lambda _: RecordDict({"arrays": ArrayRecord(back)}), RecordDict({"arrays": ArrayRecord(sent)})
    )
    assert capture.update["w"].tolist() == [0.5, 0.0]
    assert float(capture.update["n"]) == 1.0
    assert capture.update["mask"].tolist() == [0.0, 0.0]
    assert capture.parameters["mask"].tolist() == [True, False]


def test_a_strategy_with_a_start_of_its_own_is_run_by_it() -> None:
    class Own(FedAvg):
        started = 0

        def start(self, *args: Any, **kwargs: Any) -> Any:
            self.started += 1
            return super().start(*args, **kwargs)

    strategies: list[Own] = []
    captures: list[CapturedUpdate] = []

    def observe(grid: Grid, _: Strategy) -> tuple[Grid, Strategy]:
        strategies.append(Own(fraction_evaluate=0.0))
        return grid, CuriousStrategy(strategies[0], captures.append, model=SPEC)

    assert run(KINDS["plain"], observe) == run(KINDS["plain"], lambda grid, strategy: (grid, strategy))
    assert strategies[0].started == 1
    assert len(captures) == 2 * CLIENTS


def test_a_model_is_built_before_the_clients_train_and_never_meanwhile() -> None:
    """Building moves torch's generator, from which clients in other threads may draw."""
    built: list[int] = []
    before: list[int] = []

    def counted(_: ModelSpec) -> Net:
        built.append(1)
        return Net()

    MODELS["net_of_others"] = ModelEntry(counted, spiking=False, summary="counted")

    def observe(grid: Grid, strategy: Strategy) -> tuple[Grid, Strategy]:
        watched = CuriousGrid(grid, print, model=SPEC)
        before.append(len(built))
        return watched, strategy

    run(KINDS["DataParallel"], observe)
    assert before == [len(built)] == [1]


def test_float64_models_are_recorded_as_loaded_even_where_only_a_part_comes_back() -> None:
    captures: list[CapturedUpdate] = []

    def observe(grid: Grid, _: Strategy) -> tuple[Grid, Strategy]:
        return CuriousGrid(grid, captures.append, model=SPEC), FedAdam(fraction_evaluate=0.0)

    run(KINDS["only the head is shared"], observe)
    assert {tensor.dtype for capture in captures for tensor in capture.parameters.values()} == {torch.float32}
