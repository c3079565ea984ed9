"""`--isolate`: the same answers from a process that has neither the data nor the truth."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from attacks import ATTACKS
from attacks.answers import AttackError, Call
from attacks.testing.victims import LENET, captures_of, truth
from judges.bench.apart.calls import JOB, Apart, answers, hidden_from_attacks
from judges.bench.apart.landlock import is_there
from judges.bench.engine_options import EngineOptions
from judges.bench.execution import run_plan
from judges.plans.gradient_inversion import make_plan
from judges.runs.manifest import read_manifest
from tests.judges.bench.test_gradient_inversion import RAW, quiet

SPY = """
import os
from pathlib import Path
from attacks import ATTACKS, AttackEntry
from attacks.idlg import IDLG
from attacks.settings import IDLGSettings


class SpySettings(IDLGSettings):
    look: str = ""


def looked(path):
    try:
        return Path(path).read_text()
    except OSError as error:
        return type(error).__name__


def written(path):
    try:
        Path(path).write_text("mine")
        return True
    except OSError:
        return False


class Spy(IDLG):
    name = "spy"

    def __init__(self, settings=None):
        super().__init__(settings or SpySettings())

    def reconstruct(self, captures, **more):
        found = super().reconstruct(captures, **more)
        if self.settings.look == "exit":
            os._exit(7)
        if self.settings.look:
            folder = Path(self.settings.look)
            raise RuntimeError(repr({
                "sealed": looked(folder / "sealed" / "truth"),
                "gallery": looked(folder / "gallery" / "truth"),
                "data": looked(folder / "data" / "truth"),
                "beside": looked(folder / "beside"),
                "wrote": written(folder / "beside"),
                "here": written("here"),
                "shared": written(f"/dev/shm/spy-{os.getpid()}"),
                "parent": looked(f"/proc/{os.getppid()}/environ"),
                "self": bool(looked("/proc/self/status")),
                "environment": sorted(name for name in os.environ if "SPIKELEAK" in name),
                "same folder": str(Path.cwd()) in os.environ["PYTHONPATH"].split(os.pathsep),
            }))
        return found


ATTACKS["spy"] = AttackEntry(Spy, SpySettings, adversary="A", summary="looks around")
"""


@pytest.fixture
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Apart:
    """Return how an attack is kept apart that looks for the truth and the data of a run."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "spy_module.py").write_text(SPY)
    monkeypatch.syspath_prepend(tmp_path / "modules")
    monkeypatch.setenv("SPIKELEAK_DATA", str(tmp_path / "data"))
    for name in ("sealed", "gallery", "data"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "truth").write_text("the truth")
    (tmp_path / "beside").write_text("public")
    monkeypatch.setitem(ATTACKS, "spy", ATTACKS["idlg"])  # what is imported replaces it, and the table ends without it
    monkeypatch.delitem(sys.modules, "spy_module", raising=False)
    importlib.import_module("spy_module")
    return Apart(("spy_module",), hidden_from_attacks(tmp_path))


@pytest.mark.endurance
def test_an_attack_apart_answers_the_same_and_sees_nothing(apart: Apart, tmp_path: Path) -> None:
    captures = captures_of(LENET, *truth(2))
    call = Call.of("spy", {"iterations": 1}, seed=3)
    ours, theirs = (answers(call, captures, None, one) for one in (None, apart))
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one.inputs, other.inputs)
        assert (one.capture_id, one.settings, one.matching_loss) == (
            other.capture_id, other.settings, other.matching_loss
        )  # fmt: skip
    with pytest.raises(AttackError, match=r"attack 'spy' .* failed on test/r001-c000 and 1 more") as caught:
        answers(Call.of("spy", {"iterations": 0, "look": str(tmp_path)}, seed=3), captures, None, apart)
    text = str(caught.value)
    seen = ast.literal_eval(text[text.index("{") : text.index("}") + 1])
    assert (seen["environment"], seen["same folder"], seen["here"]) == ([], False, True)
    if is_there():
        assert (seen["sealed"], seen["gallery"], seen["data"]) == ("PermissionError",) * 3
        assert (seen["beside"], seen["wrote"], seen["shared"]) == ("public", False, False)
        assert (seen["parent"], seen["self"]) == ("PermissionError", True)
        assert (tmp_path / "beside").read_text() == "public"


HIDDEN_BELOW = """
import sys
from pathlib import Path
from judges.bench.apart.landlock import forbid

place = Path(sys.argv[1])
assert forbid([place / "run" / "sealed"], writable=[place])
(place / "device" / "written").write_text("mine")
for act in (Path.read_text, lambda path: path.write_text("mine")):
    try:
        act(place / "run" / "sealed" / "truth")
    except PermissionError:
        print("refused")
"""


@pytest.mark.skipif(not is_there(), reason="without Landlock")
def test_what_is_hidden_stays_so_below_a_folder_to_write_in(tmp_path: Path) -> None:
    """As where the results of a run are in shared memory, below /dev."""
    (tmp_path / "device").mkdir()
    (tmp_path / "run" / "sealed").mkdir(parents=True)
    (tmp_path / "run" / "sealed" / "truth").write_text("the truth")
    command = [sys.executable, "-c", HIDDEN_BELOW, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["refused", "refused"]
    assert (tmp_path / "device" / "written").read_text() == "mine"


def test_a_process_apart_ends_with_its_caller(tmp_path: Path) -> None:
    """And leaves nothing of what it was given."""
    folder = tmp_path / "attack"
    folder.mkdir()
    job = {
        "call": dataclasses.asdict(Call.of("dlg", {}, seed=0)),
        "captures": [],
        "threads": 1,
        "imports": [],
        "hidden": [],
    }
    (folder / JOB).write_text(json.dumps(job))
    command = [sys.executable, "-m", "judges.bench.apart.child"]
    paths = os.pathsep.join(str(Path(path or ".").resolve()) for path in sys.path)
    done = subprocess.run(  # its input ends at once, as with the process that holds the other end of it
        command, cwd=folder, env={**os.environ, "PYTHONPATH": paths}, stdin=subprocess.DEVNULL, check=False
    )
    assert done.returncode == 1
    assert not [*folder.glob("*")]


@pytest.mark.endurance
def test_a_process_that_leaves_costs_its_call(apart: Apart) -> None:
    call = Call.of("spy", {"iterations": 0, "look": "exit"}, seed=3)
    with pytest.raises(AttackError, match=r"attack 'spy' .*: its process ended with code 7: it said nothing"):
        answers(call, captures_of(LENET, *truth(1)), None, apart)


@pytest.mark.endurance
def test_a_run_whose_attacks_are_apart_has_the_same_rows(tmp_path: Path) -> None:
    digests = []
    for name, isolate in (("together", False), ("apart", True)):
        raw = {**RAW, "model": "lenet", "federation": {"clients": 2}, "checks": 1}
        run_plan(make_plan(raw), tmp_path / name, quiet(), options=EngineOptions(isolate=isolate))
        digests.append(read_manifest(tmp_path / name)["scores_sha256"])
    assert digests[0] == digests[1]
