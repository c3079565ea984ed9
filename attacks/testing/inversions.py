"""The promises of model inversions, checked for one attack on one model at a time."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from attacks import InversionEntry, build_entry
from attacks.contracts import Inversion, ModelInversion, StopReason
from attacks.inversion_settings import ModelInversionSettings
from attacks.posterior import log_posterior, model_id
from attacks.testing.victims import trained
from fl_sim.errors import ConfigError
from fl_sim.models import build_model
from fl_sim.records import ModelSpec, Scalar, TrainedModel, load_record, save_record
from fl_sim.testing.promises import by_name, require

FEW, EARNEST = 4, 40
CLASSES = (0, 1, 2)
POPULATION = 3


@dataclass(frozen=True)
class Inverted:
    """A model inversion under test.

    Attributes:
        name: name of the attack.
        entry: its entry in the table.
        settings: settings for all checks.
        spec: specification of the model to invert, with at least three classes.
    """

    name: str
    entry: InversionEntry
    settings: Mapping[str, Scalar]
    spec: ModelSpec

    @property
    def target(self) -> TrainedModel:
        """Return the model under attack."""
        return trained(self.spec)

    def chosen(self, **wanted: Scalar) -> ModelInversionSettings:
        """Return settings with few iterations, and those of `wanted` that the attack has."""
        values: dict[str, Any] = {"iterations": FEW, "population": POPULATION, **self.settings, **wanted}
        fields = self.entry.settings.model_fields
        return self.entry.settings(**{key: value for key, value in values.items() if key in fields})

    def run(self, classes: Sequence[int] = CLASSES, *, seed: int = 0, **wanted: Scalar) -> Inversion:
        """Return the inversion of the model."""
        return self.build(self.chosen(**wanted)).invert(self.target, classes, seed=seed)

    def build(self, chosen: ModelInversionSettings) -> ModelInversion:
        """Return the attack with these settings."""
        built: ModelInversion = build_entry(self.name, self.entry, chosen.model_dump())
        return built


def settings_are_plain_and_unknown_ones_are_refused(attack: Inverted) -> None:
    """Settings have defaults and plain values, and a mistyped key is an error."""
    dumped = attack.chosen().model_dump()
    for key, value in dumped.items():
        require(isinstance(value, Scalar), f"setting '{key}' is a {type(value).__name__}; a config holds plain values.")
    require(
        attack.entry.settings(**dumped) == attack.chosen(), "its settings cannot be rebuilt from their plain values."
    )
    for preset in attack.entry.settings.PRESETS:
        require(attack.entry.settings(preset=preset).preset == preset, f"preset '{preset}' changes its own name.")
    try:
        build_entry(attack.name, attack.entry, {"no_such_setting": 1})
    except ConfigError:
        return
    raise AssertionError("a setting that it does not have was accepted; derive from ModelInversionSettings.")


def the_same_seed_gives_the_same_inputs_and_another_seed_others_where_anything_is_drawn(attack: Inverted) -> None:
    """Everything that is drawn depends on the seed."""
    first, again, other = attack.run(), attack.run(), attack.run(seed=1)
    require(equal(first, again), "the same seed gave other inputs.")
    same, draws = first.inputs.equal(other.inputs), attack.entry.draws
    require(
        same == (not draws),
        f"its entry says draws={draws}, but another seed gave {'the same' if same else 'other'} inputs.",
    )


def a_class_comes_out_as_it_would_alone_and_in_any_order(attack: Inverted) -> None:
    """The draws for a class depend only on the seed and the class."""
    together, swapped = (attack.run(classes, precision="float64") for classes in (CLASSES, (2, 0)))
    for row, label in enumerate((2, 0)):
        alone = attack.run((label,), precision="float64").inputs.select(-4, 0)
        for other in (together.inputs.select(-4, label), swapped.inputs.select(-4, row)):
            near = torch.allclose(other, alone, rtol=1e-9, atol=1e-12)
            require(near, f"class {label} has another result when other classes are attacked with it.")


def the_shape_is_the_models_input_with_time_first(attack: Inverted) -> None:
    """There is one input per class: (K, C, H, W), or (T, K, C, H, W) for a spiking model."""
    result, spec = attack.run(), attack.spec
    steps: tuple[int, ...] = (spec.input.timesteps or spec.spiking.timesteps,) if spec.spiking is not None else ()
    shape = (*steps, len(CLASSES), *spec.input.frame)
    require(tuple(result.inputs.shape) == shape, f"inputs: expected {shape}, found {tuple(result.inputs.shape)}.")
    for field in ("classes", "confidence", "iterations", "stop_reasons"):
        found = len(getattr(result, field))
        require(found == len(CLASSES), f"{field}: expected one for each of {len(CLASSES)} classes, found {found}.")
    require(result.classes.tolist() == list(CLASSES), f"classes: expected {CLASSES}, found {result.classes.tolist()}.")


def an_answer_says_how_it_was_made(attack: Inverted) -> None:
    """Name, settings, seed, model and progress are reported."""
    chosen, calls = attack.chosen(), []
    built = attack.build(chosen)
    result = built.invert(
        attack.target, CLASSES, seed=3, device="cpu", progress=lambda done, of: calls.append((done, of))
    )
    require(result.attack == attack.name, f"attack: expected its name in the table, found '{result.attack}'.")
    settings = dict(result.settings)
    require(settings == chosen.model_dump(), f"settings: expected all of them as plain values, found {settings}.")
    require(result.seed == 3, f"seed: expected the seed of the call, 3, found {result.seed}.")
    require(
        result.model_id == model_id(attack.target), f"model_id: expected that of the model, found {result.model_id}."
    )
    other = model_id(trained(attack.spec, seed=1))
    require(result.model_id != other, "model_id: another model has the same id.")
    last = (len(CLASSES), len(CLASSES))
    require(bool(calls) and calls[-1] == last, f"progress: expected its last call to be {last}, found {calls[-1:]}.")


def spikes_are_binary_probabilities_and_pixels_in_range(attack: Inverted) -> None:
    """Spikes are 0 or 1; probabilities, confidences and pixels are in [0, 1]."""
    result = attack.run()
    if attack.entry.spiking:
        require(
            set(result.inputs.flatten().tolist()) <= {0.0, 1.0}, "inputs: expected spikes, 0 or 1, found other values."
        )
    for field in ("inputs", "probabilities", "confidence"):
        values = getattr(result, field)
        within = values is None or 0.0 <= float(values.min()) <= float(values.max()) <= 1.0
        require(within, f"{field}: expected 0 to 1, found values outside.")


def the_budget_is_kept(attack: Inverted) -> None:
    """The attack takes at most the number of iterations in the settings, and reports if it took all of them."""
    result = attack.run(iterations=3)
    counts = result.iterations.tolist()
    require(max(counts) <= 3, f"3 iterations were allowed, found {counts}.")
    for count, reason in zip(counts, result.stop_reasons, strict=True):
        require(isinstance(reason, StopReason), f"stop_reasons: found {reason!r}.")
        require(
            reason is not StopReason.BUDGET or count == 3, f"the budget of 3 was not spent after {count} iterations."
        )


def the_confidence_is_the_models_belief_in_exactly_these_inputs(attack: Inverted) -> None:
    """The confidence is the posterior of `attacks.posterior`."""
    result, target = attack.run(), attack.target
    module: Any = build_model(target.model)
    module.load_state_dict({**module.state_dict(), **target.parameters})
    with torch.no_grad():
        outputs = module.sequence(result.inputs) if result.inputs.dim() == 5 else module(result.inputs)
    believed: Tensor = log_posterior(outputs).exp().diagonal()
    near = torch.allclose(result.confidence, believed, rtol=1e-4, atol=1e-6)
    require(near, f"confidence: expected {believed.tolist()}, found {result.confidence.tolist()}.")


def untouched_settings_return_what_the_attack_starts_from(attack: Inverted) -> None:
    """With `settings.untouched()` it takes no iteration."""
    result = attack.build(attack.chosen().untouched()).invert(attack.target, [1, 2], seed=0)
    require(result.iterations.tolist() == [0, 0], f"expected no iteration, found {result.iterations.tolist()}.")
    spent = tuple(result.stop_reasons) == (StopReason.BUDGET, StopReason.BUDGET)
    require(spent, f"expected '{StopReason.BUDGET}', found {[str(reason) for reason in result.stop_reasons]}.")


def it_raises_the_models_belief(attack: Inverted) -> None:
    """The confidence is higher than at the starting point of the attack."""
    before = attack.build(attack.chosen().untouched()).invert(attack.target, CLASSES, seed=0).confidence.mean()
    after = attack.run(iterations=EARNEST).confidence.mean()
    require(
        float(after) > float(before), f"after {EARNEST} iterations the confidence fell from {before:g} to {after:g}."
    )


def an_inversion_survives_the_disk(attack: Inverted) -> None:
    """A stored inversion is equal to the one that the attack returned."""
    result = attack.run()
    with tempfile.TemporaryDirectory() as folder:
        loaded = load_record(Inversion, save_record(result, Path(folder) / "i.safetensors"))
    same = equal(loaded, result) and loaded.model_id == result.model_id
    for field in ("classes", "iterations", "confidence"):
        same = same and getattr(loaded, field).equal(getattr(result, field))
    same = same and (loaded.stop_reasons, loaded.settings) == (result.stop_reasons, result.settings)
    require(same, "a stored inversion differs when it is read back.")


def the_models_parameters_and_the_global_generator_are_left_alone(attack: Inverted) -> None:
    """Randomness is an argument, and the model is evidence that must not change."""
    target, state = attack.target, torch.get_rng_state()
    before = {key: value.clone() for key, value in target.parameters.items()}
    attack.build(attack.chosen()).invert(target, [0], seed=0)
    require(all(value.equal(before[key]) for key, value in target.parameters.items()), "it changes the parameters.")
    require(all(value.grad is None for value in target.parameters.values()), "it leaves gradients on the parameters.")
    require(torch.get_rng_state().equal(state), "it draws from torch's global generator.")


def classes_that_the_model_does_not_have_are_refused(attack: Inverted) -> None:
    """They raise ConfigError before anything is computed."""
    for classes in ([0, attack.spec.input.classes], [0, attack.spec.input.classes + 6], [-1], []):
        try:
            attack.run(classes)
        except ConfigError:
            continue
        raise AssertionError(f"classes {classes} were accepted for a model with {attack.spec.input.classes}.")


def equal(first: Inversion, second: Inversion) -> bool:
    """Return whether two inversions have the same inputs and parameters of their distributions."""
    both = (first.probabilities, second.probabilities)
    if both[0] is None or both[1] is None:
        return both[0] is both[1] and first.inputs.equal(second.inputs)
    return both[0].equal(both[1]) and first.inputs.equal(second.inputs)


INVERSION_PROMISES = by_name(
    settings_are_plain_and_unknown_ones_are_refused,
    the_same_seed_gives_the_same_inputs_and_another_seed_others_where_anything_is_drawn,
    a_class_comes_out_as_it_would_alone_and_in_any_order,
    the_shape_is_the_models_input_with_time_first,
    an_answer_says_how_it_was_made,
    spikes_are_binary_probabilities_and_pixels_in_range,
    the_budget_is_kept,
    the_confidence_is_the_models_belief_in_exactly_these_inputs,
    untouched_settings_return_what_the_attack_starts_from,
    it_raises_the_models_belief,
    an_inversion_survives_the_disk,
    the_models_parameters_and_the_global_generator_are_left_alone,
    classes_that_the_model_does_not_have_are_refused,
)
