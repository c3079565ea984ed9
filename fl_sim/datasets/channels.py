"""Grey images as colour images with three equal channels, as the authors of GRNN (arXiv 2105.00529) show them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fl_sim.datasets.examples import Dataset, Examples
from fl_sim.errors import ConfigError

COLOUR = 3


@dataclass(frozen=True)
class RepeatedChannel:
    """A split of grey images (n, 1, H, W) as images (n, C, H, W) whose channels are equal."""

    grey: Examples
    channels: int

    @property
    def labels(self) -> Tensor:
        """Return the labels, int64 (N,)."""
        return self.grey.labels

    def __len__(self) -> int:
        """Return N."""
        return len(self.grey)

    def batch(self, indices: Tensor | slice = slice(None)) -> tuple[Tensor, Tensor]:
        """Return images, float32 (n, C, H, W), and labels (n,) at `indices`; all of them by default."""
        images, labels = self.grey.batch(indices)
        return torch.repeat_interleave(images, self.channels, dim=1), labels


def with_channels(data: Dataset, channels: int) -> Dataset:
    """Return a data set of images with this number of channels.

    Args:
        data: of images with that many channels, or of grey ones.
        channels: 3, or 0 for those that the images have.

    Raises:
        ConfigError: the images have neither one channel nor that many, or they are no images.
    """
    if channels in (0, data.spec.channels):
        return data
    if data.spec.timesteps or data.spec.channels != 1:
        held = "recordings" if data.spec.timesteps else f"images of {data.spec.channels} channels"
        raise ConfigError(
            f"dataset.channels: {channels} repeats the channel of grey images; '{data.name}' holds {held}."
        )
    return replace(
        data,
        spec=replace(data.spec, channels=channels),
        train=RepeatedChannel(data.train, channels),
        test=RepeatedChannel(data.test, channels),
        source=f"{data.source}; the grey channel {channels} times",
        digest=hashlib.sha256(f"{data.digest} as {channels} channels".encode()).hexdigest(),
    )
