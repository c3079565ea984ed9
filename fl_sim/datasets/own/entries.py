"""The lines of the table for data of the user's own. Nothing here imports torch."""

from __future__ import annotations

from fl_sim.datasets.entry import DatasetEntry

_TERMS = "those of your data"
_COUNTS = "those of your files; without a split of their own, dataset.test_fraction of each class is for test"

OWN = {
    "npz": DatasetEntry(
        "fl_sim.datasets.own.npz:load",
        summary="your own .npz of images and labels: dataset.root is the file, or a folder with train.npz and test.npz",
        terms=_TERMS,
        own=True,
        people=True,
        source="your file: arrays called images, x or data and labels, y or targets, also as Keras and MedMNIST name "
        "theirs; label_names if there are any",
        counts=_COUNTS,
    ),
    "folder": DatasetEntry(
        "fl_sim.datasets.own.folder:load",
        summary="your own folder of pictures, one subfolder for each class (ImageFolder): dataset.root is the folder",
        terms=_TERMS,
        own=True,
        people=True,
        source="your folder: train/<class>/... and test/<class>/... (or val), or <class>/...",
        counts=_COUNTS,
    ),
    "huggingface": DatasetEntry(
        "fl_sim.datasets.own.huggingface:load",
        summary="pictures of Hugging Face: dataset.root is hf:OWNER/NAME, after `spikeleak data fetch hf:OWNER/NAME`",
        terms="those on the page of the data set",
        own=True,
        people=True,
        source="fetched by Hugging Face's package datasets; a folder that it saved (save_to_disk) is also read",
        counts=_COUNTS,
    ),
}
