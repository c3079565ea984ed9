"""The AT&T (ORL, Olivetti) faces: 40 subjects, 10 grey images each."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fl_sim.datasets.examples import Dataset
from fl_sim.datasets.locations import locate
from fl_sim.datasets.reading.images import Labelled, assemble
from fl_sim.datasets.reading.integrity import corrupt, subfolders
from fl_sim.datasets.reading.pictures import Pixels, read_picture, resize
from fl_sim.errors import ConfigError

SUBJECTS, IMAGES, TRAIN_IMAGES = 40, 10, 8
NATIVE = (92, 112)  # width, height
OLIVETTI = (64, 64)  # scikit-learn's version, which `spikeleak data fetch` downloads

# SHA-256 over the pixels of the 400 originals, s1/1 to s40/10. Altered copies are common: people add their own faces.
ORIGINAL_PIXELS = "2e4844a9f4fa4397058f69d6208047170f2e9d399cda18b55c1e8d28f0a83431"


class Arrangement(NamedTuple):
    """The train split and the order of the faces.

    Attributes:
        name: name of the data set.
        subjects: numbers of the subjects, in the order of the classes.
        images: numbers of each subject's images; the first `TRAIN_IMAGES` are for training, the rest for test.
        size: default size; see `load`.
    """

    name: str
    subjects: tuple[int, ...]
    images: tuple[int, ...]
    size: int


IN_NUMBERS = Arrangement("att_faces", tuple(range(1, SUBJECTS + 1)), tuple(range(1, IMAGES + 1)), 32)
IN_TEXT = Arrangement(
    "att_faces_8_9",
    subjects=tuple(sorted(IN_NUMBERS.subjects, key=str)),
    images=tuple(sorted(IN_NUMBERS.images, key=str)),
    size=NATIVE[1],
)


def load(root: Path | None, size: int) -> Dataset:
    """Return the 400 faces; of each subject, images 1 to 8 are for training, 9 and 10 for test.

    Args:
        root: the folder in which to look first, or None.
        size: side in pixels of the square to which the whole image is resized; 0 for 32. 112, the height of the
            originals, leaves them unchanged: 112 high, 92 wide.

    Raises:
        ConfigError: size is 112, but only the 64x64 version is found.
        DataError: the data set is not found, or a file is missing, damaged or of another size.

    Source: Samaria and Harter, "Parameterisation of a Stochastic Model for Human Face Identification", 1994.
    """
    return read(locate("att_faces", root), size)


def load_8_9(root: Path | None, size: int) -> Dataset:
    """Return the 400 faces; of each subject, images 8 and 9 are for test, all others for training.

    This is the split of BrainLeaks (Poursiami, Alouani and Parsa 2024), whose code sorts files by their names as text:
    1, 10, 2, ..., 7 for training, 8 and 9 for test. It sorts the classes likewise: s1, s10, s11, ..., s2, ..., s9.

    Args:
        root: the folder in which to look first, or None.
        size: as for `load`, but 0 for 112, the unchanged originals.

    Raises:
        ConfigError, DataError: as for `load`.
    """
    return read(locate("att_faces_8_9", root), size, IN_TEXT)


def read(folder: Path, size: int, arrangement: Arrangement = IN_NUMBERS) -> Dataset:
    """Return the faces from the parent of the subjects' folders; see `load`."""
    size = size or arrangement.size
    subjects = [f"s{number}" for number in range(1, SUBJECTS + 1)]
    expected = f"a folder with the folders s1 to s{SUBJECTS}"
    foreign = {entry.name for entry in subfolders(folder, expected)} - set(subjects)
    if foreign:
        raise corrupt(folder, expected, f"an additional folder '{min(foreign)}'")
    pictures = _pictures(folder, subjects)
    height, width = pictures.shape[1:]
    native = (width, height) == NATIVE
    if size == NATIVE[1] and not native:
        raise ConfigError(
            f"dataset.size: {size} leaves the originals unchanged (112x92), but {folder} holds a 64x64 version; "
            f"choose another size or put the originals under 'att_faces'."
        )
    if size != NATIVE[1]:
        height = width = size
    version = "a 64x64 version of all 400 originals, grey levels stretched; no hash to verify them by"
    if native:
        verified = hashlib.sha256(pictures.tobytes()).hexdigest() == ORIGINAL_PIXELS
        version = f"all 400 images; their pixels {'equal' if verified else 'differ from'} the original release"
    order = np.ix_(np.array(arrangement.subjects) - 1, np.array(arrangement.images) - 1)
    pixels = resize(pictures, height, width).reshape(SUBJECTS, IMAGES, height, width)[order]
    labels = np.arange(SUBJECTS).repeat(IMAGES).reshape(SUBJECTS, IMAGES)
    first, last = np.s_[:, :TRAIN_IMAGES], np.s_[:, TRAIN_IMAGES:]
    return assemble(
        arrangement.name,
        train=Labelled(pixels[first].reshape(-1, height, width), labels[first].ravel()),
        test=Labelled(pixels[last].reshape(-1, height, width), labels[last].ravel()),
        class_names=[f"s{number}" for number in arrangement.subjects],
        source=f"{folder}: {version}",
    )


def _pictures(folder: Path, subjects: list[str]) -> Pixels:
    """Return all originals, uint8 (400, H, W), subjects in the order of their numbers."""
    # All images must have the size of the first.
    paths = [folder / subject / f"{image}.pgm" for subject in subjects for image in range(1, IMAGES + 1)]
    first = read_picture(paths[0], file_format="PPM", mode="L", sizes=[NATIVE, OLIVETTI])
    sizes = [(first.shape[1], first.shape[0])]
    rest = [read_picture(path, file_format="PPM", mode="L", sizes=sizes) for path in paths[1:]]
    return np.stack([first, *rest])
