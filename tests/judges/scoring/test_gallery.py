from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch

from attacks.contracts import Reconstruction, StopReason
from fl_sim.records import InputSpec, SealedBatch
from judges.report.gradient_inversion.pictures import panel_blocks, sizes
from judges.runs.rows import Score
from judges.scoring.gallery import build_gallery, choose_roles
from judges.scoring.gradient_inversion import score
from judges.summaries.gradient_inversion import summarise

Answer = Callable[..., Reconstruction]
EVENTS = InputSpec(channels=2, height=8, width=8, classes=4, timesteps=3)


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
    gallery = build_gallery(rows, answers, batches, spec=spec)
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
        context = {"dataset": "e", "cell": "c", "model": "m"}
        rows += score(ours, batch, spec=EVENTS, judge=None, context=context)
    rows = [dataclasses.replace(item, ssim=1 - item.ssim) for item in rows]  # SSIM must not matter
    gallery = build_gallery(rows, answers, batches, spec=EVENTS)
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
