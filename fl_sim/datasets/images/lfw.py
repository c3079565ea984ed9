"""Labeled Faces in the Wild, or any subset, in its original layout of one folder per person."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from fl_sim.datasets.examples import Dataset
from fl_sim.datasets.locations import locate
from fl_sim.datasets.reading.images import Labelled, assemble
from fl_sim.datasets.reading.integrity import corrupt, subfolders
from fl_sim.datasets.reading.pictures import Pixels, read_picture, resize

SIZE = 32
ORIGINAL = (250, 250)
LAYOUT = "<Person>/<Person>_NNNN.jpg"


def load(root: Path | None, size: int) -> Dataset:
    """Return LFW in colour; a label is the index of the person's folder in alphabetical order.

    The data set has no split for recognition. Of each person, the last fifth of the images by number is for test, at
    least one if there are two or more; a person with one image is in the train split only.

    Args:
        root: the folder in which to look first, or None.
        size: side in pixels; 0 for 32. The originals are 250x250.

    Raises:
        DataError: the data set is not found, or a file is damaged or does not belong to it.

    Source: Huang, Ramesh, Berg and Learned-Miller, 2007; aligned versions: Huang et al. 2007 and 2012.
    """
    return read(locate("lfw", root), size)


def read(folder: Path, size: int) -> Dataset:
    """Return LFW from the parent of the persons' folders; see `load`."""
    people = subfolders(folder, f"a folder with {LAYOUT}")
    if not people:
        raise corrupt(folder, f"a folder with {LAYOUT}", "no folder of a person")
    train: tuple[list[Pixels], list[int]] = ([], [])
    test: tuple[list[Pixels], list[int]] = ([], [])
    for label, person in enumerate(people):
        paths = _pictures(person)
        for_test = max(1, round(len(paths) / 5)) if len(paths) > 1 else 0
        for number, path in enumerate(paths):
            pixels, labels = train if number < len(paths) - for_test else test
            picture = read_picture(path, file_format="JPEG", mode="RGB", sizes=[ORIGINAL])
            # Resized one at a time, since all originals at once would take gigabytes.
            pixels.append(resize(picture[None], size or SIZE, size or SIZE)[0])
            labels.append(label)
    if not test[1]:
        raise corrupt(folder, "at least one person with two images", "none, so no image is left for test")
    count = len(train[1]) + len(test[1])
    return assemble(
        "lfw",
        train=Labelled(np.stack(train[0]), np.array(train[1])),
        test=Labelled(np.stack(test[0]), np.array(test[1])),
        class_names=[person.name for person in people],
        source=f"{folder}: {count:,} of 13,233 images, {len(people):,} of 5,749 people; no hash to verify them by",
    )


def _pictures(person: Path) -> list[Path]:
    """Return a person's files by number. Hidden files are ignored; any other foreign file is an error."""
    paths = sorted(path for path in person.iterdir() if not path.name.startswith("."))
    name = re.compile(re.escape(person.name) + r"_\d{4}\.jpg")
    for path in paths:
        if not name.fullmatch(path.name):
            raise corrupt(path, f"a picture named {LAYOUT}", "another name")
    if not paths:
        raise corrupt(person, f"pictures named {LAYOUT}", "an empty folder")
    return paths
