"""What an earlier call has finished keeps its hash: damage is named and computed again, or refused, never certified."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from attacks.contracts import Reconstruction
from fl_sim.errors import DataError
from fl_sim.records import load_record, save_record
from judges.bench.execution import run_plan
from judges.bench.gradient_inversion import Run
from judges.bench.gradient_inversion.added import AddedAttack, attack_run
from judges.plans.audit import read_audit
from judges.plans.gradient_inversion import make_plan
from judges.progress import Watch
from judges.runs.integrity import verify, write_hashes
from judges.runs.manifest import failed_cells, read_manifest
from judges.runs.pictures import Pictures
from judges.runs.rows import Score
from judges.runs.tables import read_rows, write_rows
from tests.judges.bench.test_gradient_inversion import quiet, run, without_seconds
from tests.judges.bench.test_whole_federations import NAMES, RAW, flip
from tests.judges.cli.test_runs import ask

pytestmark = pytest.mark.endurance

OTHER = ["attack.name=idlg", "attack.iterations=0"]
ADDED = "idlg-iterations=0"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run to which an attack was added, for reading."""
    folder = tmp_path_factory.mktemp("damage") / "run"
    run(folder, RAW)
    attack_run(folder, OTHER, quiet())
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """Return a copy of the finished run, for changing."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


class Ears(Watch):
    """Keeps what is said."""

    def __init__(self) -> None:
        super().__init__(quiet().console)
        self.heard: list[str] = []

    def say(self, text: str) -> None:
        self.heard.append(text)


def resume(folder: Path) -> list[str]:
    ears = Ears()
    run_plan(make_plan(dict(RAW)), folder, ears)
    return ears.heard


def answer(folder: Path, source: str) -> Path:
    return folder / "reconstructions" / source / NAMES[0] / "r001-c000.safetensors"


def forge_an_answer(path: Path) -> None:
    """Another answer, in a record that is sound in itself."""
    result = load_record(Reconstruction, path)
    save_record(replace(result, inputs=result.inputs + 0.125), path)


def forge_rows(folder: Path, attack: str) -> None:
    rows = read_rows(Score, folder / "scores.csv")
    forged = [replace(row, ssim=1.0) if row.cell.endswith(f"/{attack}") else row for row in rows]
    write_rows(Score, forged, folder / "scores.csv")


@pytest.mark.parametrize("damage", [forge_an_answer, flip, Path.unlink])
def test_an_answer_that_has_changed_is_named_and_computed_again(folder: Path, damage: Callable[[Path], None]) -> None:
    rows = without_seconds(folder)
    damage(answer(folder, "idlg"))
    told = resume(folder)
    named = [text for text in told if "reconstructions/idlg/" in text and "computed again" in text]
    assert len(named) == (damage is not Path.unlink)
    assert sorted(map(str, without_seconds(folder))) == sorted(map(str, rows))
    assert verify(folder).is_sound


def test_an_answer_of_another_command_is_named_and_not_certified(folder: Path) -> None:
    rows = without_seconds(folder)
    forge_an_answer(answer(folder, ADDED))
    told = resume(folder)
    assert any(f"reconstructions/{ADDED}/" in text and "stays" in text for text in told)
    assert verify(folder).changed == (f"reconstructions/{ADDED}/{NAMES[0]}/r001-c000.safetensors",)
    attack_run(folder, OTHER, quiet())
    assert verify(folder).is_sound
    assert sorted(map(str, without_seconds(folder))) == sorted(map(str, rows))


def test_forged_rows_of_the_run_are_scored_again_and_no_attack_is_added_to_them(folder: Path) -> None:
    rows = without_seconds(folder)
    forge_rows(folder, "idlg")
    with pytest.raises(DataError, match=r"expected the rows of '.*/idlg' as they were written"):
        attack_run(folder, OTHER, quiet())
    assert "scores.csv" in verify(folder).changed + verify(folder).unlisted
    told = resume(folder)
    assert any("scores.csv" in text for text in told)
    assert sorted(map(str, without_seconds(folder))) == sorted(map(str, rows))
    assert verify(folder).is_sound


@pytest.mark.parametrize("damage", [lambda path: forge_rows(path.parent, ADDED), Path.unlink])
def test_forged_rows_of_an_added_attack_are_a_named_failure(folder: Path, damage: Callable[[Path], None]) -> None:
    rows = without_seconds(folder)
    damage(folder / "scores.csv")
    for _ in range(2):
        resume(folder)
        failed = failed_cells(read_manifest(folder))
        assert len(failed) == 2
        assert all(cell.endswith(ADDED) and "`spikeleak attack`" in reason for cell, reason in failed.items())
    attack_run(folder, OTHER, quiet())
    assert not failed_cells(read_manifest(folder))
    assert sorted(map(str, without_seconds(folder))) == sorted(map(str, rows))


@pytest.mark.parametrize("name", ["manifest.json", "config.toml"])
def test_what_cannot_be_computed_again_is_refused(folder: Path, name: str) -> None:
    (folder / name).write_text((folder / name).read_text() + "\n")
    with pytest.raises(DataError, match=f"{name}: has another content"):
        run(folder, RAW)
    with pytest.raises(DataError, match=f"{name}: has another content"):
        attack_run(folder, OTHER, quiet())
    assert verify(folder).changed == (name,)
    run(folder, RAW, fresh=True)
    assert verify(folder).is_sound


def test_a_picture_that_is_gone_stays_missing(folder: Path) -> None:
    picture = next(path for path in sorted((folder / "gallery").iterdir()) if ADDED in path.name)
    picture.unlink()
    resume(folder)
    assert verify(folder).missing == (f"gallery/{picture.name}",)


def test_deep_verification_builds_all_rows_from_the_answers(folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    code, told = ask("verify", folder, "--deep")
    assert code == 0
    assert told.splitlines()[-1] == f"equal: {len(without_seconds(folder))} rows in 18 cells compared."
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    for attack in ("idlg", ADDED):
        forge_rows(folder, attack)
        write_hashes(folder)
        assert ask("verify", folder)[0] == 0
        code, told = ask("verify", folder, "--deep")
        assert code == DataError.exit_code
        assert f"digits-lenet-uniform/{attack} " in told
        assert "ssim" in told


def test_a_call_that_ends_early_leaves_a_list_that_is_true(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where it is killed before its report."""
    rows = without_seconds(folder)
    monkeypatch.setattr("judges.bench.execution.write_hashes", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(folder, RAW)
    found = verify(folder)
    assert (found.changed, found.missing) == ((), ())
    assert "scores.csv" in found.unlisted
    monkeypatch.undo()
    assert not [text for text in resume(folder) if "note" in text]
    assert sorted(map(str, without_seconds(folder))) == sorted(map(str, rows))
    assert verify(folder).is_sound


@pytest.mark.parametrize("name", ["summary.json", "scores.csv", "gallery"])
def test_no_report_of_another_content_is_listed(folder: Path, name: str) -> None:
    source = next((folder / name).iterdir()) if name == "gallery" else folder / name
    content, page = source.read_bytes(), (folder / "report.html").read_bytes()
    flip(source)
    with pytest.raises(DataError, match=rf"{re.escape(str(source))}: expected the content that it had"):
        ask("report", folder)
    source.write_bytes(content)
    assert (folder / "report.html").read_bytes() == page
    assert ask("report", folder)[0] == 0
    assert verify(folder).is_sound


def test_an_answer_that_somebody_changes_during_another_call_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = answer(folder, "idlg")

    def facts(added: AddedAttack) -> Mapping[str, Any]:
        forge_an_answer(path)
        return Run.facts(added)

    monkeypatch.setattr(AddedAttack, "facts", facts)
    attack_run(folder, ["attack.name=idlg", "attack.iterations=0"], quiet())
    assert verify(folder).changed == (path.relative_to(folder).as_posix(),)


def test_an_audit_names_another_truth_and_attacks_other_captures_anew(finished: Path, tmp_path: Path) -> None:
    for room in ("captures", "sealed"):
        shutil.copytree(finished / room / NAMES[1], tmp_path / room / NAMES[1])
    plan = read_audit(["attack.name=idlg", "attack.iterations=1", "checks=0"])
    run_plan(plan, tmp_path, quiet())
    seal = tmp_path / "sealed" / NAMES[1] / "r001-c000.safetensors"
    content = seal.read_bytes()
    flip(seal)
    for assignments in ([], ["seed=1"]):
        ears = Ears()
        other = read_audit(["attack.name=idlg", "attack.iterations=1", "checks=0", *assignments])
        run_plan(other, tmp_path, ears)
        assert any("sealed/" in text and "has another content" in text for text in ears.heard)
        assert verify(tmp_path).changed == (seal.relative_to(tmp_path).as_posix(),)
    seal.write_bytes(content)
    assert verify(tmp_path).is_sound
    (tmp_path / "captures" / NAMES[1] / "r001-c000.safetensors").unlink()
    ears = Ears()
    run_plan(plan, tmp_path, ears)
    assert any("r001-c000.safetensors is missing; the captures that there are now" in text for text in ears.heard)


def raise_the_first_number(path: Path) -> None:
    """Flip one bit of the first tensor, which leaves a file that reads as an answer."""
    content = bytearray(path.read_bytes())
    content[8 + int.from_bytes(content[:8], "little") + 3] ^= 1
    path.write_bytes(content)


def test_an_answer_of_an_unfinished_run_with_a_flipped_bit_is_computed_again(folder: Path) -> None:
    """Nothing lists its hash yet; the record has its own."""
    rows = without_seconds(folder)
    (folder / "files.sha256").unlink()
    raise_the_first_number(answer(folder, "idlg"))
    told = resume(folder)
    assert [text for text in told if "its checksum does not fit" in text and "computed again" in text]
    assert sorted(map(str, without_seconds(folder))) == sorted(map(str, rows))


def test_no_report_is_written_with_a_picture_that_another_call_made_and_somebody_changed(folder: Path) -> None:
    page = (folder / "report.html").read_bytes()
    picture = next(path for path in sorted((folder / "gallery").iterdir()) if ADDED in path.name)
    sound = load_record(Pictures, picture)
    save_record(replace(sound, images={name: 1 - one for name, one in sound.images.items()}), picture)
    with pytest.raises(DataError, match=rf"{re.escape(str(picture))}: has another content"):
        resume(folder)
    assert (folder / "report.html").read_bytes() == page
    attack_run(folder, OTHER, quiet())
    assert verify(folder).is_sound
