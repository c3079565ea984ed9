"""What a lack of memory does: smaller pieces, then a cell that is left out and named, and the others done."""

from __future__ import annotations

import errno
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fl_sim.errors import lack_of_memory
from fl_sim.federation import mods
from fl_sim.training import gradient_and_loss
from judges.bench.engine_options import EngineOptions
from judges.bench.engines import Started, open_engine
from judges.bench.execution import run_plan
from judges.bench.jobs import perform
from judges.plans.gradient_inversion import make_plan
from judges.progress import Advance
from judges.runs.manifest import manifest_so_far
from judges.runs.rows import read_scores
from tests import programs
from tests.judges.bench.hungry import Hungry, Killed
from tests.judges.bench.test_gradient_inversion import RAW, quiet


def test_a_job_that_lacks_memory_is_tried_in_smaller_pieces(tmp_path: Path) -> None:
    with open_engine(EngineOptions(), threads=1) as engine:
        assert not Started(engine, Hungry(tmp_path / "pieces", needs=2)).finish(lambda _done, _total: None).failure
        lost = Started(engine, Hungry(tmp_path / "none", needs=0)).finish(lambda _done, _total: None)
    assert (tmp_path / "pieces").read_text() == "4"
    assert "not enough memory" in lost.failure
    assert not (tmp_path / "none").exists()


@pytest.mark.endurance
def test_a_worker_that_is_killed_costs_its_job_a_smaller_piece_and_others_nothing(tmp_path: Path) -> None:
    with open_engine(EngineOptions(workers=2), threads=1) as engine:
        wanted = (("a", 8, 8), ("b", 8, 4), ("c", 2, 0))
        jobs = [Started(engine, Killed(tmp_path / name, captures, needs=needs)) for name, captures, needs in wanted]
        found = [job.finish(lambda _done, _total: None).failure for job in jobs]
    assert found[:2] == ["", ""]
    assert "its process was killed (exit code" in found[2]
    assert [(tmp_path / name).read_text() for name in ("a", "b")] == ["1", "2"]


def test_a_client_without_memory_costs_its_federation_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flower's round would go on without that client, and nobody would know of the victim that is missing."""
    monkeypatch.setattr(mods, "gradient_and_loss", _no_memory_for_the_second())
    raw = {**RAW, "model": "lenet", "strategy": "FedSGD"}
    run_plan(make_plan(raw), tmp_path / "run", quiet())
    failed = manifest_so_far(tmp_path / "run")["failed"]
    assert list(failed) == ["digits-lenet-uniform/dlg", "digits-lenet-uniform/idlg"]
    assert "not enough memory" in failed["digits-lenet-uniform/dlg"]
    monkeypatch.undo()
    run_plan(make_plan(raw), tmp_path / "run", quiet())
    assert "failed" not in manifest_so_far(tmp_path / "run")
    assert {row.cell for row in read_scores(tmp_path / "run" / "scores.csv")} >= failed.keys()


def _no_memory_for_the_second() -> Callable[..., Any]:
    calls: list[int] = []

    def compute(*arguments: Any) -> Any:
        calls.append(len(calls))
        if len(calls) == 2:
            raise MemoryError
        return gradient_and_loss(*arguments)

    return compute


@pytest.mark.parametrize(
    ("error", "lacks"),
    [
        (MemoryError(), True),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), True),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), False),
        (RuntimeError("shapes do not fit"), False),
    ],
)
def test_a_lack_of_memory_is_told_from_other_errors(error: Exception, lacks: bool) -> None:
    assert bool(lack_of_memory(error)) == lacks


def test_another_error_is_no_lack_of_memory(tmp_path: Path) -> None:
    class Broken(Hungry):
        def run(self, _advance: Advance) -> None:
            raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        perform(Broken(tmp_path), lambda _done, _total: None)
    assert not perform(Hungry(tmp_path / "x", needs=8), lambda _done, _total: None).failure


CAPPED = """
import resource, sys, torch
from pydantic import Field
import attacks
from attacks import ATTACKS, AttackEntry
from attacks.idlg import IDLG
from attacks.settings import IDLGSettings

class HungrySettings(IDLGSettings):
    megabytes: int = Field(default=0, ge=0)

class HungryIDLG(IDLG):
    name = "hungry"
    def __init__(self, settings=None):
        super().__init__(settings or HungrySettings())
    def reconstruct(self, captures, **more):
        took = torch.ones(len(captures) * self.settings.megabytes * 2**18)
        return super().reconstruct(captures, **more)

sys.modules["hungry_module"] = sys.modules["__main__"]
ATTACKS["hungry"] = AttackEntry("hungry_module:HungryIDLG", HungrySettings, adversary="A", summary="takes memory")
from judges.cli import main
import judges.bench.gradient_inversion, judges.report.gradient_inversion.report
held = int(next(line for line in open("/proc/self/status") if line.startswith("VmSize")).split()[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (held + 2**30, held + 2**30))
main()
"""


@pytest.mark.endurance
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_that_is_capped_too_low_costs_the_cell_and_not_the_grid(tmp_path: Path) -> None:
    """300 MB a victim: four at once do not go into one gigabyte, two do. 2,000 MB a victim never do."""
    script, config = tmp_path / "capped.py", tmp_path / "capped.toml"
    script.write_text(CAPPED)
    config.write_text(
        textwrap.dedent("""
        name = "capped"
        judge = "none"
        dataset = {name = "digits", size = 8}
        model = "lenet"
        federation.clients = 4
        attack = {name = ["hungry", "idlg"], megabytes = [300, 2000], iterations = 2}
    """)
    )
    done = programs.run(script, "run", config, "--out", tmp_path / "run")
    assert done.returncode == 4, done.stderr
    cells = {row.cell for row in read_scores(tmp_path / "run" / "scores.csv") if not row.is_control}
    assert cells == {"digits-lenet-uniform/hungry-megabytes=300", "digits-lenet-uniform/idlg"}
    failed = manifest_so_far(tmp_path / "run")["failed"]
    assert manifest_so_far(tmp_path / "run")["pieces"]["digits-lenet-uniform/hungry-megabytes=300"] in (2, 4)
    assert list(failed) == ["digits-lenet-uniform/hungry-megabytes=2000"]
    assert "not enough memory" in failed["digits-lenet-uniform/hungry-megabytes=2000"]
    assert "hungry-megabytes=2000: not done: not enough memory" in done.stderr
    assert "Traceback" not in done.stderr
    assert "hungry-megabytes=2000" in (tmp_path / "run" / "report.html").read_text()
