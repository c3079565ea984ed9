"""What is said of an answer that is a text, against texts that are scored by hand."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from attacks.contracts import Reconstruction, StopReason
from fl_sim.records import InputSpec, SealedBatch
from fl_sim.tokens import one_hot
from judges.runs.rows import Context, Score
from judges.scoring.assignment import assigned
from judges.scoring.controls import control_reconstructions
from judges.scoring.gallery import build_answers, build_gallery
from judges.scoring.gradient_inversion import score
from judges.scoring.text_metrics import token_accuracy, tokens_found, written
from judges.summaries.gradient_inversion import summarise
from judges.summaries.verdicts import RECOVERED, STUCK, TOO_FEW

SPEC = InputSpec(1, 4, 9, 3, vocabulary=9)
CONTEXT = Context(cell="c", attack="dlg", model="words")


def texts(*rows: list[int]) -> Tensor:
    return one_hot(torch.tensor(rows), SPEC)


TRUTH = texts([1, 2, 2, 8], [0, 3, 4, 5])


def answer(inputs: Tensor, labels: tuple[int, ...] = (0, 1), **changes: object) -> Reconstruction:
    values = {
        "capture_id": "a/r001-c000", "attack": "dlg", "settings": {}, "inputs": inputs,
        "labels": torch.tensor(labels), "matching_loss": 1e-9, "last_inputs": inputs,
        "loss_history": torch.tensor([1.0]), "iterations": 1, "gradient_evaluations": 1, "restarts": 1,
        "stop_reason": StopReason.CONVERGED, "seconds": 0.0, "seed": 0,
    }  # fmt: skip
    return Reconstruction(**{**values, **changes})  # type: ignore[arg-type]


def rows_of(found: Reconstruction, truth: Tensor = TRUTH, guess: Tensor | None = None) -> list[Score]:
    sealed = SealedBatch("a/r001-c000", truth, torch.arange(len(truth)))
    return score(found, sealed, spec=SPEC, judge=None, context=CONTEXT, guess=guess)


def test_tokens_in_their_places_and_in_any_order() -> None:
    ours = texts([1, 2, 8, 2], [0, 0, 4, 4])
    assert token_accuracy(ours, TRUTH).tolist() == [0.5, 0.5]
    assert tokens_found(ours, TRUTH).tolist() == [1.0, 0.5]
    assert written(TRUTH[0]) == "1 2 2 8"


def test_a_row_of_a_text() -> None:
    right, mixed = rows_of(answer(texts([1, 2, 2, 8], [5, 4, 3, 0])))
    assert (right.token_accuracy, right.tokens_found, right.solved, right.recognisable) == (1.0, 1.0, True, True)
    assert (mixed.token_accuracy, mixed.tokens_found, mixed.solved, mixed.recognisable) == (0.0, 1.0, False, True)
    for row in (right, mixed):
        assert (row.ssim, row.psnr_db, row.last_ssim, row.last_psnr_db) == (None,) * 4
    assert (right.similarity, mixed.similarity) == (1.0, 0.5)
    lost, _ = rows_of(answer(TRUTH, stop_reason=StopReason.DIVERGED))
    assert (lost.token_accuracy, lost.solved, lost.recognisable) == (1.0, False, False)


def test_most_of_a_long_text_is_not_all_of_it() -> None:
    """A wrong token among very many changes the MSE by less than what is called solved for pictures."""
    spec = InputSpec(1, 40, 500, 3, vocabulary=500)
    truth, ours = (one_hot(torch.tensor([[first, *range(1, 40)]]), spec) for first in (0, 400))
    sealed = SealedBatch("a/r001-c000", truth, torch.tensor([0]))
    (row,) = score(answer(ours, (0,)), sealed, spec=spec, judge=None, context=CONTEXT)
    assert row.mse < 1e-3
    assert (row.solved, row.recognisable, row.token_accuracy) == (False, False, 39 / 40)


def test_texts_are_paired_by_their_words_where_their_order_is_lost() -> None:
    assert assigned(texts([5, 4, 3, 0], [8, 1, 2, 2]), TRUTH, SPEC).tolist() == [1, 0]


def test_how_far_an_answer_is_from_its_guess_is_a_share_of_tokens() -> None:
    one, other = rows_of(answer(TRUTH), guess=texts([1, 2, 2, 0], [0, 3, 4, 5]))
    assert (one.moved, other.moved) == (0.25, 0.0)


def test_pictures_are_no_controls_of_texts() -> None:
    sealed = SealedBatch("a/r001-c000", TRUTH, torch.tensor([0, 1]))
    assert control_reconstructions(sealed, SPEC, None) == {}


@pytest.mark.parametrize(
    ("tokens", "verdict"),
    [
        ([1, 2, 2, 8], RECOVERED),
        ([2, 1, 8, 2], RECOVERED),  # all words of a bag, in another order
        ([1, 2, 2, 7], TOO_FEW),
        ([6, 6, 7, 7], TOO_FEW),
        ([1, 0, 0, 0], STUCK),
    ],
)
def test_verdicts_on_texts(tokens: list[int], verdict: str) -> None:
    truth, guess = TRUTH[:1], texts([1, 0, 0, 0])
    rows = rows_of(answer(texts(tokens), (0,)), truth, guess)
    control = dataclasses.replace(rows_of(answer(guess, (0,)), truth)[0], control="no-op", attack="")
    attack, beside = summarise([*rows, control]).cells
    assert attack.verdict == verdict, attack.reason
    assert (attack.psnr_db, attack.ssim, beside.token_accuracy) == (None, None, 0.25)
    assert "7x7" not in attack.reason


def test_a_gallery_holds_texts_as_numbers() -> None:
    sealed = SealedBatch("a/r001-c000", TRUTH, torch.tensor([0, 1]))
    found = answer(texts([0, 3, 4, 4], [1, 2, 2, 8]))
    order = assigned(found.inputs, TRUTH, SPEC)
    shown = build_gallery(rows_of(found), [found], [sealed], [order], spec=SPEC)
    assert shown.images == {}
    assert shown.texts == {"truth": ("1 2 2 8", "0 3 4 5"), "answer": ("1 2 2 8", "0 3 4 4")}
    assert shown.numbers["token_accuracy"] == (1.0, 0.75)
    assert build_answers(CONTEXT, [found], spec=SPEC).texts == {"answer": ("0 3 4 4", "1 2 2 8")}
