from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from attacks.contracts import Reconstruction, StopReason
from fl_sim.records import InputSpec, SealedBatch, load_record
from judges.report.gradient_inversion.pictures import panel_blocks, sizes
from judges.runs.identity import Approach, Attacked, columns_of
from judges.runs.pictures import Answers, Gallery, save_answers, save_gallery
from judges.runs.rows import Context, Score
from judges.scoring.assignment import assigned
from judges.scoring.gallery import build_answers, build_gallery, choose_roles
from judges.scoring.gradient_inversion import score
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
    assert path == tmp_path / "gallery" / "a-b-c.safetensors"
    back = load_record(Gallery, path)
    assert columns_of(back, Approach, Attacked) == columns_of(CONTEXT, Approach, Attacked)
    assert (back.group, back.ssim) == (CONTEXT.group, gallery.ssim)
    assert torch.equal(back.truth, gallery.truth)
    with pytest.raises(ValueError, match="order"):
        build_gallery(rows, answers[::-1], batches, orders, spec=spec)
    with pytest.raises(ValueError, match="belong"):
        build_gallery([*rows, rows[0]], answers, batches, orders, spec=spec)


def test_answers_without_a_truth_are_kept_with_what_they_are_about(tmp_path: Path, answer: Answer) -> None:
    spec = InputSpec(channels=1, height=12, width=12, classes=4)
    batches = [SealedBatch(f"v{index}", torch.full((2, 1, 12, 12), index / 20), torch.zeros(2)) for index in range(20)]
    answers = build_answers(CONTEXT, [answer(batch, labels=torch.tensor([1, -1])) for batch in batches], spec=spec)
    back = load_record(Answers, save_answers(answers, tmp_path))
    assert columns_of(back, Approach, Attacked) == columns_of(CONTEXT, Approach, Attacked)
    assert (back.cell, back.captures, len(back.pictures), back.labels[:2]) == ("c", 20, 24, (1, -1))


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
    assert gallery.capture_ids[-1] == "v5"
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
    rows = [dataclasses.replace(item, ssim=1 - item.ssim) for item in rows]  # SSIM must not matter
    gallery = build_gallery(rows, answers, batches, orders_of(answers, batches), spec=EVENTS)
    assert gallery.labels == (1, 2, 0)
    assert list(gallery.l2) == sorted(gallery.l2)
    assert gallery.timesteps == 3
    assert torch.equal(gallery.truth[0], batches[1].inputs.sum(0)[0] / 3)
    assert sizes([gallery]) == {"e": (3, 2, 8, 8)}
    (block,) = panel_blocks([gallery], summarise(rows), lambda dataset: dataset == "e")
    assert (block.timesteps, block.hidden) == (3, False)
    assert block.rows[0].name == "idlg \N{MIDDLE DOT} tau 0.5"
    (panel,) = block.rows[0].panels
    assert panel.title == "m \N{MIDDLE DOT} x"
    assert panel.pairs[0].caption == "l2 0.00"
    (hidden,) = panel_blocks([gallery], summarise(rows), lambda _: False)
    assert hidden.hidden
    assert hidden.rows[0].panels[0].pairs == ()
