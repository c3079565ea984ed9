from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attacks.contracts import Reconstruction, StopReason
from fl_sim.datasets.reading.images import Split
from fl_sim.records import InputSpec, SealedBatch
from judges.classifiers.cache import Judge
from judges.runs.rows import Context
from judges.scoring.assignment import assigned
from judges.scoring.controls import Means, control_reconstructions, mean_inputs
from judges.scoring.gradient_inversion import labels_found, score

Answer = Callable[..., Reconstruction]
CONTEXT = Context(
    experiment="e",
    cell="c",
    dataset="toy",
    model="spiking_lenet",
    family="lenet",
    spiking=True,
    varied={"timesteps": 5},
    init="uniform",
    defence="quantise",
    defence_settings={"bits": 4},
    attack="idlg",
    attack_settings={"restarts": 2},
    guess="spikes",
    seed=7,
    repeat=2,
    round=12,
    timesteps=5,
)
NOTHING = Context()


def test_a_perfect_answer(sealed: SealedBatch, answer: Answer, spec: InputSpec, judge: Judge) -> None:
    rows = score(answer(sealed), sealed, spec=spec, judge=judge, context=CONTEXT)
    assert [row.example for row in rows] == [0, 1]
    for row in rows:
        assert (row.mse, row.l2, row.psnr_db) == (0.0, 0.0, 100.0)
        assert row.ssim == pytest.approx(1.0)
        assert row.solved
        assert row.recognisable
        assert row.label_correct
        assert row.judge_correct
        assert row.truth_judge_correct
        assert (row.stop_reason, row.seconds) == ("converged", 0.5)


def test_a_swapped_answer_is_paired_with_labels_and_last_iterate(
    sealed: SealedBatch, answer: Answer, spec: InputSpec
) -> None:
    swapped = answer(
        sealed,
        inputs=sealed.inputs.flip(0),
        labels=sealed.labels.flip(0),
        last_inputs=(sealed.inputs + torch.tensor([0.1, 0.0]).reshape(2, 1, 1, 1)).flip(0).clamp(max=1),
    )
    rows = score(swapped, sealed, spec=spec, judge=None, context=CONTEXT)
    assert [row.mse for row in rows] == [0.0, 0.0]
    assert [row.label_recovered for row in rows] == [1, 3]
    assert rows[0].last_mse > 0.005
    assert rows[1].last_mse == 0.0


def test_a_diverged_answer_is_a_row_without_success(
    sealed: SealedBatch, answer: Answer, spec: InputSpec, judge: Judge
) -> None:
    rows = score(answer(sealed, stop_reason=StopReason.DIVERGED), sealed, spec=spec, judge=judge, context=CONTEXT)
    assert len(rows) == 2
    for row in rows:
        assert row.ssim == pytest.approx(1.0)
        assert (row.solved, row.recognisable, row.judge_correct) == (False, False, False)
        assert row.truth_judge_correct
        assert row.judge_label == row.label
        assert row.diverged


def test_under_the_papers_protocol_a_diverged_answer_is_scored_like_others(
    sealed: SealedBatch, answer: Answer, spec: InputSpec, judge: Judge
) -> None:
    context = dataclasses.replace(CONTEXT, varied={"protocol": "published"})
    for row in score(answer(sealed, stop_reason=StopReason.DIVERGED), sealed, spec=spec, judge=judge, context=context):
        assert (row.solved, row.recognisable, row.judge_correct) == (True, True, True)
        assert row.diverged


def test_nan_counts_as_the_worst(sealed: SealedBatch, answer: Answer, spec: InputSpec, judge: Judge) -> None:
    inputs = sealed.inputs.clone()
    inputs[1] = torch.nan
    last = torch.full_like(inputs, torch.inf)
    bad = answer(sealed, inputs=inputs, last_inputs=last, matching_loss=math.nan)
    good, worst = score(bad, sealed, spec=spec, judge=judge, context=CONTEXT)
    assert good.solved
    assert (worst.mse, worst.l2, worst.psnr_db, worst.ssim) == (math.inf, math.inf, 0.0, 0.0)
    assert (worst.solved, worst.recognisable, worst.judge_correct) == (False, False, False)
    assert (worst.judge_label, worst.judge_confidence) == (-1, 0.0)
    assert (good.last_mse, good.last_ssim, good.last_psnr_db) == (math.inf, 0.0, 0.0)
    assert math.isnan(good.matching_loss)


def test_success_thresholds_scale_with_the_data_range(sealed: SealedBatch, answer: Answer, spec: InputSpec) -> None:
    offset = answer(sealed, inputs=sealed.inputs + 0.05)  # MSE 0.0025
    (narrow, _) = score(offset, sealed, spec=spec, judge=None, context=CONTEXT)
    wide_spec = dataclasses.replace(spec, low=-1.0)
    (wide, _) = score(offset, sealed, spec=wide_spec, judge=None, context=CONTEXT)
    assert (narrow.solved, wide.solved) == (False, True)
    assert wide.psnr_db is not None
    assert narrow.psnr_db is not None
    assert wide.psnr_db - narrow.psnr_db == pytest.approx(20 * math.log10(2))


def test_the_last_iterate_is_held_to_the_range_the_answer_is_not_touched(
    sealed: SealedBatch, answer: Answer, spec: InputSpec
) -> None:
    white = answer(sealed, last_inputs=torch.full_like(sealed.inputs, 50.0))
    row = score(white, sealed, spec=spec, judge=None, context=CONTEXT)[0]
    assert row.last_mse == pytest.approx((1 - sealed.inputs[0].double()).square().mean().item())


def test_events_are_scored_over_all_voxels(answer: Answer) -> None:
    truth = torch.rand(5, 2, 2, 8, 8, generator=torch.Generator().manual_seed(0)).round()
    sealed = SealedBatch("events/r001-c000", truth, torch.tensor([0, 1]))
    ours = truth.clone()
    ours[0, 1, 0, 0, 0] = 1 - ours[0, 1, 0, 0, 0]
    spec = InputSpec(2, 8, 8, 11, timesteps=5)
    rows = score(answer(sealed, inputs=ours), sealed, spec=spec, judge=None, context=CONTEXT)
    assert [row.mse for row in rows] == pytest.approx([0.0, 1 / (5 * 2 * 8 * 8)])
    assert rows[1].l2 == pytest.approx(1.0)


def test_without_a_judge_its_columns_are_empty(sealed: SealedBatch, answer: Answer, spec: InputSpec) -> None:
    row = score(answer(sealed), sealed, spec=spec, judge=None, context=NOTHING)[0]
    assert (row.judge_label, row.judge_correct, row.judge_confidence, row.truth_judge_correct) == (None,) * 4


def test_the_context_alone_says_what_a_row_is_about(sealed: SealedBatch, answer: Answer, spec: InputSpec) -> None:
    """Not the name that the answer bears, nor the round in the id of its capture."""
    ours = answer(sealed, attack="dlg-grey", settings={"restarts": 9, "guess": "normal"}, seed=3)
    control = dataclasses.replace(CONTEXT, attack="", attack_settings={}, control="no-op")
    for context in (CONTEXT, control, NOTHING):
        for row in score(ours, sealed, spec=spec, judge=None, context=context):
            assert {name: getattr(row, name) for name in vars(context)} == vars(context)
            assert (row.group, row.approach, row.is_control) == (context.group, context.approach, context.is_control)
            assert (row.capture_id, row.thresholding, row.tau) == ("toy/r001-c000", "none", None)


def test_thresholding_is_told_by_the_answer(sealed: SealedBatch, answer: Answer, spec: InputSpec) -> None:
    told = [{"thresholding": "in_optimisation", "tau": 0.25}, {"thresholding": "none", "tau": 0.25}, {"tau": 0.5}]
    rows = [
        score(answer(sealed, settings=settings), sealed, spec=spec, judge=None, context=CONTEXT)[0] for settings in told
    ]
    assert [(row.thresholding, row.tau) for row in rows] == [("in_optimisation", 0.25), ("none", None), ("none", None)]


def test_refuses_what_does_not_belong_together(sealed: SealedBatch, answer: Answer, spec: InputSpec) -> None:
    with pytest.raises(ValueError, match="is not of"):
        score(answer(sealed, capture_id="other"), sealed, spec=spec, judge=None, context=NOTHING)
    with pytest.raises(ValueError, match="same shape"):
        score(answer(sealed, inputs=sealed.inputs[:1]), sealed, spec=spec, judge=None, context=NOTHING)


def test_mean_inputs_overall_and_by_class() -> None:
    pixels = torch.tensor([0, 255, 51], dtype=torch.uint8).reshape(3, 1, 1, 1).expand(3, 1, 12, 12)
    means = mean_inputs(Split(pixels, torch.tensor([1, 3, 3])))
    assert means.overall.shape == (1, 12, 12)
    assert sorted(set(means.overall.flatten().tolist())) == pytest.approx([0.4])
    assert set(means.of(1).flatten().tolist()) == {0.0}
    assert sorted(set(means.of(3).flatten().tolist())) == pytest.approx([0.6])
    assert means.of(2) is means.overall


def test_controls(sealed: SealedBatch, spec: InputSpec) -> None:
    means = Means(torch.full((1, 12, 12), 0.25), {3: torch.full((1, 12, 12), 0.75)})
    controls = control_reconstructions(sealed, dataclasses.replace(spec, low=-1.0), means)
    assert list(controls) == ["black", "grey", "mean image", "class mean"]
    black, grey, mean, of_class = (control.inputs for control in controls.values())
    assert set(black.flatten().tolist()) == {-1.0}
    assert set(grey.flatten().tolist()) == {0.0}
    assert set(mean.flatten().tolist()) == {0.25}
    assert [set(picture.flatten().tolist()) for picture in of_class] == [{0.25}, {0.75}]  # of labels 1 and 3
    contexts = {kind: dataclasses.replace(CONTEXT, attack="", control=kind) for kind in controls}
    rows = [
        row
        for kind, control in controls.items()
        for row in score(control, sealed, spec=spec, judge=None, context=contexts[kind])
    ]
    assert [row.control for row in rows] == [kind for kind in controls for _ in range(2)]
    assert all(row.is_control and not row.label_correct and row.label_recovered == -1 for row in rows)
    assert rows[0].mse == pytest.approx((sealed.inputs[0].double() + 1).square().mean().item())


def test_without_a_data_set_there_are_no_means(sealed: SealedBatch, spec: InputSpec) -> None:
    assert list(control_reconstructions(sealed, spec, None)) == ["black", "grey"]


def test_how_far_an_answer_moved_from_its_own_guess(sealed: SealedBatch, answer: Answer, spec: InputSpec) -> None:
    """Answers in the other order, moved by 0.1 and 0.2 of a range of 2: the guess is paired with its own answer."""
    inputs = sealed.inputs.flip(0)
    guess = inputs + torch.tensor([0.2, 0.4]).reshape(2, 1, 1, 1)
    wide = dataclasses.replace(spec, low=-1.0)
    rows = score(
        answer(sealed, inputs=inputs), sealed, spec=wide, judge=None, context=Context(round=4, timesteps=5), guess=guess
    )
    assert [row.moved for row in rows] == pytest.approx([0.2, 0.1])
    assert [(row.round, row.timesteps, row.first_loss) for row in rows] == [(4, 5, 1.0)] * 2
    plain = answer(sealed, loss_history=torch.empty(0))
    (unknown, _) = score(plain, sealed, spec=spec, judge=None, context=NOTHING)
    assert (unknown.moved, unknown.first_loss, unknown.timesteps) == (None, None, 0)
    again = answer(sealed, inputs=inputs, restarts=2)  # it may come from another guess than the first
    assert score(again, sealed, spec=spec, judge=None, context=NOTHING, guess=guess)[0].moved is None
    broken = answer(sealed, inputs=torch.full_like(inputs, torch.nan))
    assert score(broken, sealed, spec=spec, judge=None, context=NOTHING, guess=guess)[0].moved == math.inf
    with pytest.raises(ValueError, match="same shape"):
        score(answer(sealed), sealed, spec=spec, judge=None, context=NOTHING, guess=guess[:1])


def test_how_far_an_answer_of_events_moved(answer: Answer) -> None:
    frames = torch.zeros(5, 2, 1, 8, 8)
    guess = frames.clone()
    guess[:, 1, :, :, :2] = 1.0  # a quarter of the voxels of the second example
    sealed = SealedBatch("events/r003-c000", frames, torch.tensor([0, 1]))
    spec = InputSpec(1, 8, 8, 11, timesteps=5)
    rows = score(answer(sealed), sealed, spec=spec, judge=None, context=NOTHING, guess=guess)
    assert [row.moved for row in rows] == [0.0, 0.5]


def test_an_assignment_that_is_known_is_not_made_again(sealed: SealedBatch, answer: Answer, spec: InputSpec) -> None:
    swapped = answer(sealed, inputs=sealed.inputs.flip(0), labels=sealed.labels.flip(0))
    order = assigned(swapped.inputs, sealed.inputs)
    rows = [score(swapped, sealed, spec=spec, judge=None, context=CONTEXT, order=told) for told in (None, order)]
    assert rows[0] == rows[1]
    wrong = score(swapped, sealed, spec=spec, judge=None, context=CONTEXT, order=order.flip(0))
    assert all(row.mse > 0 and not row.label_correct for row in wrong)


@pytest.mark.parametrize("frame", [(1, 5, 5), (1, 1, 14), (3, 6, 40)])
def test_pictures_smaller_than_the_window_have_no_ssim_and_all_else(
    answer: Answer, frame: tuple[int, int, int]
) -> None:
    spec = InputSpec(*frame, 4)
    sealed = SealedBatch("toy/r001-c000", torch.full((1, *frame), 0.25), torch.tensor([1]))
    (row,) = score(
        answer(sealed, inputs=sealed.inputs + 0.5),
        sealed,
        spec=spec,
        judge=None,
        context=CONTEXT,
    )
    assert (row.ssim, row.last_ssim, row.recognisable) == (None, None, None)
    assert (row.mse, row.solved, row.success, row.similarity) == (0.25, False, False, -0.25)
    assert row.psnr_db == pytest.approx(10 * math.log10(4))
    (row,) = score(answer(sealed), sealed, spec=spec, judge=None, context=CONTEXT)
    assert (row.solved, row.success, row.recognisable) == (True, True, None)


def test_similarity_of_normalised_inputs_is_that_of_the_pictures(
    sealed: SealedBatch, answer: Answer, spec: InputSpec
) -> None:
    ours = answer(sealed, inputs=torch.full_like(sealed.inputs, 0.5))
    plain = score(ours, sealed, spec=spec, judge=None, context=CONTEXT)
    seen = dataclasses.replace(sealed, inputs=2 * sealed.inputs - 1)
    grey = answer(seen, inputs=torch.zeros_like(seen.inputs), last_inputs=seen.inputs)
    wide = score(grey, seen, spec=dataclasses.replace(spec, low=-1.0), judge=None, context=CONTEXT)
    for one, other in zip(plain, wide, strict=True):
        assert other.ssim == pytest.approx(one.ssim, abs=1e-6)
        assert other.psnr_db == pytest.approx(one.psnr_db, abs=1e-4)
        assert other.mse == pytest.approx(4 * one.mse, rel=1e-5)
        assert other.last_ssim == pytest.approx(1.0)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-1, 3)), min_size=1, max_size=9))
def test_found_labels_are_the_intersection_of_two_multisets(pairs: list[tuple[int, int]]) -> None:
    true, named = map(list, zip(*pairs, strict=True))
    found = labels_found(true, named)
    assert sum(found) == sum(min(true.count(label), named.count(label)) for label in range(4))
    assert sorted(found) == sorted(labels_found(true, named[::-1]))


def test_labels_of_a_batch_count_in_any_order(sealed: SealedBatch, answer: Answer, spec: InputSpec) -> None:
    rows = score(answer(sealed, labels=sealed.labels.flip(0)), sealed, spec=spec, judge=None, context=CONTEXT)
    assert [(row.label_correct, row.label_found) for row in rows] == [(False, True)] * 2
    rows = score(answer(sealed, labels=torch.tensor([3, 3])), sealed, spec=spec, judge=None, context=CONTEXT)
    assert [(row.label, row.label_correct, row.label_found) for row in rows] == [(1, False, False), (3, True, True)]
