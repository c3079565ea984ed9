"""Records on disk: what is written is read back, and nothing else is believed."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from fl_sim.errors import DataError
from fl_sim.records import (
    CapturedUpdate,
    InputSpec,
    ModelSpec,
    SealedBatch,
    SpikingSpec,
    TrainedModel,
    load_record,
    record_bytes,
    save_record,
)

SPEC = ModelSpec("spiking_lenet", InputSpec(1, 8, 8, 3), "torch", SpikingSpec(timesteps=4, reset="soft"))
SEALED = SealedBatch("f/r001-c000", torch.rand(2, 1, 8, 8), torch.tensor([1, 0]))
CAPTURE = CapturedUpdate(
    id="f/r001-c000",
    round=1,
    client=0,
    model=SPEC,
    parameters={"a.weight": torch.randn(3, 2), "b": torch.tensor(1.5)},
    update={"a.weight": torch.zeros(3, 2, dtype=torch.float64), "b": torch.tensor(-0.0)},
    kind="delta",
    learning_rate=0.1,
    config={"learning-rate": 0.1, "share": "weights", "server-round": 1, "flag": True},
)


def equal(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(
        left[key].equal(right[key]) and left[key].dtype == right[key].dtype for key in left
    )


def test_a_capture_comes_back_equal_to_the_byte(tmp_path: Path) -> None:
    loaded = load_record(CapturedUpdate, save_record(CAPTURE, tmp_path / "c.safetensors"))
    assert (loaded.model, loaded.config, loaded.labels) == (SPEC, CAPTURE.config, None)
    assert [type(value) for value in loaded.config.values()] == [bool, float, int, str]
    assert equal(dict(loaded.update), dict(CAPTURE.update))
    assert record_bytes(loaded) == record_bytes(CAPTURE)


@given(
    round_=st.integers(1, 10**6),
    accuracy=st.floats(0, 1),
    shape=st.lists(st.integers(0, 4), max_size=3),
    name=st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=20),
)
def test_any_trained_model_survives(round_: int, accuracy: float, shape: list[int], name: str) -> None:
    record = TrainedModel(SPEC, {name: torch.full(shape, 0.5)}, accuracy, round_, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        loaded = load_record(TrainedModel, save_record(record, Path(folder) / "m.safetensors"))
    assert (loaded.test_accuracy, loaded.round) == (accuracy, round_)
    assert equal(dict(loaded.parameters), dict(record.parameters))


def test_another_record_is_refused(tmp_path: Path) -> None:
    path = save_record(SEALED, tmp_path / "s.safetensors")
    with pytest.raises(DataError, match="expected a CapturedUpdate"):
        load_record(CapturedUpdate, path)


@pytest.mark.parametrize("length", [0, 1, 7, 8, 40, -1])
def test_a_file_that_was_cut_off_is_refused_with_its_size(tmp_path: Path, length: int) -> None:
    path = save_record(SEALED, tmp_path / "s.safetensors")
    content = path.read_bytes()[:length]
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"found {len(content)} bytes"):
        load_record(SealedBatch, path)


def test_a_missing_file_and_a_foreign_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        load_record(SealedBatch, tmp_path / "none.safetensors")
    foreign = tmp_path / "foreign.safetensors"
    safetensors.torch.save_file({"w": torch.zeros(1)}, foreign)
    with pytest.raises(DataError, match="expected a SealedBatch"):
        load_record(SealedBatch, foreign)


def test_a_field_of_the_wrong_type_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.safetensors"
    plain = {"record": "SealedBatch", "capture_id": {"no": "text"}, "defence": "none"}
    tensors = {"inputs": SEALED.inputs, "labels": SEALED.labels}
    safetensors.torch.save_file(tensors, path, metadata={"spikeleak": json.dumps(plain)})
    with pytest.raises(DataError, match="valid string"):
        load_record(SealedBatch, path)
