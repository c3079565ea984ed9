"""An audit of clients as in Flower's quickstart: SGD with momentum, several batches, loaders that shuffle."""

from __future__ import annotations

from pathlib import Path

import torch

from fl_sim.captures import CaptureStore, SealedStore
from fl_sim.client_steps import train_client
from fl_sim.client_training import ClientTraining
from fl_sim.losses import targets_of
from fl_sim.models import build_model
from fl_sim.records import CapturedUpdate, SealedBatch
from judges.runs.manifest import read_manifest
from judges.runs.rows import read_scores
from judges.summaries.gradient_inversion import read_summary
from tests.judges.bench.test_audit import SPEC, audit

COUNT = 5
ORDERS = [[0, 1, 2, 3, 4], [3, 2, 4, 0, 1]]
ASSUMED = ("assumed.epochs=2", "assumed.batch_size=2", "assumed.momentum=0.9")


def leave_epochs(folder: Path, *, sealed: int) -> None:
    """Leave the update of two epochs in steps of 2, 2 and 1 examples, and the truth of the first `sealed` epochs."""
    generator = torch.Generator().manual_seed(0)
    inputs, labels = torch.rand(COUNT, 1, 8, 8, generator=generator), torch.tensor([0, 1, 2, 3, 1])
    module, training = build_model(SPEC, seed=0), ClientTraining(momentum=0.9)
    sent = {name: value.clone() for name, value in module.state_dict().items()}
    steps = [torch.tensor(order[at : at + 2]) for order in ORDERS for at in range(0, COUNT, 2)]
    batches = [(inputs[step], targets_of(training, labels[step], 4)) for step in steps]
    train_client(module, batches, training, learning_rate=0.3)
    update = {name: value - sent[name] for name, value in module.state_dict().items()}
    capture = CapturedUpdate("mine/r001-c000", 1, 0, SPEC, sent, update, "delta", learning_rate=0.3, num_examples=COUNT)
    CaptureStore(folder / "captures")(capture)
    used = torch.tensor([index for order in ORDERS[:sealed] for index in order])
    SealedStore(folder / "sealed")(SealedBatch(capture.id, inputs[used], labels[used]))


def test_a_truth_of_all_epochs_explains_the_update_in_whatever_order_they_were(tmp_path: Path) -> None:
    leave_epochs(tmp_path, sealed=2)
    audit(tmp_path, "attack.iterations=1", *ASSUMED)
    rows = read_scores(tmp_path / "scores.csv")
    assert len([row for row in rows if not row.is_control]) == COUNT
    assert max(row.mismatch or 0.0 for row in rows) < 1e-4
    (warning,) = read_manifest(tmp_path)["warnings"]
    assert warning.startswith("the clients of 1 updates used their examples in another order in later epochs")
    (cell,) = (cell for cell in read_summary(tmp_path / "summary.json").cells if not cell.control)
    assert cell.verdict != "wrong problem"


def test_a_truth_of_one_epoch_cannot_explain_another_order(tmp_path: Path) -> None:
    leave_epochs(tmp_path, sealed=1)
    audit(tmp_path, "attack.iterations=1", *ASSUMED)
    assert min(row.mismatch or 0.0 for row in read_scores(tmp_path / "scores.csv")) > 0.05
    (warning,) = read_manifest(tmp_path)["warnings"]
    assert "the batches were not sealed in the order in which they were used, those of all epochs" in warning


def test_a_wrong_momentum_is_a_wrong_problem_in_any_order(tmp_path: Path) -> None:
    leave_epochs(tmp_path, sealed=2)
    audit(tmp_path, "attack.iterations=1", *ASSUMED[:2])
    (warning,) = read_manifest(tmp_path)["warnings"]
    assert "pointed at the wrong problem" in warning


def test_the_labels_of_several_steps_that_are_too_many_examples_are_named(tmp_path: Path) -> None:
    leave_epochs(tmp_path, sealed=2)
    audit(tmp_path, "attack.most_examples=4", *ASSUMED)
    rows = [row for row in read_scores(tmp_path / "scores.csv") if not row.is_control]
    assert {row.stop_reason for row in rows} == {"not attempted"}
    assert sum(bool(row.label_found) for row in rows) >= COUNT - 1
