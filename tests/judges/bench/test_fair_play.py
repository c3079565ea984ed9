"""What an attack is told, what its answers are worth unchecked, and that a plugin costs its own cells only."""

from __future__ import annotations

import ast
import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from attacks import ATTACKS, AttackEntry
from attacks.contracts import Reconstruction, StopReason
from attacks.idlg import IDLG
from attacks.settings import IDLGSettings
from fl_sim.captures import CaptureStore, SealedStore
from fl_sim.federation.client_data import draw_batches
from fl_sim.records import CapturedUpdate, save_record
from fl_sim.seeding import ATTACKER, attacker_seed, torch_stream
from judges.bench.execution import run_plan
from judges.plans.gradient_inversion import make_plan
from judges.runs.manifest import read_manifest
from judges.runs.rows import Score, read_scores
from judges.summaries.gradient_inversion import read_summary
from tests.judges.bench.test_gradient_inversion import quiet

SEED = 918273645
RAW: dict[str, Any] = {
    "name": "fair",
    "seed": SEED,
    "dataset": {"name": "digits", "size": 8},
    "model": "lenet",
    "federation": {"clients": 3},
    "attack": {"name": ["theirs", "idlg"], "iterations": 1, "inner_iterations": 1},
    "judge": "none",
    "checks": 0,
}
THEIRS, OURS = "digits-lenet-uniform/theirs", "digits-lenet-uniform/idlg"

Change = Callable[[list[Reconstruction]], Any]


@pytest.fixture
def theirs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[type[IDLG]], None]]:
    """Return a function that puts somebody else's attack into the table as "theirs"."""

    def add(attack: type[IDLG]) -> None:
        named = type("Theirs", (attack,), {"name": "theirs"})
        ATTACKS["theirs"] = AttackEntry(named, IDLGSettings, adversary="A", summary="somebody else's")

    yield add
    ATTACKS.pop("theirs", None)


def run(folder: Path, **changes: Any) -> list[Score]:
    run_plan(make_plan({**RAW, **changes}), folder, quiet())
    return read_scores(folder / "scores.csv")


def rebuilt(capture: CapturedUpdate, seed: int) -> torch.Tensor:
    """Return the batch of a client from the root seed, as the simulation draws it."""
    config = make_plan(RAW).federations[0].config
    (batch, _), *_ = draw_batches(
        config, capture.client, count=1, size=1, stream=torch_stream(seed, "batch", 0, capture.round, capture.client)
    )
    return batch


class Rebuilds(IDLG):
    """Looks the clients' batches up instead of attacking."""

    def reconstruct(self, captures: Sequence[CapturedUpdate], *, seed: int, **more: Any) -> list[Reconstruction]:
        found = super().reconstruct(captures, seed=seed, **more)
        batches = [rebuilt(capture, seed) for capture in captures]
        return [dataclasses.replace(one, inputs=batch) for one, batch in zip(found, batches, strict=True)]


def test_a_batch_cannot_be_rebuilt_from_the_seed_that_an_attack_gets(tmp_path: Path, theirs: Any) -> None:
    theirs(Rebuilds)
    rows = run(tmp_path)
    captures = list(CaptureStore(tmp_path / "captures"))
    truths = SealedStore(tmp_path / "sealed")
    assert all(torch.equal(rebuilt(one, SEED), truths.load(one.id).inputs) for one in captures)
    found = [row for row in rows if row.cell == THEIRS and not row.is_control]
    controls = [row for row in rows if row.control == "mean image"]
    assert len(found) == len(controls) == 3
    assert not any(row.solved for row in found)
    assert sum(row.similarity for row in found) <= sum(row.similarity for row in controls)


def test_no_stream_of_the_simulation_has_the_name_of_the_attackers_seed() -> None:
    root = Path(__file__).parents[3] / "fl_sim"
    texts = {
        node.value: path.name
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert texts[ATTACKER] == "seeding.py"
    assert attacker_seed(SEED) not in (SEED, attacker_seed(SEED + 1))


def test_a_capture_tells_nothing_that_a_server_does_not_know_and_is_for_its_owner_alone(
    tmp_path: Path, theirs: Any
) -> None:
    theirs(IDLG)
    folder = tmp_path / "secret" / "run"
    run(folder, attack={"name": "theirs", "iterations": 1})
    for capture in CaptureStore(folder / "captures"):
        assert capture.id == f"digits-lenet-uniform-000/r001-c{capture.client:03d}"
        assert set(capture.config) == {"share", "learning-rate", "batch-size", "local-steps", "server-round"}
        plain = {name: value for name, value in vars(capture).items() if name not in ("parameters", "update")}
        told = repr(plain)
        assert str(SEED) not in told
        assert "secret" not in told
        assert str(Path.home()) not in told
        assert capture.labels is None
    for name in ("captures", "sealed"):
        paths = [folder / name, *(folder / name).rglob("*")]
        assert {path.stat().st_mode & 0o777 for path in paths if path.is_dir()} == {0o700}
        assert {path.stat().st_mode & 0o777 for path in paths if path.is_file()} == {0o600}
    assert folder.stat().st_mode & 0o077 == folder.parent.stat().st_mode & 0o077 != 0
    assert (folder / "scores.csv").stat().st_mode & 0o044


def faulty(change: Change) -> type[IDLG]:
    class Faulty(IDLG):
        def reconstruct(self, captures: Sequence[CapturedUpdate], **more: Any) -> Any:
            return change(super().reconstruct(captures, **more))

    return Faulty


def test_a_plugin_that_fails_costs_its_cell_and_once_mended_it_goes_on(tmp_path: Path, theirs: Any) -> None:
    theirs(faulty(lambda _: 1 / 0))
    assert {row.cell for row in run(tmp_path) if not row.control} == {OURS}
    failed = read_manifest(tmp_path)["failed"]
    told = "attack 'theirs' (added by hand) failed on digits-lenet-uniform-000/r001-c000 and 2 more: ZeroDivisionError:"
    assert failed[THEIRS].startswith(told)
    assert failed.keys() == {THEIRS, "digits-lenet-uniform/control: no-op (theirs normal)"}
    lies: dict[str, Any] = {"seconds": -1e9, "matching_loss": 0.0}
    theirs(faulty(lambda found: [dataclasses.replace(one, last_inputs=one.inputs, **lies) for one in found]))
    rows = run(tmp_path)
    assert {row.cell for row in rows if not row.control} == {OURS, THEIRS}
    own = [row for row in rows if row.cell == THEIRS]
    assert all(row.seconds > 0 for row in own)
    assert all(row.matching_loss == 0.0 and (row.answer_mismatch or 0.0) > 0.1 for row in own)
    assert all(row.answer_mismatch is None for row in rows if row.is_control)
    assert "failed" not in read_manifest(tmp_path)


def test_answers_that_are_not_finite_are_rows_of_a_diverged_attack(tmp_path: Path, theirs: Any) -> None:
    def lost(found: list[Reconstruction]) -> list[Reconstruction]:
        nan = torch.full_like(found[0].inputs, torch.nan)
        first = dataclasses.replace(found[0], inputs=nan, last_inputs=nan, stop_reason=StopReason.DIVERGED)
        return [first, *(dataclasses.replace(one, last_inputs=nan) for one in found[1:])]

    theirs(faulty(lost))
    rows = [row for row in run(tmp_path) if row.cell == THEIRS]
    assert [row.diverged for row in rows] == [True, False, False]
    assert [row.mse == math.inf for row in rows] == [True, False, False]
    assert all(row.last_mse == math.inf for row in rows)
    (cell,) = [cell for cell in read_summary(tmp_path / "summary.json").cells if cell.cell == THEIRS]
    assert (cell.mse.mean, cell.last["mse"], cell.last["ssim"]) == (None, None, 0.0)
    assert "failed" not in read_manifest(tmp_path)


def test_tied_tensors_are_stored_apart(tmp_path: Path) -> None:
    tensor = torch.arange(4.0)
    answer = Reconstruction(
        "a/r001-c000", "x", {}, tensor, torch.tensor([1]), 0.0, tensor, tensor[:2], 1, 1, 1, StopReason.BUDGET, 0.0, 0
    )
    apart = dataclasses.replace(answer, last_inputs=tensor.clone(), loss_history=tensor[:2].clone())
    first, second = (save_record(one, tmp_path / name).read_bytes() for one, name in ((answer, "a"), (apart, "b")))
    assert first == second
