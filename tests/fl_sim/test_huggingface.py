"""Data sets of Hugging Face, built here and saved as its package saves them; the network is replaced."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fl_sim.datasets import fetch, info, load_dataset
from fl_sim.datasets.examples import Dataset
from fl_sim.errors import ConfigError, DataError
from fl_sim.specs import OwnData
from fl_sim.testing import DATASET_PROMISES, check_dataset
from tests.fl_sim.test_datasets import check, grey, pixels_of

datasets: Any = pytest.importorskip("datasets", reason="needs the extra huggingface")
pytestmark = [pytest.mark.usefixtures("home"), pytest.mark.filterwarnings("ignore::DeprecationWarning")]

PICTURES = grey(3, 12, 9, 8, 3)
LABELS = [0, 1, 2] * 4
KINDS = ["ant", "bee", "cat"]


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets.disable_progress_bars()


def png(pixels: Any) -> dict[str, Any]:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": None}


def split(part: slice = slice(None), **more: Any) -> Any:
    """Return a split of these pictures, with further columns {name: (values, type)}."""
    kinds = {"image": datasets.Image(), "label": datasets.ClassLabel(names=KINDS)}
    rows = {"image": [png(one) for one in PICTURES[part]], "label": LABELS[part]}
    for name, (values, kind) in more.items():
        rows[name], kinds[name] = list(values)[part], kind
    return datasets.Dataset.from_dict(rows, features=datasets.Features(kinds))


def saved(path: Path, held: Any) -> Path:
    held.save_to_disk(str(path))
    return path


def of(path: Path, size: int = 0, **own: Any) -> Dataset:
    data = load_dataset("huggingface", root=str(path), size=size, own=OwnData(**own))
    check(data)
    return data


def test_its_own_splits_are_kept(tmp_path: Path) -> None:
    whole = datasets.DatasetDict(train=split(slice(0, 9)), validation=split(slice(9, 12)))
    data = of(saved(tmp_path / "mine", whole))
    expected = torch.from_numpy(PICTURES).permute(0, 3, 1, 2)
    assert torch.equal(pixels_of(data.train), expected[:9])
    assert torch.equal(pixels_of(data.test), expected[9:])
    assert (data.class_names, data.train.labels.tolist()) == (tuple(KINDS), LABELS[:9])
    assert data.people
    assert "its own split (train and validation)" in data.source
    assert of(tmp_path / "mine", size=16, people=False).spec.frame == (3, 16, 16)
    assert [place.path for place in info("huggingface", str(tmp_path / "mine")).candidates] == [tmp_path / "mine"]


def test_one_split_is_divided_by_name(tmp_path: Path) -> None:
    data = of(saved(tmp_path / "mine", split()), test_fraction=0.5)
    assert data.test.labels.bincount().tolist() == [2, 2, 2]
    assert "0.5 of each class for test" in data.source
    assert of(saved(tmp_path / "b", datasets.DatasetDict(train=split())), test_fraction=0.5).train.labels.numel() == 6


def test_the_columns_are_found_by_their_types(tmp_path: Path) -> None:
    coarse = datasets.ClassLabel(names=["small", "large"])
    many = split(size=([0, 1] * 6, coarse), note=(map(str, range(12)), datasets.Value("string")))
    assert of(saved(tmp_path / "a", many)).class_names == tuple(KINDS)
    plain = split().cast_column("label", datasets.Value("int64"))
    assert of(saved(tmp_path / "b", plain)).class_names == ("0", "1", "2")
    for held, words in (
        (split().remove_columns("label"), "12 rows of image (Image)"),
        (split().remove_columns("image"), "12 rows of label (ClassLabel)"),
        (split(other=([png(one) for one in PICTURES], datasets.Image())), "other (Image)"),
        (datasets.DatasetDict(first=split(), second=split()), "first, second"),
    ):
        path = saved(tmp_path / words.replace(" ", "_"), held)
        with pytest.raises(DataError, match="expected") as caught:
            load_dataset("huggingface", root=str(path))
        assert words in str(caught.value)


def test_what_is_damaged_or_not_there_is_named(tmp_path: Path) -> None:
    path = saved(tmp_path / "mine", split())
    (path / "state.json").write_text("{")
    with pytest.raises(DataError, match=f"{path}: expected a folder that `datasets` saved, found that it cannot"):
        load_dataset("huggingface", root=str(path))
    broken = [{"bytes": b"<!DOCTYPE html>", "path": None}] * 12
    web = datasets.Dataset.from_dict(
        {"image": broken, "label": LABELS},
        features=datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=KINDS)}),
    )
    with pytest.raises(DataError, match=r"web/all/0: expected a picture .*'<!DOCTYPE html>'"):
        load_dataset("huggingface", root=str(saved(tmp_path / "web", web)))
    with pytest.raises(DataError, match=r"'hf:own/er' was not found at .* with `spikeleak data fetch hf:own/er`"):
        load_dataset("huggingface", root="hf:own/er")
    for root in ("hf:", "hf:../up", "hf:a/b/c"):
        with pytest.raises(ConfigError, match=r"dataset\.root: expected a folder, or a name such as hf:OWNER/NAME"):
            load_dataset("huggingface", root=root)
    with pytest.raises(DataError, match=rf"was not found at {tmp_path}/none: expected a folder[^.]*\.$"):
        load_dataset("huggingface", root=str(tmp_path / "none"))
    with pytest.raises(ConfigError, match=r"dataset\.root: 'huggingface' needs the name"):
        load_dataset("huggingface")


def test_a_fetched_data_set_is_checked_and_kept(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(name: str) -> Any:
        asked.append(name)
        return datasets.DatasetDict(train=split(slice(0, 9)), test=split(slice(9, 12)))

    monkeypatch.setattr(datasets, "load_dataset", answer)
    kept = fetch("hf:own/er", progress=False)
    assert kept == fetch("hf:own/er", progress=False) == home / "cache/spikeleak/data/huggingface/own/er"
    assert asked == ["own/er"]
    assert len(load_dataset("huggingface", root="hf:own/er").train) == 9
    assert len(load_dataset("huggingface", root="own/er").test) == 3

    def fail(_: str) -> Any:
        raise ConnectionError("no network\nat all")

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(DataError, match=r"download of 'hf:other' .* failed, .* was kept: no network at all"):
        fetch("hf:other", progress=False)
    monkeypatch.setattr(datasets, "load_dataset", lambda _: datasets.DatasetDict(train=split().remove_columns("label")))
    with pytest.raises(DataError, match=r"is not valid and was deleted: .* a column of pictures"):
        fetch("hf:other", progress=False)


@pytest.mark.parametrize("promise", DATASET_PROMISES)
def test_it_keeps_its_promise(promise: str, tmp_path: Path) -> None:
    check_dataset("huggingface", root=saved(tmp_path / "mine", split()), only=[promise])


def test_numbers_are_decoded_as_pillow_decodes_them(tmp_path: Path) -> None:
    """The bytes are decoded by this package: grey stays grey."""
    shades = datasets.Dataset.from_dict(
        {"image": [png(one[..., 0]) for one in PICTURES], "label": LABELS},
        features=datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=KINDS)}),
    )
    data = of(saved(tmp_path / "mine", shades))
    stored = np.concatenate([pixels_of(data.train).numpy(), pixels_of(data.test).numpy()])[:, 0]
    assert {one.tobytes() for one in stored} == {one.tobytes() for one in PICTURES[..., 0]}
