"""Grey images with three equal channels."""

from __future__ import annotations

import pytest
import torch

from fl_sim.config import DatasetSettings
from fl_sim.datasets import load_dataset
from fl_sim.datasets.channels import with_channels
from fl_sim.errors import ConfigError


def test_the_channel_of_grey_images_is_repeated() -> None:
    grey, colour = load_dataset("digits"), load_dataset("digits", channels=3)
    assert colour.spec.frame == (3, *grey.spec.frame[1:])
    images, labels = colour.test.batch(torch.tensor([4, 1]))
    wanted, same = grey.test.batch(torch.tensor([4, 1]))
    assert torch.equal(images, wanted.expand(-1, 3, -1, -1))
    assert torch.equal(labels, same)
    assert len(colour.train) == len(grey.train)
    assert colour.digest != grey.digest


def test_images_that_have_the_channels_stay_as_they_are() -> None:
    colour = load_dataset("digits", channels=3)
    assert with_channels(colour, 3) is colour


def test_recordings_are_refused() -> None:
    with pytest.raises(ConfigError, match="3 repeats the channel of grey images; 'digits_dvs' holds recordings"):
        DatasetSettings(name="digits_dvs", channels=3).load()


def test_other_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="channels"):
        DatasetSettings(channels=2)  # type: ignore[arg-type]
