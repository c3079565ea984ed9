"""Recordings of an event camera, their conversion to frames, and the splits that their loaders return.

An event reports that the brightness of a pixel rose ("on") or fell ("off"): x, y, time in microseconds, polarity.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fl_sim.datasets.events.denoising import denoise
from fl_sim.datasets.examples import Dataset
from fl_sim.errors import ConfigError
from fl_sim.specs import Framing, InputSpec

EVENT = np.dtype([("x", np.int16), ("y", np.int16), ("t", np.int64), ("p", np.int8)])
LARGEST_COUNT = 255

Events = npt.NDArray[Any]
Frames = npt.NDArray[np.uint8]


class Recording(NamedTuple):
    """One recording: its class, its events (fields x, y, t, p), and its start and end, with start <= t < end."""

    label: int
    events: Events
    start: int
    end: int

    @classmethod
    def of(cls, label: int, events: Events) -> Recording:
        """Return a recording that starts with its first event and ends after its last."""
        return cls(label, events, int(events["t"].min()), int(events["t"].max()) + 1)


@dataclass(frozen=True)
class FramePlan:
    """How the events of a square sensor become frames, without any defaults.

    Attributes:
        sensor: side of the sensor in pixels.
        size: side of the frames in pixels.
        bins: T, number of frames of an example.
        window: length of an example in microseconds; 0 for the whole recording.
        polarity, voxels: see `fl_sim.specs.Framing`.
        bin_length: duration of a frame in microseconds; 0 for an equal part of the example.
        denoise: see `fl_sim.datasets.events.denoising`, in microseconds; 0 for all events.
        classes: only recordings of classes below this number are used.
    """

    sensor: int
    size: int
    bins: int
    window: int
    polarity: Literal["both", "merged", "on", "off"]
    voxels: Literal["binary", "counts"]
    bin_length: int
    denoise: int
    classes: int

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Return (T, P, H, W) of one example."""
        return self.bins, 2 if self.polarity == "both" else 1, self.size, self.size

    @property
    def packed(self) -> bool:
        """Return whether eight voxels are stored in one byte."""
        return self.voxels == "binary"

    @property
    def row(self) -> int:
        """Return the size of one example in bytes."""
        voxels = int(np.prod(self.shape))
        return -(-voxels // 8) if self.packed else voxels


@dataclass(frozen=True)
class EventSplit:
    """One split of a data set of event recordings, as stored.

    Attributes:
        rows: uint8 (N, bytes): the voxels (T, P, H, W) of each example, one byte per count, or one bit per binary
            voxel, starting with the highest bit.
        labels: int64 (N,).
        recordings: int64 (N,), index of the recording from which an example was cut.
        plan: how the frames were computed.
    """

    rows: Tensor
    labels: Tensor
    recordings: Tensor
    plan: FramePlan

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, indices: Tensor | slice = slice(None)) -> tuple[Tensor, Tensor]:
        """Return frames, float32 (T, n, P, H, W), binary or counts, and labels (n,) at `indices`."""
        rows, labels = self.rows[indices], self.labels[indices]
        if self.plan.packed:
            rows = torch.from_numpy(np.unpackbits(rows.numpy(), axis=1, count=int(np.prod(self.plan.shape))))
        frames = rows.reshape(len(labels), *self.plan.shape).movedim(0, 1)
        return frames.to(torch.float32, memory_format=torch.contiguous_format), labels


def plan_frames(framing: Framing, *, sensor: int, size: int, bins: int, classes: int) -> FramePlan:
    """Return the plan for the frames of a sensor.

    Args:
        framing: the user's settings.
        sensor: side of the sensor in pixels.
        size: side of the frames in pixels; 0 for that of the sensor.
        bins: default of T, used if the framing does not set it.
        classes: number of classes of the data set.

    Raises:
        ConfigError: the frames would be larger than the sensor, a bin would be shorter than a microsecond, or the data
            set has fewer classes than requested.
    """
    if size > sensor:
        raise ConfigError(f"dataset.size: expected at most {sensor}, the side of the sensor, found {size}.")
    if framing.classes > classes:
        raise ConfigError(
            f"dataset.classes: expected at most {classes}, the number of all classes, found {framing.classes}."
        )
    bins = framing.time_bins or bins
    window = round(framing.window_ms * 1000)
    if framing.window_ms and window < bins:
        raise ConfigError(
            f"dataset.window_ms: {framing.window_ms:g} ms cannot be cut into {bins} bins of at least a microsecond."
        )
    return FramePlan(
        sensor=sensor,
        size=size or sensor,
        bins=bins,
        window=window,
        polarity=framing.polarity,
        voxels=framing.voxels,
        bin_length=round(framing.bin_ms * 1000),
        denoise=round(framing.denoise_ms * 1000),
        classes=framing.classes or classes,
    )


def without_noise(recording: Recording, duration: int) -> Recording:
    """Return a recording with only its confirmed events, which starts at the first of them and ends after the last.

    Args:
        recording: any recording; if none of its events is confirmed, its start and end are unchanged.
        duration: see `fl_sim.datasets.events.denoising`; 0 to return the recording unchanged.
    """
    if not duration:
        return recording
    events = denoise(recording.events, duration)
    if not len(events):
        return recording._replace(events=events)
    return Recording.of(recording.label, events)


def in_bins(recording: Recording, plan: FramePlan) -> Recording:
    """Return a recording cut or extended to a plan's bins of fixed duration; unchanged if the plan sets no duration.

    Events after the bins are dropped, and so are those in a last bin that the recording does not fill.
    """
    if not plan.bin_length:
        return recording
    filled = min(plan.bins, (recording.end - recording.start) // plan.bin_length)
    events = recording.events[recording.events["t"] < recording.start + filled * plan.bin_length]
    return recording._replace(events=events, end=recording.start + plan.bins * plan.bin_length)


def spans(recording: Recording, window: int) -> Iterator[tuple[int, int]]:
    """Yield the start and the end, in microseconds, of each example that is cut from a recording.

    Windows follow one another from the recording's start; a remainder that is shorter than a window is dropped.
    """
    length = window or recording.end - recording.start
    for number in range((recording.end - recording.start) // length):
        start = recording.start + number * length
        yield start, start + length


def to_frames(events: Events, start: int, end: int, plan: FramePlan) -> Frames:
    """Return the events with start <= t < end as frames: T bins of equal duration, to a whole microsecond.

    Pixels are merged if the frames are smaller than the sensor: x becomes floor(x * size / sensor).

    Returns:
        uint8 (T, P, H, W): counts up to 255, or 0 and 1. With two channels, channel 0 holds the off events and channel
        1 the on events; a single channel holds those of the plan's polarity.
    """
    from tonic.transforms import ToFrame

    chosen = events[(events["t"] >= start) & (events["t"] < end)]
    if plan.polarity in ("on", "off"):
        chosen = chosen[chosen["p"] == (plan.polarity == "on")]
    bins, channels, height, width = plan.shape
    if not len(chosen):
        return np.zeros(plan.shape, dtype=np.uint8)  # tonic would swap height and width
    # With a number of bins, tonic divides the time from the first to the last event, rounds the length of a bin down
    # and thereby loses the last events. With the index of the bin in place of the time, it counts every event.
    binned = np.empty(len(chosen), dtype=EVENT)
    binned["t"] = (chosen["t"].astype(np.int64) - start) * bins // (end - start)
    for axis in ("x", "y"):
        binned[axis] = chosen[axis].astype(np.int64) * plan.size // plan.sensor
    binned["p"] = chosen["p"] if channels == 2 else 0
    binned = binned[np.argsort(binned["t"], kind="stable")]
    counts = ToFrame((width, height, channels), time_window=1, start_time=0, end_time=bins)(binned)
    # tonic counts in int16; interpreted as unsigned, counts are correct up to 65,535.
    frames: Frames = np.minimum(counts.view(np.uint16), 1 if plan.packed else LARGEST_COUNT).astype(np.uint8)
    return frames


def collect(recordings: Iterable[Recording], plan: FramePlan) -> EventSplit:
    """Return the examples cut from recordings, in order. At most one recording at a time is in memory as events.

    Raises:
        ConfigError: every recording is shorter than a window or a bin.
    """
    rows = bytearray()  # grows in place, whereas joining a list of arrays would double the memory
    labels: list[int] = []
    numbers: list[int] = []
    longest = 0
    for number, whole in enumerate(recordings):
        clean = without_noise(whole, plan.denoise)
        longest = max(longest, clean.end - clean.start)
        recording = in_bins(clean, plan)
        for start, end in spans(recording, plan.window):
            frames = to_frames(recording.events, start, end, plan)
            rows += (np.packbits(frames) if plan.packed else frames).tobytes()
            labels.append(recording.label)
            numbers.append(number)
    if not labels or longest < plan.bin_length:
        key, needed = ("bin_ms", plan.bin_length) if plan.bin_length else ("window_ms", plan.window)
        raise ConfigError(f"dataset.{key}: no recording of a split is as long as {needed / 1000:g} ms.")
    return EventSplit(
        rows=torch.frombuffer(rows, dtype=torch.uint8).view(len(labels), plan.row),
        labels=torch.tensor(labels, dtype=torch.int64),
        recordings=torch.tensor(numbers, dtype=torch.int64),
        plan=plan,
    )


def assemble_events(name: str, *, train: EventSplit, test: EventSplit, classes: Sequence[str], source: str) -> Dataset:
    """Return the data set made of two splits with the same plan, which may select the first of all `classes`.

    The value range is 0 to 1 for binary frames. For counts it ends at the largest count of the train split, at most
    255; a frame of the test split may exceed it.
    """
    bins, channels, height, width = train.plan.shape
    chosen = tuple(classes[: train.plan.classes])
    if len(chosen) < len(classes):
        source += f"; of these, the recordings of the first {len(chosen)} of {len(classes)} classes"
    digest = hashlib.sha256()
    for split in (train, test):
        digest.update(split.rows.numpy().data)
        digest.update(split.labels.numpy().astype("<i8").tobytes())
    return Dataset(
        name=name,
        spec=InputSpec(
            channels=channels,
            height=height,
            width=width,
            classes=len(chosen),
            high=1.0 if train.plan.packed else float(max(1, int(train.rows.max()))),
            timesteps=bins,
        ),
        train=train,
        test=test,
        class_names=chosen,
        source=source,
        digest=digest.hexdigest(),
    )
