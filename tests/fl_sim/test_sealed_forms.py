"""What clients may hand over as the truth: each form of one batch becomes the same record, or is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import one_hot

from fl_sim.errors import ConfigError, DataError
from fl_sim.records import InputSpec, SealedBatch, record_bytes
from fl_sim.sealed_forms import EVENTS, IMAGES, formed

NAME = "mine/r001-c000"
IMAGE = InputSpec(3, 5, 7, 10)
GREY = InputSpec(1, 5, 7, 10)
EVENT = InputSpec(2, 5, 7, 10, timesteps=4)
BYTES = torch.randint(0, 256, (3, 3, 5, 7), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
PICTURES = BYTES.float() / 255
LABELS = torch.tensor([3, 0, 9])
TEXT = InputSpec(1, 4, 6, 10, vocabulary=6)
TOKENS = torch.tensor([[0, 5, 1, 1], [2, 3, 4, 0], [5, 5, 0, 2]])
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA"))]


def take(inputs: object, labels: object, spec: InputSpec | None = None) -> SealedBatch:
    return formed(SealedBatch(NAME, inputs, labels), spec).batch  # type: ignore[arg-type]


def refusal(inputs: object, labels: object, spec: InputSpec | None = None) -> str:
    with pytest.raises(DataError) as caught:
        take(inputs, labels, spec)
    return str(caught.value)


def test_what_has_the_form_of_the_records_is_not_touched() -> None:
    batch = SealedBatch(NAME, PICTURES, LABELS, defence="clip")
    for spec in (None, IMAGE):
        found, converted = formed(batch, spec)
        assert converted == ()
        assert record_bytes(found) == record_bytes(batch)


@pytest.mark.parametrize("spec", [None, IMAGE])
@pytest.mark.parametrize(
    "change",
    [
        lambda labels: labels[:, None],
        lambda labels: labels.int(),
        lambda labels: labels.to(torch.uint8),
        lambda labels: labels.double()[:, None],
        lambda labels: one_hot(labels, 10),
        lambda labels: one_hot(labels, 10).float(),
        lambda labels: labels.numpy(),
        lambda labels: labels.numpy().astype(np.uint16),
        lambda labels: labels.tolist(),
    ],
)
def test_labels_of_every_form_are_the_same_classes(spec: InputSpec | None, change: Callable[[Tensor], object]) -> None:
    labels = take(PICTURES, change(LABELS), spec).labels
    assert (labels.dtype, labels.tolist()) == (torch.int64, [3, 0, 9])


@pytest.mark.parametrize("device", DEVICES)
def test_gradient_device_and_precision(device: str) -> None:
    inputs = PICTURES.double().to(device).requires_grad_()
    found = take(inputs, LABELS.to(device), IMAGE)
    assert torch.equal(found.inputs, PICTURES.double())
    assert not found.inputs.requires_grad
    assert take(PICTURES.half(), LABELS).inputs.dtype == torch.float32


@pytest.mark.parametrize(
    ("spec", "axes"),
    [(IMAGE, "NHWC"), (GREY, "NHW"), (GREY, "NHWC"), (GREY, "NF"), (IMAGE, "CHW"), (IMAGE, "HWC"), (GREY, "HW"),
     (GREY, "F"), (EVENT, "NTCHW"), (EVENT, "TNHWC"), (EVENT, "NTHWC"), (EVENT, "TCHW"), (EVENT, "THWC"),
     (InputSpec(1, 5, 7, 10, timesteps=4), "TNHW"), (InputSpec(1, 5, 7, 10, timesteps=4), "NTHW"),
     (InputSpec(1, 5, 7, 10, timesteps=4), "THW")],
)  # fmt: skip
def test_every_order_of_axes_is_read(spec: InputSpec, axes: str) -> None:
    """Numbers that count up, written in these axes by numpy's einsum, are found at their places."""
    count, order = 3 if "N" in axes else 1, "TNCHW" if spec.timesteps else "NCHW"
    sizes = [spec.timesteps, count, *spec.frame] if spec.timesteps else [count, *spec.frame]
    right = np.arange(np.prod(sizes), dtype=np.float32).reshape(sizes) / np.prod(sizes)
    given = np.einsum(f"{order}->{axes.replace('F', 'HW')}", right)
    given = given.reshape(*given.shape[:-2], -1) if "F" in axes else given
    assert axes in (EVENTS if spec.timesteps else IMAGES)
    found, converted = formed(SealedBatch(NAME, torch.tensor(given), LABELS[:count]), spec)
    assert np.array_equal(found.inputs.numpy(), right)
    assert converted == (f"inputs {given.shape}, read as ({', '.join(axes)}), as {right.shape}",)


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.integers(0, 3))
def test_the_form_of_the_records_comes_first_for_all_sizes(count: int, channels: int, h: int, w: int, t: int) -> None:
    spec = InputSpec(channels, h, w, 10, timesteps=t)
    inputs = torch.rand(*((t,) if t else ()), count, channels, h, w)
    assert torch.equal(take(inputs, torch.zeros(count), spec).inputs, inputs)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 1.0), (-0.42, 2.82)])
@pytest.mark.parametrize("kind", [torch.uint8, torch.int64, torch.float32])
def test_eight_bit_pictures_are_mapped_to_the_range(kind: torch.dtype, low: float, high: float) -> None:
    found = take(BYTES.to(kind), LABELS, InputSpec(3, 5, 7, 10, low=low, high=high))
    torch.testing.assert_close(found.inputs, low + (high - low) * PICTURES)
    assert found.inputs.dtype == torch.float32


def test_uint8_in_unit_range_equals_the_usual_division_to_the_bit() -> None:
    assert torch.equal(take(BYTES, LABELS, IMAGE).inputs, PICTURES)


def test_whole_numbers_that_may_be_what_the_model_takes_stay() -> None:
    """Binary pictures, digits of 16 grey levels, pictures of a model of [0, 255], counts of events."""
    sixteen = (BYTES % 17).contiguous()
    assert torch.equal(take(BYTES % 2, LABELS, IMAGE).inputs, (BYTES % 2).float())
    assert torch.equal(take(sixteen, LABELS, InputSpec(3, 5, 7, 10, high=16.0)).inputs, sixteen.float())
    assert torch.equal(take(BYTES, LABELS, InputSpec(3, 5, 7, 10, high=255.0)).inputs, BYTES.float())
    assert torch.equal(take(sixteen.float(), LABELS, InputSpec(3, 5, 7, 10, high=2.0)).inputs, sixteen.float())
    counts = torch.full((4, 3, 2, 5, 7), 200, dtype=torch.uint8)
    assert torch.equal(take(counts, LABELS, EVENT).inputs, counts.float())
    assert torch.equal(take(counts > 7, LABELS, EVENT).inputs, torch.ones(4, 3, 2, 5, 7))


def test_without_a_spec_only_what_shapes_and_types_decide_is_decided() -> None:
    channels_last = BYTES.permute(0, 2, 3, 1)
    found = formed(SealedBatch(NAME, channels_last, LABELS[:, None]))
    assert torch.equal(found.batch.inputs, channels_last)
    assert found.converted == ("labels (3, 1) of int64 as (3,) of int64",)
    later = formed(found.batch, IMAGE)
    assert torch.equal(later.batch.inputs, PICTURES)


def test_targets_of_a_regression_stay() -> None:
    targets = torch.tensor([0.5, 2.0, -1.25])
    assert torch.equal(take(PICTURES, targets).labels, targets)
    assert torch.equal(take(PICTURES, targets[:, None].repeat(1, 2), IMAGE).labels, targets[:, None].repeat(1, 2))


@pytest.mark.parametrize(
    ("inputs", "labels", "spec", "reason"),
    [
        (PICTURES, LABELS + 1, IMAGE, "from 0 to 9 for 10 classes, got 10; they seem to be counted from 1, so give "),
        (PICTURES, LABELS * 2, IMAGE, "from 0 to 9 for 10 classes, got 18."),
        (PICTURES, LABELS - 1, IMAGE, "from 0 to 9 for 10 classes, got -1."),
        (PICTURES, LABELS - 1, None, "labels from 0, got -1"),
        (PICTURES, one_hot(LABELS, 12), IMAGE, r"one-hot (N, 10), got shape (3, 12)."),
        (PICTURES, torch.ones(3, 10), IMAGE, "got shape (3, 10), which is not one-hot"),
        (PICTURES, torch.zeros(3, 5, 7), None, "got shape (3, 5, 7)"),
        (PICTURES, LABELS[:2], IMAGE, "as many sealed labels as inputs, got 2 for 3 inputs"),
        (PICTURES.permute(0, 2, 3, 1), LABELS[:2], IMAGE, "got 2 for 3 inputs"),
        (PICTURES, torch.zeros(4), None, "got 4 for inputs (3, 3, 5, 7)"),
        (PICTURES[..., :4], LABELS, IMAGE, "inputs (3, 3, 5, 7) beside labels (3,), got (3, 3, 5, 4)"),
        (PICTURES.flatten(1), LABELS, IMAGE, "got (3, 105)"),
        (PICTURES, LABELS, EVENT, "inputs (4, 3, 2, 5, 7) beside labels (3,), got (3, 3, 5, 7)"),
        (PICTURES.where(PICTURES < 0.9, torch.nan), LABELS, None, "its sealed inputs hold NaN or infinity"),
        (PICTURES, LABELS / 0.0, None, "its sealed labels hold NaN or infinity"),
        (PICTURES[:0], LABELS[:0], IMAGE, "expected real numbers as sealed inputs, got torch.float32 of shape (0, 3"),
        (PICTURES + 1j, LABELS, IMAGE, "got torch.complex64"),
        ("pictures", LABELS, IMAGE, "expected a tensor of sealed inputs, got a str"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_sentence(
    inputs: object, labels: object, spec: InputSpec | None, reason: str
) -> None:
    told = refusal(inputs, labels, spec)
    assert told.startswith(f"{NAME}: ")
    assert reason in told
    assert (told.count(". "), told[-1]) == (0, ".")


# Texts


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tokens: tokens, "tokens (3, 4) of int64 as one-hot (3, 1, 4, 6)"),
        (lambda tokens: tokens.T, "tokens (4, 3) of int64 as one-hot (3, 1, 4, 6)"),
        (lambda tokens: tokens[:, None].float(), "tokens (3, 1, 4) of float32 as one-hot (3, 1, 4, 6)"),
        (lambda tokens: one_hot(tokens, 6), "inputs (3, 4, 6) of int64 as one-hot (3, 1, 4, 6)"),
        (lambda tokens: one_hot(tokens, 6)[:, None].float(), ""),
    ],
)
def test_tokens_become_one_hot(change: Callable[[Tensor], Tensor], words: str) -> None:
    found, converted = formed(SealedBatch(NAME, change(TOKENS), LABELS), TEXT)
    assert found.inputs.equal(one_hot(TOKENS, 6)[:, None].float())
    assert converted == ((words,) if words else ())


def test_one_text_needs_no_axis_of_examples() -> None:
    assert take(TOKENS[0], LABELS[:1], TEXT).inputs.argmax(-1).flatten().tolist() == [0, 5, 1, 1]


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        (TOKENS + 1, "expected tokens from 0 to 5 for a vocabulary of 6, got 6"),
        (TOKENS - 1, "got -1"),
        (TOKENS + 0.5, "found fractions"),
        (TOKENS[:, :3], r"expected sealed texts as tokens (3, 4)"),
        (TOKENS[:2], "got (2, 4)"),
        (one_hot(TOKENS, 6) * 2, "to be one-hot"),
    ],
)
def test_what_is_no_text_of_the_vocabulary_is_refused(tokens: Tensor, words: str) -> None:
    assert words in refusal(tokens, LABELS, TEXT)


@pytest.mark.parametrize(
    "changes", [{"width": 5}, {"channels": 2}, {"low": -1.0}, {"high": 2.0}, {"timesteps": 3}], ids=str
)
def test_a_text_has_one_shape_and_one_range(changes: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"InputSpec\(1, L, VOCABULARY, CLASSES, vocabulary=VOCABULARY\)"):
        dataclasses.replace(TEXT, **changes)  # type: ignore[arg-type]
