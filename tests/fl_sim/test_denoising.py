"""Which events a neighbouring pixel confirms: by hand, and event for event as tonic has it."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl_sim.datasets.events import EVENT, Events
from fl_sim.datasets.events.denoising import denoise

REAL = os.environ.get("SPIKELEAK_DATA", "")
real_data = pytest.mark.skipif(not REAL, reason="SPIKELEAK_DATA is not set: no real data to read")
Rows = list[tuple[int, int, int, int]]  # x, y, time in microseconds, polarity


def events_of(rows: Rows) -> Events:
    return np.array(rows, dtype=EVENT)


def of_tonic(events: Events, duration: int) -> Events:
    from tonic.functional import denoise_numpy

    kept: Events = denoise_numpy(events, filter_time=duration)
    return kept


def random_events(seed: int, *, side: int, count: int, start: int, step: int) -> Events:
    """Return events in the order of their times, many of them equal where `step` is small."""
    draw = np.random.default_rng(seed)
    events = np.empty(count, dtype=EVENT)
    for axis in ("x", "y"):
        events[axis] = draw.integers(0, side, count)
    events["p"] = draw.integers(0, 2, count)
    events["t"] = start + np.cumsum(draw.integers(0, step, count))
    return events


class TestRule:
    """Streams worked out by hand, with 100 us to be confirmed in."""

    FAR = (9, 9, 0, 0)  # so that no pixel below is on the border

    def kept(self, *rows: tuple[int, int, int, int]) -> list[int]:
        """Return which of the events after the first one are kept, by their time."""
        return [int(time) for time in denoise(events_of([self.FAR, *rows]), 100)["t"] if time]

    def test_one_of_the_four_neighbours_confirms_and_nothing_else(self) -> None:
        for x, y in ((4, 5), (6, 5), (5, 4), (5, 6)):
            assert self.kept((x, y, 500, 0), (5, 5, 599, 1)) == [599]
        for x, y in ((5, 5), (4, 4), (6, 6), (3, 5), (5, 7)):
            assert self.kept((x, y, 500, 0), (5, 5, 599, 0)) == []

    def test_the_time_must_be_less_and_the_neighbour_earlier(self) -> None:
        assert self.kept((5, 4, 500, 0), (5, 5, 600, 0)) == []
        assert self.kept((5, 5, 500, 0), (5, 4, 500, 0)) == [500]  # the second one, at the same time
        kept = denoise(events_of([self.FAR, (5, 5, 500, 0), (5, 4, 500, 1)]), 100)
        assert kept[["x", "y", "p"]].tolist()[1:] == [(5, 4, 1)]

    def test_an_event_that_is_left_out_confirms_another(self) -> None:
        assert self.kept((5, 5, 500, 0), (5, 6, 590, 0), (5, 7, 680, 0), (5, 8, 900, 0)) == [590, 680]

    def test_only_the_neighbours_last_event_counts(self) -> None:
        # Times that run backwards, as where a clock overflowed.
        assert self.kept((5, 4, 500, 0), (5, 4, 300, 0), (5, 5, 450, 0)) == []
        assert self.kept((5, 4, 300, 0), (5, 4, 500, 0), (5, 5, 450, 0)) == [450]

    def test_what_comes_first_in_the_files_own_time_is_kept(self) -> None:
        assert self.kept((5, 5, 99, 0), (2, 2, 100, 0)) == [99]

    def test_no_event_and_a_sensor_of_one_pixel(self) -> None:
        assert denoise(events_of([]), 100).tolist() == []
        assert denoise(events_of([(0, 0, 5, 1)] * 3), 100).tolist() == []  # no neighbour that could confirm


class TestAgainstTonic:
    """The loop over events that this replaces."""

    @pytest.mark.parametrize("start", [0, 9_000_000])
    @pytest.mark.parametrize("step", [2, 100])
    @pytest.mark.parametrize("seed", range(5))
    def test_random_streams(self, seed: int, step: int, start: int) -> None:
        side = (3, 12, 34)[seed % 3]
        events = random_events(seed, side=side, count=2000, start=start, step=step)
        duration = side**2 * step // 8  # in which one of four neighbours has an event, or not
        kept = denoise(events, duration)
        assert np.array_equal(kept, of_tonic(events, duration))
        assert 0 < len(kept) < len(events)

    @given(
        st.lists(
            st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 60), st.integers(0, 1)),
            min_size=1,
            max_size=40,
        ),
        st.integers(1, 30),
    )
    def test_any_stream_in_any_order(self, rows: Rows, duration: int) -> None:
        events = events_of(rows)
        assert np.array_equal(denoise(events, duration), of_tonic(events, duration))

    @real_data
    def test_a_real_recording(self) -> None:
        from tonic.io import read_mnist_file

        with zipfile.ZipFile(Path(REAL) / "NMNIST.zip") as archive:
            content = archive.read(min(name for name in archive.namelist() if name.endswith(".bin")))
        events: Any = read_mnist_file(io.BytesIO(content), dtype=EVENT, is_stream=True)
        for duration in (40_000, 2_000):
            kept = denoise(events, duration)
            assert np.array_equal(kept, of_tonic(events, duration))
            assert 0 < len(kept) < len(events)
