"""Every loader on small files that are whole or damaged, and on the real data where SPIKELEAK_DATA names them."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import socket
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fl_sim.datasets import DATASETS, DatasetEntry, fetch, fetching, info, load_dataset
from fl_sim.datasets.examples import Dataset, Examples
from fl_sim.datasets.images import att_faces, cifar100, lfw, mnist
from fl_sim.datasets.reading.images import Labelled, Split, assemble
from fl_sim.datasets.reading.pictures import Pixels, resize
from fl_sim.datasets.table import constants_of
from fl_sim.errors import ConfigError, DataError
from fl_sim.specs import Framing

REAL = os.environ.get("SPIKELEAK_DATA", "")
real_data = pytest.mark.skipif(not REAL, reason="SPIKELEAK_DATA is not set: no real data to read")
on_disk = [name for name, entry in DATASETS.items() if entry.layouts]
fetched = [name for name in on_disk if not DATASETS[name].by_hand]
DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "web page": lambda _: b"<!DOCTYPE html><html>404 Not Found</html>" * 20,
    "truncated": lambda content: content[: len(content) // 2],
    "flipped": lambda content: bytes([content[0] ^ 1]) + content[1:],
    "flipped in the middle": lambda c: c[: len(c) // 2] + bytes([c[len(c) // 2] ^ 16]) + c[len(c) // 2 + 1 :],
}


pytestmark = pytest.mark.usefixtures("home")


def grey(seed: int, *shape: int) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def make_mnist(root: Path, monkeypatch: pytest.MonkeyPatch, *, packed: bool = True) -> Path:
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    contents = idx_files()
    for name, content in contents.items():
        (folder / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(content) if packed else content)
    monkeypatch.setattr(mnist, "FILES", {name: hashlib.sha256(one).hexdigest() for name, one in contents.items()})
    return folder


def idx_files() -> dict[str, bytes]:
    """Return the four files of MNIST, unpacked, with 12 and 5 images."""
    contents = {}
    for name in mnist.FILES:
        count = 12 if name.startswith("train") else 5
        shape = (count, 28, 28) if "images" in name else (count,)
        array = grey(count, *shape) if "images" in name else np.arange(count, dtype=np.uint8) % 10
        contents[name] = bytes([0, 0, 8, len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape) + array.tobytes()
    return contents


def make_fashion_mnist(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a small copy whose hashes, of the compressed files, are taken for the published ones."""
    from torchvision.datasets import FashionMNIST

    folder = root / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    resources = []
    for name, content in idx_files().items():
        stored = gzip.compress(content, mtime=0)
        (folder / f"{name}.gz").write_bytes(stored)
        resources.append((f"{name}.gz", hashlib.md5(stored).hexdigest()))  # noqa: S324
    monkeypatch.setattr(FashionMNIST, "resources", resources)
    return folder


def make_cifar10(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a small original whose hashes are taken for the published ones."""
    from torchvision.datasets import CIFAR10

    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    contents = {
        **{f"data_batch_{n}": pickled(data=grey(n, 2, 3 * 32 * 32), labels=[n, (n + 4) % 10]) for n in range(1, 6)},
        "test_batch": pickled(data=grey(0, 2, 3 * 32 * 32), labels=[0, 9]),
        "batches.meta": pickled(label_names=[f"kind{number}" for number in range(10)]),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    md5 = {name: hashlib.md5(content).hexdigest() for name, content in contents.items()}  # noqa: S324
    monkeypatch.setattr(CIFAR10, "train_list", [[name, one] for name, one in md5.items() if name.startswith("data")])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", md5["test_batch"]]])
    monkeypatch.setitem(CIFAR10.meta, "md5", md5["batches.meta"])
    return folder


def npz(**arrays: npt.NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_LZMA) as archive:
        for key, array in arrays.items():
            member = io.BytesIO()
            np.save(member, array)
            archive.writestr(f"{key}.npy", member.getvalue())
    return buffer.getvalue()


def make_cifar100(root: Path) -> Path:
    folder = root / "CIFAR100"
    folder.mkdir(parents=True)
    names = np.array([f"class{number}" for number in range(100)])
    for split, count in (("train", 4), ("test", 2)):
        content = npz(images=grey(count, count, 32, 32, 3), fine_labels=np.arange(count) * 33, label_names=names)
        (folder / f"cifar100_{split}.npz").write_bytes(content)
    return folder


def make_lfw(root: Path) -> Path:
    folder = root / "lfw"
    for person, count in (("Ann_One", 1), ("Bob_Two", 2), ("Cy_Ten", 10)):
        (folder / person).mkdir(parents=True)
        for number in range(1, count + 1):
            picture = Image.new("RGB", (250, 250), (20 * number, 0, count))
            picture.save(folder / person / f"{person}_{number:04d}.jpg", quality=95)
    return folder


def make_att_faces(root: Path, size: tuple[int, int] = (112, 92), layout: str = "att_faces") -> Path:
    for subject in range(1, 41):
        (root / layout / f"s{subject}").mkdir(parents=True)
        for image in range(1, 11):
            pixels = np.full(size, subject * 5 + image, dtype=np.uint8)
            Image.fromarray(pixels).save(root / layout / f"s{subject}" / f"{image}.pgm")
    return root / layout


@pytest.fixture(params=["mnist", "mnist unpacked", "fashion_mnist", "cifar10", "cifar100", "lfw", "att_faces"])
def small(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Path]:
    """A small whole copy of each data set: its name, and one of its files."""
    root = tmp_path / "root"
    if request.param == "mnist":
        return "mnist", make_mnist(root, monkeypatch) / "t10k-labels-idx1-ubyte.gz"
    if request.param == "mnist unpacked":
        return "mnist", make_mnist(root, monkeypatch, packed=False) / "train-images-idx3-ubyte"
    if request.param == "fashion_mnist":
        return "fashion_mnist", make_fashion_mnist(root, monkeypatch) / "train-labels-idx1-ubyte.gz"
    if request.param == "cifar10":
        return "cifar10", make_cifar10(root, monkeypatch) / "data_batch_3"
    if request.param == "cifar100":
        return "cifar100", make_cifar100(root) / "cifar100_test.npz"
    if request.param == "lfw":
        return "lfw", make_lfw(root) / "Cy_Ten" / "Cy_Ten_0003.jpg"
    return "att_faces", make_att_faces(root) / "s3" / "7.pgm"


def pixels_of(split: Examples) -> torch.Tensor:
    """The stored pixels of an image data set's split."""
    assert isinstance(split, Split)
    return split.pixels


def check(data: Dataset) -> None:
    """What holds of every data set."""
    for split in (data.train, data.test):
        assert pixels_of(split).dtype == torch.uint8
        assert split.labels.dtype == torch.int64
        assert pixels_of(split).shape == (len(split), *data.spec.frame)
        inputs, labels = split.batch(torch.arange(2))
        assert inputs.dtype == torch.float32
        assert torch.equal(inputs, pixels_of(split)[:2].float() / 255)
        assert torch.equal(labels, split.labels[:2])
        assert 0 <= split.labels.min() <= split.labels.max() < data.spec.classes == len(data.class_names)
    assert (data.spec.low, data.spec.high) == (0, 1)
    contents = (t.numpy().tobytes() for s in (data.train, data.test) for t in (pixels_of(s), s.labels))
    assert data.digest == hashlib.sha256(b"".join(contents)).hexdigest()


def refused(name: str, root: Path, *words: str) -> str:
    """The data set is refused in one paragraph that has all the words; return it."""
    with pytest.raises(DataError) as caught:
        load_dataset(name, root=str(root))
    text = str(caught.value)
    assert caught.value.exit_code == 3
    assert "\n" not in text
    assert all(word in text for word in ("expected", *words)), text
    return text


def test_a_whole_copy_is_read(small: tuple[str, Path], tmp_path: Path) -> None:
    name, _ = small
    data = load_dataset(name, root=str(tmp_path / "root"))
    check(data)
    assert str(tmp_path / "root") in data.source
    assert ("verified by its hashes" in data.source) == (name in ("mnist", "fashion_mnist", "cifar10"))
    assert load_dataset(name, root=str(tmp_path / "root")) is data
    smaller = load_dataset(name, root=str(tmp_path / "root"), size=16)
    check(smaller)
    assert (smaller.spec.height, smaller.spec.width) == (16, 16)


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_named_with_what_was_found(small: tuple[str, Path], tmp_path: Path, damage: str) -> None:
    name, path = small
    if name in ("lfw", "att_faces") and damage == "flipped in the middle":
        return  # a flipped pixel still decodes, and there is no hash of a single picture
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    text = refused(name, tmp_path / "root", str(path), "found", "an empty file" if damage == "empty" else "bytes")
    assert ("<!DOCTYPE" in text) == (damage == "web page")
    if name == "mnist" and damage != "empty":
        assert ("gzip-compressed" if path.suffix == ".gz" else "sha256") in text


def test_an_unpacked_fashion_mnist_is_read_and_called_unverified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its published hashes are those of the compressed files."""
    folder = make_fashion_mnist(tmp_path, monkeypatch)
    whole = load_dataset("fashion_mnist", root=str(folder))  # the folder of the files does as well
    assert (whole.class_names[9], whole.test.labels.tolist()) == ("Ankle boot", [0, 1, 2, 3, 4])
    packed = folder / "t10k-labels-idx1-ubyte.gz"
    packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
    assert mnist.read_fashion(folder, 0).source == whole.source
    packed.write_bytes(packed.read_bytes()[:-9])
    damaged = mnist.read_fashion(folder, 0)
    assert damaged.digest == whole.digest
    assert "12 train and 5 test images, with no hash to verify them by" in damaged.source
    packed.with_suffix("").write_bytes(bytes([0, 0, 8, 3, *[0, 0, 0, 1] * 3, 7]))
    with pytest.raises(DataError, match=f"{packed}: expected a gzip-compressed IDX file"):
        mnist.read_fashion(folder, 0)
    images = folder / "train-images-idx3-ubyte.gz"
    images.write_bytes(gzip.compress(bytes([0, 0, 8, 3, *[0, 0, 0, 1] * 3, 7])))
    with pytest.raises(
        DataError, match=r"expected an IDX file of the sizes \(0, 28, 28\), found the sizes \(1, 1, 1\)"
    ):
        mnist.read_fashion(folder, 0)


def test_what_counts_is_the_content_of_a_file_of_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have been compressed anew, or stand unpacked beside a damaged download."""
    folder = make_mnist(tmp_path / "root", monkeypatch)
    anew, damaged = folder / "train-labels-idx1-ubyte.gz", folder / "t10k-images-idx3-ubyte.gz"
    anew.write_bytes(gzip.compress(gzip.decompress(anew.read_bytes()), compresslevel=1, mtime=1))
    damaged.with_suffix("").write_bytes(gzip.decompress(damaged.read_bytes()))
    damaged.write_bytes(damaged.read_bytes()[:-9])
    check(load_dataset("mnist", root=str(tmp_path / "root")))
    damaged.with_suffix("").write_bytes(b"other")
    with pytest.raises(DataError, match=f"{damaged}: expected a gzip-compressed IDX file"):
        mnist.read(folder, 0)


def test_a_missing_file_is_named(small: tuple[str, Path], tmp_path: Path) -> None:
    name, path = small
    path.unlink()
    if name == "lfw":  # any number of pictures is a part of it
        assert len(load_dataset(name, root=str(tmp_path / "root")).train) == 9
    else:
        refused(name, tmp_path / "root", path.name.removesuffix(".gz"), "found no such file")


@pytest.mark.parametrize("name", on_disk)
def test_a_file_where_a_folder_should_be_is_refused(name: str, tmp_path: Path) -> None:
    layout = tmp_path / DATASETS[name].layouts[0]
    layout.parent.mkdir(parents=True, exist_ok=True)
    layout.write_bytes(b"not a folder")
    refused(name, tmp_path, str(layout), "cannot be read")


@pytest.mark.parametrize("name", on_disk)
def test_nothing_found_names_places_files_and_the_command(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPIKELEAK_DATA", str(tmp_path / "variable"))
    (tmp_path / "root").mkdir()
    places = [str(tmp_path / place) for place in ("root", "variable", "cache/spikeleak/data")]
    how = DATASETS[name].by_hand or f"`spikeleak data fetch {name}`"
    text = refused(name, tmp_path / "root", *DATASETS[name].layouts, *places, how)
    assert [text.index(place) for place in places] == sorted(text.index(place) for place in places)


def test_the_root_comes_before_the_variable_before_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("cache/spikeleak/data", "variable", "root"):
        make_lfw(tmp_path / place)
    assert str(tmp_path / "cache") in load_dataset("lfw").source
    monkeypatch.setenv("SPIKELEAK_DATA", str(tmp_path / "variable"))
    assert str(tmp_path / "variable") in load_dataset("lfw").source
    assert str(tmp_path / "root") in load_dataset("lfw", root=str(tmp_path / "root")).source
    found = info("lfw", str(tmp_path / "root")).candidates
    assert [candidate.path for candidate in found if candidate.found] == [
        tmp_path / place / "lfw" for place in ("root", "variable", "cache/spikeleak/data")
    ]
    refused("lfw", tmp_path / "mistyped", "dataset.root", "mistyped")


@pytest.mark.parametrize(
    "content",
    [bytes([0, 0, 8, 1, 0, 0, 0, 4, 1, 2]), bytes([0, 0, 9, 1, 0, 0, 0, 1, 1]), bytes([0, 0, 8, 1]), b"none"],
    ids=["too short", "another type", "no sizes", "another format"],
)
def test_a_wrong_idx_header_is_refused(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_mnist(tmp_path, monkeypatch, packed=False) / "t10k-labels-idx1-ubyte"
    path.write_bytes(content)
    monkeypatch.setitem(mnist.FILES, path.name, hashlib.sha256(content).hexdigest())
    refused("mnist", tmp_path, str(path), "an IDX file of bytes with 1 axes")


@settings(deadline=None)  # a loaded machine is no failure
@given(at=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_no_flipped_bit_of_an_npz_changes_what_is_read(
    tmp_path_factory: pytest.TempPathFactory, at: int, bit: int
) -> None:
    folder = make_cifar100(tmp_path_factory.mktemp("cifar"))
    whole = cifar100.read(folder, 0)
    content = bytearray((folder / "cifar100_test.npz").read_bytes())
    content[at % len(content)] ^= 1 << bit
    (folder / "cifar100_test.npz").write_bytes(content)
    # Some bytes of a zip say nothing of its content (times, flags): then the same data are read.
    try:
        outcome = cifar100.read(folder, 0).digest
    except DataError as error:
        outcome = str(error)
    assert outcome == whole.digest or "cifar100_test.npz: expected" in outcome


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("images", grey(0, 2, 28, 28, 3)),
        ("images", grey(0, 3, 32, 32, 3)),
        ("images", np.zeros((2, 32, 32, 3), dtype=np.float32)),
        ("fine_labels", np.zeros(2)),
        ("fine_labels", np.array([0, 100])),
        ("fine_labels", np.zeros(0, dtype=np.int64)),
        ("label_names", np.array(["one", "two"])),
        ("label_names", np.array([f"other{number}" for number in range(100)])),
        ("label_names", np.array([f"class{number}" for number in range(100)], dtype=object)),
        ("label_names", None),
    ],
)
def test_an_npz_of_another_shape_is_refused(key: str, value: npt.NDArray[Any] | None, tmp_path: Path) -> None:
    path = make_cifar100(tmp_path) / "cifar100_test.npz"
    with np.load(path) as stored:
        arrays = {**stored, key: value}
    path.write_bytes(npz(**{name: array for name, array in arrays.items() if array is not None}))
    words = "Object arrays cannot be loaded" if value is not None and value.dtype == object else "found"
    refused("cifar100", tmp_path, str(path.parent), words)


def pickled(**values: npt.ArrayLike) -> bytes:
    """Return a pickled dict, as the original CIFAR-100 files are; `ndarray.dumps` writes its values."""
    pairs = (
        b"X" + len(key).to_bytes(4, "little") + key.encode() + np.asarray(value).dumps()[2:-1] + b"s"
        for key, value in values.items()
    )
    return b"\x80\x02}" + b"".join(pairs) + b"."


def test_the_original_cifar100_is_read_after_its_hashes_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import CIFAR100

    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    make_cifar100(tmp_path)  # the original is preferred to a part
    images = grey(0, 6, 3, 32, 32)
    contents = {
        "train": pickled(data=images[:4].reshape(4, -1), fine_labels=[7, 99, 0, 1]),
        "test": pickled(data=images[4:].reshape(2, -1), fine_labels=[3, 4]),
        "meta": pickled(fine_label_names=[f"class{number}" for number in range(100)]),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    refused("cifar100", tmp_path, str(folder / "train"), CIFAR100.train_list[0][1])
    md5 = {name: hashlib.md5(content).hexdigest() for name, content in contents.items()}  # noqa: S324
    monkeypatch.setattr(CIFAR100, "train_list", [["train", md5["train"]]])
    monkeypatch.setattr(CIFAR100, "test_list", [["test", md5["test"]]])
    monkeypatch.setitem(CIFAR100.meta, "md5", md5["meta"])
    data = load_dataset("cifar100", root=str(tmp_path))
    check(data)
    assert torch.equal(pixels_of(data.train), torch.from_numpy(images[:4]))
    assert data.train.labels.tolist() == [7, 99, 0, 1]
    assert data.class_names[99] == "class99"
    (folder / "meta").write_bytes(contents["meta"][:-9])
    with pytest.raises(DataError, match=f"meta: expected .* md5 {md5['meta']}, found"):
        cifar100.read(folder, 0)


def test_lfw_splits_each_person_by_number(tmp_path: Path) -> None:
    make_lfw(tmp_path)
    (tmp_path / "lfw" / "Cy_Ten" / ".DS_Store").write_bytes(b"a desktop's own")
    data = load_dataset("lfw", root=str(tmp_path))
    assert data.class_names == ("Ann_One", "Bob_Two", "Cy_Ten")
    assert data.train.labels.tolist() == [0, 1, *[2] * 8]
    assert data.test.labels.tolist() == [1, 2, 2]
    red = pixels_of(data.test)[:, 0].float().mean(dim=(1, 2))
    assert red.tolist() == pytest.approx([40, 180, 200], abs=3)


@pytest.mark.parametrize("name", ["Bob_Two_3.jpg", "Cy_Ten_0003.jpg", "notes.txt", "Bob_Two_0003.png"])
def test_a_foreign_file_among_a_persons_is_refused(name: str, tmp_path: Path) -> None:
    path = make_lfw(tmp_path) / "Bob_Two" / name
    path.write_bytes(b"foreign")
    refused("lfw", tmp_path, str(path), "another name")


def test_lfw_without_pictures_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "lfw"
    folder.mkdir()
    refused("lfw", tmp_path, str(folder), "no folder of a person")
    (folder / "Ann").mkdir()
    refused("lfw", tmp_path, str(folder / "Ann"), "an empty folder")
    Image.new("RGB", (250, 250)).save(folder / "Ann" / "Ann_0001.jpg")
    refused("lfw", tmp_path, "two images")
    Image.new("RGB", (200, 250)).save(folder / "Ann" / "Ann_0001.jpg")
    with pytest.raises(DataError, match="RGB, 250x250, found a picture, RGB, 200x250"):
        lfw.read(folder, 0)


def test_att_faces_are_in_the_order_of_numbers(tmp_path: Path) -> None:
    folder = make_att_faces(tmp_path)
    (folder / "README").write_text("not a subject")
    data = load_dataset("att_faces", root=str(tmp_path))
    assert data.class_names[:3] == ("s1", "s2", "s3")
    for split, numbers in ((data.train, range(1, 9)), (data.test, range(9, 11))):
        assert split.labels.tolist() == [subject for subject in range(40) for _ in numbers]
        expected = [5 * subject + number for subject in range(1, 41) for number in numbers]
        assert pixels_of(split)[:, 0, 0, 0].tolist() == expected
    assert "differ from the original release" in data.source
    assert load_dataset("att_faces", root=str(tmp_path), size=112).spec.frame == (1, 112, 92)
    (folder / "s41").mkdir()
    with pytest.raises(DataError, match="'s41'"):
        att_faces.read(folder, 0)


def test_att_faces_8_9_are_in_the_order_of_text(tmp_path: Path) -> None:
    folder = make_att_faces(tmp_path)
    data = load_dataset("att_faces_8_9", root=str(tmp_path))
    check(data)
    assert (data.name, data.spec.frame) == ("att_faces_8_9", (1, 112, 92))
    # What torchvision's ImageFolder, which BrainLeaks' authors used, makes of the folders and files.
    names = sorted(path.name for path in folder.iterdir())
    assert list(data.class_names) == names
    files = {name: sorted(path.name for path in (folder / name).iterdir()) for name in names}
    assert files["s1"] == [f"{number}.pgm" for number in (1, 10, 2, 3, 4, 5, 6, 7, 8, 9)]
    for split, part in ((data.train, slice(8)), (data.test, slice(8, None))):
        paths = [folder / name / file for name in names for file in files[name][part]]
        assert split.labels.tolist() == [names.index(path.parent.name) for path in paths]
        expected = [5 * int(path.parent.name[1:]) + int(path.stem) for path in paths]
        assert pixels_of(split)[:, 0, 0, 0].tolist() == expected
    assert load_dataset("att_faces_8_9", root=str(tmp_path), size=32).spec.frame == (1, 32, 32)
    (folder / "s3" / "8.pgm").unlink()
    with pytest.raises(DataError, match=r"8\.pgm: expected .* found no such file"):
        att_faces.read(folder, 0, att_faces.IN_TEXT)


def test_the_64x64_version_of_att_faces_has_no_native_size(tmp_path: Path) -> None:
    folder = make_att_faces(tmp_path, (64, 64), "olivetti_faces")
    assert load_dataset("att_faces", root=str(tmp_path)).spec.frame == (1, 32, 32)
    with pytest.raises(ConfigError, match=r"dataset\.size: 112 .* 64x64"):
        load_dataset("att_faces", root=str(tmp_path), size=112)
    with pytest.raises(ConfigError, match=r"dataset\.size: 112 .* 64x64"):
        load_dataset("att_faces_8_9", root=str(tmp_path))
    assert load_dataset("att_faces_8_9", root=str(tmp_path), size=64).spec.frame == (1, 64, 64)
    Image.new("L", (92, 112)).save(folder / "s2" / "1.pgm")
    with pytest.raises(DataError, match=r"s2/1\.pgm: expected .* 64x64, found a picture, L, 92x112"):
        att_faces.read(folder, 0)


@settings(deadline=None)  # a loaded machine is no failure
@given(seed=st.integers(0, 99), side=st.integers(5, 60), shape=st.sampled_from([(20, 24), (8, 8, 3)]))
def test_resizing_agrees_with_torch(seed: int, side: int, shape: tuple[int, ...]) -> None:
    pixels = grey(seed, 2, *shape)
    channels_first = torch.from_numpy(pixels.reshape(2, *shape[:2], -1)).permute(0, 3, 1, 2).float()
    witness = torch.nn.functional.interpolate(channels_first, size=(side, side + 2), mode="bilinear", antialias=True)
    resized = torch.from_numpy(resize(pixels, side, side + 2).reshape(2, side, side + 2, -1)).permute(0, 3, 1, 2)
    assert (resized.float() - witness).abs().max() <= 1.5  # both round to whole levels, once an axis


def test_digits_are_scikit_learns() -> None:
    from sklearn.datasets import load_digits

    data, original = load_dataset("digits", size=8), load_digits()
    check(load_dataset("digits"))
    assert load_dataset("digits").spec.frame == (1, 28, 28)
    assert data.test.labels.bincount().tolist() == [50] * 10
    assert len(data.train) == 1297
    stored = torch.cat([pixels_of(data.train), pixels_of(data.test)]).flatten(1).numpy()
    labels = torch.cat([data.train.labels, data.test.labels]).tolist()
    rows = {(label, *row) for label, row in zip(labels, stored, strict=True)}
    scaled = np.floor(original.data * 255 / 16 + 0.5).astype(np.uint8)
    assert rows == {(label, *row) for label, row in zip(original.target.tolist(), scaled, strict=True)}
    # Drawn once for all: another split would not compare with older results.
    assert load_dataset("digits").digest.startswith("e27b46c38cac")


@pytest.mark.parametrize(
    ("labels", "words"),
    [([0, 1], "found 2 labels, 3 pictures"), ([0, 1, 2], "labels from 0 to 1, found 0 to 2"), ([-1, 0, 1], "-1")],
)
def test_labels_that_do_not_fit_are_refused(labels: list[int], words: str) -> None:
    whole = Labelled(grey(0, 2, 4, 4), np.array([0, 1]))
    with pytest.raises(DataError, match=words):
        assemble("x", train=whole, test=Labelled(grey(1, 3, 4, 4), np.array(labels)), class_names="ab", source="here")
    with pytest.raises(DataError, match="0 labels"):
        assemble("x", train=Labelled(grey(0, 0, 4, 4), np.array([])), test=whole, class_names="ab", source="here")


def test_the_table_is_whole_and_unknown_names_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {name for name, entry in DATASETS.items() if entry.people and not entry.own} == {
        "lfw",
        "att_faces",
        "att_faces_8_9",
    }
    for name in DATASETS:
        known = info(name)
        assert known.summary
        assert known.terms
        assert known.source
        assert known.counts
        assert len(known.candidates) == len(DATASETS[name].layouts)
        assert constants_of(name) == {"att_faces_8_9": "att_faces"}.get(name, name)
        assert constants_of(name) in DATASETS
    assert constants_of("minst") == "minst"
    for call in (load_dataset, info, fetch):
        with pytest.raises(ConfigError, match=r"'minst' is not known\. Did you mean 'mnist'"):
            call("minst")
    with pytest.raises(ConfigError, match=r"dataset\.size"):
        load_dataset("digits", size=-1)
    for framing in (Framing(time_bins=5, bin_ms=3), Framing(denoise_ms=40), Framing(classes=3)):
        with pytest.raises(ConfigError, match=r"dataset\.\w+: is for recordings of events; 'digits' holds images"):
            load_dataset("digits", framing=framing)
    digits = load_dataset("digits")
    monkeypatch.setitem(DATASETS, "own", DatasetEntry(lambda *_: digits, summary="s", terms="t"))
    assert load_dataset("own") is digits
    with pytest.raises(ConfigError, match="'own' cannot be downloaded"):
        fetch("own")


def test_importing_the_table_loads_nothing_heavy() -> None:
    heavy = "{'torch', 'torchvision', 'sklearn', 'numpy', 'PIL'}"
    code = f"import sys; from fl_sim.datasets import info; info('lfw'); sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class Response(io.BytesIO):
    """What `urlopen` returns, as far as torchvision and scikit-learn read it."""

    def __init__(self, content: bytes, url: str) -> None:
        super().__init__(content)
        self.url, self.length = url, len(content)

    def info(self) -> dict[str, str]:
        return {}


def serve(monkeypatch: pytest.MonkeyPatch, content: Callable[[str], bytes]) -> None:
    """Let every download end with `content(file name)`."""

    def urlopen(request: str | urllib.request.Request, *_: object, **__: object) -> Response:
        url = request if isinstance(request, str) else request.full_url
        return Response(content(url.rpartition("/")[2]), url)

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)


def no_fetch(name: str, home: Path, *words: str) -> None:
    with pytest.raises(DataError) as caught:
        fetch(name, progress=False)
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in (f"download of '{name}'", *words)), str(caught.value)
    assert list((home / "cache" / "spikeleak" / "data").iterdir()) == []


@pytest.mark.parametrize("name", fetched)
def test_a_dead_network_is_one_paragraph_and_leaves_nothing(
    name: str, home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    monkeypatch.setattr("time.sleep", lambda _: None)  # scikit-learn waits between its tries
    no_fetch(name, home, "Name or service not known")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html>"], ids=["empty", "web page"])
@pytest.mark.parametrize("name", fetched)
def test_a_wrong_download_is_thrown_away(
    name: str, content: bytes, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(monkeypatch, lambda _: content)
    no_fetch(name, home)


def test_a_download_is_checked_and_kept_and_a_damaged_copy_replaced(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Path] = []

    def download(folder: Path) -> None:
        calls.append(folder)
        make_lfw(folder / "lfw_home").rename(folder / "lfw_home" / "lfw_funneled")

    monkeypatch.setitem(fetching.RECIPES, "lfw", fetching.RECIPES["lfw"]._replace(download=download))
    kept = home / "cache" / "spikeleak" / "data" / "lfw_home" / "lfw_funneled"
    assert fetch("lfw") == fetch("lfw") == kept
    assert len(calls) == 1
    (kept / "Ann_One" / "Ann_One_0001.jpg").write_bytes(b"")
    assert fetch("lfw") == kept
    assert len(calls) == 2
    assert len(load_dataset("lfw").train) == 10
    assert [path.name for path in kept.parent.parent.iterdir()] == ["lfw_home"]
    monkeypatch.setitem(
        fetching.RECIPES, "lfw", fetching.RECIPES["lfw"]._replace(download=lambda f: (f / "lfw_home").mkdir())
    )
    (kept / "Ann_One" / "Ann_One_0001.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="is not valid and was deleted"):
        fetch("lfw")


@pytest.mark.parametrize("name", ["att_faces", "att_faces_8_9"])
def test_olivetti_faces_become_pgm_files(name: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = grey(0, 400, 64, 64)

    class Bunch:
        def __init__(self, **_: object) -> None:
            self.images = images.astype(np.float32) / 255 - 1e-3  # not quite on a grey level

    monkeypatch.setattr("sklearn.datasets.fetch_olivetti_faces", Bunch)
    kept = fetch(name, progress=False)
    assert np.array_equal(np.asarray(Image.open(kept / "s40" / "10.pgm")), images[399])
    data = load_dataset(name, size=64)
    check(data)
    first_of_class_1 = {"att_faces": 10, "att_faces_8_9": 90}[name]  # that of s2, and that of s10
    assert torch.equal(pixels_of(data.train)[8, 0], torch.from_numpy(images[first_of_class_1]))
    assert fetch(name, progress=False) == kept


def test_digits_need_no_download() -> None:
    assert (fetch("digits") / "digits.csv.gz").is_file()


@pytest.mark.parametrize("name", ["fashion_mnist", "cifar10"])
def test_what_torchvision_knows_is_downloaded_through_it(
    name: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.datasets import CIFAR10

    make = {"fashion_mnist": make_fashion_mnist, "cifar10": make_cifar10}[name]
    folder = make(home / "original", monkeypatch)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        tar.add(folder, arcname=folder.name)
    packed = archive.getvalue()
    monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5(packed).hexdigest())  # noqa: S324
    serve(monkeypatch, lambda file: packed if file.endswith(".tar.gz") else (folder / file).read_bytes())
    kept = fetch(name, progress=False)
    assert kept == home / "cache" / "spikeleak" / "data" / DATASETS[name].layouts[0]
    assert load_dataset(name).digest == load_dataset(name, root=str(home / "original")).digest
    assert (load_dataset(name).spec.frame, load_dataset(name).spec.classes) == (DATASETS[name].shape, 10)


@real_data
def test_mnist_is_downloaded_through_torchvision(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, lambda name: (Path(REAL) / "MNIST" / "raw" / name).read_bytes())
    kept = fetch("mnist", progress=False)
    for path in kept.glob("*.gz"):
        path.unlink()
    assert load_dataset("mnist").digest == load_dataset("mnist", root=REAL).digest


@real_data
@pytest.mark.parametrize(
    ("name", "train", "test", "frame", "classes"),
    [
        ("mnist", 60000, 10000, (1, 28, 28), 10),
        ("cifar100", 5000, 1000, (3, 32, 32), 100),
        ("lfw", 992, 248, (3, 32, 32), 62),
        ("att_faces", 320, 80, (1, 32, 32), 40),
        ("att_faces_8_9", 320, 80, (1, 112, 92), 40),
    ],
)
def test_real_counts(name: str, train: int, test: int, frame: tuple[int, int, int], classes: int) -> None:
    data = load_dataset(name, root=REAL)
    check(data)
    assert (len(data.train), len(data.test), data.spec.frame, data.spec.classes) == (train, test, frame, classes)
    assert data.spec.frame == DATASETS[name].shape
    assert set(data.train.labels.tolist()) == set(data.test.labels.tolist()) == set(range(classes))
    rows = [{image.tobytes() for image in pixels_of(split).numpy()} for split in (data.train, data.test)]
    assert not rows[0] & rows[1]


@real_data
def test_real_mnist_has_its_published_mean_and_first_labels() -> None:
    data = load_dataset("mnist", root=REAL)
    assert data.train.batch()[0].mean().item() == pytest.approx(0.1307, abs=5e-5)
    assert data.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert data.test.labels[:5].tolist() == [7, 2, 1, 0, 4]


@real_data
def test_real_parts_are_recognised() -> None:
    assert "a class-balanced tenth" in load_dataset("cifar100", root=REAL).source
    assert "pixels equal the original release" in load_dataset("att_faces", root=REAL).source
    faces = load_dataset("att_faces", root=REAL, size=112)
    with Image.open(Path(REAL) / "att_faces" / "s10" / "9.pgm") as picture:
        assert torch.equal(pixels_of(faces.test)[18, 0], torch.from_numpy(np.array(picture)))
    assert faces.test.labels[18] == 9
    other_split = load_dataset("att_faces_8_9", root=REAL)
    assert torch.equal(pixels_of(other_split.test)[3], pixels_of(faces.test)[18])  # s10 is class 1 there
