"""Checks of an audit's evidence: whether the captures say enough, and whether the sealed truth belongs to them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import torch

from attacks.contracts import Reconstruction, StopReason
from attacks.engines.truth import Rounded, mismatches, rounded
from fl_sim.errors import ConfigError, DataError
from fl_sim.observed import assuming, batch_size, same_problem, steps_as_used, why_not_searched
from fl_sim.records import CapturedUpdate, SealedBatch
from fl_sim.specs import Scalar
from judges.runs.rows import LARGEST_MISMATCH

Update = TypeVar("Update", bound=CapturedUpdate)

SPREADS = 2.0
"""A truth is not held against a client whose update is within so many times the spread that rounding alone makes."""


def filled(capture: Update, assumed: Mapping[str, Scalar]) -> Update:
    """Return a capture completed by assumed facts that the server's config does not state.

    Raises:
        ConfigError: a fact that an attack needs is neither known nor assumed, or an assumption contradicts the config.
    """
    for key, value in assumed.items():
        known = getattr(capture if hasattr(capture, key) else capture.training, key) or None
        if known is not None and known != value:
            raise ConfigError(
                f"assumed.{key}: {value} is assumed, but the server's config of {capture.id} says {known}."
            )
    whole = assuming(capture, assumed)
    _check_known(whole)
    return whole


def matched(capture: CapturedUpdate, sealed: SealedBatch) -> SealedBatch:
    """Return the truth with the examples for which the attack searches, each once.

    A client that trains for several epochs may have sealed the batches of all its steps; the first epoch holds all
    examples.

    Raises:
        DataError: the number of sealed examples is not that of the update.
    """
    wanted, count = batch_size(capture), len(sealed.labels)
    if count == wanted:
        return sealed
    if count == steps_as_used(capture)[-1].stop:
        inputs = sealed.inputs.narrow(sealed.inputs.dim() - 4, 0, wanted)
        return dataclasses.replace(sealed, inputs=inputs, labels=sealed.labels[:wanted])
    unknown = why_not_searched(capture)
    if unknown:
        raise DataError(f"{capture.id}: {unknown}; its client sealed {count}.")
    raise DataError(
        f"{capture.id}: its client sealed {count} examples, but {_counted(capture)} make {wanted}, and the attack "
        "would look for so many. Say the right numbers in the train config or with --set assumed.batch_size=... and "
        "--set assumed.local_steps=... or --set assumed.epochs=...; or seal what the update was computed on."
    )


def measured(
    captures: Sequence[CapturedUpdate], sealed: Mapping[str, SealedBatch], cut: Mapping[str, SealedBatch]
) -> tuple[dict[str, float], dict[str, float], dict[str, Rounded]]:
    """Return how far the updates of truths are from the captured ones, relative to the norms of these.

    Where rounding alone may have moved weights so far, over several local steps or because they hardly changed, the
    nearest of several replays counts; see `attacks.engines.truth.rounded`.

    Args:
        captures: with all facts that an attack assumes.
        sealed: {capture id: truth}, with the batches of one epoch or of all.
        cut: {capture id: the same with the batches of one epoch}; see `matched`.

    Returns:
        {capture id: distance in the order in which the client used its examples, as far as it is known}, without those
        that cannot be told from rounding; {capture id: distance with the order of the first epoch in all}, which is
        what an attack takes, where this is the only reason why it is not about 0; and {capture id: what rounding does},
        where it is a reason.
    """
    found = _distances(captures, sealed)
    rounding = {}
    for capture in captures:
        if found[capture.id] > LARGEST_MISMATCH and capture.kind == "delta":
            truth = sealed[capture.id]
            replayed = rounded(capture, truth.inputs, truth.labels)
            if replayed.nearest <= max(LARGEST_MISMATCH, SPREADS * replayed.spread):
                rounding[capture.id] = replayed
    found |= {name: value.nearest for name, value in rounding.items()}
    unsettled = [name for name, value in rounding.items() if value.nearest > LARGEST_MISMATCH]
    longer = [one for one in captures if len(sealed[one.id].labels) > len(cut[one.id].labels)]
    taken = _distances(longer, cut)
    reordered = {name: value for name, value in taken.items() if found[name] <= LARGEST_MISMATCH < value}
    return {name: value for name, value in found.items() if name not in unsettled}, reordered, rounding


def _distances(captures: Sequence[CapturedUpdate], truths: Mapping[str, SealedBatch]) -> dict[str, float]:
    examples = [(truths[capture.id].inputs, truths[capture.id].labels) for capture in captures]
    return {one.id: value for one, value in zip(captures, mismatches(captures, examples), strict=True)}


def fits_of(captures: Sequence[CapturedUpdate], answers: Sequence[Reconstruction]) -> dict[str, float]:
    """Return how far the updates of answers are from the captured ones, relative to the norms of these.

    Answers that name no label, are not finite, or were not attempted are left out, and so are all where no engine
    evaluates the model.

    Args:
        captures: with all facts that an attack assumes.
        answers: to any of them.
    """
    known = {one.id: one for one in captures}
    whole = [one for one in answers if one.capture_id in known and _can_be_used(one)]
    examples = [(one.inputs, one.labels) for one in whole]
    try:
        found = mismatches([known[one.capture_id] for one in whole], examples)
    except ConfigError:
        return {}
    return {one.capture_id: value for one, value in zip(whole, found, strict=True)}


def _can_be_used(answer: Reconstruction) -> bool:
    is_finite = bool(torch.isfinite(answer.inputs).all())
    return answer.stop_reason is not StopReason.NOT_ATTEMPTED and is_finite and bool((answer.labels >= 0).all())


def others_truth(captures: Sequence[CapturedUpdate], distances: Mapping[str, float]) -> dict[str, str]:
    """Return which truths are not those of their updates, and why, by capture id.

    The update of such a truth has another direction or length than the captured one, although that of another client
    fits, so that the facts from which it is computed are right. Where no truth fits, a fact may be wrong, or clients
    may draw random numbers; see `wrong_problem`.

    Args:
        captures: with all facts that an attack assumes.
        distances: {capture id: distance of the truth's update from the captured one, relative to its norm}, without
            those that cannot be told from rounding.
    """
    told = [one for one in captures if one.id in distances]
    explained = {same_problem(one) for one in told if distances[one.id] <= LARGEST_MISMATCH}
    return {
        one.id: (
            f"{one.id}: the sealed truth is not that of this update: the update that follows from it is "
            f"{distances[one.id]:.2g} times the norm of the captured one away, where that of another client fits."
        )
        for one in told
        if distances[one.id] > LARGEST_MISMATCH and same_problem(one) in explained
    }


def left_out(reasons: Iterable[str]) -> list[str]:
    """Return which clients are not scored, and why, as sentences."""
    return [f"{reason} This client is attacked and not scored." for reason in reasons]


def out_of_range(capture: CapturedUpdate, sealed: SealedBatch) -> list[str]:
    """Return that the sealed inputs are outside the range in which an attack looks, as a sentence, if they are."""
    spec, inputs = capture.model.input, sealed.inputs
    low, high = float(inputs.min()), float(inputs.max())
    margin = 1e-3 * (spec.high - spec.low)
    if spec.low - margin <= low and high <= spec.high + margin:
        return []
    return [
        f"{capture.id}: the sealed inputs lie in [{low:.3g}, {high:.3g}], but its InputSpec says [{spec.low:g}, "
        f"{spec.high:g}]: the attack looks in the wrong range. Give the spec low= and high=."
    ]


def other_order(reordered: Mapping[str, float]) -> list[str]:
    """Return that clients used their examples in another order in later epochs, as a sentence, if any did.

    Args:
        reordered: {capture id: as `wrong_problem`, for the truth with the order of the first epoch in all}.
    """
    if not reordered:
        return []
    name, value = max(reordered.items(), key=lambda item: item[1])
    return [
        f"the clients of {len(reordered)} updates used their examples in another order in later epochs, which no "
        "server knows. The attack takes the order of the first epoch: at the sealed truth, the update that it expects "
        f"is up to {value:.2g} times the norm of the captured one away from it ({name}), and about 0 with the true "
        "order. So nothing that it was told is wrong, but it cannot fit the truth exactly."
    ]


def rounding_grew(rounding: Mapping[str, Rounded]) -> list[str]:
    """Return that the rounding of clients' steps has grown, as sentences, if it has.

    Args:
        rounding: {capture id: what rounding alone does to the update of its truth}.
    """
    if not rounding:
        return []
    name, worst = max(rounding.items(), key=lambda item: item[1].spread)
    explained = sum(one.nearest <= LARGEST_MISMATCH for one in rounding.values())
    told = [
        f"rounding grew over the local steps of {len(rounding)} updates, or is as large as they are: replays of the "
        f"sealed truth that differ in rounding only end up to {worst.spread:.2g} times the update's norm apart "
        f"({name})."
    ]
    if explained:
        told.append(f"For {explained}, one replay is the captured update: the truth is its own.")
    if explained < len(rounding):
        told.append(f"For {len(rounding) - explained}, none is: whether the truth is its own cannot be told.")
    return [" ".join(told)]


def wrong_problem(mismatches: Mapping[str, float]) -> list[str]:
    """Return for which captures the attack's own loss at the truth is not about 0, as a sentence, if there are any.

    Args:
        mismatches: {capture id: distance between the captured update and that of the truth, relative to its norm}.
    """
    wrong = {name: value for name, value in mismatches.items() if value > LARGEST_MISMATCH}
    if not wrong:
        return []
    name, value = max(wrong.items(), key=lambda item: item[1])
    return [
        f"for {len(wrong)} of {len(mismatches)} updates the attack is pointed at the wrong problem: at the sealed "
        f"truth its own loss should be about 0, but the update that it expects there is up to {value:.2g} times the "
        f"norm of the captured one away from it ({name}). Either a fact about the clients is wrong (loss, optimiser, "
        "mode, steps, normalisation; see `spikeleak check`), or the batches were not sealed in the order in which they "
        "were used, those of all epochs, or they draw random numbers such as dropout, or a defence changed the "
        "updates, or this is the truth of another federation. A failed attack says nothing here."
    ]


def _counted(capture: CapturedUpdate) -> str:
    """Return the numbers from which the number of examples follows."""
    reported = f" of the {capture.num_examples} examples that it reports" if capture.num_examples else ""
    if capture.epochs is not None:
        return f"{capture.epochs} epochs{reported}"
    return f"{capture.local_steps or 1} local steps of {capture.batch_size or 'all'}{reported or ' examples'}"


def _check_known(capture: CapturedUpdate) -> None:
    """Raise a ConfigError if a fact is missing from which the steps of a client follow."""
    if capture.kind != "delta":
        return
    missing = ["learning_rate"] if capture.learning_rate is None else []
    if capture.local_steps is None and (capture.epochs is None or not capture.num_examples):
        missing += ["local_steps (or epochs)" if capture.epochs is None else "num_examples"]
    if capture.batch_size is None and (capture.local_steps or 2) > 1:
        missing.append("batch_size")
    if missing:
        flags = " ".join(f"--set assumed.{key.partition(' ')[0]}=..." for key in missing)
        instead = " (or assumed.epochs=... for local_steps)" if "assumed.local_steps" in flags else ""
        raise ConfigError(
            f"{capture.id}: the server's config tells no {' and no '.join(missing)} (its keys: "
            f"{', '.join(capture.config) or 'none'}), and an attack on a weight delta needs them. Send them in the "
            "train config as 'learning-rate' or 'lr', 'local-steps' or 'local-epochs', and 'batch-size', or say what a "
            f"server would know: {flags}{instead}. `spikeleak check` lists what is taken for granted, as no momentum."
        )
