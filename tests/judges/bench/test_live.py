"""The live attack: it never holds or fails a round."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from attacks.contracts import Reconstruction
from fl_sim.captures import SealedStore
from fl_sim.errors import ConfigError
from fl_sim.records import SealedBatch, load_record
from judges.bench.live import LiveAttack
from tests.attacks.helpers import LENET, captures_of, truth

pytestmark = pytest.mark.endurance

SETTINGS = {"iterations": 30, "restarts": 2}


def told(folder: Path, capture_id: str) -> dict[str, object]:
    content: dict[str, object] = json.loads((folder / "live" / f"{capture_id}.json").read_text())
    return content


def test_every_capture_is_attacked_and_scored(tmp_path: Path) -> None:
    inputs, labels = truth(2)
    captures = captures_of(LENET, inputs, labels)
    for capture, true, label in zip(captures, inputs, labels, strict=True):
        SealedStore(tmp_path / "sealed")(SealedBatch(capture.id, true, label))
    with LiveAttack(tmp_path, attack="idlg", settings=SETTINGS) as sink:
        started = time.perf_counter()
        for capture in captures:
            sink(capture)
        held = time.perf_counter() - started
        assert sink.pending > 0
    assert held < 5.0  # starting the worker's torch alone takes longer than queueing
    assert sink.pending == 0
    for capture in captures:
        scores = told(tmp_path, capture.id)["scores"]
        assert isinstance(scores, list)
        assert scores[0]["mse"] < 1e-3
        path = tmp_path / "reconstructions" / "idlg" / f"{capture.id}.safetensors"
        assert load_record(Reconstruction, path).labels.numel() == 1


def test_an_attack_that_fails_is_written_down_and_the_next_goes_on(tmp_path: Path) -> None:
    inputs, labels = truth(2)
    bad, good = captures_of(LENET, inputs, labels)
    bad = replace(bad, kind="delta", update={key: torch.zeros_like(g) for key, g in bad.update.items()})
    with LiveAttack(tmp_path, attack="idlg", settings={"iterations": 1}) as sink:
        sink(bad)
        sink(good)
    assert "needs the clients' learning rate" in str(told(tmp_path, bad.id)["failed"])
    assert told(tmp_path, good.id)["scores"] == []


def test_a_wrong_setting_is_refused_before_the_first_round(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="iterrations"):
        LiveAttack(tmp_path, attack="idlg", settings={"iterrations": 3})
