"""tonic's downloads of event recordings, the network replaced."""

from __future__ import annotations

import hashlib
import io
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from fl_sim.datasets import fetch, load_dataset
from fl_sim.errors import DataError
from tests.fl_sim.test_events_files import contents_of, zipped
from tests.fl_sim.test_events_formats import shd_files

pytestmark = pytest.mark.usefixtures("home")


class Response(io.BytesIO):
    """What `urlopen` returns, as far as tonic reads it."""

    def __init__(self, content: bytes, url: str) -> None:
        super().__init__(content)
        self.url, self.length = url, len(content)


def serve(monkeypatch: pytest.MonkeyPatch, kind: Any, archives: dict[str, bytes], served: bytes | None = None) -> None:
    """Let tonic download these archives of a split, by their names, or `served` in their place."""
    contents = {}
    for split in ("train", "test"):
        archive = archives[getattr(kind, f"{split}_filename")]
        monkeypatch.setattr(kind, f"{split}_md5", hashlib.md5(archive).hexdigest())  # noqa: S324
        contents[getattr(kind, f"{split}_url")] = archive if served is None else served
    monkeypatch.setattr(
        urllib.request, "urlopen", lambda request: Response(contents[request.full_url], request.full_url)
    )


def nmnist_archives() -> dict[str, bytes]:
    contents = contents_of("nmnist")
    return {
        f"{split.lower()}.zip": zipped({p: content for p, content in contents.items() if p.startswith(split)})
        for split in ("Train", "Test")
    }


class TestDownloads:
    """tonic's own downloads, the network replaced."""

    def test_the_original_is_unpacked_checked_and_kept(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        import tonic.datasets

        serve(monkeypatch, tonic.datasets.NMNIST, nmnist_archives())
        kept = fetch("nmnist", progress=False)
        assert kept == home / "cache" / "spikeleak" / "data" / "NMNIST"
        assert sorted(entry.name for entry in kept.iterdir()) == ["Test", "Train"]
        assert load_dataset("nmnist").train.labels.tolist() == [0, 0, 1, 1, 1, 2, 2]
        monkeypatch.setattr(urllib.request, "urlopen", lambda _: pytest.fail("a good copy was there"))
        assert fetch("nmnist", progress=False) == kept

    def test_spoken_digits_are_unpacked_and_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from tonic.datasets import SHD

        archives = {f"{name}.zip": zipped({name: content}) for name, content in shd_files().items()}
        for split, name in (("train", SHD.train_zip), ("test", SHD.test_zip)):
            monkeypatch.setattr(SHD, f"{split}_md5", hashlib.md5(archives[name]).hexdigest())  # noqa: S324
        monkeypatch.setattr(
            urllib.request,
            "urlopen",
            lambda request: Response(archives[request.full_url.removeprefix(SHD.base_url)], request.full_url),
        )
        kept = fetch("shd", progress=False)
        assert sorted(entry.name for entry in kept.iterdir()) == ["shd_test.h5", "shd_train.h5"]
        assert load_dataset("shd").train.labels.tolist() == [0, 19, 3]

    @pytest.mark.parametrize("served", [b"", b"<!DOCTYPE html>", nmnist_archives()["train.zip"][:-40]])
    def test_a_wrong_archive_is_named_with_what_was_found(
        self, served: bytes, home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        import tonic.datasets

        serve(monkeypatch, tonic.datasets.NMNIST, nmnist_archives(), served)
        with pytest.raises(DataError) as caught:
            fetch("nmnist", progress=False)
        text = str(caught.value)
        found = f"{len(served):,} bytes that begin with" if served else "an empty file"
        words = ("download of 'nmnist'", "train.zip", f"md5 {tonic.datasets.NMNIST.train_md5}", f"found {found}")
        assert all(word in text for word in words), text
        assert list((home / "cache" / "spikeleak" / "data").iterdir()) == []
        assert capfd.readouterr() == ("", "")

    def test_a_gesture_archive_without_recordings_is_thrown_away(
        self, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import gzip

        import tonic.datasets

        empty = gzip.compress(bytes(10240))  # a tar of nothing
        names = (tonic.datasets.DVSGesture.train_filename, tonic.datasets.DVSGesture.test_filename)
        serve(monkeypatch, tonic.datasets.DVSGesture, dict.fromkeys(names, empty))
        with pytest.raises(DataError, match=r"is not valid and was deleted.*ibmGestureTrain.*found none"):
            fetch("dvs_gesture", progress=False)
        assert list((home / "cache" / "spikeleak" / "data").iterdir()) == []
