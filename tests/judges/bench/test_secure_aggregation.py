"""Behind secure aggregation: a sum is attacked with the truth of all its clients; a masked share tells nothing."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

with warnings.catch_warnings():
    # typer 0.20 reads two names that click 8.5 deprecates; neither is ours.
    warnings.filterwarnings("ignore", "'click", DeprecationWarning)
    import flwr.serverapp  # noqa: F401

import numpy as np
import pytest
import torch
from flwr.app import Context, Message, RecordDict
from flwr.client import ClientApp, NumPyClient
from flwr.client.mod import secaggplus_mod
from flwr.common import bytes_to_ndarray, ndarrays_to_parameters
from flwr.common.secure_aggregation.secaggplus_constants import Key
from flwr.server import LegacyContext, ServerConfig
from flwr.server.strategy import FedAvg
from flwr.server.workflow import DefaultWorkflow, SecAggPlusWorkflow
from torch import Tensor

from attacks import build_attack
from fl_sim.captures import CaptureStore
from fl_sim.federation.interception import CuriousGrid
from fl_sim.federation.local_grid import LocalGrid
from fl_sim.federation.messages import SECURE_AGGREGATION
from fl_sim.federation.wrappers import GridWrapper
from fl_sim.models import build_model
from fl_sim.observed import batch_size
from fl_sim.records import CapturedUpdate, InputSpec, ModelSpec, SealedBatch
from fl_sim.training import gradient, parameters_of
from judges.bench.execution import run_plan
from judges.plans.gradient_inversion import make_plan
from judges.progress import Watch
from judges.runs.rows import read_scores
from judges.scoring.image_metrics import ssim
from judges.scoring.truths import composed

pytestmark = [pytest.mark.endurance, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

SPEC = ModelSpec("lenet", InputSpec(1, 8, 8, 10), "uniform")
RATE, CLIENTS = 0.1, 3
CLIPPING, TARGET = 8.0, 2**22
"""Range and number of levels of SecAgg+'s quantisation."""


def victim(client: int) -> tuple[Tensor, Tensor]:
    """Return a picture with a bright bar, and its label."""
    image = torch.zeros(1, 1, 8, 8)
    image[0, 0, 1 + 2 * client : 3 + 2 * client, 1:7] = 1.0
    return image, torch.tensor([client])


class Client(NumPyClient):
    def __init__(self, partition: int) -> None:
        self.partition = partition

    def fit(self, parameters: list[Any], config: dict[str, Any]) -> tuple[list[Any], int, dict[str, Any]]:
        model = build_model(SPEC)
        for parameter, array in zip(model.parameters(), parameters, strict=True):
            parameter.data = torch.tensor(array, dtype=torch.float32)
        for name, slope in gradient(model, *victim(self.partition)).items():
            model.get_parameter(name).data -= float(config["lr"]) * slope
        state = [tensor.numpy() for tensor in parameters_of(model).values()]
        return state, 1, {"partition-id": self.partition}


class Eavesdropper(GridWrapper):
    """Keeps the masked vectors that pass."""

    def __init__(self, grid: Any) -> None:
        super().__init__(grid)
        self.masked: dict[int, list[np.ndarray[Any, Any]]] = {}

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        replies = list(self.grid.send_and_receive(messages, timeout=timeout))
        for reply in replies:
            config = reply.content.config_records.get(SECURE_AGGREGATION)
            if config is not None and Key.MASKED_PARAMETERS in config:
                parts: Any = config[Key.MASKED_PARAMETERS]
                # The first is the weight by which the sum is divided.
                self.masked[reply.metadata.src_node_id] = [bytes_to_ndarray(part) for part in parts][1:]
        return replies


def federate(captures: list[CapturedUpdate]) -> Eavesdropper:
    """Run two rounds of Flower's SecAgg+ with a curious server."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - the quantisation of SecAgg+ draws from this one
    app = ClientApp(client_fn=lambda context: Client(int(context.node_config["partition-id"])).to_client(),
                    mods=[secaggplus_mod])  # fmt: skip
    initial = [tensor.numpy() for tensor in parameters_of(build_model(SPEC, seed=0)).values()]
    strategy = FedAvg(
        fraction_evaluate=0.0,
        min_fit_clients=CLIENTS,
        min_available_clients=CLIENTS,
        initial_parameters=ndarrays_to_parameters(initial),
        on_fit_config_fn=lambda _: {"lr": RATE, "local_steps": 1, "batch_size": 1},
    )
    blank = Context(run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config={})
    context = LegacyContext(context=blank, config=ServerConfig(num_rounds=2), strategy=strategy)
    workflow = SecAggPlusWorkflow(
        num_shares=3, reconstruction_threshold=2, max_weight=1.0, clipping_range=CLIPPING, quantization_range=TARGET
    )
    grid = Eavesdropper(LocalGrid(app, CLIENTS))
    DefaultWorkflow(fit_workflow=workflow)(CuriousGrid(grid, captures.append, model=SPEC), context)
    return grid


def as_if_an_update(capture: CapturedUpdate, masked: list[np.ndarray[Any, Any]]) -> CapturedUpdate:
    """Return a masked share, put back into numbers as an unmasked one would be, as if it were a client's weights."""
    update = {}
    for (name, sent), vector in zip(capture.parameters.items(), masked, strict=True):
        weights = torch.from_numpy(vector.astype(np.float64) / TARGET * 2 * CLIPPING - CLIPPING)
        update[name] = (weights - sent.double()).float()
    facts = {"clients": 1, "members": None, "num_examples": 1, "id": "federation/r001-c000", "client": 0}
    return CapturedUpdate(**{**vars(capture), "update": update, **facts})


def attack(capture: CapturedUpdate) -> tuple[Tensor, Tensor]:
    """Return the answer to an update, and the guess from which it started."""
    answers = [
        build_attack("inverting_gradients", {"steps": steps}).reconstruct([capture], seed=0)[0].inputs
        for steps in (120, 1)
    ]
    return answers[0], answers[1]


def test_a_curious_grid_sees_the_aggregate_and_a_masked_share_attacked_as_an_update_is_no_better_than_a_guess() -> None:
    captures: list[CapturedUpdate] = []
    grid = federate(captures)
    (capture,) = captures  # of round 1, in the model of round 2; nothing else is recorded
    assert (capture.clients, capture.members, batch_size(capture)) == (CLIENTS, (0, 1, 2), CLIENTS)
    model = build_model(SPEC)
    model.load_state_dict(dict(capture.parameters))
    everything = [torch.cat(parts) for parts in zip(*map(victim, range(CLIENTS)), strict=True)]
    mean = gradient(model, *everything)
    for name, tensor in capture.update.items():
        torch.testing.assert_close(-tensor / RATE, mean[name], rtol=0, atol=3e-3)
    truths = [victim(client)[0] for client in range(CLIENTS)]
    answers, guesses = [], []
    for masked in grid.masked.values():
        share = as_if_an_update(capture, masked)
        answer, guess = attack(share)
        answers.append(np.mean([float(ssim(answer, truth, low=0.0, high=1.0)) for truth in truths]))
        guesses.append(np.mean([float(ssim(guess, truth, low=0.0, high=1.0)) for truth in truths]))
    # The masks are the system's own random numbers, and the SSIM of two unrelated pictures of 8x8 is up to 0.4: what
    # an attack learns shows in the mean over shares and truths, which is 0.00 to 0.01 in twenty draws of masks.
    assert len(answers) == CLIENTS
    assert abs(np.mean(answers) - np.mean(guesses)) < 0.1
    assert np.mean(answers) < 0.1
    slopes = gradient(model, *victim(0))
    alone = CapturedUpdate(**{**vars(share), "update": {name: -RATE * slope for name, slope in slopes.items()}})
    answer, _ = attack(alone)  # the same attack on the same client's unmasked update
    assert float(ssim(answer, victim(0)[0], low=0.0, high=1.0)) > 0.6


# The sum in an experiment


def test_the_seal_of_a_sum_is_composed_of_its_clients() -> None:
    still = [SealedBatch(f"f/r001-c00{at}", torch.full((2, 1, 3, 3), at), torch.tensor([at, at])) for at in (0, 1)]
    assert composed("f/r001-c000", still[:1]) is still[0]
    whole = composed("f/r001-c009", still)
    assert (whole.capture_id, whole.labels.tolist()) == ("f/r001-c009", [0, 0, 1, 1])
    assert whole.inputs[:, 0, 0, 0].tolist() == [0, 0, 1, 1]
    events = [SealedBatch("x", torch.zeros(5, 2, 1, 3, 3), torch.tensor([at, at])) for at in (0, 1)]
    assert composed("f/r001-c009", events).inputs.shape == (5, 4, 1, 3, 3)


def test_sums_over_k_clients_are_an_axis_and_scored_with_the_truth_of_all(tmp_path: Path) -> None:
    raw = {
        "name": "sums",
        "judge": "none",
        "dataset": {"name": "digits", "split": "test"},
        "federation": {"clients": 4, "observer": "sum of clients", "summed_clients": [1, 2, 4]},
        "attack": {"name": "inverting_gradients", "steps": 3},
    }
    run_plan(make_plan(raw), tmp_path, Watch())
    rows = [row for row in read_scores(tmp_path / "scores.csv") if not row.is_control]
    found = {k: [row for row in rows if dict(row.varied) == {"summed_clients": k}] for k in (1, 2, 4)}
    assert {k: len({row.capture_id for row in own}) for k, own in found.items()} == {1: 4, 2: 2, 4: 1}
    assert {k: len(own) for k, own in found.items()} == {1: 4, 2: 4, 4: 4}  # the same four examples, each in one sum
    assert len({tuple(sorted(row.label for row in own)) for own in found.values()}) == 1
    assert all(row.mismatch is not None and row.mismatch < 1e-3 for row in rows)  # the truth explains the sum
    assert all(row.label_found for row in found[1])
    names = {one.members for one in CaptureStore(tmp_path / "captures")}
    assert names == {(0,), (1,), (2,), (3,), (0, 1), (2, 3), (0, 1, 2, 3)}
    assert "no client's own update (federation.observer)" in (tmp_path / "report.md").read_text()
