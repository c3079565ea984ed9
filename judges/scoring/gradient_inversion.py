"""Compares a reconstruction with the sealed truth, and returns rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from attacks.contracts import Reconstruction, StopReason
from attacks.settings import UNTHRESHOLDED
from fl_sim.records import InputSpec, SealedBatch
from judges.classifiers.cache import Judge
from judges.runs.rows import RECOGNISABLE_SSIM, SOLVED_MSE, Context, Score
from judges.scoring.assignment import assigned
from judges.scoring.controls import NO_LABEL
from judges.scoring.image_metrics import as_images, has_ssim, l2, mse, psnr_db, ssim
from judges.scoring.text_metrics import token_accuracy, tokens_found


def score(
    reconstruction: Reconstruction,
    sealed: SealedBatch,
    *,
    spec: InputSpec,
    judge: Judge | None,
    context: Context,
    guess: Tensor | None = None,
    order: Tensor | None = None,
    mismatch: float | None = None,
    answer_mismatch: float | None = None,
) -> list[Score]:
    """Return one row for each original of a batch, in the order of the originals.

    Reconstructions are assigned to originals once, by MSE, and every number of a row refers to that pair, except
    `label_found`. The gradient of a batch tells no order, so this is a choice, and where no picture was found the pairs
    are arbitrary: their other metrics, and their labels, are those of chance.

    Args:
        reconstruction: answer of an attack or a control; it may have diverged or hold NaN.
        sealed: the truth of the same captured update.
        spec: spec of the inputs, with their value range.
        judge: a classifier, or None.
        context: the columns that all rows share.
        guess: the attack's initial guess, with the shape and order of its answer; None if it is not known.
        order: the assignment; None to compute it.
        mismatch, answer_mismatch: distances of the truth's and the answer's update from the captured one, see `Score`.

    Raises:
        ValueError: the capture ids or the shapes differ.
    """
    if reconstruction.capture_id != sealed.capture_id:
        raise ValueError(f"a reconstruction of {reconstruction.capture_id} is not of {sealed.capture_id}")
    order = assigned(reconstruction.inputs, sealed.inputs, spec) if order is None else order
    columns = _columns(reconstruction, sealed, spec, judge, guess, order)
    shared = vars(context) | _thresholding(reconstruction) | _effort(reconstruction)
    shared |= {"mismatch": mismatch, "answer_mismatch": answer_mismatch}
    alive = context.as_published or reconstruction.stop_reason is not StopReason.DIVERGED
    rows = []
    for example, values in enumerate(zip(*columns.values(), strict=True)):
        row = dict(zip(columns, values, strict=True))
        solved, recognisable = _successes(row, spec)
        row["solved"], row["recognisable"] = alive and solved, None if recognisable is None else alive and recognisable
        row["judge_correct"] = None if judge is None else alive and row["judge_correct"]
        rows.append(Score(**shared, **row, example=example))
    return rows


def _successes(row: Mapping[str, Any], spec: InputSpec) -> tuple[bool, bool | None]:
    """Return whether an answer that did not diverge is solved, and recognisable; see `Score`."""
    if spec.vocabulary:
        return row["token_accuracy"] == 1.0, row["tokens_found"] == 1.0
    solved = row["mse"] < SOLVED_MSE * (spec.high - spec.low) ** 2
    return solved, None if row["ssim"] is None else row["ssim"] > RECOGNISABLE_SSIM


def _columns(
    reconstruction: Reconstruction,
    sealed: SealedBatch,
    spec: InputSpec,
    judge: Judge | None,
    guess: Tensor | None,
    order: Tensor,
) -> dict[str, list[Any]]:
    """Return the columns that differ from example to example, in the order of the originals."""
    truth, ours = as_images(sealed.inputs), as_images(reconstruction.inputs)
    true, named = _classes(sealed.labels, reconstruction.labels)
    recovered, moved = named[order], [None] * len(order)
    started = guess is not None and bool(guess.isfinite().all()) and reconstruction.restarts <= 1
    if guess is not None and started:  # after a restart the answer may come from another guess
        moved = _moved(ours, as_images(guess), spec)[order].tolist()
    pictures = _pictures(ours[order], truth, spec)
    # Of a thousand examples, the SSIM takes seconds.
    known = pictures if torch.equal(reconstruction.inputs, reconstruction.last_inputs) else None
    return {
        **pictures,
        **{f"last_{name}": values for name, values in _last(reconstruction, order, sealed, spec, judge, known).items()},
        "label": true.tolist(),
        "label_recovered": recovered.tolist(),
        "label_correct": ((recovered == true) & (recovered != NO_LABEL)).tolist(),
        "label_found": labels_found(true.tolist(), named.tolist()),
        **_judged(judge, reconstruction.inputs.index_select(-4, order), sealed),
        "moved": moved,
        **(_of_texts(ours[order], truth) if spec.vocabulary else {}),
    }


def _classes(true: Tensor, named: Tensor) -> tuple[Tensor, Tensor]:
    """Return the true labels and those that an attack named as classes; targets that are not whole numbers are none."""
    if true.is_floating_point():
        none = torch.full(true.shape, NO_LABEL)
        return none, none
    return true.cpu(), named.cpu().round().long()


def _moved(ours: Tensor, guess: Tensor, spec: InputSpec) -> Tensor:
    """Return how far answers are from their guesses, (N,); see `Score`."""
    if spec.vocabulary:
        return 1.0 - token_accuracy(ours, guess)
    return mse(ours, guess).sqrt() / (spec.high - spec.low)


def _of_texts(ours: Tensor, truth: Tensor) -> dict[str, list[float]]:
    """Return the shares of tokens that each answer has."""
    return {
        "token_accuracy": token_accuracy(ours, truth).tolist(),
        "tokens_found": tokens_found(ours, truth).tolist(),
    }


def labels_found(true: Sequence[int], named: Sequence[int]) -> list[bool]:
    """Return for each true label whether it is among those that an attack named for the batch, in any order.

    A label that was named once accounts for one example, the first that has it, so the number of examples found is that
    of the intersection of two multisets.
    """
    left, found = Counter(named), []
    for label in true:
        found.append(left[label] > 0)
        left[label] -= 1
    return found


def _pictures(ours: Tensor, truth: Tensor, spec: InputSpec) -> dict[str, list[float] | list[None]]:
    """Return the four metrics of each pair; SSIM and PSNR are None where they are not defined."""
    none = [None] * len(truth)
    is_picture = not spec.vocabulary
    is_large = is_picture and has_ssim(truth)
    return {
        "ssim": ssim(ours, truth, low=spec.low, high=spec.high).tolist() if is_large else none,
        "psnr_db": psnr_db(ours, truth, low=spec.low, high=spec.high).tolist() if is_picture else none,
        "mse": mse(ours, truth).tolist(),
        "l2": l2(ours, truth).tolist(),
    }


def _last(
    reconstruction: Reconstruction,
    order: Tensor,
    sealed: SealedBatch,
    spec: InputSpec,
    judge: Judge | None,
    known: Mapping[str, Any] | None,
) -> dict[str, list[Any]]:
    """Return the metrics of the last iterate; images are clamped to the value range, like the answer.

    Those of pictures are `known` where the answer, in this range, is the last iterate.
    """
    last = reconstruction.last_inputs.index_select(-4, order)
    clamped = last if spec.timesteps else last.clamp(spec.low, spec.high).where(last.isfinite(), torch.nan)
    judged: list[Any] = [None] * len(order)
    if judge is not None:
        seen, _ = judge.predict(clamped.nan_to_num())
        finite = as_images(last).flatten(1).isfinite().all(1).cpu()
        judged = ((seen == sealed.labels.cpu()) & finite).tolist()
    if known is None or not torch.equal(clamped, last):
        known = _pictures(as_images(clamped), as_images(sealed.inputs), spec)
    return {**known, "judge_correct": judged}


def _judged(judge: Judge | None, ours: Tensor, sealed: SealedBatch) -> dict[str, list[Any]]:
    """Return what the judge sees in each answer, and whether it recognises the true input."""
    names = ("judge_label", "judge_confidence", "judge_correct", "truth_judge_correct")
    labels = sealed.labels
    if judge is None:
        return {name: [None] * len(labels) for name in names}
    seen, confidence = judge.predict(ours)
    known, _ = judge.predict(sealed.inputs)
    columns = (seen, confidence, seen == labels.cpu(), known == labels.cpu())
    return {name: column.tolist() for name, column in zip(names, columns, strict=True)}


def _effort(reconstruction: Reconstruction) -> dict[str, Any]:
    """Return the attack's own report of its work."""
    return {
        "matching_loss": float(reconstruction.matching_loss),
        "iterations": reconstruction.iterations,
        "gradient_evaluations": reconstruction.gradient_evaluations,
        "restarts": reconstruction.restarts,
        "stop_reason": str(reconstruction.stop_reason),
        "seconds": float(reconstruction.seconds),
        "engine": reconstruction.engine,
        "refused": reconstruction.refused,
        "first_loss": float(reconstruction.loss_history[0]) if len(reconstruction.loss_history) else None,
    }


def _thresholding(reconstruction: Reconstruction) -> dict[str, Any]:
    """Return the columns of thresholding, and the captured update."""
    way = str(reconstruction.settings.get("thresholding", UNTHRESHOLDED))
    tau = reconstruction.settings.get("tau")
    return {
        "thresholding": way,
        "tau": None if way == UNTHRESHOLDED or tau is None else float(tau),
        "capture_id": reconstruction.capture_id,
    }
