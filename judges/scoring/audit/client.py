"""Writes what one client sent and what it trained on into a folder, as a federation leaves them there."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from fl_sim.captures import CaptureStore, SealedStore
from fl_sim.records import CapturedUpdate, SealedBatch


def keep(folder: Path, capture: CapturedUpdate, inputs: Tensor, labels: Tensor, *, defence: str) -> None:
    """Write a client's update and its sealed batch, for an audit of the folder.

    Args:
        folder: captures/ and sealed/ are made in it.
        capture: the update.
        inputs, labels: (N, C, H, W), or (T, N, C, H, W) for events, and (N,), that the client trained on.
        defence: name of the client's defence.

    Raises:
        WriteError: the folder cannot be written.
    """
    CaptureStore(folder / "captures")(capture)
    SealedStore(folder / "sealed")(SealedBatch(capture.id, inputs, labels, defence))
