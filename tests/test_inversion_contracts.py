"""What every model inversion in the table promises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from attacks import MODEL_INVERSIONS, build_inversion
from attacks.contracts import Inversion, StopReason
from attacks.posterior import log_posterior, model_id
from fl_sim.errors import ConfigError
from fl_sim.models import build_model
from fl_sim.records import ModelSpec, TrainedModel, load_record, save_record
from tests.attacks.inversion_helpers import EVENT_MLP, MLP, SPIKING_LENET, SPIKING_MLP, settings_of, trained

SPECS = {True: {"mlp": SPIKING_MLP, "lenet": SPIKING_LENET, "events": EVENT_MLP}, False: {"mlp": MLP}}
CASES = [(name, model) for name, entry in MODEL_INVERSIONS.items() for model in SPECS[entry.spiking]]
SHORT: dict[str, Any] = {"iterations": 4, "population": 3}

pytestmark = pytest.mark.parametrize(("name", "model"), CASES, ids=lambda value: str(value))


def victim(name: str, model: str) -> TrainedModel:
    spec: ModelSpec = SPECS[MODEL_INVERSIONS[name].spiking][model]
    return trained(spec)


def run(name: str, model: str, classes: Sequence[int] = (0, 1, 2), *, seed: int = 0, **settings: Any) -> Inversion:
    chosen = settings_of(name, **{**SHORT, **settings})
    return build_inversion(name, chosen).invert(victim(name, model), classes, seed=seed)


def equal(first: Inversion, second: Inversion) -> bool:
    if first.probabilities is not None and second.probabilities is not None:
        assert first.probabilities.equal(second.probabilities)
    return first.inputs.equal(second.inputs)


def test_the_same_seed_gives_the_same_inputs_and_another_seed_others_where_anything_is_drawn(
    name: str, model: str
) -> None:
    first, again, other = run(name, model), run(name, model), run(name, model, seed=1)
    assert equal(first, again)
    assert first.inputs.equal(other.inputs) == (not MODEL_INVERSIONS[name].spiking)


def test_a_class_comes_out_as_it_would_alone_and_in_any_order(name: str, model: str) -> None:
    together = run(name, model, (0, 1, 2), precision="float64")
    swapped = run(name, model, (2, 0), precision="float64")
    for row, label in enumerate((2, 0)):
        alone = run(name, model, (label,), precision="float64")
        ours = together.inputs.select(-4, label)
        torch.testing.assert_close(ours, alone.inputs.select(-4, 0), rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(ours, swapped.inputs.select(-4, row), rtol=1e-9, atol=1e-12)


def test_the_shape_is_the_models_input_with_time_first(name: str, model: str) -> None:
    result, spec = run(name, model), victim(name, model).model
    steps: tuple[int, ...] = ()
    if spec.spiking is not None:
        steps = (spec.input.timesteps or spec.spiking.timesteps,)
    assert result.inputs.shape == (*steps, 3, *spec.input.frame)
    for values in (result.classes, result.confidence, result.iterations, result.stop_reasons):
        assert len(values) == 3
    assert result.classes.tolist() == [0, 1, 2]


def test_spikes_are_binary_probabilities_and_pixels_in_range(name: str, model: str) -> None:
    result = run(name, model)
    if MODEL_INVERSIONS[name].spiking:
        assert set(result.inputs.flatten().tolist()) <= {0.0, 1.0}
    for values in (result.inputs, result.probabilities, result.confidence):
        assert values is None or 0.0 <= float(values.min()) <= float(values.max()) <= 1.0


def test_the_budget_is_kept(name: str, model: str) -> None:
    result = run(name, model, iterations=3)
    assert max(result.iterations.tolist()) <= 3
    spent = [reason is StopReason.BUDGET for reason in result.stop_reasons]
    assert all(count == 3 for count, all_of_it in zip(result.iterations.tolist(), spent, strict=True) if all_of_it)


def test_the_confidence_is_the_models_belief_in_exactly_these_inputs(name: str, model: str) -> None:
    result, target = run(name, model), victim(name, model)
    module: Any = build_model(target.model)
    module.load_state_dict({**module.state_dict(), **target.parameters})
    with torch.no_grad():
        outputs = module.sequence(result.inputs) if result.inputs.dim() == 5 else module(result.inputs)
    believed = log_posterior(outputs).exp().diagonal()
    torch.testing.assert_close(result.confidence, believed, rtol=1e-4, atol=1e-6)


def test_no_iterations_return_what_the_attack_starts_from(name: str, model: str) -> None:
    settings: Any = MODEL_INVERSIONS[name].settings(**settings_of(name, **SHORT))
    result = build_inversion(name, settings.untouched().model_dump()).invert(victim(name, model), [1, 2], seed=0)
    assert float(result.inputs.abs().max()) == 0.0
    assert result.iterations.tolist() == [0, 0]
    assert result.stop_reasons == (StopReason.BUDGET, StopReason.BUDGET)


def test_it_raises_the_models_belief(name: str, model: str) -> None:
    before = run(name, model, iterations=0).confidence.mean()
    assert float(run(name, model, iterations=40).confidence.mean()) > float(before)


def test_an_inversion_survives_the_disk(name: str, model: str, tmp_path: Any) -> None:
    result = run(name, model)
    loaded = load_record(Inversion, save_record(result, tmp_path / "i.safetensors"))
    assert equal(loaded, result)
    assert loaded.classes.equal(result.classes)
    assert loaded.iterations.equal(result.iterations)
    assert loaded.confidence.equal(result.confidence)
    assert (loaded.probabilities is None) == (result.probabilities is None)
    assert (loaded.stop_reasons, loaded.settings) == (result.stop_reasons, result.settings)
    assert loaded.model_id == model_id(victim(name, model))
    assert loaded.model_id != model_id(trained(victim(name, model).model, seed=1))


def test_the_models_parameters_and_the_global_generator_are_left_alone(name: str, model: str) -> None:
    target, state = victim(name, model), torch.get_rng_state()
    before = {key: value.clone() for key, value in target.parameters.items()}
    build_inversion(name, settings_of(name, **SHORT)).invert(target, [0], seed=0)
    assert all(value.equal(before[key]) for key, value in target.parameters.items())
    assert all(value.grad is None for value in target.parameters.values())
    assert torch.get_rng_state().equal(state)


def test_classes_that_the_model_does_not_have_are_refused(name: str, model: str) -> None:
    for classes, found in (([0, 9], "found 9"), ([-1], "found -1"), ([], "found none")):
        with pytest.raises(ConfigError, match=rf"classes: expected labels from 0 to \d, {found}"):
            run(name, model, classes)


def test_a_setting_that_it_does_not_have_is_refused(name: str, model: str) -> None:
    with pytest.raises(ConfigError, match=f"attack '{name}'"):
        build_inversion(name, {"restarts": 3})
    with pytest.raises(ConfigError, match="Did you mean"):
        build_inversion(name[:-1])
