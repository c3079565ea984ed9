"""A cache on disk of the frames of event recordings, which take up to minutes to compute. Never next to the data.

The name of a file is a hash of everything on which its frames depend, and the file contains a hash of its content: a
damaged or foreign file is not used but computed again. Nothing is ever removed; the folder may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import safetensors
import safetensors.torch
from torch import Tensor

from fl_sim.datasets.events import EventSplit, FramePlan, Recording, collect
from fl_sim.datasets.locations import cache_folder
from fl_sim.files import atomic_write

# Increase this with every change to how events are read, simulated or framed.
CODE_VERSION = 2


class Splits(NamedTuple):
    """Both splits of a data set."""

    train: EventSplit
    test: EventSplit


def frames_folder() -> Path:
    """Return the folder of the cached frames; it need not exist."""
    return cache_folder().parent / "frames"


def cached_splits(
    name: str, plan: FramePlan, content: str, recordings: Callable[[], tuple[Iterable[Recording], Iterable[Recording]]]
) -> Splits:
    """Return the frames of both splits, from the cache if a valid file is there.

    Args:
        name: name of the data set.
        plan: how events become frames.
        content: a hash of everything from which the recordings are read.
        recordings: returns those of the train and of the test split; called only if the frames must be computed.

    Raises:
        ConfigError, DataError: raised by `recordings`.
    """
    facts = {"version": CODE_VERSION, "name": name, "content": content, **dataclasses.asdict(plan)}
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    path = frames_folder() / f"{name}-{key[:32]}.safetensors"
    cached = _read(path, key, plan)
    if cached:
        return cached
    splits = Splits(*(collect(part, plan) for part in recordings()))
    # A missing file only makes the next run slower, so a full disk or a read-only home is not an error.
    with contextlib.suppress(OSError):
        tensors = _tensors(splits)
        atomic_write(path, safetensors.torch.save(tensors, {"digest": _digest(tensors, key)}))
    return splits


def _tensors(splits: Splits) -> dict[str, Tensor]:
    fields = ("rows", "labels", "recordings")
    return {f"{which}/{field}": getattr(getattr(splits, which), field) for which in Splits._fields for field in fields}


def _digest(tensors: dict[str, Tensor], key: str) -> str:
    digest = hashlib.sha256(key.encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}".encode())
        digest.update(tensors[name].numpy().data)
    return digest.hexdigest()


def _read(path: Path, key: str, plan: FramePlan) -> Splits | None:
    """Return the splits in a file; None if it is missing or does not have the content that was written."""
    try:
        with safetensors.safe_open(path, framework="pt") as stream:
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 - not a mapping
            expected = (stream.metadata() or {}).get("digest")
    except (OSError, safetensors.SafetensorError):
        return None
    # A changed name or shape would change the digest, so the code below can rely on them.
    if expected != _digest(tensors, key):
        return None
    train, test = (
        EventSplit(tensors[f"{which}/rows"], tensors[f"{which}/labels"], tensors[f"{which}/recordings"], plan)
        for which in Splits._fields
    )
    return Splits(train, test)
