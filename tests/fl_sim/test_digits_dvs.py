"""The simulated event camera against closed forms, and a federation on its recordings."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

with warnings.catch_warnings():
    # typer 0.20 reads two names that click 8.5 deprecates; neither is ours.
    warnings.filterwarnings("ignore", "'click", DeprecationWarning)
    import flwr.serverapp  # noqa: F401

from fl_sim.captures import CaptureStore, SealedStore
from fl_sim.config import SimulationConfig, validate
from fl_sim.datasets import fetch, load_dataset
from fl_sim.datasets.events import Recording
from fl_sim.datasets.events.cache import frames_folder
from fl_sim.datasets.examples import Dataset
from fl_sim.datasets.reading.pictures import Pixels, resize
from fl_sim.datasets.recordings import digits_dvs
from fl_sim.datasets.recordings.digits_dvs import DURATION_US, simulate
from fl_sim.errors import ConfigError
from fl_sim.simulation import run_federation
from fl_sim.specs import Framing
from fl_sim.training import capture_gradient
from tests.fl_sim.test_events import check, split_of


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> object:
    """Keep frames for this module only; making them takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def counted() -> Dataset:
    return load_dataset("digits_dvs", framing=Framing(voxels="counts"))


def seen(picture: Pixels, side: int = 28) -> Recording:
    (recording,) = simulate(picture[None], np.array([3]), side)
    return recording


class TestCamera:
    """What the simulated sensor reports of pictures that can be worked out."""

    def test_a_black_picture_has_no_events(self) -> None:
        recording = seen(np.zeros((8, 8), dtype=np.uint8))
        assert (recording.label, len(recording.events)) == (3, 0)
        assert (recording.start, recording.end) == (0, DURATION_US)

    def test_a_pixel_reports_every_step_of_its_logarithm(self) -> None:
        # A white square passes over black pixels: from ln(20) to ln(275) in steps of 0.3.
        events = seen(np.full((8, 8), 255, dtype=np.uint8)).events
        steps = int(np.log((255 + digits_dvs.DARK) / digits_dvs.DARK) / 0.3)
        rising = np.zeros((28, 28), dtype=int)
        np.add.at(rising, (events["y"], events["x"]), events["p"])
        # It covers y from 7 to 26 at first, from 2 to 21 where the camera turns, and x = 14 all the time.
        assert rising[:, 14].tolist() == [0] * 2 + [steps] * 5 + [0] * 15 + [steps] * 5 + [0]
        # Back where it began, every pixel has seen as many steps up as down, but for one left open.
        balance = np.zeros((28, 28), dtype=int)
        np.add.at(balance, (events["y"], events["x"]), 2 * events["p"].astype(int) - 1)
        assert np.abs(balance).max() <= 1

    def test_events_add_up_to_the_change_of_the_logarithm(self) -> None:
        picture = np.random.default_rng(2).integers(0, 256, (8, 8), dtype=np.uint8)
        light = np.zeros((2, 28, 28))
        # Upright; after two of three saccades the camera is five whole pixels to the right, so the picture to the left.
        light[0, 7:27, 7:27] = light[1, 7:27, 2:22] = resize(picture[None], 20, 20)[0]
        before, after = np.log(light + digits_dvs.DARK)
        events = seen(picture).events
        early = events[events["t"] < 200_000]
        change = np.zeros((28, 28))
        np.add.at(change, (early["y"], early["x"]), 0.3 * (2.0 * early["p"] - 1))
        assert np.abs(change - (after - before)).max() < 0.31
        assert np.abs(after - before).max() > 2

    def test_events_are_in_order_and_on_the_sensor(self) -> None:
        events = seen(np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8), side=34).events
        assert (np.diff(events["t"]) >= 0).all()
        assert 0 < events["t"].min() < events["t"].max() < DURATION_US
        assert set(events["p"].tolist()) == {0, 1}
        for axis in ("x", "y"):
            assert 0 <= events[axis].min() < events[axis].max() < 34

    def test_pictures_do_not_disturb_each_other(self) -> None:
        batch = np.random.default_rng(1).integers(0, 256, (3, 8, 8), dtype=np.uint8)
        for alone, together in zip(map(seen, batch), simulate(batch, np.full(3, 3), 28), strict=True):
            assert np.array_equal(alone.events, together.events)


class TestDigits:
    """The whole set."""

    def test_it_is_split_as_the_digits_are(self, counted: Dataset) -> None:
        check(counted)
        digits = load_dataset("digits")
        assert torch.equal(counted.train.labels, digits.train.labels)
        assert torch.equal(counted.test.labels, digits.test.labels)
        assert counted.spec.frame == (2, 28, 28)
        assert (counted.spec.timesteps, counted.spec.classes) == (10, 10)
        assert counted.spec.high == counted.train.batch()[0].max() > 1

    def test_events_are_as_many_as_a_real_camera_would_see(self, counted: Dataset) -> None:
        events = counted.train.batch()[0].sum(dim=(0, 2, 3, 4))
        assert 1_000 < events.min() < events.max() < 10_000
        assert 3_000 < events.median() < 6_000  # N-MNIST's median is 4,163
        by_polarity = counted.train.batch()[0].sum(dim=(0, 1, 3, 4))
        assert (by_polarity[0] / by_polarity[1]).item() == pytest.approx(1, abs=0.05)

    def test_it_is_the_same_everywhere(self, counted: Dataset) -> None:
        # Whole numbers throughout: another digest would not compare with older results.
        assert counted.digest.startswith("9726e2d19a30")
        assert load_dataset("digits_dvs").digest.startswith("61270a082a07")
        binary, _ = load_dataset("digits_dvs").train.batch(slice(0, 50))
        assert torch.equal(binary, counted.train.batch(slice(0, 50))[0].clamp(max=1))
        assert len(list(frames_folder().iterdir())) >= 2
        assert split_of(counted.train).recordings.tolist() == list(range(1297))

    def test_bins_of_a_tenth_of_a_recording_are_the_default_ones(self) -> None:
        # A recording lasts 300 ms from time 0, whenever its first event is.
        tenths = load_dataset("digits_dvs", framing=Framing(time_bins=10, bin_ms=30))
        assert tenths.digest == load_dataset("digits_dvs").digest

    def test_an_ideal_camera_has_little_noise_and_some_classes_can_be_left_out(self, counted: Dataset) -> None:
        clean = load_dataset("digits_dvs", framing=Framing(voxels="counts", denoise_ms=100, classes=3))
        check(clean)
        assert (clean.spec.classes, clean.class_names) == (3, ("0", "1", "2"))
        assert clean.test.labels.bincount().tolist() == [50] * 3
        everything = counted.train.batch(counted.train.labels < 3)[0].sum()
        assert 0.9 * everything < clean.train.batch()[0].sum() <= everything

    def test_the_sensor_has_the_side_that_is_asked_for(self) -> None:
        assert load_dataset("digits_dvs", size=9, framing=Framing(time_bins=2)).spec.frame == (2, 9, 9)
        with pytest.raises(ConfigError, match=r"dataset\.size: expected at least 7, found 6"):
            load_dataset("digits_dvs", size=6)
        assert fetch("digits_dvs") == fetch("digits")


def test_a_model_of_still_images_is_refused(tmp_path: Path) -> None:
    config = validate(SimulationConfig, {"dataset": {"name": "digits_dvs"}, "model": {"name": "lenet"}})
    with pytest.raises(
        ConfigError, match=r"model\.name: 'lenet' reads still images, and 'digits_dvs' holds recordings"
    ):
        run_federation(config, output=tmp_path, federation_id="f")


@pytest.mark.parametrize("strategy", ["FedSGD", "FedAvg"])
def test_a_federation_writes_captures_and_sealed_frames(strategy: str, tmp_path: Path) -> None:
    federation = {"clients": 2, "batch_size": 3, "local_steps": 1 if strategy == "FedSGD" else 2}
    config = validate(
        SimulationConfig,
        {
            "dataset": {"name": "digits_dvs", "size": 16, "time_bins": 4, "split": "test"},
            "model": {"name": "spiking_lenet"},
            "federation": federation,
            "strategy": {"name": strategy},
        },
    )
    trained = run_federation(config, output=tmp_path, federation_id="f")
    assert trained.model.input.timesteps == 4
    sealed = list(SealedStore(tmp_path / "sealed"))
    captures = list(CaptureStore(tmp_path / "captures"))
    assert [capture.id for capture in captures] == [batch.capture_id for batch in sealed] != []
    for capture, batch in zip(captures, sealed, strict=True):
        examples = 3 * federation["local_steps"]
        assert capture.num_examples == examples
        assert batch.inputs.shape == (4, examples, 2, 16, 16)
        assert batch.labels.shape == (examples,)
        assert set(batch.inputs.flatten().tolist()) == {0, 1}
        if capture.kind == "gradient":
            again = capture_gradient(capture.model, capture.parameters, batch.inputs, batch.labels).update
            assert all(torch.allclose(again[name], update, atol=1e-6) for name, update in capture.update.items())
