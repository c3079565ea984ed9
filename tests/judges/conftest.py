"""Small victims, answers and a judge that knows them, without any attack or training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attacks.contracts import Reconstruction, StopReason
from fl_sim.records import InputSpec, SealedBatch
from judges.classifiers.cache import Judge
from judges.runs.rows import Score

SPEC = InputSpec(channels=1, height=12, width=12, classes=4)


class ByBrightRow(nn.Module):
    """Says class k where rows 3k to 3k + 2 are the brightest; it has one parameter, of no effect, for its dtype."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.mean(dim=(1, 3)).reshape(len(inputs), 4, 3).mean(dim=2) * 100 * self.scale


@pytest.fixture
def spec() -> InputSpec:
    return SPEC


@pytest.fixture
def judge() -> Judge:
    return Judge("rows", "toy", ByBrightRow(), 1.0, 0.25, 40, 8, "says which rows are bright")


@pytest.fixture
def sealed() -> SealedBatch:
    """Two pictures of class 1 and class 3."""
    inputs = 0.2 * torch.rand(2, 1, 12, 12, generator=torch.Generator().manual_seed(5))
    inputs[0, :, 3:6] += 0.7
    inputs[1, :, 9:12] += 0.7
    return SealedBatch("toy/r001-c000", inputs, torch.tensor([1, 3]))


@pytest.fixture
def answer() -> Callable[..., Reconstruction]:
    """Return a function that makes an answer to a sealed batch; keywords replace fields."""

    def make(sealed: SealedBatch, **changes: Any) -> Reconstruction:
        values: dict[str, Any] = {
            "capture_id": sealed.capture_id,
            "attack": "idlg",
            "settings": {},
            "inputs": sealed.inputs.clone(),
            "labels": sealed.labels.clone(),
            "matching_loss": 1e-7,
            "last_inputs": sealed.inputs.clone(),
            "loss_history": torch.tensor([1.0, 0.1, 1e-7]),
            "iterations": 60,
            "gradient_evaluations": 75,
            "restarts": 1,
            "stop_reason": StopReason.CONVERGED,
            "seconds": 0.5,
            "seed": 0,
        }
        return Reconstruction(**(values | changes))

    return make


@pytest.fixture(scope="session")
def row() -> Callable[..., Score]:
    """Return a function that makes a row; keywords replace fields.

    A control has no attack unless one is given, and a label is found where it is correct.
    """

    def make(**changes: Any) -> Score:
        model = str(changes.get("model", "lenet"))
        values: dict[str, Any] = {
            "experiment": "e", "cell": "c", "dataset": "toy", "model": model, "family": model.removeprefix("spiking_"),
            "spiking": model.startswith("spiking_"), "init": "uniform",
            "attack": "" if "control" in changes else "idlg",
            "guess": "normal", "thresholding": "none", "tau": None, "seed": 0, "repeat": 0,
            "capture_id": "toy/r001-c000", "example": 0,
            "ssim": 0.9, "psnr_db": 30.0, "mse": 0.001, "l2": 0.4, "label": 1, "label_recovered": 1,
            "label_correct": True, "judge_label": 1, "judge_correct": True, "judge_confidence": 0.75,
            "truth_judge_correct": True, "matching_loss": 1e-7, "iterations": 60, "gradient_evaluations": 75,
            "restarts": 1, "stop_reason": "converged", "seconds": 0.5, "solved": False, "recognisable": True,
            "last_ssim": 0.8, "last_psnr_db": 25.0, "last_mse": 0.003, "last_l2": 0.6,
            "last_judge_correct": True,
        }  # fmt: skip
        own = values | changes
        return Score(**{"label_found": own["label_correct"], **own})

    return make


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point the cache of judges at an empty folder and return it."""
    monkeypatch.setenv("SPIKELEAK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
