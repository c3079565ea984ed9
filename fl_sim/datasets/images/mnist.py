"""MNIST and Fashion-MNIST, read from the original IDX files, compressed or not, without writing to their folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from fl_sim.datasets.examples import Dataset
from fl_sim.datasets.locations import locate
from fl_sim.datasets.reading.idx import Published, read_idx
from fl_sim.datasets.reading.images import Labelled, assemble
from fl_sim.datasets.reading.pictures import resize

SIZE = 28

FILES = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
"""{file: SHA-256 of its decompressed content} of the original release."""


def load(root: Path | None, size: int) -> Dataset:
    """Return MNIST, all 60,000 + 10,000 images.

    Args:
        root: the folder in which to look first, or None.
        size: side in pixels; 0 for 28.

    Raises:
        DataError: the data set is not found, or the hash of a file differs from that of the original.

    Source: LeCun, Bottou, Bengio and Haffner, 1998.
    """
    return read(locate("mnist", root), size)


def load_fashion(root: Path | None, size: int) -> Dataset:
    """Return Fashion-MNIST, all 60,000 + 10,000 pictures of articles of clothing.

    Only the compressed files have published hashes; where they were unpacked and removed, or compressed anew, the
    source says that nothing verifies them.

    Args:
        root: the folder in which to look first, or None.
        size: side in pixels; 0 for 28.

    Raises:
        DataError: the data set is not found, or a file is damaged.

    Source: Xiao, Rasul and Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
    Algorithms", 2017.
    """
    return read_fashion(locate("fashion_mnist", root), size)


def read(folder: Path, size: int) -> Dataset:
    """Return MNIST from the folder of its four files; see `load`."""
    hashes = {name: Published("sha256", digest) for name, digest in FILES.items()}
    return _read("mnist", folder, size, hashes, [str(digit) for digit in range(10)])


def read_fashion(folder: Path, size: int) -> Dataset:
    """Return Fashion-MNIST from the folder of its four files; see `load_fashion`."""
    from torchvision.datasets import FashionMNIST

    hashes = {name.removesuffix(".gz"): Published("md5", md5, packed=True) for name, md5 in FashionMNIST.resources}
    return _read("fashion_mnist", folder, size, hashes, FashionMNIST.classes)


def _read(name: str, folder: Path, size: int, hashes: Mapping[str, Published], classes: Sequence[str]) -> Dataset:
    side = size or SIZE
    parts, verified = [], True
    for split in ("train", "t10k"):
        images, labels = (
            read_idx(folder, file, shape, hashes[file])
            for file, shape in ((f"{split}-images-idx3-ubyte", (0, SIZE, SIZE)), (f"{split}-labels-idx1-ubyte", (0,)))
        )
        verified = verified and images.verified and labels.verified
        parts.append(Labelled(resize(images.array, side, side), labels.array))
    train, test = parts
    origin = "the original release, all of it, verified by its hashes"
    if not verified:
        origin = f"{len(train.labels):,} train and {len(test.labels):,} test images, with no hash to verify them by"
    return assemble(name, train=train, test=test, class_names=classes, source=f"{folder}: {origin}")
