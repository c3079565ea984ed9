"""The numbers by which updates and examples are compared, against plain torch."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from attacks.learned.blocks import Blocks
from attacks.reading.head import read_head
from attacks.settings import LearnedSettings
from attacks.testing.victims import EVENTS, LENET, SPIKING_LENET, SPIKING_MLP, auxiliary_for, captures_of, truth
from fl_sim.errors import ConfigError
from fl_sim.models import build_model
from fl_sim.records import ModelSpec, SpikingSpec

EVENT_LENET = ModelSpec("spiking_lenet", replace(EVENTS, height=8, width=8), "torch", SpikingSpec(timesteps=6))
ALL = " ".join(f"{name}=1" for name in ("body.0.weight", "body.2.weight", "body.4.weight", "head.weight"))


def rows_with_truth(spec: ModelSpec, settings: LearnedSettings, count: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the rows of examples of which the victim's own input is the last, and the victim's row."""
    inputs, labels = truth(1, spec.input)
    (capture,) = captures_of(spec, inputs, labels)
    axis = 1 if spec.input.timesteps else 0
    examples = torch.cat([auxiliary_for(spec.input, count).inputs, inputs[0]], axis)
    return Blocks(capture, settings, device="cpu").rows(examples)


@pytest.mark.parametrize("layers", [ALL, "early", "late"])
@pytest.mark.parametrize("spec", [LENET, SPIKING_LENET, EVENT_LENET], ids=["lenet", "spiking_lenet", "events"])
def test_the_numbers_of_the_truth_are_the_captured_ones(spec: ModelSpec, layers: str) -> None:
    rows, wanted = rows_with_truth(spec, LearnedSettings(layers=layers))
    assert torch.allclose(rows[-1], wanted, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(rows[0], wanted, atol=1e-2)


def test_they_are_so_if_the_output_neurons_fire_and_only_the_label_is_known() -> None:
    (capture,) = captures_of(SPIKING_MLP, *truth(1, SPIKING_MLP.input))
    assert read_head(capture) is None
    rows, wanted = rows_with_truth(SPIKING_MLP, LearnedSettings(layers="early"))
    assert rows.shape[1] > 20
    assert torch.allclose(rows[-1], wanted, rtol=1e-3, atol=1e-4)


def test_gradients_are_those_that_torch_finds_for_each_example_alone() -> None:
    (capture,) = captures_of(LENET, *truth(1))
    read = read_head(capture)
    assert read is not None
    direction = read.residual / read.residual.norm()
    model, inputs = build_model(LENET), auxiliary_for(LENET.input, 35).inputs
    model.load_state_dict(capture.parameters)
    (first, *_) = model.parameters()
    expected = torch.stack(
        [torch.autograd.grad((model(one[None]) @ direction).sum(), first)[0].flatten() for one in inputs]
    )
    rows, _ = Blocks(capture, LearnedSettings(layers="body.0.weight=1"), device="cpu").rows(inputs)
    alive = expected.std(0) > 1e-3 * expected.std(0).max()
    standard = ((expected - expected.mean(0)) / expected.std(0))[:, alive].clamp(-4.0, 4.0)
    assert torch.allclose(rows, standard / standard.shape[1] ** 0.5, rtol=1e-2, atol=1e-3)


def test_memory_for_one_example_gives_the_same_numbers() -> None:
    wide, narrow = (rows_with_truth(LENET, LearnedSettings(memory_mb=memory))[0] for memory in (2048, 16))
    assert torch.allclose(wide, narrow, atol=1e-4)


def test_a_large_block_is_projected_and_distances_stay_about_the_same() -> None:
    (whole, _), (fewer, wanted) = (
        rows_with_truth(LENET, LearnedSettings(layers="body.2.weight=1", most_coordinates=most), 30)
        for most in (0, 1024)
    )
    assert whole.shape[1] > 3000
    assert fewer.shape[1] <= 1024
    assert torch.allclose(fewer[-1], wanted, rtol=1e-3, atol=1e-4)
    pairs = torch.stack([torch.pdist(whole), torch.pdist(fewer)])
    assert float((pairs[0] / pairs[1]).log().abs().median()) < 0.1
    assert float(torch.corrcoef(pairs)[0, 1]) > 0.8


def test_the_features_are_left_out_where_they_are_silent() -> None:
    (capture,) = captures_of(replace(SPIKING_LENET, init="uniform"), *truth(1))
    silent = {"head.weight": 1e-9 * capture.update["head.weight"]}
    for update, layers in ((capture.update, "late"), ({**capture.update, **silent}, "early")):
        rows, wanted = (
            Blocks(replace(capture, update=update), LearnedSettings(layers=chosen), device="cpu").rows(
                auxiliary_for(SPIKING_LENET.input, 6).inputs
            )[0]
            for chosen in ("auto", layers)
        )
        assert rows.equal(wanted)


def test_an_unknown_layer_is_an_error_that_suggests_one() -> None:
    (capture,) = captures_of(LENET, *truth(1))
    with pytest.raises(ConfigError, match=r"attack\.layers.*body\.2\.weight"):
        Blocks(capture, LearnedSettings(layers="body.2.weigth=1"), device="cpu")
