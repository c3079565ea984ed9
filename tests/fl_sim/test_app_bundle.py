"""The repository as a Flower app: what its bundle holds, and what a node without a number is told."""

from __future__ import annotations

import io
import shutil
import zipfile
from pathlib import Path

import pytest
from flwr.app import Context, RecordDict
from flwr.cli.build import build_fab_from_disk

from fl_sim.errors import ConfigError
from fl_sim.federation.ordering import own_partition

ROOT = Path(__file__).parents[2]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of pathspec, as flwr calls it
def test_the_bundle_holds_this_package_and_no_attack_or_judge(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, tmp_path / name)
    for room in ("fl_sim", "attacks"):
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    names = set(zipfile.ZipFile(io.BytesIO(build_fab_from_disk(tmp_path))).namelist())
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "fl_sim").rglob("*.py")}
    assert names == {"pyproject.toml", "LICENSE", ".info/CONTENT"} | modules


def test_a_node_that_was_started_without_a_number_is_told_how() -> None:
    alone = Context(run_id=1, node_id=1, node_config={}, state=RecordDict(), run_config={})
    with pytest.raises(ConfigError, match=r"^partition-id: expected the client's number .* 'partition-id=0'"):
        own_partition(alone)
    numbered = Context(run_id=1, node_id=1, node_config={"partition-id": 3}, state=RecordDict(), run_config={})
    assert own_partition(numbered) == 3
