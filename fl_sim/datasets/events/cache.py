"""A cache on disk of the frames of event recordings, which take up to minutes to compute. Never next to the data.

The name of a file is a hash of everything on which its frames depend, and the file contains a hash of its content: a
damaged or foreign file is not used but computed again. Nothing is ever removed; the folder may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import safetensors
import safetensors.torch
from torch import Tensor

from fl_sim.cache import cached, key_of, path_of
from fl_sim.datasets.events import EventSplit, FramePlan, Recording, collect
from fl_sim.datasets.locations import cache_folder
from fl_sim.extras import EVENTS, require
from fl_sim.files import atomic_write

# Increase this with every change to how events are read, simulated or framed.
CODE_VERSION = 3

FIELDS = ("rows", "labels", "recordings")
Part = TypeVar("Part")


class Splits(NamedTuple):
    """Both splits of a data set."""

    train: EventSplit
    test: EventSplit


def frames_folder() -> Path:
    """Return the folder of the cached frames; it need not exist."""
    return cache_folder().parent / "frames"


def cached_splits(
    name: str,
    plan: FramePlan,
    content: str,
    parts: Sequence[Part],
    recordings: Callable[[Part], Iterable[Recording]],
) -> Splits:
    """Return the frames of both splits, from the cache if a valid file is there.

    Args:
        name: of the data set.
        plan: how its events become frames.
        content: a hash of all that the recordings are read from.
        parts: what the train and the test split are made of.
        recordings: returns those of a part; called only where the frames must be made.

    Raises:
        ConfigError: the extra that reads and frames events is not installed, and there is no file in the cache.
        ConfigError, DataError: raised by `recordings`.
    """

    def make() -> Splits:
        require(EVENTS, f"dataset.name: '{name}'")
        return Splits(*(collect(recordings(part), plan) for part in parts))

    facts = {"version": CODE_VERSION, "name": name, "content": content, **dataclasses.asdict(plan)}
    key = key_of(facts)
    return cached(
        path_of(frames_folder(), key, prefix=f"{name}-"),
        load=lambda path: _read(path, key, plan),
        make=make,
        save=lambda made, path: _write(made, path, key),
    )


def _write(splits: Splits, path: Path, key: str) -> None:
    tensors = _tensors(splits)
    # Without a file the next run takes longer, no more: a full disk or a read-only home is no reason to stop.
    with contextlib.suppress(OSError):
        atomic_write(path, safetensors.torch.save(tensors, {"digest": _digest(tensors, key)}))


def _tensors(splits: Splits) -> dict[str, Tensor]:
    return {f"{which}/{field}": getattr(getattr(splits, which), field) for which in Splits._fields for field in FIELDS}


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
    parts = ({field: tensors[f"{which}/{field}"] for field in FIELDS} for which in Splits._fields)
    return Splits(*(EventSplit(**part, plan=plan) for part in parts))
