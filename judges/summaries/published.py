"""The paper's numbers, which reports print next to ours.

Aksu, Martinez del Rincon and Alouani, arXiv 2511.21181, Tables IV, V and VI.

Table IV: 1000 samples per cell, untrained victims, batch 1. The paper does not specify the LeNet variant, the weights'
initial range, the optimiser's budget, or how PSNR is averaged, and its judges differ from ours. So its rows give an
orientation, not a target. Ours are compared with them only on the paper's still-image data sets.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """A row of the paper's table.

    Attributes:
        asr: judge's accuracy on the reconstructions, in [0, 1].
        mse, ssim, psnr_db: means over the samples.
    """

    asr: float
    mse: float
    ssim: float
    psnr_db: float


PUBLISHED: dict[tuple[str, str, str], Published] = {
    ("dlg", "mnist", "lenet"): Published(0.794, 0.07, 0.77, 29.94),
    ("dlg", "cifar100", "lenet"): Published(0.688, 0.05, 0.67, 30.29),
    ("dlg", "lfw", "lenet"): Published(0.925, 0.05, 0.57, 25.34),
    ("idlg", "mnist", "lenet"): Published(0.883, 0.04, 0.86, 28.03),
    ("idlg", "cifar100", "lenet"): Published(0.826, 0.03, 0.81, 33.77),
    ("idlg", "lfw", "lenet"): Published(0.973, 0.01, 0.91, 33.95),
    ("grnn", "mnist", "lenet"): Published(0.858, 0.02, 0.69, 19.36),
    ("grnn", "cifar100", "lenet"): Published(0.693, 0.01, 0.66, 19.48),
    ("grnn", "lfw", "lenet"): Published(0.881, 0.01, 0.66, 18.85),
    ("dlg", "mnist", "spiking_lenet"): Published(0.372, 0.15, 0.39, 9.48),
    ("dlg", "cifar100", "spiking_lenet"): Published(0.244, 0.14, 0.11, 9.46),
    ("dlg", "lfw", "spiking_lenet"): Published(0.838, 0.16, 0.05, 8.06),
    ("idlg", "mnist", "spiking_lenet"): Published(0.378, 0.11, 0.41, 9.99),
    ("idlg", "cifar100", "spiking_lenet"): Published(0.228, 0.08, 0.18, 11.85),
    ("idlg", "lfw", "spiking_lenet"): Published(0.322, 0.07, 0.28, 11.89),
    ("grnn", "mnist", "spiking_lenet"): Published(0.096, 0.21, 0.00, 6.78),
    ("grnn", "cifar100", "spiking_lenet"): Published(0.107, 0.11, 0.07, 10.16),
    ("grnn", "lfw", "spiking_lenet"): Published(0.551, 0.11, 0.39, 9.66),
}
"""(attack, data set, model) -> the paper's row."""


@dataclass(frozen=True)
class PublishedSpikes:
    """A cell of Table V: DVS128 Gesture, spiking LeNet.

    Attributes:
        asr: judge's accuracy on the reconstructions, in [0, 1].
        l2: mean l2 distance to the true recording.
    """

    asr: float
    l2: float


TAUS = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95)


def _sweep(asr: tuple[float, ...], l2: tuple[float, ...]) -> dict[float, PublishedSpikes]:
    return {tau: PublishedSpikes(share / 100, far) for tau, share, far in zip(TAUS, asr, l2, strict=True)}


PUBLISHED_SPIKES: dict[tuple[str, str], dict[float, PublishedSpikes]] = {
    ("dlg", "post_optimisation"): _sweep(
        (9.41, 7.67, 8.04, 9.41, 8.54, 8.42), (504.03, 257.75, 127.36, 87.52, 75.47, 72.50)
    ),
    ("idlg", "post_optimisation"): _sweep(
        (9.19, 8.54, 8.29, 9.65, 10.64, 10.52), (508.09, 270.65, 130.44, 85.45, 72.33, 69.21)
    ),
    ("dlg", "in_optimisation"): _sweep(
        (9.60, 7.10, 8.50, 8.50, 8.50, 8.50), (457.2643, 100.1694, 42.5694, 42.5647, 42.5647, 42.5647)
    ),
    ("idlg", "in_optimisation"): _sweep(
        (9.60, 7.80, 8.50, 8.50, 8.50, 8.50), (457.2764, 100.1893, 42.5694, 42.5647, 42.5647, 42.5647)
    ),
}
"""(attack, thresholding) -> {tau: the paper's cell}. Recordings of 20 x 2 x 128 x 128 voxels."""

PUBLISHED_DISTANCES: dict[str, tuple[float, float, float, float]] = {
    "intra-class": (60.34, 13.80, 0.00, 106.64),
    "inter-class": (60.80, 11.51, 14.93, 105.15),
}
"""Table VI, DVS128 Gesture: (mean, std, min, max) of the l2 between recordings."""
