"""The attack as a whole: better than what it knew before, whole recordings, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from attacks.contracts import Auxiliary, UsesAuxiliary
from attacks.learned.attack import Learned
from attacks.settings import LearnedSettings
from attacks.testing.gradients import errors
from attacks.testing.victims import LENET, SPIKING_LENET, auxiliary_for, captures_of, truth
from fl_sim.errors import ConfigError
from fl_sim.training import capture_gradient
from tests.attacks.learned.test_blocks import EVENT_LENET

KNOWN = auxiliary_for(LENET.input, 200)


@pytest.mark.parametrize("regressor", ["kernel", "ridge", "mlp"])
def test_it_is_nearer_than_the_mean_of_what_it_knows(regressor: str) -> None:
    inputs, labels = truth(3)
    captures = captures_of(LENET, inputs, labels)
    settings = LearnedSettings.model_validate({"regressor": regressor, "hidden": 32})
    found, before = (
        Learned(chosen, KNOWN).reconstruct(captures, seed=0) for chosen in (settings, settings.untouched())
    )
    assert float(errors(found, inputs).mean()) < 0.8 * float(errors(before, inputs).mean())
    assert [int(result.labels) for result in found] == labels[:, 0].tolist()
    assert before[0].inputs[0].allclose(KNOWN.inputs.mean(0))
    assert all(result.matching_loss < 1.0 == start.matching_loss for result, start in zip(found, before, strict=True))


def test_a_recording_is_predicted_as_a_whole() -> None:
    inputs, labels = truth(3, EVENT_LENET.input)
    captures = captures_of(EVENT_LENET, inputs, labels)
    known = auxiliary_for(EVENT_LENET.input, 80)
    found, before = (
        Learned(LearnedSettings.model_validate({"regressor": regressor}), known).reconstruct(captures, seed=0)
        for regressor in ("kernel", "mean")
    )
    assert found[0].inputs.shape == inputs[0].shape
    assert float(errors(found, inputs).mean()) < float(errors(before, inputs).mean())


def test_it_is_told_of_auxiliary_data_without_a_change_of_settings() -> None:
    attack = Learned(LearnedSettings(regressor="ridge"))
    assert isinstance(attack, UsesAuxiliary)
    assert attack.informed(KNOWN).settings == attack.settings


def test_the_range_of_the_inputs_is_kept() -> None:
    spec = replace(LENET, input=replace(LENET.input, low=-2.0, high=3.0))
    unit, labels = truth(1)
    captures = captures_of(spec, -2.0 + 5.0 * unit, labels)
    known = Auxiliary("wide", -2.0 + 5.0 * KNOWN.inputs, KNOWN.labels)
    (result,) = Learned(LearnedSettings(), known).reconstruct(captures, seed=0)
    assert -2.0 <= float(result.inputs.min()) < -0.5 < 1.5 < float(result.inputs.max()) <= 3.0


def test_it_refuses_what_it_cannot_answer() -> None:
    inputs, labels = truth(2)
    captures = captures_of(SPIKING_LENET, inputs, labels)
    with pytest.raises(ConfigError, match=r"attack\.auxiliary: 'learned' learns from examples .* there are none"):
        Learned().reconstruct(captures, seed=0)
    shapes = r"comes from inputs \(n, 1, 8, 8\), but those of 'other' are \(4, 3, 8, 8\)"
    with pytest.raises(ConfigError, match=shapes):
        Learned(None, Auxiliary("other", torch.rand(4, 3, 8, 8), torch.zeros(4))).reconstruct(captures, seed=0)
    pair = capture_gradient(SPIKING_LENET, captures[0].parameters, inputs[:, 0], labels[:, 0])
    with pytest.raises(ConfigError, match=r"gradient of one example, and .* is of 2 examples and 1 local steps"):
        Learned(None, KNOWN).reconstruct([pair], seed=0)
