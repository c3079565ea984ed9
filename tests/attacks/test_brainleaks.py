"""BrainLeaks: against written-out loops over one class and one sample at a time, and facts worked out by hand."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from attacks.brainleaks import BrainLeaksV1, BrainLeaksV2, accumulated, at_least, clamped, min_max, nes_weights
from attacks.inversion_settings import BrainLeaksV1Settings, BrainLeaksV2Settings
from attacks.posterior import Target, log_posterior, mean_log_probability
from fl_sim.errors import ConfigError
from fl_sim.models.spiking_lenet import SpikingTwin
from fl_sim.records import SpikingSpec, TrainedModel
from fl_sim.seeding import torch_stream
from tests.attacks.inversion_helpers import EVENT_MLP, MLP, SPIKING_LENET, SPIKING_MLP, plain_potentials, trained

MODEL = trained(SPIKING_MLP)
EVENTS = trained(EVENT_MLP)


def slope_of(loss: Callable[[Tensor], Tensor], spikes: Tensor) -> tuple[float, Tensor]:
    point = spikes.detach().requires_grad_()
    value = loss(point)
    (slope,) = torch.autograd.grad(value, point)
    return float(value.detach()), slope


def plain_v1(model: TrainedModel, label: int, settings: BrainLeaksV1Settings, *, seed: int) -> Tensor:
    """Return spikes (T, pixels) of one class, by the words of the published code (or of section 3.2)."""
    steps, shape = 7 if model is MODEL else 6, model.model.input
    x = torch.zeros(steps, shape.channels * shape.height * shape.width).double()
    stream = torch_stream(seed, "brainleaks_v1", label)

    def objective(spikes: Tensor) -> Tensor:
        said = plain_potentials(model, spikes)[1 if settings.objective == "spikes" else 0]
        return said.softmax(-1)[:, label].mean()

    for _ in range(settings.iterations):
        _, g = slope_of(objective, x)
        sizes = g.abs()
        if settings.mask == "bernoulli":
            chance = (sizes - sizes.min()) / (sizes.max() - sizes.min())
            mask = torch.rand(steps, 1, *shape.frame, generator=stream).flatten(1) < chance
        else:
            mask = sizes / sizes.max() >= settings.eta
        x = (x + g.sign() * mask > 0).double()
    return x


@pytest.mark.parametrize("mask", ["bernoulli", "threshold"])
@pytest.mark.parametrize("objective", ["membrane", "spikes"])
@pytest.mark.parametrize("model", [MODEL, EVENTS], ids=["images", "events"])
def test_v1_follows_a_written_out_loop_over_one_class(model: TrainedModel, mask: Any, objective: Any) -> None:
    settings = BrainLeaksV1Settings(mask=mask, objective=objective, iterations=6, eta=0.3, precision="float64")
    result = BrainLeaksV1(settings).invert(model, [2, 0, 1], seed=3)
    for row, label in enumerate([2, 0, 1]):
        spikes = plain_v1(model, label, settings, seed=3)
        assert result.inputs[:, row].flatten(1).equal(spikes)
    assert 0 < float(result.inputs.mean()) < 1


def plain_v2(model: TrainedModel, label: int, settings: BrainLeaksV2Settings, *, seed: int) -> tuple[Tensor, Tensor]:
    """Return X and the first of the samples last drawn, each (T, pixels), one class and one sample at a time."""
    steps, shape = 7 if model is MODEL else 6, model.model.input
    x, v, r = (torch.zeros(steps, shape.channels * shape.height * shape.width).double() for _ in range(3))
    samples = [x] * settings.population
    stream = torch_stream(seed, "brainleaks_v2", label)

    def cost(spikes: Tensor) -> Tensor:
        potentials, _ = plain_potentials(model, spikes)
        if settings.loss == "probability":
            loss = 1.0 - potentials.softmax(-1)[:, label].mean()
        else:
            loss = -potentials.log_softmax(-1)[:, label].mean()
        return loss + settings.xi * spikes.sum() / spikes.numel()

    for _ in range(settings.iterations):
        pairs = [slope_of(cost, sample) for sample in samples]
        worths = [L if settings.weights == "proportional" else math.exp(-L) for L, _ in pairs]
        g = sum((worth / sum(worths) * slope for worth, (_, slope) in zip(worths, pairs, strict=True)), 0.0 * x)
        update = settings.rho * r + (1.0 - settings.rho) * g**2
        r = r + update if settings.accumulator == "growing" else update
        v = settings.momentum * v + g
        x = x - settings.learning_rate / (r.sqrt() + settings.epsilon) * v
        if settings.clamp == "hard":
            x = x.clamp(0.0, 1.0)
        else:
            x = x.clamp(min=0.0)
            x = x / x.max() if float(x.max()) > 1.0 else x
        drawn = torch.rand(steps, settings.population, *shape.frame, generator=stream).flatten(2)
        samples = [(drawn[:, k] < x).double() for k in range(settings.population)]
    return x, samples[0]


CHOICES: dict[str, tuple[str, ...]] = {
    "weights": ("proportional", "exponential"),
    "accumulator": ("moving_average", "growing"),
    "loss": ("probability", "log_probability"),
    "clamp": ("two_stage", "hard"),
}


@pytest.mark.parametrize("choice", list(itertools.product(*CHOICES.values())), ids="-".join)
def test_v2_follows_a_written_out_loop_over_one_class_and_one_sample(choice: tuple[str, ...]) -> None:
    form: dict[str, Any] = dict(zip(CHOICES, choice, strict=True))
    settings = BrainLeaksV2Settings(**form, population=3, iterations=4, xi=0.1, precision="float64")
    result = BrainLeaksV2(settings).invert(MODEL, [3, 1], seed=5)
    assert result.probabilities is not None
    for row, label in enumerate([3, 1]):
        x, sample = plain_v2(MODEL, label, settings, seed=5)
        torch.testing.assert_close(result.probabilities[:, row].flatten(1), x, rtol=1e-6, atol=1e-9)
        assert result.inputs[:, row].flatten(1).equal(sample)
    assert 0 < float(result.probabilities.mean()) < 1


@pytest.mark.parametrize("shown", [True, False])
def test_v2_follows_the_loop_on_events_whether_or_not_the_first_layer_is_shown(
    shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not shown:
        monkeypatch.delattr(SpikingTwin, "sequence_from")
    settings = BrainLeaksV2Settings(preset="dvs_gesture", iterations=6, precision="float64")
    result = BrainLeaksV2(settings).invert(EVENTS, [1], seed=5)
    assert result.probabilities is not None
    x, sample = plain_v2(EVENTS, 1, settings, seed=5)
    torch.testing.assert_close(result.probabilities[:, 0].flatten(1), x, rtol=1e-6, atol=1e-9)
    assert result.inputs[:, 0].flatten(1).equal(sample)


def test_samples_that_are_all_the_same_go_through_the_model_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are at the start, and again after a step that a hard clamp makes 0 or 1 everywhere."""
    counts: list[int] = []
    outputs_from = Target.outputs_from

    def counting(target: Target, currents: Tensor) -> Tensor:
        counts.append(currents.shape[1])
        return outputs_from(target, currents)

    monkeypatch.setattr(Target, "outputs_from", counting)
    settings = BrainLeaksV2Settings(population=3, iterations=4, clamp="hard", precision="float64")
    result = BrainLeaksV2(settings).invert(MODEL, [3, 1], seed=5)
    assert counts == [2, 2, 6, 6]
    for row, label in enumerate([3, 1]):
        assert result.inputs[:, row].flatten(1).equal(plain_v2(MODEL, label, settings, seed=5)[1])


def first_slope(label: int, xi: float) -> Tensor:
    """Return the gradient of 1 - M_y plus the penalty at no spikes at all, (T, pixels)."""
    zeros = torch.zeros(7, 20).double()
    _, slope = slope_of(lambda s: 1.0 - plain_potentials(MODEL, s)[0].softmax(-1)[:, label].mean(), zeros)
    return slope + xi / zeros.numel()


def test_the_first_iteration_sets_all_of_the_voxels_that_help_and_no_other_on_mnists_constants() -> None:
    """The step is 1 / sqrt(0.9) = 1.054 in size, so that X is 1 where g < 0 after the scaling."""
    result = BrainLeaksV2(BrainLeaksV2Settings(iterations=1, precision="float64")).invert(MODEL, range(4), seed=0)
    assert result.probabilities is not None
    for label in range(4):
        expected = (first_slope(label, 0.01) < 0).double()
        # Epsilon, 1e-10, is not nothing beside the smallest gradients.
        torch.testing.assert_close(result.probabilities[:, label].flatten(1), expected, rtol=0.0, atol=1e-4)
        assert result.inputs[:, label].flatten(1).equal(expected)


@pytest.mark.parametrize(("learning_rate", "rho"), [(1e-3, 0.3), (0.1, 0.2)])
def test_the_first_step_is_the_rate_over_the_root_of_one_minus_rho(learning_rate: float, rho: float) -> None:
    settings = BrainLeaksV2Settings(learning_rate=learning_rate, rho=rho, epsilon=1e-12, iterations=1,
                                    precision="float64")  # fmt: skip
    result = BrainLeaksV2(settings).invert(MODEL, [2], seed=0)
    assert result.probabilities is not None
    slope = first_slope(2, 0.01)
    expected = torch.where(slope < 0, learning_rate / (1.0 - rho) ** 0.5, 0.0)
    torch.testing.assert_close(result.probabilities[:, 0].flatten(1), expected.double(), rtol=1e-4, atol=1e-9)


def test_steps_along_a_constant_gradient_are_those_of_mnists_constants() -> None:
    """lr v / sqrt(r) with r growing and momentum 0.9; the numbers follow from the recurrences by hand."""
    squares, velocity, gradient, steps = torch.zeros(1), torch.zeros(1), torch.ones(1), []
    for _ in range(10):
        squares = accumulated(squares, gradient, 0.1, "growing")
        velocity = 0.9 * velocity + gradient
        steps.append(float(velocity / squares.sqrt()))
    assert steps == pytest.approx([1.05, 1.38, 1.57, 1.68, 1.75, 1.78, 1.79, 1.78, 1.75, 1.72], abs=0.006)


def test_the_moving_average_forgets_and_the_growing_sum_does_not() -> None:
    gradient = torch.tensor([2.0])
    assert float(accumulated(torch.tensor([1.0]), gradient, 0.3, "moving_average")) == pytest.approx(0.3 + 0.7 * 4)
    assert float(accumulated(torch.tensor([1.0]), gradient, 0.3, "growing")) == pytest.approx(1.3 + 0.7 * 4)


def test_weights_favour_bad_samples_as_the_code_and_good_ones_as_the_paper() -> None:
    costs = torch.tensor([[1.0, 3.0], [0.0, 0.0], [-1e-9, 0.0]])
    assert nes_weights(costs, "proportional").tolist() == [[0.25, 0.75], [0.5, 0.5], [0.5, 0.5]]
    expected = torch.exp(-costs) / torch.exp(-costs).sum(1, keepdim=True)
    torch.testing.assert_close(nes_weights(costs, "exponential"), expected)


def test_two_stages_keep_ratios_and_a_hard_clamp_does_not() -> None:
    values = torch.tensor([[-1.0, 0.5], [1.0, 0.25], [4.0, 0.0]]).view(3, 2, 1, 1, 1)
    two_stage = clamped(values, "two_stage").flatten(1)
    assert two_stage[:, 0].tolist() == [0.0, 0.25, 1.0]  # divided by the largest of its own recording
    assert two_stage[:, 1].tolist() == [0.5, 0.25, 0.0]  # none exceeds 1
    assert clamped(values, "hard").flatten(1)[:, 0].tolist() == [0.0, 1.0, 1.0]


def test_gradients_of_equal_size_propose_nothing_rather_than_no_number() -> None:
    for size in (0.0, 2.5):
        assert float(min_max(torch.full((2, 1, 1, 2, 2), size)).abs().max()) == 0.0
    assert float(at_least(torch.zeros(2, 1, 1, 2, 2), 0.5).max()) == 0.0
    scaled = min_max(torch.tensor([1.0, 2.0, 5.0]).view(3, 1, 1, 1, 1))
    assert scaled.flatten().tolist() == [0.0, 0.25, 1.0]
    assert at_least(torch.tensor([1.0, 2.5, 5.0]).view(3, 1, 1, 1, 1), 0.5).flatten().tolist() == [0.0, 1.0, 1.0]


def test_a_model_that_ignores_its_input_leaves_v1_without_spikes() -> None:
    flat = replace(MODEL, parameters={name: torch.zeros_like(value) for name, value in MODEL.parameters.items()})
    result = BrainLeaksV1().invert(flat, range(4), seed=0)
    assert float(result.inputs.sum()) == 0.0
    torch.testing.assert_close(result.confidence, torch.full((4,), 0.25))


@pytest.mark.parametrize("attack", [BrainLeaksV1, BrainLeaksV2])
def test_how_many_go_through_the_model_at_once_changes_nothing(attack: Any) -> None:
    kind = BrainLeaksV1Settings if attack is BrainLeaksV1 else BrainLeaksV2Settings
    whole, parts = (
        attack(kind(samples_per_pass=limit, precision="float64")).invert(MODEL, range(4), seed=0) for limit in (128, 3)
    )
    assert whole.inputs.equal(parts.inputs)


@pytest.mark.parametrize("attack", [BrainLeaksV1, BrainLeaksV2])
def test_the_pictures_of_a_search_lead_to_its_answer_and_change_nothing(attack: Any) -> None:
    kind = BrainLeaksV1Settings if attack is BrainLeaksV1 else BrainLeaksV2Settings
    bare, early, filmed = (
        attack(kind(iterations=steps, snapshots=count)).invert(MODEL, range(4), seed=0)
        for steps, count in ((6, 0), (3, 0), (6, 3))
    )
    assert bare.inputs.equal(filmed.inputs)
    assert filmed.snapshot_steps.tolist() == [[0, 3, 6]] * 4
    for place, inputs in enumerate((torch.zeros_like(bare.inputs), early.inputs, bare.inputs)):
        assert filmed.snapshots[:, place].equal(inputs.mean(0))


def test_the_number_of_steps_may_be_another_than_the_models() -> None:
    result = BrainLeaksV2(BrainLeaksV2Settings(timesteps=11, iterations=2)).invert(EVENTS, [0, 2], seed=0)
    assert result.inputs.shape == (11, 2, 2, 3, 3)
    assert BrainLeaksV1().invert(EVENTS, [0, 2], seed=0).inputs.shape == (6, 2, 2, 3, 3)


def test_the_posterior_is_the_mean_of_the_softmaxes_and_survives_underflow() -> None:
    outputs = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close(log_posterior(outputs).exp(), outputs.softmax(-1).mean(0))
    torch.testing.assert_close(log_posterior(outputs[0]), outputs[0].log_softmax(-1))
    torch.testing.assert_close(mean_log_probability(outputs), outputs.log_softmax(-1).mean(0))
    torch.testing.assert_close(mean_log_probability(outputs[0]), outputs[0].log_softmax(-1))
    far = torch.tensor([[[0.0, 500.0]], [[0.0, 900.0]]])  # e^-500 is 0 in float32
    assert float(log_posterior(far)[0, 0]) == pytest.approx(-500.0 - 0.6931, abs=1e-3)


def test_presets_are_the_published_constants() -> None:
    assert all(BrainLeaksV1Settings(preset=name).preset == name for name in BrainLeaksV1Settings.PRESETS)
    assert all(BrainLeaksV2Settings(preset=name).preset == name for name in BrainLeaksV2Settings.PRESETS)
    assert BrainLeaksV2Settings() == BrainLeaksV2Settings(preset="mnist")
    mnist, events = BrainLeaksV2Settings(), BrainLeaksV2Settings(preset="nmnist")
    assert (mnist.population, mnist.learning_rate, mnist.rho, mnist.xi) == (7, 1.0, 0.1, 0.01)
    assert (events.population, events.learning_rate, events.rho, events.xi) == (5, 1e-3, 0.3, 0.3)
    assert (mnist.loss, events.loss) == ("probability", "log_probability")
    assert BrainLeaksV1Settings(preset="dvs_gesture", iterations=3).iterations == 3
    assert BrainLeaksV1Settings(preset="dvs_gesture").iterations == 25


@pytest.mark.parametrize("attack", [BrainLeaksV1, BrainLeaksV2])
def test_an_ann_is_refused(attack: Any) -> None:
    with pytest.raises(ConfigError, match=r"it inverts spiking models, and 'mlp' is not one; choose mi_face"):
        attack().invert(trained(MLP), [0], seed=0)


def test_an_objective_that_the_output_layer_does_not_have_is_refused() -> None:
    with pytest.raises(ConfigError, match="never fire"):
        BrainLeaksV1(BrainLeaksV1Settings(objective="spikes")).invert(trained(SPIKING_LENET), [0], seed=0)
    counting = replace(SPIKING_LENET, spiking=SpikingSpec(timesteps=5, readout="spikes"))
    with pytest.raises(ConfigError, match='readout is "spikes"'):
        BrainLeaksV1().invert(trained(counting), [0], seed=0)
