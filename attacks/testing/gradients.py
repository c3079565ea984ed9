"""The promises of gradient inversions, checked for one attack at a time."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from attacks import build_entry
from attacks.contracts import GradientInversion, Reconstruction, StopReason
from attacks.testing.attacked import Attacked
from attacks.testing.victims import captures_of, shuffled, truth, with_noise
from fl_sim.errors import ConfigError
from fl_sim.records import CapturedUpdate, Scalar, load_record, save_record
from fl_sim.testing.promises import by_name, require

FEW = 3
COUNTERS = ("iterations", "steps")
ROUNDING = 1e-6


def settings_are_plain_and_unknown_ones_are_refused(attack: Attacked) -> None:
    """Settings have defaults and plain values, and a mistyped key is an error."""
    dumped = attack.chosen().model_dump()
    for key, value in dumped.items():
        require(isinstance(value, Scalar), f"setting '{key}' is a {type(value).__name__}; a config holds plain values.")
    require(
        attack.entry.settings(**dumped) == attack.chosen(), "its settings cannot be rebuilt from their plain values."
    )
    same_class = isinstance(attack.chosen().untouched(), attack.entry.settings)
    require(same_class, "untouched() returns settings of another class.")
    try:
        build_entry(attack.name, attack.entry, {"no_such_setting": 1})
    except ConfigError:
        return
    raise AssertionError("a setting that it does not have was accepted; derive its settings from InversionSettings.")


def one_answer_for_each_capture_in_order_and_in_range(attack: Attacked) -> None:
    """Reconstructions have the order of the captures and the shape and range of the inputs."""
    captures, inputs = attack.victims(5)
    chosen = attack.chosen(steps=FEW, victims_per_batch=2)
    results = attack.run(captures, chosen, seed=3)
    ids = [result.capture_id for result in results]
    require(
        ids == [capture.id for capture in captures], f"expected one answer per capture, in their order, found {ids}."
    )
    spec = attack.models[0].input
    for result in results:
        for field in ("inputs", "last_inputs"):
            shape = tuple(getattr(result, field).shape)
            require(shape == tuple(inputs.shape[1:]), f"{field}: expected {tuple(inputs.shape[1:])}, found {shape}.")
        require(tuple(result.labels.shape) == (1,), f"labels: expected shape (1,), found {tuple(result.labels.shape)}.")
        least, most = float(result.inputs.min()), float(result.inputs.max())
        within = spec.low <= least <= most <= spec.high
        require(bool(spec.timesteps) or within, f"inputs: expected {spec.low} to {spec.high}, found {least} to {most}.")


def an_answer_says_how_it_was_made(attack: Attacked) -> None:
    """Name, settings, seed, counts and progress are reported; the settings are needed to resume a run."""
    captures, _ = attack.victims(2)
    chosen, calls = attack.chosen(steps=FEW), []
    told = attack.build(chosen)
    results = told.reconstruct(captures, seed=3, device="cpu", progress=lambda done, of: calls.append((done, of)))
    for result in results:
        require(result.attack == attack.name, f"attack: expected its name in the table, found '{result.attack}'.")
        settings = dict(result.settings)
        require(settings == chosen.model_dump(), f"settings: expected all of them as plain values, found {settings}.")
        require(result.seed == 3, f"seed: expected the seed of the call, 3, found {result.seed}.")
        require(result.restarts >= 1, f"restarts: expected the number of guesses, at least 1, found {result.restarts}.")
        require(result.seconds >= 0.0, f"seconds: found {result.seconds}.")
        require(isinstance(result.stop_reason, StopReason), f"stop_reason: found {result.stop_reason!r}.")
    require(bool(calls) and calls[-1] == (2, 2), f"progress: expected its last call to be (2, 2), found {calls[-1:]}.")


def the_same_seed_gives_the_same_tensors_and_another_seed_others(attack: Attacked) -> None:
    """Everything that is drawn depends on the seed."""
    captures, _ = attack.victims(2)
    chosen = attack.chosen(steps=FEW)
    first, second, other = (attack.run(captures, chosen, seed=seed) for seed in (0, 0, 1))
    same = all(a.inputs.equal(b.inputs) for a, b in zip(first, second, strict=True))
    require(same, "the same seed gave other tensors.")
    moved = [not a.inputs.equal(b.inputs) for a, b in zip(first, other, strict=True)]
    if attack.entry.draws:
        require(all(moved), "another seed gave the same tensors; set draws=False if nothing is drawn.")
    else:
        require(not any(moved), "another seed gave other tensors, though its entry says draws=False.")


def a_guess_does_not_depend_on_neighbours(attack: Attacked) -> None:
    """A victim's guess depends only on the seed and its capture id."""
    captures, _ = attack.victims(3)
    together, alone = (attack.run(some, attack.chosen().untouched()) for some in (captures, captures[2:]))
    require(together[2].inputs.equal(alone[0].inputs), "a victim's guess depends on the victims before it.")


def the_steps_are_kept(attack: Attacked) -> None:
    """The attack takes at most the number of iterations in the settings."""
    if not attack.counter:
        return
    chosen = attack.chosen(steps=FEW)
    most = FEW * int(getattr(chosen, "inner_iterations", 1)) * (1 + int(getattr(chosen, "restarts", 0)))
    for result in attack.run(attack.victims(2)[0], chosen):
        found = result.iterations
        require(found <= most, f"{attack.counter} = {FEW} allows {most} iterations, found {found}.")


def untouched_settings_return_the_guess(attack: Attacked) -> None:
    """With `settings.untouched()` it takes no step and ignores the update, as the controls of experiments require."""
    captures, _ = attack.victims(2)
    untouched = attack.chosen(steps=9).untouched()
    unread = attack.run(shuffled(captures), untouched)
    for result, other in zip(attack.run(captures, untouched), unread, strict=True):
        counts = (result.iterations, result.gradient_evaluations)
        require(counts in ((0, 0), (0, 1)), f"expected no iteration and at most one evaluation, found {counts}.")
        require(result.inputs.equal(other.inputs), "the guess depends on the update.")
        require(result.inputs.equal(result.last_inputs), "the answer without a step is not the last candidate.")
        require(
            result.stop_reason is StopReason.BUDGET, f"expected '{StopReason.BUDGET}', found '{result.stop_reason}'."
        )


def the_candidate_is_the_one_with_the_smallest_loss(attack: Attacked) -> None:
    """The answer has the smallest matching loss of all iterates, unless its entry says that it is a mean of some."""
    if attack.entry.averages:
        return
    for model in attack.models:
        inputs, labels = truth(3, model.input)
        captures = captures_of(model, inputs, labels)
        chosen = attack.chosen(steps=5, divergence=0.0)
        before = attack.run(captures, chosen.untouched())
        for start, result in zip(before, attack.run(captures, chosen), strict=True):
            losses = [start.matching_loss, *result.loss_history.tolist()]
            room = ROUNDING * max(1.0, min(losses))
            found = f"returned {result.matching_loss:g}, smallest {min(losses):g} on {model.architecture}"
            require(result.matching_loss <= min(losses) + room, f"the answer is not the best candidate: {found}.")


def a_random_gradient_is_worth_no_more_than_the_guess(attack: Attacked) -> None:
    """An attack that gets closer to the truth without its gradient must have access to the truth."""
    captures, inputs = attack.victims(8)
    chosen = attack.chosen(steps=20)
    random = shuffled(captures)
    attacked, guess = (float(errors(attack.run(random, s), inputs).mean()) for s in (chosen, chosen.untouched()))
    spec = attack.models[0].input
    grey = float((inputs - 0.5 * (spec.low + spec.high)).square().mean())
    floor = guess if guess <= 1.1 * grey else grey  # moving from a wild guess towards grey needs no knowledge
    require(attacked >= 0.9 * floor, f"on random gradients its error is {attacked:g}, that of the guess is {floor:g}.")


def a_hopeless_victim_is_a_failure_and_disturbs_no_other(attack: Attacked) -> None:
    """A huge update gives finite inputs; if its loss is not finite, the attack reports divergence."""
    captures, _ = attack.victims(2)
    huge = replace(captures[0], update={key: g * 1e30 for key, g in captures[0].update.items()})
    results = attack.run([huge, captures[1]], attack.chosen(steps=FEW))
    require(bool(torch.isfinite(results[0].inputs).all()), "a hopeless victim got inputs that are not finite.")
    failed = results[0].stop_reason is StopReason.DIVERGED or results[0].matching_loss < float("inf")
    require(failed, f"its loss is {results[0].matching_loss}, and it ended as '{results[0].stop_reason}'.")
    require(results[1].matching_loss < float("inf"), "a hopeless victim spoilt the next one.")


def a_batch_ends_where_each_victim_would_alone(attack: Attacked) -> None:
    """Checked with few steps, and in float64 if the attack supports it, since rounding errors grow."""
    captures, _ = attack.victims(4)
    chosen = attack.chosen(steps=2, precision="float64", divergence=0.0)
    exact = "precision" in attack.entry.settings.model_fields
    relative, absolute = (1e-5, 1e-6) if exact else (1e-3, 1e-4)
    for capture, result in zip(captures, attack.run(captures, chosen), strict=True):
        (alone,) = attack.run([capture], chosen)
        require(
            torch.allclose(result.inputs, alone.inputs, relative, absolute),
            "a victim attacked alone gets another result.",
        )
        require(result.iterations == alone.iterations, "a victim attacked alone takes another number of iterations.")


def an_answer_survives_the_disk(attack: Attacked) -> None:
    """A stored reconstruction is equal to the one that the attack returned."""
    result = attack.run(attack.victims(1)[0], attack.chosen(steps=FEW))[0]
    with tempfile.TemporaryDirectory() as folder:
        loaded = load_record(Reconstruction, save_record(result, Path(folder) / "r.safetensors"))
    same = loaded.inputs.equal(result.inputs) and loaded.labels.equal(result.labels)
    same = same and (loaded.stop_reason, loaded.settings) == (result.stop_reason, result.settings)
    require(same, "a stored reconstruction differs when it is read back.")


def without_the_auxiliary_data_that_it_needs_it_says_so(attack: Attacked) -> None:
    """An attack that needs auxiliary data refuses to answer without them, with a ConfigError."""
    if not attack.entry.needs_auxiliary:
        return
    built: GradientInversion = build_entry(attack.name, attack.entry, attack.chosen().model_dump())
    try:
        built.reconstruct(attack.victims(1)[0], seed=0)
    except ConfigError as error:
        require("auxiliary" in str(error), f"without auxiliary data it says only: {error}")
        return
    raise AssertionError("it answered without auxiliary data; its entry says needs_auxiliary=True.")


def captures_are_left_alone(attack: Attacked) -> None:
    """An attack does not modify its evidence."""
    captures, _ = attack.victims(2)
    before = [_tensors(capture) for capture in captures]
    attack.run(captures, attack.chosen(steps=FEW))
    for old, capture in zip(before, captures, strict=True):
        same = all(value.equal(old[key]) for key, value in _tensors(capture).items())
        require(same, "it changes the captured update or the parameters.")


def it_solves_what_it_claims_and_noise_hurts(attack: Attacked) -> None:
    """Noise of a tenth of the update's norm increases the error, and noise of twice its norm increases it more."""
    if attack.solves is None:
        return
    captures, inputs = attack.victims(6)
    chosen = attack.chosen(steps=attack.solves.steps, **attack.solves.settings)
    scales = (0.0, 0.1, 2.0)
    medians = [float(errors(attack.run(with_noise(captures, s), chosen), inputs).median()) for s in scales]
    require(medians[0] < attack.solves.mse, f"expected an error below {attack.solves.mse:g}, found {medians[0]:g}.")
    require(medians[0] < medians[1] < medians[2], f"expected errors that grow with the noise, found {medians}.")


def errors(results: Sequence[Reconstruction], inputs: Tensor) -> Tensor:
    """Return the mean squared errors (V,) of the answers."""
    return torch.stack([(result.inputs - true).square().mean() for result, true in zip(results, inputs, strict=True)])


def _tensors(capture: CapturedUpdate) -> dict[str, Any]:
    both = {"parameters": capture.parameters, "update": capture.update}
    return {f"{part}/{key}": value.clone() for part, values in both.items() for key, value in values.items()}


ATTACK_PROMISES = by_name(
    settings_are_plain_and_unknown_ones_are_refused,
    one_answer_for_each_capture_in_order_and_in_range,
    an_answer_says_how_it_was_made,
    the_same_seed_gives_the_same_tensors_and_another_seed_others,
    a_guess_does_not_depend_on_neighbours,
    the_steps_are_kept,
    untouched_settings_return_the_guess,
    the_candidate_is_the_one_with_the_smallest_loss,
    a_random_gradient_is_worth_no_more_than_the_guess,
    a_hopeless_victim_is_a_failure_and_disturbs_no_other,
    a_batch_ends_where_each_victim_would_alone,
    an_answer_survives_the_disk,
    without_the_auxiliary_data_that_it_needs_it_says_so,
    captures_are_left_alone,
    it_solves_what_it_claims_and_noise_hurts,
)
