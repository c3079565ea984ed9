"""Sealing in a client app: what the log says, and that a training ends in any case."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from flwr.app import ConfigRecord, Context, Message, RecordDict
from torch import Tensor

from fl_sim.captures import SealedStore
from fl_sim.federation.local_grid import LocalGrid
from fl_sim.federation.sealing import seal
from fl_sim.records import InputSpec, ModelSpec

SPEC = ModelSpec("lenet", InputSpec(1, 8, 8, 10))
IMAGES = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([3, 7])
NAME = "mine/r004-c000"

Train = Callable[..., Message]


@pytest.fixture
def train(tmp_path: Path) -> Train:
    """Return a function that lets a client seal a batch and reply."""

    def run(inputs: Tensor, labels: Tensor, *model: ModelSpec | InputSpec | None, **config: int) -> Message:
        def client(message: Message, context: Context) -> Message:
            content = RecordDict()
            if config.pop("forget", 0):
                context.node_config.clear()
            seal(tmp_path, "mine", message, context, content, inputs, labels, *model)
            return Message(content, reply_to=message)

        orders = ConfigRecord({"server-round": 4, **config} if "nothing" not in config else {})
        grid = LocalGrid(client, 1)
        (reply,) = grid.send_and_receive([Message(RecordDict({"config": orders}), 1 + 1, "train")])
        return reply

    return run


def told(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelno == level and "Sealing" in one.getMessage()]


@pytest.fixture(autouse=True)
def _log_of_flower(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "flwr")


@pytest.mark.parametrize("model", [(), (None,), (SPEC,), (SPEC.input,)])
def test_a_batch_in_the_form_of_the_records_is_sealed_silently(
    train: Train, model: tuple[ModelSpec | InputSpec | None, ...], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reply = train(IMAGES, LABELS, *model)
    assert reply.content.config_records["client"]["partition-id"] == 0
    (batch,) = SealedStore(tmp_path / "sealed")
    assert (batch.capture_id, batch.labels.tolist()) == (NAME, [3, 7])
    assert torch.equal(batch.inputs, IMAGES)
    assert told(caplog, logging.INFO) + told(caplog, logging.WARNING) == []


def test_what_is_converted_is_told_in_one_sentence(
    train: Train, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train((IMAGES[:, 0] * 255).round().to(torch.uint8), LABELS[:, None].int(), SPEC)
    (batch,) = SealedStore(tmp_path / "sealed")
    assert torch.equal(batch.inputs, (IMAGES * 255).round() / 255)
    assert batch.labels.tolist() == [3, 7]
    assert told(caplog, logging.INFO) == [
        f"Sealing: {NAME} took labels (2, 1) of int32 as (2,) of int64; "
        "inputs (2, 8, 8), read as (N, H, W), as (2, 1, 8, 8); "
        "inputs (2, 1, 8, 8) of uint8 from 0 to 255 as x / 255, mapped to [0, 1]"
    ]


@pytest.mark.parametrize(
    ("inputs", "labels", "config", "reason"),
    [
        (IMAGES, LABELS + 3, {}, "labels from 0 to 9 for 10 classes, got 10; they seem to be counted from 1"),
        (IMAGES, LABELS[:1], {}, "as many sealed labels as inputs, got 1 for 2 inputs"),
        (IMAGES * torch.nan, LABELS, {}, "hold NaN"),
        (IMAGES.to_sparse(), LABELS, {}, "Error: "),
        (IMAGES, LABELS, {"nothing": 1}, "server-round: expected the round"),
        (IMAGES, LABELS, {"forget": 1}, "partition-id: expected the client's number"),
    ],
)
def test_a_refusal_is_one_warning_and_the_client_replies(
    inputs: Tensor,
    labels: Tensor,
    config: dict[str, int],
    reason: str,
    train: Train,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    reply = train(inputs, labels, SPEC, **config)
    assert reply.has_content()
    assert ("client" in reply.content.config_records) == ("forget" not in config)
    (warning,) = told(caplog, logging.WARNING)
    assert warning.startswith("Sealing: a batch is left out and its update will not be scored: ")
    assert reason in warning
    assert list(SealedStore(tmp_path / "sealed")) == []


def test_another_batch_of_the_same_round_is_not_written_over_the_first(
    train: Train, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for inputs in (IMAGES, IMAGES, IMAGES.flip(0)):
        train(inputs, LABELS)
    (warning,) = told(caplog, logging.WARNING)
    assert "already holds another batch" in warning
    assert torch.equal(SealedStore(tmp_path / "sealed").load(NAME).inputs, IMAGES)


def test_a_folder_that_cannot_be_written_does_not_end_the_training(
    train: Train, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "sealed").write_text("a file where the folder should be")
    assert train(IMAGES, LABELS).has_content()
    assert len(told(caplog, logging.WARNING)) == 1
