"""Frames of hand-made events, and the real recordings."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fl_sim.datasets import load_dataset
from fl_sim.datasets.events import EVENT, Events, EventSplit, Recording, collect, plan_frames, spans, to_frames
from fl_sim.datasets.examples import Dataset, Examples
from fl_sim.errors import ConfigError
from fl_sim.specs import Framing
from tests.fl_sim.test_denoising import random_events

REAL = os.environ.get("SPIKELEAK_DATA", "")
real_data = pytest.mark.skipif(not REAL, reason="SPIKELEAK_DATA is not set: no real data to read")
Rows = list[tuple[int, int, int, int]]  # x, y, time in microseconds, polarity

# Three bins of 10 us from 100 us on; the last event is the last thing that happens.
STREAM: Rows = [(0, 0, 100, 1), (0, 0, 109, 1), (1, 0, 109, 0), (3, 2, 110, 0), (3, 2, 119, 1), (2, 3, 129, 1)]

# 450 and 849 us have a neighbour within 100 us before; the others have none.
NOISY: Rows = [(0, 0, 400, 1), (1, 0, 450, 0), (3, 3, 600, 0), (2, 2, 800, 0), (2, 3, 849, 1)]


pytestmark = pytest.mark.usefixtures("home")


def events_of(rows: Iterable[tuple[int, int, int, int]]) -> Events:
    return np.array(list(rows), dtype=EVENT)


def frames_at(rows: Rows, *, size: int = 4, bins: int = 3, **settings: Any) -> list[tuple[int, ...]]:
    """Return (t, channel, y, x, value) of every voxel that is not 0, of events from 100 to 130 us."""
    plan = plan_frames(Framing(**settings), sensor=4, size=size, bins=bins, classes=10)
    frames = to_frames(events_of(rows), 100, 130, plan)
    assert frames.shape == (bins, 1 + (plan.polarity == "both"), size, size)
    assert frames.dtype == np.uint8
    return [(*(int(i) for i in at), int(frames[tuple(at)])) for at in np.argwhere(frames)]


class TestFrames:
    """Voxels worked out by hand."""

    def test_polarities_have_a_channel_each_and_the_last_event_counts(self) -> None:
        expected = [(0, 0, 0, 1, 1), (0, 1, 0, 0, 2), (1, 0, 2, 3, 1), (1, 1, 2, 3, 1), (2, 1, 3, 2, 1)]
        assert frames_at(STREAM, voxels="counts") == expected
        assert frames_at(STREAM) == [(*voxel[:4], 1) for voxel in expected]

    def test_one_channel_is_merged_or_of_one_polarity(self) -> None:
        merged = [(0, 0, 0, 0, 2), (0, 0, 0, 1, 1), (1, 0, 2, 3, 2), (2, 0, 3, 2, 1)]
        assert frames_at(STREAM, polarity="merged", voxels="counts") == merged
        assert frames_at(STREAM, polarity="merged") == [(*voxel[:4], 1) for voxel in merged]
        on = [(0, 0, 0, 0, 2), (1, 0, 2, 3, 1), (2, 0, 3, 2, 1)]
        assert frames_at(STREAM, polarity="on", voxels="counts") == on
        assert frames_at(STREAM, polarity="off", voxels="counts") == [(0, 0, 0, 1, 1), (1, 0, 2, 3, 1)]

    def test_pixels_are_merged_at_a_smaller_size(self) -> None:
        merged = frames_at(STREAM, size=2, polarity="merged", voxels="counts")
        assert merged == [(0, 0, 0, 0, 3), (1, 0, 1, 1, 2), (2, 0, 1, 1, 1)]

    def test_nothing_in_a_span_is_frames_of_zeros(self) -> None:
        assert frames_at([]) == []
        assert frames_at([(0, 0, 99, 1), (0, 0, 130, 1)]) == []  # the end is not in it
        assert frames_at([(0, 0, 115, 1)], polarity="off") == []

    def test_counts_end_at_255(self) -> None:
        assert frames_at([(1, 1, 100, 0)] * 300, voxels="counts") == [(0, 0, 1, 1, 255)]
        # Beyond what tonic's int16 holds.
        assert frames_at([(1, 1, 100, 0)] * 40_000, voxels="counts") == [(0, 0, 1, 1, 255)]
        assert frames_at([(1, 1, 100, 0)] * 40_000) == [(0, 0, 1, 1, 1)]

    @given(
        st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 99), st.integers(0, 1)), max_size=40),
        st.integers(1, 40),
    )
    def test_no_event_is_lost_and_order_does_not_matter(self, rows: Rows, bins: int) -> None:
        plan = plan_frames(Framing(voxels="counts"), sensor=4, size=0, bins=bins, classes=10)
        frames = to_frames(events_of(rows), 0, 100, plan)
        witness = np.zeros(plan.shape, dtype=int)
        edges = [100 * number / bins for number in range(1, bins)]
        for x, y, t, p in rows:
            witness[sum(t >= edge for edge in edges), p, y, x] += 1
        assert np.array_equal(frames, witness)
        assert np.array_equal(frames, to_frames(events_of(reversed(rows)), 0, 100, plan))


class TestWindows:
    """Recordings cut into examples."""

    def test_a_rest_is_left_out(self) -> None:
        recording = Recording(0, events_of(STREAM), 100, 130)
        assert list(spans(recording, 0)) == [(100, 130)]
        assert list(spans(recording, 12)) == [(100, 112), (112, 124)]
        assert list(spans(recording, 30)) == [(100, 130)]
        assert list(spans(recording, 31)) == []

    def test_windows_have_bins_of_their_own(self) -> None:
        plan = plan_frames(Framing(window_ms=0.015, voxels="counts"), sensor=4, size=0, bins=3, classes=10)
        first = Recording(7, events_of(STREAM), 100, 131)
        split = collect([first, Recording(5, events_of([(0, 0, 200, 1)]), 200, 216)], plan)
        assert split.labels.tolist() == [7, 7, 5]
        assert split.recordings.tolist() == [0, 0, 1]
        frames, _ = split.batch()
        # Bins of 5 us: 100, 109 and 109, 110; then 119 and 129 in the window from 115 to 130.
        assert frames.sum(dim=(2, 3, 4)).T.tolist() == [[1, 2, 1], [1, 0, 1], [1, 0, 0]]

    def test_what_cannot_be_cut_is_refused(self) -> None:
        plan = plan_frames(Framing(window_ms=0.05), sensor=4, size=0, bins=3, classes=10)
        with pytest.raises(ConfigError, match=r"dataset\.window_ms: no recording .* as long as 0\.05 ms"):
            collect([Recording(0, events_of(STREAM), 100, 130)], plan)
        with pytest.raises(ConfigError, match=r"dataset\.window_ms: 0\.002 ms cannot be cut into 3 bins"):
            plan_frames(Framing(window_ms=0.002), sensor=4, size=0, bins=3, classes=10)
        with pytest.raises(ConfigError, match=r"dataset\.size: expected at most 4"):
            plan_frames(Framing(), sensor=4, size=5, bins=3, classes=10)


class TestBinsOfAFixedDuration:
    """Frames that last as long as they are told to."""

    def counts(self, rows: Rows, *, bins: int, bin_us: int, end: int, **settings: Any) -> list[int]:
        """Return the events in each frame of a recording that starts at 100 us."""
        framing = Framing(time_bins=bins, bin_ms=bin_us / 1000, voxels="counts", **settings)
        plan = plan_frames(framing, sensor=4, size=0, bins=3, classes=10)
        frames, labels = collect([Recording(6, events_of(rows), 100, end)], plan).batch()
        assert (len(frames), labels.tolist()) == (bins, [6])
        sums: list[int] = frames.sum(dim=(1, 2, 3, 4)).int().tolist()
        return sums

    def test_a_long_recording_is_cut_and_a_short_one_padded(self) -> None:
        assert self.counts(STREAM, bins=2, bin_us=10, end=130) == [3, 2]
        assert self.counts(STREAM, bins=3, bin_us=10, end=130) == [3, 2, 1]
        assert self.counts(STREAM, bins=5, bin_us=10, end=130) == [3, 2, 1, 0, 0]

    def test_a_bin_that_is_filled_in_part_is_left_empty(self) -> None:
        assert self.counts(STREAM, bins=5, bin_us=12, end=130) == [4, 1, 0, 0, 0]
        assert self.counts(STREAM[:-1], bins=3, bin_us=10, end=129) == [3, 2, 0]
        assert self.counts(STREAM, bins=2, bin_us=12, end=136) == [4, 1]

    def test_the_first_event_of_any_polarity_starts_them(self) -> None:
        rows: Rows = [(1, 1, 100, 1), (1, 1, 105, 0), (1, 1, 111, 0), (1, 1, 120, 1)]
        assert self.counts(rows, bins=2, bin_us=10, end=121, polarity="off") == [1, 1]

    def test_recordings_that_fill_no_bin_are_refused(self) -> None:
        with pytest.raises(ConfigError, match=r"dataset\.bin_ms: no recording of a split is as long as 0\.031 ms"):
            self.counts(STREAM, bins=2, bin_us=31, end=130)

    @pytest.mark.parametrize("seed", range(4))
    def test_they_are_tonics_windows(self, seed: int) -> None:
        events = random_events(seed, side=12, count=1500, start=seed * 9_999, step=100)
        check_windows(events, side=12, window=3_000, denoised=0)
        check_windows(events, side=12, window=997, denoised=1_800)


class TestNoise:
    """Recordings of which only confirmed events are left."""

    def framed(self, rows: Rows, **settings: Any) -> list[list[int]]:
        """Return (t, channel, y, x) of every event of a recording from 0 to 1,000 us, with 0.1 ms to be confirmed."""
        framing = Framing(denoise_ms=0.1, voxels="counts", **settings)
        plan = plan_frames(framing, sensor=4, size=0, bins=2, classes=10)
        frames, _ = collect([Recording(0, events_of(rows), 0, 1000)], plan).batch()
        places: list[list[int]] = frames[:, 0].nonzero().tolist()
        return places

    def test_a_recording_lasts_from_its_first_to_its_last_event_that_is_left(self) -> None:
        assert self.framed(NOISY) == [[0, 0, 0, 1], [1, 1, 3, 2]]
        # From 450 us on, not from 0 or 400: 849 would be in frame 8 or 4. The rest from 750 to 850 us is a whole bin.
        assert self.framed(NOISY, time_bins=5, bin_ms=0.1) == [[0, 0, 0, 1], [3, 1, 3, 2]]
        assert self.framed(NOISY, time_bins=5, bin_ms=0.15) == [[0, 0, 0, 1]]

    def test_events_of_the_other_polarity_confirm_before_they_are_left_out(self) -> None:
        assert self.framed(NOISY, polarity="off") == [[0, 0, 0, 1]]
        assert self.framed(NOISY, polarity="on") == [[1, 0, 3, 2]]

    @pytest.mark.parametrize("settings", [{}, {"time_bins": 4, "bin_ms": 0.1}, {"window_ms": 1.0}])
    def test_where_nothing_is_left_the_frames_are_empty(self, settings: dict[str, Any]) -> None:
        assert self.framed([(0, 0, 400, 1), (3, 3, 500, 0)], **settings) == []
        assert self.framed([], **settings) == []


def check_windows(events: Events, *, side: int, window: int, denoised: int) -> int:
    """Compare the off events' frames with those that tonic's own transforms give; return how many tonic gives."""
    from tonic.transforms import Denoise, ToFrame

    left = Denoise(filter_time=denoised)(events) if denoised else events
    witness = ToFrame((side, side, 2), time_window=window)(left)[:, :1].clip(max=1)
    for bins in (max(1, len(witness) - 3), len(witness) + 3):
        framing = Framing(time_bins=bins, bin_ms=window / 1000, denoise_ms=denoised / 1000, polarity="off")
        plan = plan_frames(framing, sensor=side, size=0, bins=10, classes=10)
        recording = Recording(0, events, int(events["t"].min()), int(events["t"].max()) + 1)
        frames = collect([recording], plan).batch()[0][:, 0].numpy()
        common = min(bins, len(witness))
        assert np.array_equal(frames[:common], witness[:common])
        assert not frames[common:].any()
    return len(witness)


@pytest.mark.parametrize("voxels", ["binary", "counts"])
def test_a_batch_has_time_first(voxels: Any) -> None:
    plan = plan_frames(Framing(voxels=voxels), sensor=5, size=0, bins=3, classes=10)
    recordings = [Recording(n, events_of([(n, 4 - n, 10 * n, n % 2)]), 0, 30) for n in range(3)]
    split = collect(recordings, plan)
    frames, labels = split.batch(torch.tensor([2, 0]))
    assert frames.shape == (3, 2, 2, 5, 5)
    assert frames.dtype == torch.float32
    assert frames.is_contiguous()
    assert labels.tolist() == [2, 0]
    assert frames.nonzero().tolist() == [[0, 1, 0, 4, 0], [2, 0, 0, 2, 2]]
    assert torch.equal(split.batch(slice(1, None))[0], split.batch()[0][:, 1:])
    assert split.rows.shape == (3, 19 if voxels == "binary" else 150)


def split_of(examples: Examples) -> EventSplit:
    assert isinstance(examples, EventSplit)
    return examples


def check(data: Dataset) -> None:
    """What holds of every data set of events."""
    for split in map(split_of, (data.train, data.test)):
        assert split.rows.dtype == torch.uint8
        assert split.labels.dtype == split.recordings.dtype == torch.int64
        assert len(split) == len(split.rows) == len(split.labels) == len(split.recordings)
        frames, labels = split.batch(torch.arange(2))
        assert frames.shape == (data.spec.timesteps, 2, *data.spec.frame)
        assert torch.equal(labels, split.labels[:2])
        assert 0 <= split.labels.min() <= split.labels.max() < data.spec.classes == len(data.class_names)
        assert (split.recordings.diff() >= 0).all()
    stored = (t.numpy().tobytes() for s in map(split_of, (data.train, data.test)) for t in (s.rows, s.labels))
    assert data.digest == hashlib.sha256(b"".join(stored)).hexdigest()


def pictures(examples: Examples) -> npt.NDArray[np.float64]:
    """Return the events of each recording summed over time and polarity, (N, H, W)."""
    frames, _ = examples.batch()
    summed: npt.NDArray[np.float64] = frames.sum(dim=(0, 2)).double().numpy()
    return summed


@real_data
class TestRealRecordings:
    """Parts of the originals."""

    def test_nmnist_has_mnists_labels_and_digits(self) -> None:
        framing = Framing(polarity="merged", voxels="counts", time_bins=1)
        data = load_dataset("nmnist", root=REAL, framing=framing)
        check(data)
        assert (len(data.train), len(data.test)) == (1000, 100)
        assert data.train.labels.bincount().tolist() == [97, 116, 99, 93, 105, 92, 94, 117, 87, 100]
        assert data.test.labels.bincount().tolist() == [8, 14, 8, 11, 14, 7, 10, 15, 2, 11]
        assert "verified by their hash" in data.source
        mnist = load_dataset("mnist", root=REAL)
        with zipfile.ZipFile(Path(REAL) / "NMNIST.zip") as archive:
            names = sorted(name for name in archive.namelist() if "/Train/" in name)
        numbers = torch.tensor([int(Path(name).stem) - 1 for name in names])
        digits, labels = mnist.train.batch(numbers)
        assert torch.equal(labels, data.train.labels)
        # The digit of 28x28 was seen in the middle of 34x34, upright, and moved by some pixels.
        seen = pictures(data.train)[:, 3:31, 3:31].reshape(1000, -1)
        scores = [np.corrcoef(a, b)[0, 1] for a, b in zip(seen, digits.flatten(1).numpy(), strict=True)]
        flipped = [np.corrcoef(a, b)[0, 1] for a, b in zip(seen, digits.flip(2).flatten(1).numpy(), strict=True)]
        assert np.mean(scores) > 0.6
        assert np.mean(scores) > np.mean(flipped) + 0.2
        events = np.concatenate([pictures(split).sum(axis=(1, 2)) for split in (data.train, data.test)])
        assert (events.min(), events.max()) == (1069, 7152)
        assert np.median(events) == pytest.approx(4163, abs=1)

    def test_nmnist_has_the_frames_of_tonics_own_transforms(self) -> None:
        from tonic.io import read_mnist_file

        with zipfile.ZipFile(Path(REAL) / "NMNIST.zip") as archive:
            names = sorted(name for name in archive.namelist() if "/Test/" in name and name.endswith(".bin"))
            recordings = [
                read_mnist_file(io.BytesIO(archive.read(name)), dtype=EVENT, is_stream=True) for name in names[::20]
            ]
        lengths = [check_windows(events, side=34, window=3_000, denoised=40_000) for events in recordings]
        assert min(lengths) >= 90
        assert max(lengths) <= 110

    def test_windows_of_a_gesture_stay_on_one_side(self) -> None:
        data = load_dataset("dvs_gesture", root=REAL, size=32, framing=Framing(window_ms=200, time_bins=4))
        check(data)
        assert data.spec.frame == (2, 32, 32)
        assert "verified by their hash" in data.source
        # 1.45 s hold seven windows of 0.2 s.
        assert data.train.labels.tolist() == [label for label in range(8) for _ in range(7)]
        assert data.test.labels.tolist() == [8] * 7 + [9] * 7
        assert split_of(data.train).recordings.tolist() == data.train.labels.tolist()
        assert (data.train.batch()[0].sum(dim=(2, 3, 4)) > 0).all()

    def test_gestures_happen_on_the_side_that_their_names_say(self) -> None:
        data = load_dataset("dvs_gesture", root=REAL, framing=Framing(voxels="counts", polarity="merged"))
        seen = pictures(data.train)
        assert seen.sum(axis=(1, 2)).tolist() == [63471, 84260, 113063, 151879, 181179, 124244, 159617, 101288]
        columns = (seen.sum(axis=1) * np.arange(128)).sum(axis=1) / seen.sum(axis=(1, 2))
        # The person faces the camera: a right hand is on the left.
        assert max(columns[[1, 3, 4]]) < 64 < min(columns[[2, 5, 6]])
