"""What the operator of a curious server is told: after each round, at the end, and in a file beside the captures."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Context, Message, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy
from torch import Tensor

from fl_sim.accounts import Account
from fl_sim.captures import CaptureStore
from fl_sim.federation.interception import CuriousGrid
from fl_sim.federation.local_grid import LocalGrid
from fl_sim.models import MODELS, ModelEntry
from fl_sim.records import ModelSpec
from tests.fl_sim.test_foreign_apps import KINDS, SPEC, Kind, Net, client_app, observed, run, told


@pytest.fixture(autouse=True)
def _known() -> Iterator[None]:
    MODELS["net_of_others"] = ModelEntry(lambda _: Net(), spiking=False, summary="a network of a user")
    yield
    del MODELS["net_of_others"]


def test_each_round_and_the_end_say_what_was_recorded(caplog: pytest.LogCaptureFixture) -> None:
    gc.collect()  # the wrappers of other tests
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="flwr"):
        observed(KINDS["plain"])
        gc.collect()
    said = [record.getMessage() for record in caplog.records if "Curious server" in record.getMessage()]
    assert said == [
        "Curious server, round 1: recorded 3 of 3 replies.",
        "Curious server, whole federation: recorded 3 of 3 replies.",
    ]


def failing(partitions: tuple[int, ...]) -> Kind:
    def reply(state: dict[str, Tensor], context: Context) -> dict[str, Any]:
        if context.node_config["partition-id"] in partitions:
            raise ValueError("out of coffee")
        return told(num_examples=4)(state, context)

    return Kind(reply=reply)


def test_refusals_are_kept_beside_the_captures(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = CaptureStore(tmp_path)

    def observe(grid: Grid, strategy: Strategy) -> tuple[Grid, Strategy]:
        return CuriousGrid(grid, store, model=SPEC, federation_id="mine"), strategy

    run(failing((1,)), observe)
    gc.collect()
    (account,) = store.accounts().values()
    assert (account.replies, account.recorded, account.refused[0].replies) == (6, 4, 2)
    sentence = "recorded 4 of 6 replies; 2 not, the first that of client 1 in round 1: the client failed: ValueError: "
    assert account.sentence() == f"{sentence}out of coffee"
    assert caplog.text.count(f"whole federation: {sentence}") == 1
    run(KINDS["plain"], observe)
    gc.collect()
    assert store.accounts() == {}


def test_a_round_without_a_capture_is_a_warning_with_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    run(failing((0, 1, 2)), lambda grid, strategy: (CuriousGrid(grid, print, model=SPEC), strategy), rounds=1)
    (record,) = (record for record in caplog.records if "round 1: recorded 0 of 3" in record.getMessage())
    assert record.levelno == logging.WARNING
    assert "out of coffee" in record.getMessage()


def test_arrays_of_another_model_are_recorded_with_a_warning(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    store = CaptureStore(tmp_path)
    lenet = ModelSpec("lenet", SPEC.input)
    run(KINDS["plain"], lambda grid, strategy: (CuriousGrid(grid, store, model=lenet), strategy), rounds=1)
    gc.collect()
    assert {name for capture in store for name in capture.update} == set(Net().state_dict())
    remark = "The arrays that are sent are not those of the model 'lenet': its head.weight has shape (3, 12)"
    assert caplog.text.count(remark) == 2  # in the round and at the end
    assert store.accounts()["federation"].remarks[0].startswith(remark)


def test_a_wrapper_that_no_reply_passes_says_so(caplog: pytest.LogCaptureFixture) -> None:
    grid = CuriousGrid(LocalGrid(client_app(KINDS["plain"]), 1), print, model=SPEC)
    node = next(iter(grid.get_node_ids()))
    list(grid.send_and_receive([Message(RecordDict(), node, "query.hello")]))
    del grid
    gc.collect()
    assert "1 messages were sent, and no reply to a train message came back" in caplog.text


def test_an_account_survives_the_disk(tmp_path: Path) -> None:
    account = Account(replies=2, recorded=2, remarks=("A sentence.",))
    CaptureStore(tmp_path).note("mine", account)
    assert CaptureStore(tmp_path).accounts() == {"mine": account}
