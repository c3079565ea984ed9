"""The paper's own numbers, to be printed beside ours.

Aksu, Martinez del Rincon and Alouani, arXiv 2511.21181, Table IV.

1000 samples a cell, untrained victims, batch 1. The paper does not fix the LeNet variant, the weights' initial
range, the optimiser's budget, or how PSNR is averaged; its judges are others than ours. So the rows are a
landmark, not a target. Ours are compared with them only on the paper's still-image data sets.
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
