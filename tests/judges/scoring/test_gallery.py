from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from attacks.contracts import Reconstruction, StopReason
from fl_sim.records import InputSpec, SealedBatch
from judges.report.gradient_inversion.pictures import answer_blocks, picture_blocks, sizes
from judges.runs.identity import Approach, Attacked, columns_of
from judges.runs.manifest import ANSWERS, GALLERY
from judges.runs.pictures import ANSWER, TRUTH, Pictures, load_pictures, save_pictures
from judges.runs.rows import Context, Score
from judges.scoring.assignment import assigned
from judges.scoring.gallery import build_answers, build_gallery, choose_roles
from judges.scoring.gradient_inversion import score
from judges.scoring.image_metrics import ssim
from judges.summaries.gradient_inversion import summarise

Answer = Callable[..., Reconstruction]
EVENTS = InputSpec(channels=2, height=8, width=8, classes=4, timesteps=3)
CONTEXT = Context(
    cell="c",
    dataset="toy",
    model="my_snn",
    family="lenet",
    spiking=True,
    varied={"timesteps": 5},
    init="uniform",
    defence="quantise",
    defence_settings={"bits": 4},
    attack="dlg-grey",
    attack_settings={"restarts": 2},
)


def orders_of(answers: Sequence[Reconstruction], batches: Sequence[SealedBatch]) -> list[Tensor]:
    return [assigned(answer.inputs, batch.inputs) for answer, batch in zip(answers, batches, strict=True)]


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
    orders = orders_of(answers, batches)
    gallery = build_gallery(rows, answers, batches, orders, spec=spec)
    chosen = len(gallery.roles)
    assert list(gallery.numbers["ssim"])[:chosen] == sorted(gallery.numbers["ssim"][:chosen], reverse=True)
    assert (gallery.roles[0], gallery.subjects[0]) == ("best", "toy/r001-c001")
    assert gallery.subjects[chosen - 1] == "toy/r001-c000"
    victims = list(zip(gallery.subjects, gallery.numbers["example"], strict=True))
    assert sorted(victims) == [(f"toy/r001-c{index:03d}", example) for index in range(3) for example in (0, 1)]
    assert gallery.curve_subjects == tuple(batch.capture_id for batch in batches)
    assert torch.equal(gallery.images[TRUTH][0], gallery.images[ANSWER][0])
    for index, label in enumerate(gallery.numbers["label"]):
        assert any(torch.equal(gallery.images[TRUTH][index], picture) for picture in batches[int(label)].inputs)
    assert gallery.loss_curves.shape == (3, 4)
    assert gallery.loss_curves[0].isnan().tolist() == [False, False, True, True]
    path = save_pictures(dataclasses.replace(gallery, cell="../a b/<c>"), tmp_path)
    assert path == tmp_path / "gallery" / ".._a_b__c_.safetensors"
    (back,) = load_pictures(tmp_path / GALLERY)
    assert columns_of(back, Approach, Attacked) == columns_of(CONTEXT, Approach, Attacked)
    assert (back.group, back.numbers, back.words) == (CONTEXT.group, gallery.numbers, gallery.words)
    assert torch.equal(back.images[TRUTH], gallery.images[TRUTH])
    assert torch.equal(back.loss_curves.nan_to_num(-1.0), gallery.loss_curves.nan_to_num(-1.0))
    with pytest.raises(ValueError, match="order"):
        build_gallery(rows, answers[::-1], batches, orders, spec=spec)
    with pytest.raises(ValueError, match="belong"):
        build_gallery([*rows, rows[0]], answers, batches, orders, spec=spec)


def test_answers_without_a_truth_are_kept_with_what_they_are_about(tmp_path: Path, answer: Answer) -> None:
    spec = InputSpec(channels=1, height=12, width=12, classes=4)
    batches = [SealedBatch(f"v{index}", torch.full((2, 1, 12, 12), index / 20), torch.zeros(2)) for index in range(20)]
    answers = build_answers(CONTEXT, [answer(batch, labels=torch.tensor([1, -1])) for batch in batches], spec=spec)
    save_pictures(answers, tmp_path)
    (back,) = load_pictures(tmp_path / ANSWERS)
    assert columns_of(back, Approach, Attacked) == columns_of(CONTEXT, Approach, Attacked)
    assert (back.cell, back.captures, len(back.images[ANSWER])) == ("c", 20, 24)
    assert back.numbers["label"][:2] == (1, -1)
    assert back.subjects[:9] == ("v0", "v0", "v1", "v1", "v2", "v2", "v3", "v3", "v4")
    assert set(back.subjects) == {batch.capture_id for batch in batches}
    (block,) = answer_blocks([back], lambda dataset: dataset == "toy")
    assert (block.title, block.note, [len(sheet.headings) for sheet in block.parts[0].sheets]) == (
        "c", "20 captures", [10, 10, 4],
    )  # fmt: skip
    first, second = block.parts[0].sheets[0].rows[0].shots[:2]
    assert (first.alt, first.caption[0], len(second.caption)) == ("answer to v0", "label 1", 1)
    (hidden,) = answer_blocks([back], lambda _: False)
    assert (hidden.hidden, hidden.parts) == (True, ())


def test_answers_of_more_captures_than_are_shown_are_spread_over_all(answer: Answer) -> None:
    spec = InputSpec(channels=1, height=12, width=12, classes=4)
    batches = [SealedBatch(f"v{index}", torch.zeros(2, 1, 12, 12), torch.zeros(2)) for index in range(70)]
    shown = build_answers(CONTEXT, [answer(batch, labels=torch.tensor([0, 1])) for batch in batches], spec=spec)
    assert shown.subjects == tuple(f"v{3 * index}" for index in range(24))
    assert set(shown.numbers["label"]) == {0}
    (block,) = answer_blocks([shown], lambda _: True)
    assert block.note == "70 captures, answers to 24 of them"


def test_loss_curves_are_of_captures_from_the_first_to_the_last(row: Callable[..., Score], answer: Answer) -> None:
    spec = InputSpec(channels=1, height=12, width=12, classes=4)
    batches = [SealedBatch(f"v{index}", torch.zeros(1, 1, 12, 12), torch.tensor([0])) for index in range(47)]
    answers = [answer(batch, loss_history=torch.tensor([float(index)])) for index, batch in enumerate(batches)]
    rows = [row(capture_id=batch.capture_id, recognisable=index < 2) for index, batch in enumerate(batches)]
    gallery = build_gallery(rows, answers, batches, orders_of(answers, batches), spec=spec)
    assert gallery.loss_curves[:, 0].tolist() == [2 * index for index in range(24)]
    assert gallery.curve_recognisable == (True, *(False,) * 23)


def test_small_pictures_are_ranked_by_their_distance(row: Callable[..., Score], answer: Answer) -> None:
    spec = InputSpec(channels=1, height=5, width=5, classes=4)
    batches = [SealedBatch(f"v{index}", torch.zeros(1, 1, 5, 5), torch.tensor([0])) for index in range(3)]
    answers = [answer(batch) for batch in batches]
    small = {"ssim": None, "last_ssim": None, "recognisable": None}
    rows = [
        row(**small, capture_id=batch.capture_id, mse=mse, solved=mse < 0.001)
        for batch, mse in zip(batches, (0.2, 0.0, 0.1), strict=True)
    ]
    gallery = build_gallery(rows, answers, batches, orders_of(answers, batches), spec=spec)
    assert gallery.subjects == ("v1", "v2", "v0")
    assert "ssim" not in gallery.numbers
    assert gallery.curve_recognisable == (False, True, False)
    (block,) = picture_blocks([gallery], summarise(rows), lambda _: True)
    sheets, losses = block.parts
    assert sheets.sheets[0].rows[1].shots[0].caption == ("\N{EN DASH} \N{MIDDLE DOT} 30.0",)
    assert losses.legend == {"good": "solved", "bad": "not solved"}


def test_pictures_stand_in_the_order_of_the_cells_and_those_of_none_are_left_out(tmp_path: Path) -> None:
    picture = torch.zeros(1, 1, 2, 2)
    told: dict[str, Any] = {"subjects": ("v",), "numbers": {"label": (0,)}, "words": {"stop_reason": ("budget",)}}
    kept = [Pictures(cell=cell, images={TRUTH: picture, ANSWER: picture + 1}, **told) for cell in "abc"]
    for one in kept:
        save_pictures(one, tmp_path)
    assert [one.cell for one in load_pictures(tmp_path / GALLERY)] == ["a", "b", "c"]
    assert [one.cell for one in load_pictures(tmp_path / GALLERY, [kept[2].key, kept[0].key])] == ["c", "a"]
    assert load_pictures(tmp_path / ANSWERS) == []


def test_a_picture_without_limits_is_scaled_by_its_own_values() -> None:
    images = {ANSWER: torch.tensor([0.25, 0.75, 0.5, 0.5]).reshape(2, 1, 1, 2)}
    own = Pictures(cell="c", subjects=("a", "b"), images=images, numbers={}, words={})
    assert [own.limits_of(ANSWER, at) for at in (0, 1)] == [(0.25, 0.75), (0.5, 1.5)]
    assert dataclasses.replace(own, limits=(0.0, 2.0)).limits_of(ANSWER, 0) == (0.0, 2.0)


def test_one_that_diverged_is_shown_where_no_role_shows_any() -> None:
    nine = choose_roles(9)
    assert choose_roles(9, [1, 3, 5]) == nine | {"diverged": 3}
    assert choose_roles(9, [5]) == nine | {"diverged": 5}
    assert choose_roles(9, [5, 8]) == nine
    assert choose_roles(9, []) == nine


def test_a_gallery_of_images_ends_with_one_that_diverged(row: Callable[..., Score], answer: Answer) -> None:
    spec = InputSpec(channels=1, height=12, width=12, classes=9)
    batches = [SealedBatch(f"v{index}", torch.full((1, 1, 12, 12), index / 9), torch.tensor([0])) for index in range(9)]
    answers = [answer(batch) for batch in batches]
    rows = [
        row(capture_id=f"v{index}", ssim=1 - index / 10, stop_reason="diverged" if index in (3, 5) else "converged")
        for index in range(9)
    ]
    gallery = build_gallery(rows, answers, batches, orders_of(answers, batches), spec=spec)
    assert gallery.roles == ("best", "upper quartile", "median", "lower quartile", "worst", "diverged")
    assert gallery.subjects[5] == "v5"
    assert set(gallery.subjects[6:]) == {"v1", "v3", "v7"}
    assert gallery.timesteps == 0


def test_events_are_summed_over_time_and_ranked_by_distance(answer: Answer) -> None:
    generator = torch.Generator().manual_seed(4)
    batches, answers, rows = [], [], []
    for index, share in enumerate((0.5, 0.0, 0.2)):
        truth = (torch.rand(3, 1, 2, 8, 8, generator=generator) < 0.3).float()
        truth[0, 0, 0, 0, 0] = truth[1, 0, 0, 0, 0] = truth[2, 0, 0, 0, 0] = 1.0
        flips = (torch.rand(truth.shape, generator=generator) < share).float()
        batch = SealedBatch(f"f-000/c{index}", truth, torch.tensor([index]))
        ours = answer(
            batch, inputs=(truth - flips).abs(), last_inputs=truth, settings={"thresholding": "x", "tau": 0.5},
            stop_reason=StopReason.BUDGET,
        )  # fmt: skip
        batches.append(batch)
        answers.append(ours)
        context = Context(dataset="e", cell="c", model="m", attack="idlg", guess="spikes")
        rows += score(ours, batch, spec=EVENTS, judge=None, context=context)
    rows = [dataclasses.replace(item, ssim=1 - item.similarity) for item in rows]  # SSIM must not matter
    gallery = build_gallery(rows, answers, batches, orders_of(answers, batches), spec=EVENTS)
    assert list(gallery.numbers["label"]) == [1, 2, 0]
    assert list(gallery.numbers["l2"]) == sorted(gallery.numbers["l2"])
    assert gallery.timesteps == 3
    assert torch.equal(gallery.images[TRUTH][0], batches[1].inputs.sum(0)[0] / 3)
    assert sizes([gallery]) == {"e": (3, 2, 8, 8)}
    (block,) = picture_blocks([gallery], summarise(rows), lambda dataset: dataset == "e")
    assert (block.title, block.note[:8], block.hidden) == ("e", "3 frames", False)
    (sheet,) = block.parts[0].sheets
    assert (sheet.title, sheet.headings) == ("iDLG, tau 0.5", ("best", "median", "worst"))
    above, below = sheet.rows
    assert (above.title, above.note) == ("Truth", "m, x")
    assert (below.note, below.shots[0].caption) == ("", ("l2 0.00",))
    (hidden,) = picture_blocks([gallery], summarise(rows), lambda _: False)
    assert hidden.hidden
    assert [part.title for part in hidden.parts] == ["Loss curves, effort"]
    assert not any(part.sheets for part in hidden.parts)


def test_the_pictures_of_searches_stand_beside_their_answers(
    tmp_path: Path, row: Callable[..., Score], answer: Answer, spec: InputSpec
) -> None:
    """The best answer kept none; the other two kept two and three, each of a batch of one."""
    batches = [SealedBatch(f"toy/r001-c{index:03d}", torch.rand(1, 1, 12, 12), torch.tensor([1])) for index in range(3)]
    films = [None, torch.rand(2, 1, 1, 12, 12), torch.rand(3, 1, 1, 12, 12)]
    answers = [
        answer(batch, snapshots=film, snapshot_steps=None if film is None else torch.arange(len(film)) * 10)
        for batch, film in zip(batches, films, strict=True)
    ]
    rows = [row(capture_id=batch.capture_id, ssim=0.9 - 0.1 * at) for at, batch in enumerate(batches)]
    gallery = build_gallery(rows, answers, batches, orders_of(answers, batches), spec=spec)
    (kept,) = load_pictures(save_pictures(gallery, tmp_path).parent)
    assert kept.snapshots is not None
    assert kept.snapshot_steps is not None
    assert kept.snapshot_steps.tolist() == [[-1, -1, -1], [0, 10, -1], [0, 10, 20]]
    assert films[1] is not None
    assert kept.snapshots[1, :2].equal(films[1][:, 0])
    assert kept.snapshots[0].isnan().all()
    assert kept.snapshot_ssim is not None
    alike = ssim(films[1][1], batches[1].inputs, low=spec.low, high=spec.high)
    assert kept.snapshot_ssim[1, 1] == alike[0]
    assert kept.snapshot_ssim.isnan().tolist() == (kept.snapshot_steps < 0).tolist()
    bare = [answer(batch) for batch in batches]
    assert build_gallery(rows, bare, batches, orders_of(bare, batches), spec=spec).snapshots is None
