"""The truth behind the sum over several clients: their sealed batches together, composed where the seal is opened."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from fl_sim.records import SealedBatch


def composed(capture_id: str, batches: Sequence[SealedBatch]) -> SealedBatch:
    """Return the batches of the clients behind a sum as one, in their order.

    Args:
        capture_id: id of the captured sum.
        batches: of each client, in the form of the records, one or more.
    """
    first = batches[0]
    if len(batches) == 1 and first.capture_id == capture_id:
        return first
    axis = first.inputs.dim() - 4  # event frames have time first
    inputs, labels = torch.cat([one.inputs for one in batches], axis), torch.cat([one.labels for one in batches])
    return SealedBatch(capture_id, inputs, labels, first.defence)
