"""Names and archives that lead out of a folder: refused, and nothing is written outside it."""

from __future__ import annotations

import stat
import sys
import zipfile
from pathlib import Path
from typing import Any

import matplotlib.font_manager  # noqa: F401 - it writes a cache where it is first imported, which no test shall see
import pytest
import tomli_w
import torch

from fl_sim.captures import CaptureStore, SealedStore
from fl_sim.config import SimulationConfig
from fl_sim.datasets.recordings import dvs_gesture, nmnist
from fl_sim.errors import ConfigError, DataError
from fl_sim.global_models import global_model_path, trained_model_path
from fl_sim.records import SealedBatch
from fl_sim.simulation import run_federation
from judges import cli
from judges.plans.gradient_inversion import make_plan
from judges.runs.pictures import ANSWER, TRUTH, Pictures, save_pictures
from tests.fl_sim.test_events_files import contents_of, nmnist_bytes

HOSTILE = ["../x", "/etc/x", "a/../../x", "x\0y", "x" * 300, "..", ".", "", "~/x", "x\n", "\\x", "-x/y"]
KEYS = ["name", "dataset", "model", "attack", "strategy", "judge", "dataset.partitioner", "model.surrogate"]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Return a function that runs the command in a folder of its own, in which nothing may appear."""
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    monkeypatch.delenv("SPIKELEAK_DATA", raising=False)
    for name in ("XDG_CACHE_HOME", "SPIKELEAK_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / "home"))

    def refused(*arguments: str) -> tuple[int, str]:
        before = set(tmp_path.rglob("*"))
        monkeypatch.setattr(sys, "argv", ["spikeleak", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capsys.readouterr().err
        assert "Traceback" not in told
        assert "unexpected" not in told, told
        assert set(tmp_path.rglob("*")) == before
        code = ended.value.code
        assert isinstance(code, int)
        return code, told

    return refused


@pytest.mark.parametrize("key", KEYS)
def test_no_name_in_a_config_leads_anywhere(key: str, tmp_path: Path, call: Any) -> None:
    path = tmp_path / "x.toml"
    for hostile in HOSTILE:
        raw: dict[str, Any] = {"name": "x", "judge": "none"}
        table, _, inner = key.rpartition(".")
        (raw.setdefault(table, {}) if table else raw)[inner] = hostile
        path.write_text(tomli_w.dumps(raw))
        code, told = call("run", str(path))
        assert code == 2, (hostile, told)
        assert key in told


@pytest.mark.parametrize("value", ["/nowhere/x", "x\0y", "x" * 300, "../" * 2000])
def test_a_root_that_cannot_be_is_no_data(value: str, tmp_path: Path, call: Any) -> None:
    path = tmp_path / "x.toml"
    path.write_text(tomli_w.dumps({"name": "x", "judge": "none", "dataset": {"name": "mnist", "root": value}}))
    code, told = call("run", str(path))
    assert code == 3
    assert told.startswith("spikeleak: ")


@pytest.mark.parametrize("command", [["data", "info"], ["data", "fetch"], ["train"], ["judge", "train"], ["list"]])
def test_no_argument_leads_anywhere(command: list[str], call: Any) -> None:
    for hostile in HOSTILE:
        code, told = call(*command, hostile)
        assert code == 2, (hostile, told)


@pytest.mark.parametrize("command", [["report"], ["attack"], ["verify"], ["rerun"], ["compare", "."], ["invert"]])
def test_a_folder_that_cannot_be_is_no_run(command: list[str], call: Any) -> None:
    for name in ("x" * 300, "none", "../none"):
        code, told = call(*command, name)
        assert code == 3, (name, told)
        assert told.startswith("spikeleak: ")


@pytest.mark.parametrize("name", HOSTILE)
def test_no_federation_leaves_its_folder(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "a" / "run"
    with pytest.raises(ConfigError, match="federation_id"):
        run_federation(SimulationConfig(), output=folder, federation_id=name)
    for path_of in (trained_model_path, lambda where, told: global_model_path(where, told, 1)):
        with pytest.raises(ConfigError, match="federation_id"):
            path_of(folder, name)
    for store in (CaptureStore(folder), SealedStore(folder)):
        with pytest.raises(DataError, match="capture id"):
            store.load(f"{name}/r001-c000")
    with pytest.raises(DataError, match="capture id"):
        SealedStore(folder)(SealedBatch(name, torch.zeros(1, 1, 1, 1), torch.zeros(1)))
    assert not list(tmp_path.iterdir())


def test_a_cell_of_any_settings_has_a_name_for_a_folder(tmp_path: Path) -> None:
    lists: dict[str, Any] = {"tau": [0.1, 1e-300], "guess": ["normal", "spikes"], "iterations": [1, 10**40]}
    plan = make_plan({"name": "x", "attack": {"name": ["dlg", "idlg"], **lists}})
    for cell in plan.cells:
        for part in (cell.federation, cell.label, cell.source):
            assert Path(part).name == part
            assert len(part) <= 90
    settings = {key: [1] for key in ("iterations", "inner_iterations", "history", "restarts", "victims_per_batch")}
    with pytest.raises(ConfigError, match=r"attack: .* too long for a folder"):
        make_plan({"name": "x", "attack": {"name": "dlg", **settings, "memory_mb": [64], "tolerance_change": [1e-9]}})


@pytest.mark.parametrize(("kinds", "folder"), [((TRUTH, ANSWER), "gallery"), ((ANSWER,), "answers")])
@pytest.mark.parametrize("name", [name for name in HOSTILE if len(name) < 100])  # longer ones are refused before
def test_no_pictures_leave_their_folder(name: str, kinds: tuple[str, ...], folder: str, tmp_path: Path) -> None:
    columns = ("cell", "dataset", "model", "family", "init", "attack", "control", "defence", "thresholding", "source")
    told: dict[str, Any] = dict.fromkeys(columns, name)
    told |= {key: {name: name} for key in ("varied", "attack_settings", "defence_settings")}
    told |= {"roles": (name,), "subjects": (name,), "numbers": {name: (0.0,)}, "words": {name: (name,)}}
    pictures = Pictures(**told, images={kind: torch.zeros(1, 1, 2, 2) for kind in kinds})
    assert save_pictures(pictures, tmp_path / "run").parent == tmp_path / "run" / folder
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


MEMBERS = [
    "../x.bin",
    "/etc/x.bin",
    "NMNIST/../../x.bin",
    "NMNIST/Train/1/../../../x.bin",
    "C:\\x.bin",
    "Train/1/1\0x.bin",
]


@pytest.mark.parametrize("link", [False, True], ids=["file", "link"])
@pytest.mark.parametrize("member", [*MEMBERS, "NMNIST/Train/1/00002.bin"])
def test_nothing_in_an_archive_is_unpacked(member: str, link: bool, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name, read in (("NMNIST", nmnist.read), ("DVSGesture", dvs_gesture.read)):
        path = tmp_path / f"{name}.zip"
        contents = contents_of("nmnist" if name == "NMNIST" else "dvs_gesture")
        with zipfile.ZipFile(path, "w") as archive:
            for inner, content in contents.items():
                archive.writestr(f"{name}/{inner}", content)
            entry = zipfile.ZipInfo(member)
            entry.create_system = 3
            entry.external_attr = ((stat.S_IFLNK if link else stat.S_IFREG) | 0o777) << 16
            archive.writestr(entry, b"../../../../etc/passwd" if link else b"foreign")
        with pytest.raises(DataError, match=rf"{path}.*expected .*found"):
            read(path, 0)
        assert {entry.name for entry in tmp_path.rglob("*")} <= {"NMNIST.zip", "DVSGesture.zip"}


def test_a_link_among_recordings_is_read_and_never_followed_to_write(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    outside = tmp_path / "outside.bin"
    outside.write_bytes(b"not a recording of events")
    folder = tmp_path / "NMNIST" / "Train" / "1"
    folder.mkdir(parents=True)
    (folder / "00001.bin").symlink_to(outside)
    (tmp_path / "NMNIST" / "Test" / "1").mkdir(parents=True)
    (tmp_path / "NMNIST" / "Test" / "1" / "00001.bin").write_bytes(nmnist_bytes([(1, 1, 5, 1)]))
    with pytest.raises(DataError, match=r"00001.bin: expected an N-MNIST recording"):
        nmnist.read(tmp_path / "NMNIST", 0)
    assert outside.read_bytes() == b"not a recording of events"
