from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from judges.scoring.image_metrics import as_images, l2, mse, psnr_db, ssim


def pictures(seed: int, shape: tuple[int, ...] = (4, 3, 11, 9)) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def test_hand_numbers() -> None:
    truth = torch.zeros(2, 1, 1, 2)
    ours = torch.tensor([[[[0.1, 0.1]]], [[[0.6, 0.8]]]])
    assert mse(ours, truth).tolist() == pytest.approx([0.01, 0.5])
    assert l2(ours, truth).tolist() == pytest.approx([0.1 * math.sqrt(2), 1.0])
    assert psnr_db(ours, truth, low=0.0, high=1.0).tolist() == pytest.approx([20.0, 10 * math.log10(2)])
    assert psnr_db(ours, truth, low=-5.0, high=5.0)[0].item() == pytest.approx(40.0)


def test_equal_scikit_image() -> None:
    ours, truth = pictures(1).double(), pictures(2).double()
    for index, (a, b) in enumerate(zip(ours.numpy(), truth.numpy(), strict=True)):
        assert mse(ours, truth)[index].item() == pytest.approx(mean_squared_error(a, b))
        peak = peak_signal_noise_ratio(b, a, data_range=1.0)  # type: ignore[no-untyped-call]
        assert psnr_db(ours, truth, low=0.0, high=1.0)[index].item() == pytest.approx(peak)
        similar = structural_similarity(a, b, data_range=1.0, channel_axis=0)  # type: ignore[no-untyped-call]
        assert ssim(ours, truth, low=0.0, high=1.0)[index].item() == pytest.approx(similar)


def test_ssim_of_two_flat_pictures_in_closed_form() -> None:
    """Without variance SSIM is the luminance term (2ab + C1) / (a^2 + b^2 + C1), Wang et al. 2004, eq. 6."""
    ours, truth = torch.full((1, 1, 8, 8), 0.2), torch.full((1, 1, 8, 8), 0.6)
    for high in (1.0, 2.0):
        c1 = (0.01 * high) ** 2
        expected = (2 * 0.2 * 0.6 + c1) / (0.2**2 + 0.6**2 + c1)
        assert ssim(ours, truth, low=0.0, high=high).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("mean", "std"), [(0.5, 0.5), (0.1307, 0.3081), (0.0, 1 / 255)])
def test_normalised_inputs_are_compared_as_the_pictures_that_they_are(mean: float, std: float) -> None:
    """Of grey, black and noisy answers, beside scikit-image on the pixels: SSIM compares means."""
    truth = pictures(1).double()
    for ours in (torch.full_like(truth, 0.5), torch.zeros_like(truth), (truth + 0.3 * pictures(2)).clamp(0, 1)):
        seen, low, high = [(item - mean) / std for item in (ours, truth)], -mean / std, (1 - mean) / std
        for index, (a, b) in enumerate(zip(ours.numpy(), truth.numpy(), strict=True)):
            similar = structural_similarity(a, b, data_range=1.0, channel_axis=0)  # type: ignore[no-untyped-call]
            peak = peak_signal_noise_ratio(b, a, data_range=1.0)  # type: ignore[no-untyped-call]
            assert ssim(*seen, low=low, high=high)[index].item() == pytest.approx(similar, abs=1e-9)
            assert psnr_db(*seen, low=low, high=high)[index].item() == pytest.approx(peak)


def test_inputs_in_the_unit_range_are_compared_as_they_are_to_the_bit() -> None:
    ours, truth = pictures(1), pictures(2)
    a, b = ours.double().numpy(), truth.double().numpy()
    direct = [
        structural_similarity(x, y, data_range=1.0, channel_axis=0, win_size=7)  # type: ignore[no-untyped-call]
        for x, y in zip(a, b, strict=True)
    ]
    assert ssim(ours, truth, low=0.0, high=1.0).tolist() == direct
    assert torch.equal(psnr_db(ours, truth, low=0.0, high=1.0), 10.0 * torch.log10(1.0**2 / mse(ours, truth)))


def test_identity_reaches_the_best_value() -> None:
    truth = pictures(3)
    assert mse(truth, truth).tolist() == [0.0] * 4
    assert ssim(truth, truth, low=0.0, high=1.0).tolist() == pytest.approx([1.0] * 4)
    assert psnr_db(truth, truth, low=0.0, high=1.0).tolist() == [100.0] * 4
    assert psnr_db(truth, truth, low=0.0, high=1.0, cap=60.0).tolist() == [60.0] * 4


def test_a_batch_is_never_pooled() -> None:
    truth = torch.zeros(2, 1, 7, 7)
    ours = torch.stack([torch.zeros(1, 7, 7), torch.ones(1, 7, 7)])
    assert mse(ours, truth).tolist() == [0.0, 1.0]
    assert psnr_db(ours, truth, low=0.0, high=1.0).tolist() == [100.0, 0.0]


@given(st.permutations(range(4)), st.integers(0, 99))
def test_permutation_of_the_batch_permutes_the_values(order: list[int], seed: int) -> None:
    ours, truth = pictures(seed), pictures(seed + 1000)
    index = torch.tensor(order)
    for metric in (mse, l2):
        assert torch.equal(metric(ours[index], truth[index]), metric(ours, truth)[index])
    assert torch.equal(ssim(ours[index], truth[index], low=0.0, high=1.0), ssim(ours, truth, low=0.0, high=1.0)[index])


@given(st.floats(0.01, 0.3), st.floats(1.5, 4.0), st.integers(0, 99))
def test_more_noise_is_worse(level: float, factor: float, seed: int) -> None:
    truth = pictures(seed)
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(seed + 1))
    little, much = truth + level * noise, truth + level * factor * noise
    assert (mse(little, truth) < mse(much, truth)).all()
    assert (l2(little, truth) < l2(much, truth)).all()
    assert (psnr_db(little, truth, low=0.0, high=1.0) >= psnr_db(much, truth, low=0.0, high=1.0)).all()
    assert ssim(little, truth, low=0.0, high=1.0).mean() > ssim(much, truth, low=0.0, high=1.0).mean()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_reconstruction_that_is_not_finite_is_the_worst_and_disturbs_no_other(bad: float) -> None:
    truth, ours = pictures(1), pictures(2)
    clean = ssim(ours, truth, low=0.0, high=1.0)
    ours[1, 0, 0, 0] = bad
    assert mse(ours, truth).isinf().tolist() == [False, True, False, False]
    assert l2(ours, truth).isinf().tolist() == [False, True, False, False]
    assert psnr_db(ours, truth, low=0.0, high=1.0)[1].item() == 0.0
    found = ssim(ours, truth, low=0.0, high=1.0)
    assert found[1].item() == 0.0
    assert torch.equal(found[[0, 2, 3]], clean[[0, 2, 3]])


def test_huge_values_give_numbers() -> None:
    truth = pictures(1).double()
    ours = truth + 1e200
    assert mse(ours, truth).isinf().all()
    assert psnr_db(ours, truth, low=0.0, high=1.0).tolist() == [0.0] * 4
    assert ssim(ours, truth, low=0.0, high=1.0).isfinite().all()


def test_events_become_channels_of_their_own_example() -> None:
    events = torch.arange(3 * 2 * 2 * 7 * 7).reshape(3, 2, 2, 7, 7)
    images = as_images(events)
    assert images.shape == (2, 6, 7, 7)
    assert torch.equal(images[1, 3], events[1, 1, 1])
    still = torch.zeros(2, 1, 7, 7)
    assert as_images(still) is still


def test_refuses_what_cannot_be_compared() -> None:
    truth = torch.zeros(2, 1, 7, 7)
    with pytest.raises(ValueError, match="same shape"):
        mse(torch.zeros(1, 1, 7, 7), truth)
    with pytest.raises(ValueError, match="same shape"):
        l2(truth[0], truth[0])
    with pytest.raises(ValueError, match="original"):
        mse(truth, truth * np.nan)
    with pytest.raises(ValueError, match="7x7"):
        ssim(truth[..., :6], truth[..., :6], low=0.0, high=1.0)
    for high in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="expected a range"):
            psnr_db(truth, truth, low=0.0, high=high)
