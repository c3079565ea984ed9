"""Distance of a reconstruction from the truth: pure functions, for each image, with a given value range.

Every metric takes two tensors (N, C, H, W) and returns (N,) float64: one number for each image, never one pooled over a
batch. A reconstruction with NaN or infinity counts as a failure: its MSE and l2 are infinite, its PSNR is 0 dB and its
SSIM is 0.

MSE and l2 are in the units of the inputs. PSNR and SSIM are of the pictures mapped to [0, 1] by (x - low) / (high -
low): SSIM compares means, so its value would otherwise depend on how a client normalises its inputs.
"""

from __future__ import annotations

import numpy as np
import torch
from skimage.metrics import structural_similarity
from torch import Tensor

PSNR_CAP_DB = 100.0
SSIM_WINDOW = 7


def as_images(inputs: Tensor) -> Tensor:
    """Return inputs as (N, C, H, W); the time bins of events (T, N, C, H, W) become channels.

    So MSE and l2 are over all voxels, and SSIM is the mean over the frames.
    """
    return inputs.transpose(0, 1).flatten(1, 2) if inputs.ndim == 5 else inputs


def mse(reconstructions: Tensor, originals: Tensor) -> Tensor:
    """Return the mean squared error of each image, (N,); infinite if the reconstruction is not finite.

    Args:
        reconstructions: (N, C, H, W).
        originals: (N, C, H, W), finite.

    Raises:
        ValueError: the shapes differ or are not (N, C, H, W), or an original is not finite.
    """
    ours, truth = checked(reconstructions, originals)
    return (ours - truth).square().flatten(1).mean(dim=1).nan_to_num(nan=torch.inf, posinf=torch.inf)


def l2(reconstructions: Tensor, originals: Tensor) -> Tensor:
    """Return the Euclidean distance of each image, (N,); see `mse` for arguments, errors and non-finite values."""
    ours, truth = checked(reconstructions, originals)
    return (ours - truth).square().flatten(1).sum(dim=1).sqrt().nan_to_num(nan=torch.inf, posinf=torch.inf)


def psnr_db(reconstructions: Tensor, originals: Tensor, *, low: float, high: float, cap: float = PSNR_CAP_DB) -> Tensor:
    """Return the peak signal-to-noise ratio of each image in dB, 10 log10(1 / MSE) of the pictures in [0, 1], (N,).

    The value is clamped to [0, cap]. `cap` keeps exact copies from making a mean infinite; 0 dB is the lowest value for
    an image inside the value range, and the value for a reconstruction that is not finite.

    Args:
        reconstructions: (N, C, H, W).
        originals: (N, C, H, W), finite.
        low, high: value range of the inputs as specified, not as found in the data.
        cap: largest value in dB.

    Raises:
        ValueError: as in `mse`, or the value range is empty.
    """
    errors = mse(*_in_unit_range(reconstructions, originals, low, high))
    return (10.0 * torch.log10(1.0 / errors)).clamp(0.0, cap)


def ssim(reconstructions: Tensor, originals: Tensor, *, low: float, high: float) -> Tensor:
    """Return the structural similarity of each image, in [-1, 1], (N,); 0 if the reconstruction is not finite.

    Wang et al. 2004 (IEEE TIP 13(4)) as computed by scikit-image: uniform 7x7 window, K1 = 0.01, K2 = 0.03, sample
    covariance, mean over the image without its 3-pixel border, and over the channels.

    Args:
        reconstructions: (N, C, H, W), H and W at least 7: SSIM is not defined for smaller images.
        originals: (N, C, H, W), finite.
        low, high: value range of the inputs as specified.

    Raises:
        ValueError: as in `mse`; an image is smaller than the window; the value range is empty.
    """
    ours, truth = _in_unit_range(reconstructions, originals, low, high)
    if not has_ssim(truth):
        raise ValueError(f"SSIM needs images of at least 7x7 pixels, got {tuple(truth.shape[-2:])}")
    values = [_ssim_of_one(a, b) for a, b in zip(ours.numpy(), truth.numpy(), strict=True)]
    return torch.tensor(values, dtype=torch.float64)


def has_ssim(images: Tensor) -> bool:
    """Return whether SSIM is defined for images (N, C, H, W): they are as large as its window of 7x7 pixels."""
    return min(images.shape[-2:]) >= SSIM_WINDOW


def _ssim_of_one(ours: np.ndarray, truth: np.ndarray) -> float:
    """Return the SSIM of one image (C, H, W) in [0, 1]."""
    if not np.isfinite(ours).all():
        return 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        value = structural_similarity(  # type: ignore[no-untyped-call]
            ours, truth, data_range=1.0, channel_axis=0, win_size=SSIM_WINDOW
        )
    return float(value) if np.isfinite(value) else 0.0


def checked(reconstructions: Tensor, originals: Tensor) -> tuple[Tensor, Tensor]:
    """Return both (N, C, H, W) as float64 on the CPU; a ValueError if they cannot be compared."""
    if originals.ndim != 4 or reconstructions.shape != originals.shape:
        raise ValueError(
            "expected two tensors of the same shape (N, C, H, W), got "
            f"{tuple(reconstructions.shape)} and {tuple(originals.shape)}"
        )
    ours, truth = (item.detach().to("cpu", torch.float64) for item in (reconstructions, originals))
    if not truth.isfinite().all():
        raise ValueError("an original holds NaN or infinity")
    return ours, truth


def _in_unit_range(reconstructions: Tensor, originals: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
    """Return both as pictures in [0, 1], see `checked`; a ValueError if [low, high] is no range."""
    if not 0 < high - low < float("inf"):
        raise ValueError(f"expected a range from low to high, got [{low}, {high}]")
    ours, truth = ((item - low) / (high - low) for item in checked(reconstructions, originals))
    return ours, truth
