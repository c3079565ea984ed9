"""The kept frames: made once, made anew where anything changed, never trusted where damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fl_sim.datasets.events import EVENT, EventSplit, Recording, collect, plan_frames
from fl_sim.datasets.events import cache as frame_cache
from fl_sim.datasets.events.cache import frames_folder
from fl_sim.datasets.examples import Dataset
from fl_sim.datasets.recordings import nmnist
from fl_sim.files import sha256
from fl_sim.specs import Framing
from tests.fl_sim.test_datasets import DAMAGE
from tests.fl_sim.test_events import check, split_of
from tests.fl_sim.test_events_files import contents_of, put

pytestmark = pytest.mark.usefixtures("home")


class TestKeptFrames:
    """The files that save making frames again."""

    @pytest.fixture
    def made(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """Count how often frames are made; the data set is the small N-MNIST."""
        calls: list[int] = []

        def counted(*arguments: Any) -> EventSplit:
            calls.append(1)
            return collect(*arguments)

        monkeypatch.setattr(frame_cache, "collect", counted)
        put(tmp_path / "root", "nmnist", contents_of("nmnist"), packed=False)
        return calls

    def read(self, tmp_path: Path, size: int = 0, framing: Framing | None = None) -> Dataset:
        return nmnist.read(tmp_path / "root" / "NMNIST", size, framing)

    def test_they_are_made_once_and_never_in_the_data(self, tmp_path: Path, made: list[int]) -> None:
        before = sorted(tmp_path.rglob("root/**/*"))
        first, again = self.read(tmp_path), self.read(tmp_path)
        check(again)
        assert len(made) == 2  # two splits, once
        assert again.digest == first.digest
        assert torch.equal(split_of(again.test).recordings, split_of(first.test).recordings)
        assert sorted(tmp_path.rglob("root/**/*")) == before
        assert len(list(frames_folder().iterdir())) == 1
        # The defaults, spelled out, are the same frames.
        self.read(tmp_path, 34, Framing(time_bins=10, classes=10))
        assert len(made) == 2

    def test_whatever_they_depend_on_makes_them_anew(
        self, tmp_path: Path, made: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        digests = [
            self.read(tmp_path, size, framing).digest
            for size, framing in [
                (0, Framing()),
                (17, Framing()),
                (0, Framing(time_bins=9)),
                (0, Framing(polarity="merged")),
                (0, Framing(polarity="on")),
                (0, Framing(voxels="counts")),
                (0, Framing(window_ms=50)),
                (0, Framing(time_bins=10, bin_ms=20)),
                (0, Framing(time_bins=10, bin_ms=21)),
                (0, Framing(denoise_ms=60)),
                (0, Framing(denoise_ms=90)),
                (0, Framing(classes=1)),
                (0, Framing(classes=2)),
            ]
        ]
        assert len(set(digests)) == len(digests)
        assert len(made) == 26
        changed = tmp_path / "root" / "NMNIST" / "Test" / "9" / "00002.bin"
        changed.write_bytes(changed.read_bytes()[:-5])
        assert self.read(tmp_path).digest != digests[0]
        assert len(made) == 28
        monkeypatch.setattr(frame_cache, "CODE_VERSION", 0)
        self.read(tmp_path)
        assert len(made) == 30

    def test_what_users_keep_is_found_again(self) -> None:
        """A change of this name would make all frames of every user anew; so it comes with a change of version."""
        plan = plan_frames(Framing(time_bins=3, denoise_ms=60), sensor=4, size=2, bins=5, classes=10)
        recording = Recording.of(0, np.array([(1, 2, 3, 1), (1, 2, 9, 0)], dtype=EVENT))
        frame_cache.cached_splits("toy", plan, "content", [0, 1], lambda _: [recording])
        (path,) = frames_folder().iterdir()
        assert path.name == "toy-6f7f82c8c9e8a060a1545ac3fa9532a9.safetensors"
        assert sha256(path) == "265045e7df7d41db18745a1bddad33f5638adcd1305a7e7da836d68e51a82646"

    @pytest.mark.parametrize("damage", [*DAMAGE, "last byte", "first tensor", "another's"])
    def test_a_damaged_file_is_never_trusted(self, damage: str, tmp_path: Path, made: list[int]) -> None:
        whole = self.read(tmp_path)
        (path,) = frames_folder().iterdir()
        content = path.read_bytes()
        header = 8 + int.from_bytes(content[:8], "little")
        if damage == "another's":
            self.read(tmp_path, 33)
            (other,) = set(frames_folder().iterdir()) - {path}
            damaged = other.read_bytes()
        else:
            at = len(content) - 1 if damage == "last byte" else header
            flipped = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
            damaged = DAMAGE[damage](content) if damage in DAMAGE else flipped
        path.write_bytes(damaged)
        calls = len(made)
        assert self.read(tmp_path).digest == whole.digest
        assert len(made) == calls + 2
        assert path.read_bytes() == content

    @settings(max_examples=40)
    @given(at=st.integers(0, 10**6), bit=st.integers(0, 7))
    def test_no_flipped_bit_changes_what_is_read(
        self, tmp_path_factory: pytest.TempPathFactory, at: int, bit: int
    ) -> None:
        folder = tmp_path_factory.mktemp("flipped")
        put(folder / "root", "nmnist", contents_of("nmnist"), packed=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_CACHE_HOME", str(folder))
            whole = nmnist.read(folder / "root" / "NMNIST.zip", 0)
            (path,) = frames_folder().iterdir()
            content = bytearray(path.read_bytes())
            content[at % len(content)] ^= 1 << bit
            path.write_bytes(content)
            assert nmnist.read(folder / "root" / "NMNIST.zip", 0).digest == whole.digest

    def test_a_cache_that_cannot_be_written_stops_nothing(self, tmp_path: Path, made: list[int]) -> None:
        frames_folder().parent.mkdir(parents=True)
        frames_folder().write_bytes(b"a file where the folder should be")
        check(self.read(tmp_path))
        assert len(made) == 2
