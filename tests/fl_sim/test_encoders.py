"""Images to spikes: shapes, values, seeds, times by hand, and SpikingJelly's encoders as the outside witness."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from spikingjelly.activation_based.encoding import LatencyEncoder, PoissonEncoder
from torch import Tensor

from fl_sim.encoders import ENCODERS, Encoder, direct, latency, rate
from fl_sim.errors import ConfigError


def pictures(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def spikes_of(pixels: list[float], timesteps: int) -> list[list[float]]:
    """Return the spikes of each pixel over time by the latency code."""
    spikes: list[list[float]] = latency(torch.tensor(pixels), timesteps).T.tolist()
    return spikes


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("timesteps", [1, 3, 8])
def test_time_comes_first_and_the_dtype_stays(name: str, timesteps: int) -> None:
    encoder = Encoder(name, timesteps)
    for dtype in (torch.float32, torch.float64):
        encoded = encoder(pictures(2, 3, 5, 4).to(dtype))
        assert encoded.shape == (timesteps, 2, 3, 5, 4)
        assert encoded.dtype == dtype


@pytest.mark.parametrize("name", ["rate", "latency"])
def test_spikes_are_exactly_zero_or_one(name: str) -> None:
    encoded = Encoder(name, 7)(pictures(4, 1, 9, 9))
    assert set(encoded.unique().tolist()) == {0.0, 1.0}


def test_an_unknown_encoder_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^model\.encoder: 'latncy' is not known\. Did you mean 'latency'\?"):
        Encoder("latncy", 3)


def test_direct_repeats_the_frame_without_a_copy() -> None:
    frame = pictures(2, 1, 3, 3)
    encoded = direct(frame, 5)
    assert all(step.equal(frame) for step in encoded)
    assert encoded.data_ptr() == frame.data_ptr()


# Rate code


def test_the_mean_rate_is_the_pixel() -> None:
    """Each of 40 counts is binomial: the chance that any leaves 5 standard deviations is below 1e-4."""
    timesteps = 20_000
    pixels = torch.linspace(0.0, 1.0, 40)
    means = Encoder("rate", timesteps)(pixels.view(1, 1, 5, 8)).mean(dim=0).flatten()
    deviation = (pixels * (1 - pixels) / timesteps).sqrt()
    assert bool(((means - pixels).abs() <= 5 * deviation + 1e-7).all())
    assert means[0] == 0.0
    assert means[-1] == 1.0


def test_pixels_and_steps_are_drawn_apart() -> None:
    spikes = Encoder("rate", 4000)(torch.full((1, 1, 1, 2), 0.5)).flatten(1)
    bound = 5 / math.sqrt(4000)
    assert abs(float(torch.corrcoef(spikes.T)[0, 1])) < bound
    assert abs(float(torch.corrcoef(torch.stack([spikes[:-1, 0], spikes[1:, 0]]))[0, 1])) < bound


def test_the_same_seed_draws_the_same_spikes_whatever_was_drawn_before() -> None:
    frame = pictures(2, 1, 6, 6)
    encoder, other = Encoder("rate", 5), Encoder("rate", 5)
    first = encoder(frame)
    torch.rand(3)
    assert encoder(frame).equal(first)
    assert other(frame).equal(first)
    other.seed = 1
    assert not other(frame).equal(first)


def test_models_on_the_channel_axis_read_the_same_draws() -> None:
    """What an attack folds into channels is encoded as each model would have encoded it alone."""
    frames = [pictures(2, 3, 4, 4, seed=seed) for seed in (0, 1)]
    alone, folded = Encoder("rate", 6), Encoder("rate", 6)
    folded.models = 2
    assert folded(torch.cat(frames, dim=1)).equal(torch.cat([alone(frame) for frame in frames], dim=2))


def test_rate_code_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    Encoder("rate", 5)(pictures(1, 1, 4, 4))
    assert torch.get_rng_state().equal(before)


def test_rate_code_is_spikingjellys_on_the_same_draws() -> None:
    frame, timesteps = pictures(2, 3, 8, 8), 6
    theirs_encoder = PoissonEncoder()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        theirs = torch.stack([theirs_encoder(frame) for _ in range(timesteps)])
    assert rate(frame, timesteps, generator=torch.Generator().manual_seed(11)).equal(theirs)


# Latency code


def test_spike_times_by_hand() -> None:
    """T = 5: time round(4 (1 - x)), bright first."""
    assert spikes_of([1.0, 0.8, 0.5, 0.3, 0.0], 5) == [
        [1, 0, 0, 0, 0],
        [0, 1, 0, 0, 0],
        [0, 0, 1, 0, 0],
        [0, 0, 0, 1, 0],
        [0, 0, 0, 0, 1],
    ]


def test_pixels_outside_the_range_fire_at_its_ends() -> None:
    assert spikes_of([1.7, -0.3], 3) == [[1, 0, 0], [0, 0, 1]]


def test_one_step_is_all_spikes() -> None:
    assert spikes_of([0.0, 0.4, 1.0], 1) == [[1], [1], [1]]


@given(st.integers(1, 40), st.lists(st.floats(0.0, 1.0, width=32), min_size=2, max_size=8))
def test_each_pixel_fires_once_and_a_brighter_one_no_later(timesteps: int, pixels: list[float]) -> None:
    spikes = latency(torch.tensor(sorted(pixels)), timesteps)
    assert spikes.sum(dim=0).tolist() == [1.0] * len(pixels)
    times = spikes.argmax(dim=0)
    assert bool((times[1:] <= times[:-1]).all())


@pytest.mark.parametrize("timesteps", [1, 2, 10, 13])
def test_latency_code_is_spikingjellys(timesteps: int) -> None:
    frame = torch.cat([pictures(2, 1, 8, 8).flatten(), torch.linspace(0.0, 1.0, 21)])
    theirs_encoder = LatencyEncoder(timesteps)
    theirs = torch.stack([theirs_encoder(frame) for _ in range(timesteps)])
    assert latency(frame, timesteps).equal(theirs)


# Backward


@pytest.mark.parametrize("name", ["direct", "rate"])
def test_each_step_passes_its_gradient_straight_through(name: str) -> None:
    frame = pictures(2, 1, 3, 3).requires_grad_()
    weights = pictures(4, 2, 1, 3, 3, seed=1)
    (weights * Encoder(name, 4)(frame)).sum().backward()
    torch.testing.assert_close(frame.grad, weights.sum(dim=0))


def test_latency_passes_the_gradient_of_a_triangle_around_the_spike_time() -> None:
    """T = 5, x = 0.3: the time is 2.8, the triangles are 0.2 at step 2 and 0.8 at step 3; d time / dx = -4."""
    frame = torch.tensor([0.3], dtype=torch.float64, requires_grad=True)
    slopes = [torch.autograd.grad(step.sum(), frame, retain_graph=True)[0].item() for step in latency(frame, 5)]
    assert slopes == pytest.approx([0.0, 0.0, 4.0, -4.0, 0.0])


def test_a_clamped_pixel_has_no_gradient_in_latency_code() -> None:
    frame = torch.tensor([1.5, -0.5], requires_grad=True)
    (latency(frame, 4) * torch.arange(4.0).view(-1, 1)).sum().backward()  # type: ignore[no-untyped-call]
    assert frame.grad is not None
    assert frame.grad.tolist() == [0.0, 0.0]
