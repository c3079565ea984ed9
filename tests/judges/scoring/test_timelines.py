"""Scores over time, beside the scores of whole recordings and beside numpy."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from attacks.contracts import Reconstruction
from fl_sim.records import InputSpec, SealedBatch
from judges.runs.rows import Context, Score
from judges.runs.timelines import load_timelines
from judges.scoring.gradient_inversion import score
from judges.scoring.image_metrics import as_images, l2, ssim
from judges.scoring.timelines import TimelineBook, profile_correlation, spike_profile, steps_of

STEPS, COUNT = 5, 3
EVENTS = InputSpec(channels=2, height=9, width=9, classes=4, timesteps=STEPS)
Answer = Callable[..., Reconstruction]


def recordings(seed: int, *, size: int = 9) -> Tensor:
    """Return binary recordings (T, N, 2, size, size), the denser the later, so that profiles are not constant."""
    noise = torch.rand(STEPS, COUNT, 2, size, size, generator=torch.Generator().manual_seed(seed))
    return (noise < torch.linspace(0.1, 0.5, STEPS)[:, None, None, None, None]).float()


def test_steps_add_up_to_the_whole_recording() -> None:
    ours, truth = recordings(1) * 0.75, recordings(2)
    steps = steps_of(ours, truth, low=0.0, high=1.0)
    assert steps.l2.shape == steps.answer.shape == steps.truth.shape == (COUNT, STEPS)
    torch.testing.assert_close(steps.l2.square().sum(1).sqrt(), l2(as_images(ours), as_images(truth)))
    assert steps.ssim is not None
    torch.testing.assert_close(steps.ssim.mean(1), ssim(as_images(ours), as_images(truth), low=0.0, high=1.0))
    assert steps.l2[1, 2].item() == pytest.approx((ours[2, 1] - truth[2, 1]).norm().item())
    assert steps.truth[2, 4].item() == truth[4, 2].sum().item()


def test_the_correlation_is_pearsons_of_the_profiles() -> None:
    ours, truth = recordings(1), recordings(2)
    found = profile_correlation(spike_profile(ours), spike_profile(truth))
    for place in range(COUNT):
        profiles = np.array([one[:, place].sum((1, 2, 3)).tolist() for one in (ours, truth)])
        assert found[place].item() == pytest.approx(np.corrcoef(profiles)[0, 1])
    rising = torch.tensor([[1.0, 2.0, 4.0]])
    assert profile_correlation(10 * rising + 3, rising).item() == pytest.approx(1.0)
    assert profile_correlation(-rising, rising).item() == pytest.approx(-1.0)


def test_a_constant_profile_has_no_correlation_whatever_is_rounded() -> None:
    truth = spike_profile(recordings(2))
    for value in (0.0, 1 / 3, 0.1):
        constant = torch.full((COUNT, STEPS), value, dtype=torch.float64)
        assert profile_correlation(constant, truth).isnan().all()
        assert profile_correlation(truth, constant).isnan().all()
    assert profile_correlation(truth[:, :1], truth[:, :1] + 1).isnan().all()


def test_an_answer_that_is_not_finite_fails_in_every_step_and_alone() -> None:
    ours, truth = recordings(1), recordings(2)
    sound = steps_of(ours, truth, low=0.0, high=1.0)
    ours[3, 1, 0, 0, 0] = math.nan
    steps = steps_of(ours, truth, low=0.0, high=1.0)
    assert steps.ssim is not None
    assert steps.l2[1].isinf().all()
    assert (steps.ssim[1] == 0).all()
    assert steps.answer[1].isnan().all()
    assert steps.correlation[1].isnan()
    assert torch.equal(steps.l2[[0, 2]], sound.l2[[0, 2]])
    assert torch.equal(steps.correlation[[0, 2]], sound.correlation[[0, 2]])


def test_small_frames_have_no_ssim_and_other_shapes_are_refused() -> None:
    assert steps_of(recordings(1, size=6), recordings(2, size=6), low=0.0, high=1.0).ssim is None
    with pytest.raises(ValueError, match=r"same shape \(T, N, P, H, W\)"):
        steps_of(recordings(1)[:4], recordings(2), low=0.0, high=1.0)
    with pytest.raises(ValueError, match=r"same shape \(T, N, P, H, W\)"):
        steps_of(torch.rand(2, 1, 9, 9), torch.rand(2, 1, 9, 9), low=0.0, high=1.0)


def rows_of(answer: Reconstruction, sealed: SealedBatch, spec: InputSpec, order: Tensor, **changes: object) -> Score:
    context = dataclasses.replace(Context(dataset="toy", attack="dlg", cell="f/dlg"), **changes)  # type: ignore[arg-type]
    return score(answer, sealed, spec=spec, judge=None, context=context, order=order)[-1]


def test_a_book_writes_one_file_for_each_cell_in_the_order_of_the_originals(tmp_path: Path, answer: Answer) -> None:
    book, order = TimelineBook(), torch.tensor([2, 0, 1])
    for repeat, seed in enumerate((1, 2)):
        sealed = SealedBatch(f"v{repeat}", recordings(seed), torch.tensor([0, 1, 2]))
        ours = answer(sealed, inputs=sealed.inputs[:, order.argsort()])
        book.add(rows_of(ours, sealed, EVENTS, order, repeat=repeat), ours, sealed, order, EVENTS)
        empty = answer(sealed, inputs=torch.zeros_like(sealed.inputs))
        row = rows_of(empty, sealed, EVENTS, torch.arange(3), cell="f/control: black", control="black", attack="")
        book.add(row, empty, sealed, torch.arange(3), EVENTS)
    book.write(tmp_path)
    key = (row.group, "f/dlg"), (row.group, "f/control: black")
    attack, black = load_timelines(tmp_path, key)
    assert (attack.cell, attack.attack, black.control) == ("f/dlg", "dlg", "black")
    assert attack.captures == ("v0", "v0", "v0", "v1", "v1", "v1")
    assert (attack.examples, attack.repeats) == ((0, 1, 2) * 2, (0, 0, 0, 1, 1, 1))
    assert (attack.l2 == 0).all()
    torch.testing.assert_close(attack.correlation, torch.ones(6, dtype=torch.float64))
    torch.testing.assert_close(attack.answer[:3], spike_profile(recordings(1)))
    assert black.correlation.isnan().all()
    assert (black.answer == 0).all()
    assert load_timelines(tmp_path, key[1:])[0].cell == black.cell
    assert load_timelines(tmp_path, []) == []


def test_still_images_leave_no_timelines(tmp_path: Path, answer: Answer, sealed: SealedBatch, spec: InputSpec) -> None:
    book, ours, order = TimelineBook(), answer(sealed), torch.arange(2)
    book.add(rows_of(ours, sealed, spec, order), ours, sealed, order, spec)
    book.write(tmp_path)
    assert not list(tmp_path.iterdir())
