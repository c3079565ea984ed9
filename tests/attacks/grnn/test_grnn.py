"""GRNN: its generators against a plain module with torch's own RMSprop, its sizes, and what it reconstructs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from attacks.contracts import StopReason
from attacks.grnn import GRNN, batches, total_variation, victim_bytes
from attacks.grnn.generator import LATENT, Generators, draw, layout_of
from attacks.grnn.rmsprop import RMSprop, RMSpropRule, Span
from attacks.matching import MatchingProblem
from attacks.settings import GRNNSettings
from fl_sim.datasets import load_dataset
from fl_sim.errors import ConfigError
from fl_sim.models import build_model
from fl_sim.records import CapturedUpdate, InputSpec, ModelSpec, SpikingSpec
from fl_sim.seeding import torch_stream
from fl_sim.training import load_parameters
from tests import grnn_peer
from tests.attacks.helpers import LENET, captures_of, truth
from tests.grnn_peer import PeerGenerator, peer_steps

STEPS = 6


def victims_of(model: ModelSpec, count: int, *, examples: int = 1, seed: int = 0) -> list[CapturedUpdate]:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.rand(count, examples, *model.input.frame, generator=generator)
    labels = torch.randint(model.input.classes, (count, examples), generator=generator)
    captures = captures_of(model, inputs, labels)
    return [replace(capture, batch_size=examples, num_examples=examples) for capture in captures]


def peer_of(capture: CapturedUpdate, *, examples: int, seed: int = 0) -> tuple[PeerGenerator, Tensor]:
    """Return the plain module of a victim and its latents, drawn as the attack draws them; float64."""
    spec = capture.model.input
    stream, layout = torch_stream(seed, "generator", capture.id), layout_of(spec)
    latents = torch.randn(examples, LATENT, generator=stream)
    peer = PeerGenerator(layout.base, layout.widths, layout.size, spec.classes)
    peer.load(draw(layout, spec.classes, stream))
    return peer.double(), latents.double()


@pytest.mark.parametrize("examples", [1, 2])
@pytest.mark.parametrize("side", [17, 32])
def test_every_victim_walks_as_a_plain_module_under_torchs_rmsprop(examples: int, side: int) -> None:
    """float64; with one example the weights of the first layers are never stored, and f(s) has ten digits or so."""
    captures = victims_of(ModelSpec("classic_lenet", InputSpec(1, side, side, 4)), 3, examples=examples)
    settings = GRNNSettings(steps=STEPS, precision="float64")
    results = GRNN(settings).reconstruct(captures, seed=0)
    for capture, result in zip(captures, results, strict=True):
        peer, latents = peer_of(capture, examples=examples)
        model = build_model(capture.model).double()
        load_parameters(model, capture.parameters)
        target = {name: gradient.double() for name, gradient in capture.update.items()}
        history = peer_steps(model, target, peer, latents, steps=STEPS + 1)
        losses = torch.tensor([loss for _, _, loss in history])
        torch.testing.assert_close(result.loss_history, losses, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(result.last_inputs, history[-1][0].float(), rtol=1e-3, atol=1e-4)
        best = int(losses.argmin())
        torch.testing.assert_close(result.inputs, history[best][0].float(), rtol=1e-3, atol=1e-4)
        assert result.labels.equal(history[best][1].argmax(1))
        assert result.matching_loss == pytest.approx(history[best][2], rel=1e-4)


@pytest.mark.parametrize(("classes", "count"), [(10, 712_278), (100, 723_888), (5749, 1_452_609)])
def test_parameter_counts_are_those_of_the_published_code(classes: int, count: int) -> None:
    layout = layout_of(InputSpec(3, 32, 32, classes))
    drawn = draw(layout, classes, torch.Generator().manual_seed(0))
    assert sum(parameter.numel() for parameter in drawn.values()) == count
    peer = PeerGenerator(layout.base, layout.widths, layout.size, classes)
    peer.load(drawn)
    assert sum(parameter.numel() for parameter in peer.parameters()) == count


def test_the_first_parameters_have_the_spread_of_torchs_defaults() -> None:
    layout = layout_of(InputSpec(3, 32, 32, 10))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        peer = PeerGenerator(layout.base, layout.widths, layout.size, 10)
    theirs = {name: parameter.detach().clone() for name, parameter in peer.named_parameters()}
    peer.load(draw(layout, 10, torch.Generator().manual_seed(0)))
    for name, ours in peer.named_parameters():
        expected, values = theirs[name], ours.detach()
        few = values.numel() < 1000  # the largest of ten numbers says little
        assert float(values.abs().max()) == pytest.approx(float(expected.abs().max()), rel=0.5 if few else 0.02)
        if not few:
            assert float(values.std()) == pytest.approx(float(expected.std()), rel=0.05)


@pytest.mark.parametrize(
    ("frame", "base", "widths"),
    [
        ((3, 32, 32), (4, 4), (128, 64, 32, 3)),
        ((1, 28, 28), (7, 7), (64, 32, 1)),
        ((1, 112, 92), (7, 6), (256, 128, 64, 32, 1)),
        ((2, 9, 5), (5, 3), (32, 2)),
    ],
)
def test_images_have_the_size_of_the_input(
    frame: tuple[int, int, int], base: tuple[int, int], widths: tuple[int, ...]
) -> None:
    spec = InputSpec(*frame, classes=4)
    layout = layout_of(spec)
    assert (layout.base, layout.widths) == (base, widths)
    parameters = [draw(layout, 4, torch.Generator().manual_seed(victim)) for victim in range(2)]
    for examples in (1, 2):
        latents = torch.randn(2, examples, LATENT, generator=torch.Generator().manual_seed(0))
        points = Generators(spec, latents, parameters, labels=True).points()
        for victim, own in enumerate(parameters):
            peer = PeerGenerator(layout.base, layout.widths, layout.size, 4)
            peer.load(own)
            images, logits = peer(latents[victim])
            expected = torch.cat([images.flatten(), logits.flatten()])
            torch.testing.assert_close(points[victim], expected, rtol=1e-4, atol=1e-5)


def test_the_response_of_a_span_is_that_of_every_weight_on_its_own() -> None:
    fixed = torch.randn(3, LATENT, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    roots = torch.logspace(-8, 0, 40, dtype=torch.float64).expand(3, -1)
    sizes = fixed.abs()[:, None]
    expected = (sizes.square() / (sizes * roots[..., None] + 1e-8)).sum(-1)
    torch.testing.assert_close(Span.of(fixed).response(roots), expected, rtol=1e-3, atol=0.0)
    torch.testing.assert_close(Span.of(fixed).response(roots)[:, 10:], expected[:, 10:], rtol=1e-10, atol=0.0)


def test_rmsprop_is_torchs_also_on_a_tensor_of_several_pieces() -> None:
    generator = torch.Generator().manual_seed(0)
    ours = torch.randn(2, 40_000, generator=generator)
    theirs = ours.clone().requires_grad_()
    optimiser = torch.optim.RMSprop([theirs], lr=1e-2, momentum=0.9, alpha=0.95)
    walk = RMSprop({"x": ours}, {}, RMSpropRule(1e-2, momentum=0.9, alpha=0.95))
    for _ in range(3):
        theirs.grad = torch.randn(2, 40_000, generator=generator)
        optimiser.step()
        walk.step([theirs.grad])
    torch.testing.assert_close(ours, theirs.detach())


def test_total_variation_is_the_published_one_and_worked_by_hand() -> None:
    images = torch.rand(3, 2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    expected = torch.stack([grnn_peer.total_variation(own) for own in images])
    torch.testing.assert_close(total_variation(images), expected)
    # Differences down 1 and 3, across 2 and 4: 2 ((1 + 9) / 2 + (4 + 16) / 2).
    assert float(total_variation(torch.tensor([[0.0, 2.0], [1.0, 5.0]]).view(1, 1, 1, 2, 2))) == 30.0


def test_victims_do_not_touch_one_another_not_even_a_hopeless_one() -> None:
    captures = victims_of(LENET, 3)
    hopeless = replace(captures[1], update={name: g * torch.nan for name, g in captures[1].update.items()})
    settings = GRNNSettings(steps=5, precision="float64")
    together = GRNN(settings).reconstruct([captures[0], hopeless, captures[2]], seed=0)
    for place in (0, 2):
        (alone,) = GRNN(settings).reconstruct([captures[place]], seed=0)
        torch.testing.assert_close(together[place].inputs, alone.inputs)
        torch.testing.assert_close(together[place].loss_history, alone.loss_history)
    assert (together[1].stop_reason, together[1].iterations) == (StopReason.DIVERGED, 0)
    assert bool(together[1].inputs.isfinite().all())


def test_the_same_seed_gives_the_same_and_no_steps_give_what_the_generator_starts_from() -> None:
    captures = victims_of(LENET, 2)
    first, second = (GRNN(GRNNSettings(steps=3)).reconstruct(captures, seed=5) for _ in range(2))
    assert all(a.inputs.equal(b.inputs) for a, b in zip(first, second, strict=True))
    untouched = GRNN(GRNNSettings(steps=3).untouched()).reconstruct(captures, seed=5)
    for capture, result in zip(captures, untouched, strict=True):
        peer, latents = peer_of(capture, examples=1, seed=5)
        torch.testing.assert_close(result.inputs, peer(latents)[0].detach().float(), rtol=1e-4, atol=1e-5)
        assert (result.iterations, len(result.loss_history)) == (0, 1)


def test_the_last_step_is_the_answer_if_that_is_asked_for() -> None:
    captures = victims_of(ModelSpec("classic_lenet", InputSpec(1, 17, 17, 4)), 2)
    best, last = (GRNN(GRNNSettings(steps=STEPS, learning_rate=0.01, answer=answer)).reconstruct(captures, seed=0)
                  for answer in ("best", "last"))  # fmt: skip
    for ours, theirs in zip(best, last, strict=True):
        assert theirs.inputs.equal(theirs.last_inputs)
        assert theirs.inputs.equal(ours.last_inputs)
        assert theirs.matching_loss == pytest.approx(float(theirs.loss_history[-1]))
    assert any(theirs.matching_loss > ours.matching_loss for ours, theirs in zip(best, last, strict=True))


def test_a_digit_is_found_with_its_label() -> None:
    pixels, labels = load_dataset("digits").train.batch(slice(0, 4))
    inputs = F.interpolate(pixels, size=(16, 16), mode="bilinear")[:, None]
    captures = captures_of(ModelSpec("lenet", InputSpec(1, 16, 16, 10)), inputs, labels[:, None])
    results = GRNN(GRNNSettings(steps=300)).reconstruct(captures, seed=0)
    errors = [float((r.inputs - true).square().mean()) for r, true in zip(results, inputs, strict=True)]
    assert sorted(errors)[1] < 5e-3
    for result, label in zip(results, labels, strict=True):
        assert int(result.labels) == int(label)
        assert result.matching_loss < 0.02 * float(result.loss_history[0])
        assert result.stop_reason is StopReason.BUDGET


def test_a_spiking_victim_is_attacked_through_its_own_encoder() -> None:
    spec = ModelSpec("spiking_lenet", InputSpec(1, 8, 8, 4), "torch", SpikingSpec(timesteps=4))
    results = GRNN(GRNNSettings(steps=30)).reconstruct(victims_of(spec, 2), seed=0)
    assert all(result.matching_loss < 0.8 * float(result.loss_history[0]) for result in results)
    assert all(result.inputs.shape == (1, 1, 8, 8) for result in results)


def test_known_labels_are_used_as_they_are_beside_victims_without() -> None:
    inputs, labels = truth(2)
    captures = captures_of(LENET, inputs, labels)
    wrong = (labels[0] + 1) % 4
    told = replace(captures[0], labels=wrong)
    results = GRNN(GRNNSettings(steps=4)).reconstruct([told, captures[1]], seed=0)
    assert results[0].labels.equal(wrong)
    problem = MatchingProblem([told], [wrong], precision=torch.float32, device="cpu")
    loss, _ = problem.evaluate(results[0].inputs.flatten()[None])
    assert results[0].matching_loss == pytest.approx(float(loss), rel=1e-4)


def test_the_loss_curve_is_thinned_to_three_hundred_points() -> None:
    (result,) = GRNN(GRNNSettings(steps=301)).reconstruct(victims_of(LENET, 1), seed=0)
    assert len(result.loss_history) == 151
    assert (result.iterations, result.gradient_evaluations) == (301, 302)


def test_victims_share_a_batch_as_far_as_memory_and_settings_allow() -> None:
    captures = victims_of(LENET, 5)
    assert batches(captures, GRNNSettings(victims_per_batch=2)) == [[0, 1], [2, 3], [4]]
    large = victims_of(ModelSpec("lenet", InputSpec(3, 112, 92, 4)), 1)
    needed = victim_bytes(large[0], GRNNSettings()) // 2**20
    assert needed > 16
    with pytest.raises(ConfigError, match=rf"attack\.memory_mb: .* takes about {needed} MB, the limit is 16"):
        batches(large, GRNNSettings(memory_mb=16))


def test_events_are_refused_with_the_reason() -> None:
    spec = ModelSpec("spiking_lenet", InputSpec(2, 8, 8, 4, timesteps=3), "torch", SpikingSpec(timesteps=3))
    capture = replace(victims_of(LENET, 1)[0], model=spec)
    with pytest.raises(ConfigError, match="'grnn' makes images"):
        GRNN().reconstruct([capture], seed=0)
