"""The table of data sets: a new one needs its file and a line in its room. Nothing here imports torch."""

from __future__ import annotations

from fl_sim.datasets.entry import DatasetEntry
from fl_sim.datasets.images.entries import IMAGES
from fl_sim.datasets.own.entries import OWN
from fl_sim.datasets.recordings.entries import RECORDINGS
from fl_sim.plugins import Table

DATASETS = Table("spikeleak.datasets", DatasetEntry, {**IMAGES, **RECORDINGS, **OWN})


def constants_of(name: str) -> str:
    """Return the data set whose published constants apply to the data set `name`: itself unless its entry names one."""
    return (DATASETS[name].constants if name in DATASETS else "") or name
