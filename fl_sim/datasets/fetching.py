"""Downloads of the originals into the cache of downloads: complete and verified, or not at all.

The URLs are those of the libraries (torchvision, scikit-learn, tonic); there are none in this file.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import io
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from fl_sim.datasets.examples import Dataset
from fl_sim.datasets.images import att_faces, cifar10, cifar100, lfw, mnist
from fl_sim.datasets.locations import HF_PREFIX, cache_folder, huggingface_folder
from fl_sim.datasets.own import huggingface
from fl_sim.datasets.reading.integrity import corrupt, describe_file
from fl_sim.datasets.recordings import dvs_gesture, nmnist, shd
from fl_sim.datasets.table import DATASETS
from fl_sim.errors import ConfigError, DataError, unknown_name
from fl_sim.extras import EVENTS, require


def _with_torchvision(name: str, folder: Path) -> None:
    import torchvision.datasets

    getattr(torchvision.datasets, name)(str(folder), download=True)


def _lfw(folder: Path) -> None:
    from sklearn.datasets import fetch_lfw_people

    # Only the files are needed. With this minimum a single person qualifies, so few images are decoded afterwards.
    fetch_lfw_people(data_home=str(folder), min_faces_per_person=500)


def _att_faces(folder: Path) -> None:
    from sklearn.datasets import fetch_olivetti_faces

    images = fetch_olivetti_faces(data_home=str(folder / "scikit-learn")).images  # float32 (400, 64, 64) in [0, 1]
    for index, pixels in enumerate(np.rint(images * 255).astype(np.uint8)):
        subject = folder / "olivetti_faces" / f"s{index // 10 + 1}"
        subject.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(subject / f"{index % 10 + 1}.pgm")


def _with_tonic(name: str, folder: Path) -> None:
    """Download and unpack both splits of a data set into a folder of its name; the archives are not kept."""
    require(EVENTS, f"data fetch {name.lower()}")
    import tonic.datasets

    kind = getattr(tonic.datasets, name)
    for split, train in (("train", True), ("test", False)):
        archive = folder / name / (getattr(kind, f"{split}_filename", "") or getattr(kind, f"{split}_zip"))
        try:
            kind(str(folder), train=train)
        except RuntimeError as error:
            # tonic reports "not found or corrupted" without the file or its content.
            if not archive.is_file():
                raise
            expected = f"an archive with md5 {getattr(kind, f'{split}_md5')}"
            raise corrupt(archive, expected, describe_file(archive)) from error
        archive.unlink()


class Recipe(NamedTuple):
    """How to get a data set: a function that fills a folder, the part of it to keep, and a function that reads that."""

    download: Callable[[Path], None]
    keep: str
    read: Callable[[Path, int], Dataset]


RECIPES = {
    "mnist": Recipe(functools.partial(_with_torchvision, "MNIST"), "MNIST/raw", mnist.read),
    "fashion_mnist": Recipe(
        functools.partial(_with_torchvision, "FashionMNIST"), "FashionMNIST/raw", mnist.read_fashion
    ),
    "cifar10": Recipe(functools.partial(_with_torchvision, "CIFAR10"), "cifar-10-batches-py", cifar10.read),
    "cifar100": Recipe(functools.partial(_with_torchvision, "CIFAR100"), "cifar-100-python", cifar100.read),
    "lfw": Recipe(_lfw, "lfw_home/lfw_funneled", lfw.read),
    "att_faces": Recipe(_att_faces, "olivetti_faces", att_faces.read),
    # Checked with the default size of `att_faces`, since the default of `att_faces_8_9` needs the originals.
    "att_faces_8_9": Recipe(_att_faces, "olivetti_faces", att_faces.read),
    "nmnist": Recipe(functools.partial(_with_tonic, "NMNIST"), "NMNIST", nmnist.read),
    "dvs_gesture": Recipe(functools.partial(_with_tonic, "DVSGesture"), "DVSGesture", dvs_gesture.read),
    "shd": Recipe(functools.partial(_with_tonic, "SHD"), "SHD", shd.read),
}


def fetch(name: str, *, progress: bool = True) -> Path:
    """Download a data set; see `fl_sim.datasets.fetch`."""
    if name.startswith(HF_PREFIX):
        return _kept(name, _of_huggingface(name), progress)
    if name not in DATASETS:
        raise unknown_name("dataset.name", name, DATASETS, addable=True)
    if name in ("digits", "digits_dvs"):
        import sklearn.datasets

        return Path(sklearn.datasets.__file__).parent / "data"
    if name not in RECIPES:
        by_hand = f" here; get it from {DATASETS[name].by_hand}" if DATASETS[name].by_hand else ""
        raise ConfigError(f"dataset.name: '{name}' cannot be downloaded{by_hand}.")
    return _kept(name, RECIPES[name], progress)


def _of_huggingface(name: str) -> Recipe:
    """Return how to get a data set of Hugging Face, which is checked at a size that suits all pictures."""
    keep = huggingface_folder(Path(name)).relative_to(cache_folder())
    plain = name.removeprefix(HF_PREFIX)
    return Recipe(
        lambda folder: huggingface.fetch(plain, folder / keep), str(keep), lambda path, _: huggingface.read(path, 32)
    )


def _kept(name: str, recipe: Recipe, progress: bool) -> Path:
    """Return where a valid copy is kept, downloaded if there is none."""
    target = cache_folder() / recipe.keep
    with contextlib.suppress(DataError):
        if target.exists():
            recipe.read(target, 0)
            return target
    try:
        _download(recipe, target, progress)
    except (OSError, RuntimeError, ValueError, EOFError, http.client.HTTPException) as error:
        # The libraries report network failures and wrong hashes as one of these, on many lines.
        reason = " ".join(str(error).split())
        raise DataError(
            f"The download of '{name}' to {target} failed, and no part of it was kept: {reason}. Try again, or set "
            f"SPIKELEAK_DATA to a folder that holds the data set."
        ) from error
    except DataError as error:
        raise DataError(f"The download of '{name}' is not valid and was deleted: {error}") from error
    return target


def _download(recipe: Recipe, target: Path, progress: bool) -> None:
    """Download to a temporary folder, read the result as a check, and only then move it to `target`."""
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    # Inside the cache, so that the last step is a rename within one file system.
    with tempfile.TemporaryDirectory(dir=cache, prefix=".download-") as temporary:
        folder = Path(temporary)
        with _output(progress):
            recipe.download(folder)
        recipe.read(folder / recipe.keep, 0)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            target.rename(folder / "damaged")
        (folder / recipe.keep).rename(target)


@contextlib.contextmanager
def _output(progress: bool) -> Iterator[None]:
    """Redirect the output of the libraries to standard error or discard it; their warnings are always discarded."""
    stream = sys.stderr if progress else io.StringIO()
    with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
