"""What every model inversion in the table promises, by the checks that a plugin's author has too; and what ours start
from and say besides."""

from __future__ import annotations

from typing import Any

import pytest

from attacks import MODEL_INVERSIONS, build_inversion
from attacks.contracts import StopReason
from attacks.testing import INVERSION_PROMISES, check_model_inversion
from attacks.testing.victims import TARGETS
from fl_sim.errors import ConfigError
from tests.attacks.inversion_helpers import settings_of, trained

CASES = [(name, model) for name, entry in MODEL_INVERSIONS.items() for model in TARGETS[entry.spiking]]
SHORT: dict[str, Any] = {"iterations": 4, "population": 3}

pytestmark = pytest.mark.parametrize(("name", "model"), CASES, ids=lambda value: str(value))


@pytest.mark.parametrize("promise", INVERSION_PROMISES)
def test_it_keeps_its_promise(name: str, model: str, promise: str) -> None:
    check_model_inversion(name, models=[TARGETS[MODEL_INVERSIONS[name].spiking][model]], only=[promise])


def test_no_iterations_return_nothing(name: str, model: str) -> None:
    target = trained(TARGETS[MODEL_INVERSIONS[name].spiking][model])
    settings: Any = MODEL_INVERSIONS[name].settings(**settings_of(name, **SHORT))
    result = build_inversion(name, settings.untouched().model_dump()).invert(target, [1, 2], seed=0)
    assert float(result.inputs.abs().max()) == 0.0
    assert result.iterations.tolist() == [0, 0]
    assert result.stop_reasons == (StopReason.BUDGET, StopReason.BUDGET)


def test_classes_that_the_model_does_not_have_are_named(name: str, model: str) -> None:
    target = trained(TARGETS[MODEL_INVERSIONS[name].spiking][model])
    for classes, found in (([0, 9], "found 9"), ([-1], "found -1"), ([], "found none")):
        with pytest.raises(ConfigError, match=rf"classes: expected labels from 0 to \d, {found}"):
            build_inversion(name, settings_of(name, **SHORT)).invert(target, classes, seed=0)


def test_a_setting_that_it_does_not_have_is_refused(name: str, model: str) -> None:
    with pytest.raises(ConfigError, match=f"attack '{name}'"):
        build_inversion(name, {"restarts": 3})
    with pytest.raises(ConfigError, match="Did you mean"):
        build_inversion(name[:-1])


def test_only_spiking_models_are_inverted_by_chance(name: str, model: str) -> None:
    assert MODEL_INVERSIONS[name].draws == MODEL_INVERSIONS[name].spiking
