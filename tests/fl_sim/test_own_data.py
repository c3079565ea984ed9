"""Data of the user's own: any .npz of images and labels, any folder of pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

import fl_sim.datasets
from fl_sim.config import DatasetSettings
from fl_sim.datasets import DATASETS, fetch, info, load_dataset
from fl_sim.datasets.examples import Dataset
from fl_sim.errors import ConfigError, DataError
from fl_sim.specs import OwnData
from fl_sim.testing import DATASET_PROMISES, check_dataset
from tests.fl_sim.test_datasets import DAMAGE, check, grey, npz, pixels_of

pytestmark = pytest.mark.usefixtures("home")

LABELS = np.array([0, 1, 2] * 5)
GREY, COLOUR = grey(0, 15, 9, 8), grey(1, 15, 9, 8, 3)


def saved(path: Path, **arrays: npt.NDArray[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(npz(**arrays))
    return path


def of(path: Path, name: str = "npz", size: int = 0, **own: Any) -> Dataset:
    data = load_dataset(name, root=str(path), size=size, own=OwnData(**own))
    check(data)
    return data


def refused(path: Path, *words: str, name: str = "npz") -> None:
    fl_sim.datasets._load.cache_clear()  # the files change within a test
    with pytest.raises(DataError) as caught:
        load_dataset(name, root=str(path))
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in ("expected", *words)), str(caught.value)


def by_hash(names: list[str]) -> list[str]:
    """The order of a class: by the SHA-256 of the names."""
    return sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())


def whole(data: Dataset) -> set[tuple[int, bytes]]:
    """All pictures with their labels, of both splits."""
    return {
        (int(label), pixels.numpy().tobytes())
        for split in (data.train, data.test)
        for label, pixels in zip(split.labels, pixels_of(split), strict=True)
    }


@pytest.mark.parametrize("names", [("images", "labels"), ("X", "Y"), ("data", "targets"), ("x", "fine_labels")])
def test_images_and_labels_are_found_by_their_names(names: tuple[str, str], tmp_path: Path) -> None:
    path = saved(tmp_path / "mine.npz", **dict(zip(names, (GREY, LABELS), strict=True)), notes=np.array(["unread"]))
    data = of(path)
    assert (data.name, data.spec.frame, data.class_names) == ("npz", (1, 9, 8), ("0", "1", "2"))
    assert whole(data) == {(label, one.tobytes()) for label, one in zip(LABELS, GREY, strict=True)}
    assert data.source.startswith(f"{path}: 15 images with no hash")


def test_the_split_is_by_name_within_each_class(tmp_path: Path) -> None:
    path = saved(tmp_path / "mine.npz", images=GREY, labels=LABELS)
    first = {by_hash([str(index) for index in range(15) if index % 3 == label])[0] for label in range(3)}
    data = of(path)
    assert torch.equal(pixels_of(data.test)[:, 0], torch.from_numpy(GREY[sorted(map(int, first))]))
    assert "by their names, 0.2 of each class for test" in data.source
    assert of(path, test_fraction=0.6).test.labels.bincount().tolist() == [3, 3, 3]
    assert of(path, test_fraction=0.99).train.labels.bincount().tolist() == [1, 1, 1]  # some are left to train on


def test_a_random_split_asks_for_no_class(tmp_path: Path) -> None:
    """Of 40 people with one or two pictures each, some are in the test split only, as of LFW's."""
    labels = np.concatenate([np.arange(40), np.arange(20)])
    path = saved(tmp_path / "people.npz", images=grey(0, 60, 9, 8), labels=labels)
    for_each, at_random = of(path), of(path, test_split="random")
    assert len(at_random.test) == 12
    assert set(for_each.test.labels.tolist()) <= set(for_each.train.labels.tolist())
    assert set(at_random.test.labels.tolist()) - set(at_random.train.labels.tolist())
    assert of(path, test_split="random").test.labels.tolist() == at_random.test.labels.tolist()
    assert "by their names, 0.2 of all examples for test" in at_random.source
    lonely = saved(tmp_path / "lonely.npz", images=GREY, labels=np.arange(15))
    assert (len(of(lonely).train), len(of(lonely).test)) == (12, 3)
    assert "no class has two" in of(lonely).source


FORMS: Mapping[str, tuple[npt.NDArray[Any], npt.NDArray[np.uint8], str]] = {
    "colour": (COLOUR, COLOUR, "15 images with no hash to verify them by;"),
    "one channel last": (GREY[..., None], GREY, "by;"),
    "channels first": (COLOUR.transpose(0, 3, 1, 2), COLOUR, "stored with the channels first"),
    "one channel first": (GREY[:, None], GREY, "stored with the channels first"),
    "fractions": (GREY.astype(np.float32) / 255, GREY, "times 255, rounded to 8 bits"),
    "whole fractions": (GREY.astype(np.float64), GREY, "stored as float64"),
    "64 bits": (GREY.astype(np.int64), GREY, "stored as int64"),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_picture_is_the_same_picture(form: str, tmp_path: Path) -> None:
    stored, expected, told = FORMS[form]
    data = of(saved(tmp_path / "mine.npz", images=stored, labels=LABELS))
    channels_first = expected.reshape(15, 9, 8, -1).transpose(0, 3, 1, 2)
    assert whole(data) == {(label, one.tobytes()) for label, one in zip(LABELS, channels_first, strict=True)}
    assert told in data.source


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (grey(0, 15, 3, 8, 3), "both the second and the last axis may be the channels"),
        (grey(0, 15, 8, 8, 4), "neither the second nor the last axis has 1 or 3"),
        (grey(0, 15, 784), "(15, 784); save it in the shape of pictures"),
        (grey(0, 15, 8, 8, 8, 3), "(15, 8, 8, 8, 3)"),
        (GREY.astype(np.float32) / 127.5 - 1, "float32 from -1 to 1"),
        (GREY.astype(np.float32) * 0.5, "not whole numbers"),
        (np.full((15, 8, 8), np.nan), "nan"),
        (GREY.astype(np.int32) + 1, "to 256"),
        (GREY > 9, "bool (15, 9, 8)"),
        (np.array([["a"]]), "<U1 (1, 1)"),
        (GREY[:14], "15 labels and 14 images"),
        (np.array([None] * 15), "Object arrays cannot be loaded"),
    ],
)
def test_what_is_no_picture_is_refused(images: npt.NDArray[Any], words: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "mine.npz", images=images, labels=LABELS)
    refused(path, str(path), words)


@pytest.mark.parametrize(
    ("labels", "names", "expected"),
    [
        (LABELS[:, None].astype(np.uint8), None, ("0", "1", "2")),
        (LABELS.astype(np.float32), None, ("0", "1", "2")),
        (np.eye(3)[LABELS], None, ("0", "1", "2")),
        (LABELS * 5 + 1, None, ("1", "6", "11")),
        (np.array(["cat", "cow", "dog"])[LABELS], None, ("cat", "cow", "dog")),
        (np.array([b"cat", b"cow", b"dog"])[LABELS], None, ("cat", "cow", "dog")),
        (LABELS, np.array(["z", "y", "x", "w"]), ("z", "y", "x", "w")),
        (np.array(["z", "y", "x"])[LABELS], np.array(["z", "y", "x"]), ("z", "y", "x")),
    ],
)
def test_every_form_of_a_label_is_the_same_label(
    labels: npt.NDArray[Any], names: npt.NDArray[Any] | None, expected: tuple[str, ...], tmp_path: Path
) -> None:
    more = {} if names is None else {"label_names": names}
    data = of(saved(tmp_path / "mine.npz", images=GREY, labels=labels, **more))
    assert data.class_names == expected
    assert whole(data) == {(label, one.tobytes()) for label, one in zip(LABELS, GREY, strict=True)}


@pytest.mark.parametrize(
    ("labels", "names", "words"),
    [
        (LABELS + 0.5, None, "with fractions"),
        (LABELS * np.nan, None, "with fractions"),
        (LABELS * 1e300, None, "2e+300"),
        (np.ones((15, 3)), None, "float64 (15, 3)"),
        (LABELS > 1, None, "bool (15,)"),
        (LABELS, np.array(["a", "b"]), "labels from 0 to 1, since there are 2 names, found 0 to 2"),
        (LABELS, np.array(["a", "b", "a"]), "occur twice"),
        (LABELS, np.arange(3), "names as an array of texts"),
        (np.array(["a"] * 15), np.array(["b"]), "'a'"),
    ],
)
def test_what_is_no_label_is_refused(
    labels: npt.NDArray[Any], names: npt.NDArray[Any] | None, words: str, tmp_path: Path
) -> None:
    more = {} if names is None else {"names": names}
    refused(saved(tmp_path / "mine.npz", images=GREY, labels=labels, **more), words)


@pytest.mark.parametrize(
    "form", [("{x}_{split}", "test"), ("{split}_images", "test"), ("{split}_images", "val")], ids=str
)
def test_a_file_with_both_splits_keeps_them(form: tuple[str, str], tmp_path: Path) -> None:
    """Keras writes x_train, y_train, x_test and y_test, MedMNIST train_images, train_labels and so on."""
    pattern, test = form
    parts = {"train": slice(0, 9), test: slice(9, 15)}
    arrays: dict[str, npt.NDArray[Any]] = {}
    for split, part in parts.items():
        name = pattern.format(x="x", split=split)
        arrays |= {name: GREY[part], name.replace("x_", "y_").replace("images", "labels"): LABELS[part, None]}
    data = of(saved(tmp_path / "mine.npz", **arrays))
    assert torch.equal(pixels_of(data.test)[:, 0], torch.from_numpy(GREY[9:]))
    assert (data.train.labels.tolist(), data.test.labels.tolist()) == (LABELS[:9].tolist(), LABELS[9:].tolist())
    assert f"its own split (train and {test})" in data.source
    if test == "val":
        more = {"test_images": GREY[:2], "test_labels": LABELS[:2]}
        data = of(saved(tmp_path / "more.npz", **arrays, **more))
        assert "its own split (train and test); val left out" in data.source


def test_a_folder_of_two_files_is_a_data_set(tmp_path: Path) -> None:
    saved(tmp_path / "mine" / "train.npz", images=GREY[:9], labels=LABELS[:9], names=np.array(["a", "b", "c"]))
    saved(tmp_path / "mine" / "test.npz", images=GREY[9:], labels=LABELS[9:])
    data = of(tmp_path / "mine")
    assert (len(data.train), len(data.test), data.class_names) == (9, 6, ("a", "b", "c"))
    saved(tmp_path / "mine" / "test.npz", images=grey(0, 6, 8, 8), labels=LABELS[9:])
    refused(tmp_path / "other", "found nothing at")
    (tmp_path / "mine").rename(tmp_path / "moved")
    refused(tmp_path / "moved", "one shape in both splits", "(8, 8) and (9, 8)")
    (tmp_path / "moved" / "train.npz").rename(tmp_path / "moved" / "faces.npz")
    refused(tmp_path / "moved", "faces.npz, test.npz; name one of them")


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_named(damage: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "mine.npz", images=GREY, labels=LABELS)
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    refused(path, str(path), "an empty file" if damage == "empty" else "bytes that begin with")


def test_a_file_of_something_else_says_what_it_holds(tmp_path: Path) -> None:
    refused(saved(tmp_path / "a.npz", weights=GREY), "only weights")
    refused(saved(tmp_path / "b.npz", images=GREY), "images (15, 9, 8)")
    refused(saved(tmp_path / "c.npz", images=GREY, data=GREY, labels=LABELS), "both 'images' and 'data'")


def test_size_and_people_are_as_the_user_says(tmp_path: Path) -> None:
    path = saved(tmp_path / "mine.npz", images=grey(0, 15, 6, 6), labels=LABELS)
    with pytest.raises(ConfigError, match=r"dataset\.size: the pictures of .* are 6x6"):
        load_dataset("npz", root=str(path))
    assert of(path, size=8).spec.frame == (1, 8, 8)
    assert of(path, size=8).people  # hidden unless the user says that there are none
    assert not of(path, size=8, people=False).people
    settings = DatasetSettings(name="npz", root=str(path), size=8, people=False, test_fraction=0.4)
    assert len(settings.load().test) == 6
    assert not settings.load().people
    for key, changed in (("people", OwnData(people=False)), ("test_fraction", OwnData(test_fraction=0.3))):
        with pytest.raises(ConfigError, match=rf"dataset\.{key}: is for data of your own"):
            load_dataset("digits", own=changed)
    for name in ("npz", "folder"):
        with pytest.raises(ConfigError, match=rf"dataset\.root: '{name}' holds data of your own"):
            load_dataset(name)
        with pytest.raises(ConfigError, match=f"'{name}' cannot be downloaded"):
            fetch(name)
    assert [place.path for place in info("npz", str(path)).candidates] == [path]


def picture(path: Path, seed: int, mode: str = "RGB", side: int = 9) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(grey(seed, side, 8, 3)).convert(mode).save(path)
    return path


def make_folder(root: Path, splits: tuple[str, ...] = ("",), mode: str = "RGB") -> Path:
    for place, split in enumerate(splits):
        for label, kind in enumerate(("cat", "dog")):
            for number in range(5):
                picture(root / split / kind / f"{number}.png", 100 * place + 10 * label + number, mode)
    return root


def test_a_folder_of_pictures_is_what_torchvision_makes_of_it(tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder

    root = make_folder(tmp_path / "mine", ("train", "val"))
    (root / "train" / "cat" / "more").mkdir()
    picture(root / "train" / "cat" / "more" / "9.png", 9)
    for stray in ("train/.DS_Store", "train/cat/Thumbs.db", "train/cat/._0.png", "desktop.ini", "val/dog/notes.txt"):
        (root / stray).write_bytes(b"a desktop's own")
    data = of(root, "folder")
    for split, part in (("train", data.train), ("val", data.test)):
        for path in root.rglob("._*"):
            path.unlink()  # which torchvision takes for a picture
        witness = ImageFolder(str(root / split))
        assert part.labels.tolist() == witness.targets
        expected = torch.stack([torch.from_numpy(np.array(image)) for image, _ in witness]).permute(0, 3, 1, 2)
        assert torch.equal(pixels_of(part), expected)
        assert tuple(witness.classes) == data.class_names
    assert data.spec.frame == (3, 9, 8)
    assert "its own split (train and val)" in data.source


def test_a_folder_without_a_split_is_split_by_name(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "mine")
    data = of(root, "folder", test_fraction=0.4)
    chosen = {name for kind in ("cat", "dog") for name in by_hash([f"{kind}/{number}.png" for number in range(5)])[:2]}
    expected = np.stack([np.array(Image.open(root / name)) for name in sorted(chosen)]).transpose(0, 3, 1, 2)
    assert torch.equal(pixels_of(data.test), torch.from_numpy(expected))
    assert data.test.labels.tolist() == [0, 0, 1, 1]
    assert of(root, "folder", size=7).spec.frame == (3, 7, 7)


def test_colours_sizes_and_classes_of_a_folder(tmp_path: Path) -> None:
    assert of(make_folder(tmp_path / "grey", mode="L"), "folder").spec.frame == (1, 9, 8)
    root = make_folder(tmp_path / "mine")
    picture(root / "dog" / "7.png", 7, "RGBA")
    picture(root / "dog" / "8.png", 8, "L")
    data = of(root, "folder")
    assert data.spec.channels == 3
    assert "converted from L and RGBA to RGB, without transparency" in data.source
    picture(root / "dog" / "9.png", 9, side=12)
    fl_sim.datasets._load.cache_clear()
    with pytest.raises(ConfigError, match=r"dataset\.size: .* have 2 sizes, from 9x8 to 12x8"):
        load_dataset("folder", root=str(root))
    assert of(root, "folder", size=8).spec.frame == (3, 8, 8)
    for label in range(11):
        for number in range(2):
            picture(tmp_path / "numbers" / str(label) / f"{number}.png", label)
    assert of(tmp_path / "numbers", "folder").class_names == tuple(map(str, range(11)))


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "mine")
    (root / "dog" / "7.png").write_bytes(b"<!DOCTYPE html>")
    refused(root, str(root / "dog" / "7.png"), "'<!DOCTYPE html>' and cannot be decoded", name="folder")
    (root / "dog" / "7.png").unlink()
    (root / "empty").mkdir()
    refused(root, "subfolder 'empty' holds no picture, it is empty", name="folder")
    (root / "empty").rmdir()
    picture(root / "loose.png", 1)
    refused(root, "2 subfolders ('cat') and 1 pictures ('loose.png')", name="folder")
    refused(root / "cat", "5 pictures ('0.png') without classes", name="folder")
    (tmp_path / "none").mkdir()
    refused(tmp_path / "none", "no subfolder", name="folder")


@pytest.mark.parametrize("promise", DATASET_PROMISES)
@pytest.mark.parametrize("name", ["npz", "folder"])
def test_data_of_ones_own_keep_the_promises(name: str, promise: str, tmp_path: Path) -> None:
    root = make_folder(tmp_path / "mine")
    if name == "npz":
        root = saved(tmp_path / "mine.npz", images=COLOUR, labels=LABELS)
    check_dataset(name, root=root, only=[promise])


def test_these_are_all_data_of_ones_own() -> None:
    """Those of Hugging Face have their own tests, where its package is installed."""
    assert {name for name, entry in DATASETS.items() if entry.own} == {"npz", "folder", "huggingface"}
