from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attacks.contracts import Reconstruction, StopReason
from fl_sim.datasets.reading.images import Split
from fl_sim.errors import DataError
from fl_sim.records import InputSpec, Scalar, SealedBatch, load_record
from judges.classifiers.cache import Judge
from judges.runs.tables import columns_of
from judges.scoring.gallery import Gallery, build_gallery, choose_roles, save_gallery
from judges.scoring.gradient_inversion import (
    Means,
    Score,
    control_reconstructions,
    mean_inputs,
    read_scores,
    score,
    write_scores,
)

Answer = Callable[..., Reconstruction]
Row = Callable[..., Score]
CONTEXT: dict[str, Scalar] = {
    "experiment": "e",
    "cell": "c",
    "dataset": "toy",
    "model": "lenet",
    "init": "uniform",
    "seed": 7,
    "repeat": 2,
}


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
        assert (row.experiment, row.cell, row.seed, row.repeat, row.defence) == ("e", "c", 7, 2, "none")
        assert (row.attack, row.stop_reason, row.seconds) == ("idlg", "converged", 0.5)


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
    row = score(answer(sealed), sealed, spec=spec, judge=None, context={})[0]
    assert (row.judge_label, row.judge_correct, row.judge_confidence, row.truth_judge_correct) == (None,) * 4
    assert (row.experiment, row.seed, row.defence) == ("", 0, "none")


def test_the_context_names_the_attack_but_never_a_control(sealed: SealedBatch, answer: Answer, spec: InputSpec) -> None:
    context = {**CONTEXT, "attack": "idlg, 300 steps"}
    names = {
        score(answer(sealed, attack=name), sealed, spec=spec, judge=None, context=context)[0].attack
        for name in ("idlg", "control: no-op")
    }
    assert names == {"idlg, 300 steps", "control: no-op"}


def test_refuses_what_does_not_belong_together(sealed: SealedBatch, answer: Answer, spec: InputSpec) -> None:
    with pytest.raises(ValueError, match="is not of"):
        score(answer(sealed, capture_id="other"), sealed, spec=spec, judge=None, context={})
    with pytest.raises(ValueError, match="colour"):
        score(answer(sealed), sealed, spec=spec, judge=None, context={"colour": 1})
    with pytest.raises(ValueError, match="same shape"):
        score(answer(sealed, inputs=sealed.inputs[:1]), sealed, spec=spec, judge=None, context={})


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
    names = ["black", "grey", "mean image", "class mean"]
    assert [control.attack for control in controls] == [f"control: {name}" for name in names]
    black, grey, mean, of_class = (control.inputs for control in controls)
    assert set(black.flatten().tolist()) == {-1.0}
    assert set(grey.flatten().tolist()) == {0.0}
    assert set(mean.flatten().tolist()) == {0.25}
    assert [set(picture.flatten().tolist()) for picture in of_class] == [{0.25}, {0.75}]  # of labels 1 and 3
    rows = [row for control in controls for row in score(control, sealed, spec=spec, judge=None, context=CONTEXT)]
    assert all(row.is_control and not row.label_correct and row.label_recovered == -1 for row in rows)
    assert rows[0].mse == pytest.approx((sealed.inputs[0].double() + 1).square().mean().item())


floats = st.floats(allow_nan=False, width=64)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=12)


optional = st.none() | st.floats(0, 1)


@given(floats, st.integers(-(2**62), 2**62), st.none() | st.booleans(), texts, optional, optional)
def test_csv_round_trip(
    tmp_path_factory: pytest.TempPathFactory,
    number: float,
    seed: int,
    flag: bool | None,
    name: str,
    confidence: float | None,
    tau: float | None,
) -> None:
    row = Score(
        "NA", "", name, "null", 'a"b,c', "control: x", "none", "none", tau, seed, 0, "f/r001-c000", 1, number, 1 / 3,
        math.inf, 5e-324, 3, -1, False, None, flag, confidence, flag, -math.inf, 1, 2, 3, "budget spent", 0.1, True,
        False, number, number, number, 1, seed, confidence, tau,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("csv") / "scores.csv"
    assert read_scores(write_scores([row, row], path)) == [row, row]


def test_csv_keeps_nan_and_an_empty_table(tmp_path: Path, row: Row) -> None:
    path = tmp_path / "scores.csv"
    (back,) = read_scores(write_scores([row(matching_loss=math.nan)], path))
    assert math.isnan(back.matching_loss)
    assert path.read_text().splitlines()[0] == ",".join(columns_of(Score))
    assert read_scores(write_scores([], path)) == []


def test_rows_of_before_the_last_columns_can_be_read(tmp_path: Path, row: Row) -> None:
    """The round stands in the capture id; what cannot be known of old rows has its default."""
    told = row(capture_id="toy/r012-c000", round=12, timesteps=10, moved=0.5, first_loss=2.0)
    path = write_scores([told], tmp_path / "scores.csv")
    lines = [line.split(",") for line in path.read_text().splitlines()]
    assert lines[0][-4:] == ["round", "timesteps", "moved", "first_loss"]
    for missing in (4, 2):
        path.write_text("".join(",".join(line[:-missing]) + "\n" for line in lines))
        (old,) = read_scores(path)
        steps = 0 if missing == 4 else 10
        assert old == dataclasses.replace(told, timesteps=steps, moved=None, first_loss=None)
    path.write_text("".join(",".join(line[:-5]) + "\n" for line in lines))
    with pytest.raises(DataError, match="last_mse"):
        read_scores(path)


def test_how_far_an_answer_moved_from_its_own_guess(sealed: SealedBatch, answer: Answer, spec: InputSpec) -> None:
    """Answers in the other order, moved by 0.1 and 0.2 of a range of 2: the guess is paired with its own answer."""
    inputs = sealed.inputs.flip(0)
    guess = inputs + torch.tensor([0.2, 0.4]).reshape(2, 1, 1, 1)
    wide = dataclasses.replace(spec, low=-1.0)
    rows = score(answer(sealed, inputs=inputs), sealed, spec=wide, judge=None, context={"timesteps": 5}, guess=guess)
    assert [row.moved for row in rows] == pytest.approx([0.2, 0.1])
    assert [(row.round, row.timesteps, row.first_loss) for row in rows] == [(1, 5, 1.0)] * 2
    plain = answer(sealed, loss_history=torch.empty(0))
    (unknown, _) = score(plain, sealed, spec=spec, judge=None, context={})
    assert (unknown.moved, unknown.first_loss, unknown.timesteps) == (None, None, 0)
    broken = answer(sealed, inputs=torch.full_like(inputs, torch.nan))
    assert score(broken, sealed, spec=spec, judge=None, context={}, guess=guess)[0].moved == math.inf
    with pytest.raises(ValueError, match="same shape"):
        score(answer(sealed), sealed, spec=spec, judge=None, context={}, guess=guess[:1])


def test_how_far_an_answer_of_events_moved(answer: Answer) -> None:
    frames = torch.zeros(5, 2, 1, 8, 8)
    guess = frames.clone()
    guess[:, 1, :, :, :2] = 1.0  # a quarter of the voxels of the second example
    sealed = SealedBatch("events/r003-c000", frames, torch.tensor([0, 1]))
    spec = InputSpec(1, 8, 8, 11, timesteps=5)
    rows = score(answer(sealed), sealed, spec=spec, judge=None, context={}, guess=guess)
    assert [row.moved for row in rows] == [0.0, 0.5]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace("capture_id", "capture"),
        lambda text: text.replace("True", "maybe"),
        lambda text: text.replace("0.9", "much"),
        lambda text: text[:0],
    ],
)
def test_a_spoilt_csv_is_refused(tmp_path: Path, row: Row, spoil: Callable[[str], str]) -> None:
    path = write_scores([row()], tmp_path / "scores.csv")
    path.write_text(spoil(path.read_text()))
    with pytest.raises(DataError, match="scores"):
        read_scores(path)
    with pytest.raises(DataError, match="no readable"):
        read_scores(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("count", "roles"),
    [
        (1, {"best": 0}),
        (2, {"best": 0, "worst": 1}),
        (3, {"best": 0, "median": 1, "worst": 2}),
        (9, {"best": 0, "upper quartile": 2, "median": 4, "lower quartile": 6, "worst": 8}),
    ],
)
def test_roles(count: int, roles: dict[str, int]) -> None:
    assert choose_roles(count) == roles


def test_a_gallery_shows_the_pairs_of_the_rows(tmp_path: Path, answer: Answer, spec: InputSpec) -> None:
    generator = torch.Generator().manual_seed(0)
    batches, answers, rows = [], [], []
    for index, noise in enumerate((0.3, 0.0, 0.1)):
        truth = torch.rand(2, 1, 12, 12, generator=generator)
        batch = SealedBatch(f"toy/r001-c{index:03d}", truth, torch.tensor([index, index]))
        ours = (truth + noise * torch.randn(truth.shape, generator=generator)).clamp(0, 1).flip(0)
        reconstruction = answer(batch, inputs=ours, loss_history=torch.arange(1.0, 3.0 + index))
        batches.append(batch)
        answers.append(reconstruction)
        rows += score(reconstruction, batch, spec=spec, judge=None, context=CONTEXT)
    gallery = build_gallery(rows, answers, batches, spec=spec)
    assert list(gallery.ssim) == sorted(gallery.ssim, reverse=True)
    assert gallery.roles[0] == "best"
    assert gallery.capture_ids[0] == "toy/r001-c001"
    assert gallery.capture_ids[-1] == "toy/r001-c000"
    assert torch.equal(gallery.truth[0], gallery.reconstructions[0])
    for index, label in enumerate(gallery.labels):
        assert any(torch.equal(gallery.truth[index], picture) for picture in batches[label].inputs)
    assert gallery.loss_curves.shape == (3, 4)
    assert gallery.loss_curves[0].isnan().tolist() == [False, False, True, True]
    path = save_gallery(dataclasses.replace(gallery, cell="../a b/<c>"), tmp_path)
    assert path == tmp_path / "gallery" / "a-b-c-idlg.safetensors"
    back = load_record(Gallery, path)
    assert back.ssim == gallery.ssim
    assert torch.equal(back.truth, gallery.truth)
    with pytest.raises(ValueError, match="order"):
        build_gallery(rows, answers[::-1], batches, spec=spec)
    with pytest.raises(ValueError, match="belong"):
        build_gallery([*rows, rows[0]], answers, batches, spec=spec)
