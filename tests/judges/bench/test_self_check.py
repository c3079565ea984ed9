"""Runs, added attacks and audits refuse a model that cannot be attacked before they compute or write anything."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attacks import ATTACKS
from attacks.engines.choice import Choice, choose
from attacks.preflight import self_check
from fl_sim.captures import CaptureStore
from fl_sim.client_training import ClientTraining
from fl_sim.errors import ConfigError
from fl_sim.models import MODELS, ModelEntry
from fl_sim.records import CapturedUpdate, ModelSpec
from judges.bench import gradient_inversion
from judges.bench.engine_options import EngineOptions
from judges.bench.execution import run_plan
from judges.bench.gradient_inversion.added import attack_run
from judges.bench.targets import client_of
from judges.plans.gradient_inversion import make_plan
from judges.progress import Watch
from judges.runs.rows import read_scores
from tests.judges.bench.test_audit import SPEC, audit, leave_captures
from tests.judges.bench.test_gradient_inversion import RAW, run
from tests.judges.cli.conftest import Call, spikeleak  # noqa: F401 - a fixture

OWN = RAW | {"model": {"name": "own", "init": "torch"}, "federation": {"clients": 1}, "attack": {"iterations": 1}}
MODULE = """
from torch import nn
from fl_sim.models import MODELS, ModelEntry

MODELS["of_mine"] = ModelEntry(
    lambda spec: nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Sigmoid(), nn.Flatten(), nn.Linear(400, 10)),
    spiking=False,
    summary="a network with a batch normalisation",
)
"""
CONFIG = """
name = "mine"
judge = "none"
dataset = {name = "digits", split = "test", size = 12}
model = {name = "of_mine", init = "torch"}
federation = {clients = 1, batch_size = 2}
attack = {name = "idlg", iterations = 1}
"""


LAYERS: dict[str, Tensor] = {}


class Counting(nn.Module):
    """A network that a client trains without any complaint, and whose outputs depend on how often it was called."""

    def __init__(self, _: ModelSpec) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(144, 10))

    def forward(self, inputs: Tensor) -> Tensor:
        Counting.calls += 1
        logits: Tensor = self.layers(inputs) * (1.0 + 0.1 * Counting.calls)
        return logits

    calls = 0


class Failing(Counting):
    """A network that fails on its inputs."""

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.layers(inputs) + LAYERS["weight"]
        return logits


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> dict[str, type[nn.Module]]:
    """Return a table of which the entry "net" is the model "own"."""
    table: dict[str, type[nn.Module]] = {"net": Counting}
    monkeypatch.setitem(MODELS, "own", ModelEntry(lambda spec: table["net"](spec), spiking=False, summary="own"))
    return table


def test_a_run_refuses_it_and_writes_nothing(own: dict[str, type[nn.Module]], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model 'own': the replayed update .* keep a state between calls"):
        run(tmp_path / "run", OWN)
    own["net"] = Failing
    with pytest.raises(ConfigError, match=r"KeyError: 'weight' \(.*test_self_check\.py, line \d+: logits"):
        run(tmp_path / "run", OWN)
    assert not (tmp_path / "run").exists()


def test_what_does_not_match_updates_is_not_refused(
    own: dict[str, type[nn.Module]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path / "captured", OWN | {"attack": "none"})
    assert len(CaptureStore(tmp_path / "captured" / "captures")) == 1
    monkeypatch.setattr(self_check, "choose", lambda _: pytest.fail("nothing is to be checked"))
    monkeypatch.setitem(ATTACKS, "idlg", dataclasses.replace(ATTACKS["idlg"], matching=False))
    make_checked(OWN, tmp_path)


def make_checked(raw: dict[str, Any], folder: Path, **options: Any) -> None:
    """Let a run make its checks and nothing more."""
    plan = make_plan(dict(raw))
    gradient_inversion.Run(plan, folder / "checked", Watch.silent(), EngineOptions(**options)).check()


def test_each_different_client_is_checked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 2 models, 2 batch sizes, 2 seeds' worth of rates and 2 attacks there are 2 x 2 problems."""
    seen: list[CapturedUpdate] = []

    def watched(captures: Sequence[CapturedUpdate]) -> Choice:
        seen.extend(captures)
        return choose(captures)

    monkeypatch.setattr(self_check, "choose", watched)
    sizes = {"clients": 1, "batch_size": [1, 2], "learning_rate": [0.1, 0.2]}
    make_checked(RAW | {"federation": sizes}, tmp_path)
    assert [(one.model.architecture, one.batch_size) for one in seen] == [
        ("lenet", 1), ("lenet", 2), ("spiking_lenet", 1), ("spiking_lenet", 2),
    ]  # fmt: skip


def test_the_client_of_a_config_is_the_one_that_is_captured(tmp_path: Path) -> None:
    """Same model, names, kind and training as the capture of a federation that really runs."""
    training: dict[str, Any] = {"optimiser": "sgd", "momentum": 0.9}
    for number, changes in enumerate(({}, {"strategy": "FedAvg", "client": training})):
        raw = RAW | {"model": "lenet", "federation": {"clients": 1}, "attack": "none"} | changes
        run(tmp_path / str(number), raw)
        (captured,) = CaptureStore(tmp_path / str(number) / "captures")
        ours = client_of(make_plan(raw).federations[0].config)
        assert (ours.model, ours.kind, ours.update.keys()) == (captured.model, captured.kind, captured.update.keys())
        assert ours.parameters.keys() == captured.parameters.keys()
        assert (ours.learning_rate, ours.local_steps, ours.batch_size) == (0.1, 1, 1)
        assert ours.training == ClientTraining(**(training if changes else {}), proximal_mu=0.0)


def test_a_lack_of_memory_is_left_to_the_attack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def short(_: Sequence[CapturedUpdate]) -> Choice:
        raise MemoryError

    monkeypatch.setattr(self_check, "choose", short)
    make_checked(RAW, tmp_path)


def test_an_added_attack_and_an_audit_refuse_it_too(own: dict[str, type[nn.Module]], tmp_path: Path) -> None:
    run(tmp_path / "run", OWN | {"attack": "none"})
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match="model 'own': the replayed update"):
        attack_run(tmp_path / "run", ["attack=idlg"], Watch.silent())
    (tmp_path / "mine").mkdir()
    (tmp_path / "run" / "captures").rename(tmp_path / "mine" / "captures")
    with pytest.raises(ConfigError, match="model 'own': the replayed update"):
        audit(tmp_path / "mine")
    (tmp_path / "mine" / "captures").rename(tmp_path / "run" / "captures")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_an_audit_checks_each_problem_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(self_check, "choose", lambda captures: seen.extend(one.id for one in captures))
    leave_captures(tmp_path, sealed=0, count=3)
    store = CaptureStore(tmp_path / "captures")
    one = store.load("mine/r001-c002")
    store(dataclasses.replace(one, training=ClientTraining(loss_scale=2.0)))
    audit(tmp_path, "attack.iterations=1")
    assert seen == ["mine/r001-c000", "mine/r001-c002"]
    assert one.model == SPEC


def test_modules_are_imported_by_run_attack_and_rerun(
    spikeleak: Call,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "nets_of_run.py").write_text(MODULE)
    (tmp_path / "mine.toml").write_text(CONFIG)
    code, _, err = spikeleak("run", "mine.toml")
    assert (code, "model.name: 'of_mine' is not known" in err) == (2, True)
    try:
        for command in ("run mine.toml", "rerun runs/mine --out again", "attack runs/mine --set attack=dlg"):
            code, out, err = spikeleak(*command.split(), "--import", "nets_of_run")
            assert code == 0, (out, err)
        assert {row.attack for row in read_scores(tmp_path / "runs/mine/scores.csv") if not row.is_control} == {
            "idlg", "dlg",
        }  # fmt: skip
        assert (tmp_path / "again" / "report.html").is_file()
        with pytest.raises(ConfigError, match="do not import nets_of_run"):
            make_checked(RAW | {"federation": {"engine": "ray"}}, tmp_path, imports=("nets_of_run",))
    finally:
        del MODELS["of_mine"]
        sys.modules.pop("nets_of_run")


@pytest.mark.endurance
def test_other_processes_import_them_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "nets_of_worker.py").write_text(MODULE)
    import nets_of_worker  # type: ignore[import-not-found]

    try:
        model = {"name": "of_mine", "init": "torch"}
        raw = OWN | {"model": model, "federation": {"clients": 2, "batch_size": 2}, "chunk": 1}
        options = EngineOptions(workers=2, imports=("nets_of_worker",))
        run_plan(make_plan(raw), tmp_path / "run", Watch.silent(), options=options)
        rows = [row for row in read_scores(tmp_path / "run" / "scores.csv") if not row.is_control]
        assert {row.capture_id[-4:] for row in rows} == {"c000", "c001"}
        assert torch.tensor([row.mse for row in rows]).isfinite().all()
    finally:
        del MODELS["of_mine"]
        sys.modules.pop(nets_of_worker.__name__)


@pytest.mark.parametrize("isolate", [False, True])
@pytest.mark.parametrize("attack", ["grnn", "feature_kalman"])
def test_an_attack_that_takes_no_events_is_refused_before_anything_is_computed(
    attack: str, isolate: bool, tmp_path: Path
) -> None:
    events = RAW | {
        "dataset": {"name": "digits_dvs", "split": "test"},
        "model": {"name": "spiking_lenet", "timesteps": 2},
        "attack": {"name": ["idlg", attack], "iterations": 1},
    }
    with pytest.raises(ConfigError, match="event"):
        run_plan(make_plan(events), tmp_path / "run", Watch.silent(), options=EngineOptions(isolate=isolate))
    assert not (tmp_path / "run" / "config.toml").exists()


def test_a_cache_that_cannot_be_written_is_named_before_a_judge_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SPIKELEAK_CACHE", str(tmp_path / "file"))
    with pytest.raises(ConfigError, match=r"expected a folder that can be written .*'lenet' of digits.* judge=none"):
        run(tmp_path / "run", RAW | {"judge": "lenet"})
    assert not (tmp_path / "run" / "config.toml").exists()
