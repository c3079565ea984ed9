"""Recordings of an event camera, how they become frames, and what every loader of them returns.

An event is a pixel's report that its brightness rose ("on") or fell ("off"): x, y, time in microseconds, polarity.
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
    """One recording: its class, its events (fields x, y, t, p) and when it starts and ends, start <= t < end."""

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
    """How a square sensor's events become frames; nothing is left to a default.

    Attributes:
        sensor: side of the sensor in pixels.
        size: side of the frames in pixels.
        bins: T, frames of an example.
        window: length of an example in microseconds; 0 for the whole recording.
        polarity, voxels: see `fl_sim.specs.Framing`.
        bin_length: duration of a frame in microseconds; 0 for an equal part of the example.
        denoise: see `fl_sim.datasets.events.denoising`, in microseconds; 0 for all events.
        classes: recordings of classes below this one are examples.
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
        """Return whether eight voxels are stored in a byte."""
        return self.voxels == "binary"

    @property
    def row(self) -> int:
        """Return the bytes that one example takes."""
        voxels = int(np.prod(self.shape))
        return -(-voxels // 8) if self.packed else voxels


@dataclass(frozen=True)
class EventSplit:
    """One split of a data set of event recordings, as stored.

    Attributes:
        rows: uint8 (N, bytes): the voxels (T, P, H, W) of each example, a byte each where they are counts, a bit each
            (the first one in the highest bit) where they are binary.
        labels: int64 (N,).
        recordings: int64 (N,), which recording of the split an example was cut from.
        plan: how the frames were made.
    """

    rows: Tensor
    labels: Tensor
    recordings: Tensor
    plan: FramePlan

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, indices: Tensor | slice = slice(None)) -> tuple[Tensor, Tensor]:
        """Return frames, float32 (T, n, P, H, W), 0 and 1 or counts, and labels (n,) at `indices`."""
        rows, labels = self.rows[indices], self.labels[indices]
        if self.plan.packed:
            rows = torch.from_numpy(np.unpackbits(rows.numpy(), axis=1, count=int(np.prod(self.plan.shape))))
        frames = rows.reshape(len(labels), *self.plan.shape).movedim(0, 1)
        return frames.to(torch.float32, memory_format=torch.contiguous_format), labels


def plan_frames(framing: Framing, *, sensor: int, size: int, bins: int, classes: int) -> FramePlan:
    """Return the plan that a framing gives for a sensor.

    Args:
        framing: the user's settings.
        sensor: side of the sensor in pixels.
        size: side of the frames in pixels, or 0 for that of the sensor.
        bins: T where the framing leaves it open.
        classes: how many the data set has.

    Raises:
        ConfigError: the frames would be larger than the sensor, a bin shorter than a microsecond, or more classes are
            asked for than there are.
    """
    if size > sensor:
        raise ConfigError(f"dataset.size: expected at most {sensor}, the side of the sensor, found {size}.")
    if framing.classes > classes:
        raise ConfigError(f"dataset.classes: expected at most {classes}, all that there are, found {framing.classes}.")
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
    """Return a recording with its confirmed events only, from the first of them to after the last.

    Args:
        recording: any; where none of its events is confirmed, it starts and ends where it did.
        duration: see `fl_sim.datasets.events.denoising`; 0 for the recording as it is.
    """
    if not duration:
        return recording
    events = denoise(recording.events, duration)
    if not len(events):
        return recording._replace(events=events)
    return Recording.of(recording.label, events)


def in_bins(recording: Recording, plan: FramePlan) -> Recording:
    """Return a recording that lasts as long as a plan's bins of a fixed duration, or as it is where they have none.

    Events after them are left out, and so are those in a last bin that the recording does not fill.
    """
    if not plan.bin_length:
        return recording
    filled = min(plan.bins, (recording.end - recording.start) // plan.bin_length)
    events = recording.events[recording.events["t"] < recording.start + filled * plan.bin_length]
    return recording._replace(events=events, end=recording.start + plan.bins * plan.bin_length)


def spans(recording: Recording, window: int) -> Iterator[tuple[int, int]]:
    """Yield the start and the end, in microseconds, of each example that is cut from a recording.

    Windows follow each other from the recording's start; a rest that is shorter than a window is left out.
    """
    length = window or recording.end - recording.start
    for number in range((recording.end - recording.start) // length):
        start = recording.start + number * length
        yield start, start + length


def to_frames(events: Events, start: int, end: int, plan: FramePlan) -> Frames:
    """Return the events with start <= t < end as frames: T bins of equal duration, to a whole microsecond.

    Pixels are merged where the frames are smaller than the sensor: x becomes floor(x * size / sensor).

    Returns:
        uint8 (T, P, H, W): counts up to 255, or 0 and 1. Channel 0 holds the off events, 1 the on events; one channel
        holds those of the plan's polarity.
    """
    from tonic.transforms import ToFrame

    chosen = events[(events["t"] >= start) & (events["t"] < end)]
    if plan.polarity in ("on", "off"):
        chosen = chosen[chosen["p"] == (plan.polarity == "on")]
    bins, channels, height, width = plan.shape
    if not len(chosen):
        return np.zeros(plan.shape, dtype=np.uint8)  # tonic would swap height and width
    # Given a number of bins, tonic lays them between the first and the last event, rounds their length down and so
    # leaves out the last events. Given events that tell their bin instead of their time, it counts each one.
    binned = np.empty(len(chosen), dtype=EVENT)
    binned["t"] = (chosen["t"].astype(np.int64) - start) * bins // (end - start)
    for axis in ("x", "y"):
        binned[axis] = chosen[axis].astype(np.int64) * plan.size // plan.sensor
    binned["p"] = chosen["p"] if channels == 2 else 0
    binned = binned[np.argsort(binned["t"], kind="stable")]
    counts = ToFrame((width, height, channels), time_window=1, start_time=0, end_time=bins)(binned)
    # tonic counts in int16: read as unsigned, a count is right up to 65,535.
    frames: Frames = np.minimum(counts.view(np.uint16), 1 if plan.packed else LARGEST_COUNT).astype(np.uint8)
    return frames


def collect(recordings: Iterable[Recording], plan: FramePlan) -> EventSplit:
    """Return the examples cut from recordings, in their order. No more than one recording is held as events.

    Raises:
        ConfigError: every recording is shorter than a window or a bin.
    """
    rows = bytearray()  # grows in place: a list of arrays would double the memory when it is joined
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
    """Return the data set made of two splits of the same plan, which chooses among all the `classes`.

    The value range is 0 to 1 for binary frames. For counts it ends at the largest count of the train split, 255 at
    most; a frame of the test split may go beyond it.
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
