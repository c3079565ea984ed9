"""What a federation must contain is on record: it is run again, or named, where anything is missing or changed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fl_sim.contents import Contents, contents_path, read_contents
from fl_sim.errors import ConfigError, DataError
from fl_sim.federation import client_app
from judges.bench.execution import run_plan
from judges.bench.gradient_inversion.added import attack_run
from judges.cli.terminal import INCOMPLETE
from judges.plans.model_inversion import make_inversion_plan
from judges.runs.integrity import verify
from judges.runs.manifest import failed_cells, read_manifest
from tests.judges.bench.test_gradient_inversion import quiet, run, without_seconds
from tests.judges.cli.test_runs import ask

pytestmark = pytest.mark.endurance

RAW: dict[str, Any] = {
    "name": "whole",
    "dataset": {"name": "digits", "split": "test", "size": 12},
    "model": {"name": ["lenet", "mlp"], "hidden": 8},
    "federation": {"clients": 2},
    "attack": {"name": "idlg", "iterations": 1},
    "judge": "none",
}
NAMES = ("digits-lenet-uniform-000", "digits-mlp-uniform-000")
CELLS = [f"{name.removesuffix('-000')}/idlg" for name in NAMES]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    run(folder, RAW)
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """Return a copy of the finished run, for changing."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def everything(folder: Path) -> dict[str, bytes]:
    """Return what federations wrote."""
    rooms = ("captures", "sealed", "models", "federations")
    paths = sorted(path for room in rooms for path in (folder / room).rglob("*.*"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def append_a_blank(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b" ")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_the_manifest_lists_clients_and_files_by_hash(finished: Path) -> None:
    told = read_manifest(finished)["federations"]
    assert sorted(told) == sorted(NAMES)
    files = {path for path in everything(finished) if not path.startswith("federations/")}
    assert {path for entry in told.values() for path in entry["files"]} == files
    for name in NAMES:
        contents = read_contents(finished, name)
        assert contents is not None
        assert contents.sampled == ((0, 1),)
        assert contents.unanswered == {}
        assert contents.captures == {f"{name}/r001-c000", f"{name}/r001-c001"}
        assert told[name] == contents.model_dump(mode="json")


@pytest.mark.parametrize(
    ("pattern", "damage"),
    [
        ("captures/*/r001-c001.*", Path.unlink),
        ("captures/*/r001-c001.*", flip),
        ("captures/*/model-*", flip),
        ("sealed/*/r001-c000.*", Path.unlink),
        ("models/*", flip),
        ("federations/*", flip),
        ("federations/*", append_a_blank),
    ],
)
def test_what_is_gone_or_changed_is_made_again(folder: Path, pattern: str, damage: Callable[[Path], None]) -> None:
    before, rows = everything(folder), without_seconds(folder)
    damaged = sorted(folder.glob(pattern))[0]
    damage(damaged)
    assert not verify(folder).is_sound
    run(folder, RAW)
    assert everything(folder) == before
    assert without_seconds(folder) == rows
    assert verify(folder).is_sound


def test_verify_knows_what_a_federation_must_contain_without_the_list(folder: Path) -> None:
    capture = folder / "captures" / NAMES[0] / "r001-c000.safetensors"
    capture.unlink()
    lines = (folder / "files.sha256").read_text().splitlines(keepends=True)
    (folder / "files.sha256").write_text("".join(line for line in lines if capture.name not in line))
    assert capture.relative_to(folder).as_posix() in verify(folder).missing


def test_an_attack_on_captures_that_are_gone_is_refused(folder: Path) -> None:
    (folder / "captures" / NAMES[0] / "r001-c001.safetensors").unlink()
    rows = without_seconds(folder)
    with pytest.raises(DataError, match=r"r001-c001.safetensors is missing; `spikeleak run .* makes it again"):
        attack_run(folder, ["attack.name=idlg", "attack.iterations=0"], quiet())
    assert without_seconds(folder) == rows


def test_captures_that_come_out_otherwise_are_refused(folder: Path) -> None:
    """As where another version of torch runs the federation again."""
    path = contents_path(folder, NAMES[0])
    contents = read_contents(folder, NAMES[0])
    assert contents is not None
    first = min(contents.files)
    other = Contents(sampled=contents.sampled, files={**contents.files, first: "0" * 64})
    manifest = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(manifest.replace(contents.files[first], "0" * 64))
    (folder / "files.sha256").unlink()
    path.write_text(other.model_dump_json())
    for _ in range(2):
        with pytest.raises(DataError, match="came out otherwise than the first time"):
            run(folder, RAW)


def test_a_client_that_does_not_answer_is_a_named_failure_and_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(message: Any, context: Any, settings: Any) -> Any:
        first = message.content["config"]["server-round"] == 1
        if first and context.node_config["partition-id"] == 1 and "lenet" in settings.federation_id:
            raise OSError("killed")
        return sound(message, context, settings)

    sound = client_app._train
    monkeypatch.setattr(client_app, "_train", train)
    folder, raw = tmp_path / "run", RAW | {"federation": {"clients": 2, "rounds": 2}}
    run(folder, raw)
    manifest = read_manifest(folder)
    assert failed_cells(manifest) == {
        CELLS[0]: f"federation {NAMES[0]}: {NAMES[0]}/r001-c001: its client did not answer as it must (the client "
        "failed: OSError: killed)"
    }
    assert list(manifest["federations"][NAMES[0]]["unanswered"]) == [f"{NAMES[0]}/r001-c001"]
    assert {row["model"] for row in without_seconds(folder)} == {"mlp"}
    code, told = ask("verify", folder)
    assert code == INCOMPLETE
    assert "did not answer" in told
    monkeypatch.setattr(client_app, "_train", sound)
    run(folder, raw)
    assert not failed_cells(read_manifest(folder))
    run(tmp_path / "calm", raw)
    assert without_seconds(folder) == without_seconds(tmp_path / "calm")
    assert ask("verify", folder)[0] == 0


def test_a_federation_of_which_every_client_fails_takes_only_its_own_cells_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def train(message: Any, context: Any, settings: Any) -> Any:
        if "lenet" in settings.federation_id:
            raise ConfigError("defence: of my own")
        return sound(message, context, settings)

    sound = client_app._train
    monkeypatch.setattr(client_app, "_train", train)
    run(tmp_path, RAW | {"federation": {"clients": 2}})
    (reason,) = failed_cells(read_manifest(tmp_path)).values()
    assert reason == (
        "Round 1: none of the 2 clients sent a valid reply. First problem: the client failed: ConfigError: defence: of "
        "my own"
    )
    assert {row["model"] for row in without_seconds(tmp_path)} == {"mlp"}
    told = [record.getMessage() for record in caplog.records if record.name == "flwr"]
    assert sum("raised ConfigError" in text for text in told) == 1  # not once a client
    assert sum("is not recorded: for the same reason" in text for text in told) == 1


def test_a_federation_whose_models_are_inverted_is_whole_too(tmp_path: Path, cache: Path) -> None:
    plan = make_inversion_plan(
        {
            "name": "whole",
            "task": "model_inversion",
            "target": "federation",
            "dataset": {"name": "digits", "size": 16},
            "model": {"name": "mlp", "hidden": 8},
            "federation": {"clients": 2, "rounds": 2, "keep_every": 1},
            "attack": {"iterations": 1},
            "draws": 2,
            "judge": {"max_epochs": 1},
        }
    )
    run_plan(plan, tmp_path / "run", quiet())
    before = everything(tmp_path / "run")
    (tmp_path / "run" / "models" / "digits-mlp-torch-000@r001.safetensors").unlink()
    run_plan(plan, tmp_path / "run", quiet())
    assert everything(tmp_path / "run") == before
