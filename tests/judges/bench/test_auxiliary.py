"""Auxiliary data from config to report: what attacks are given, in which process ever, and what rows say of it."""

from __future__ import annotations

from dataclasses import replace
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import pytest
import torch

from attacks import build_attack
from fl_sim.config import DatasetSettings
from fl_sim.datasets import load_dataset
from fl_sim.errors import ConfigError
from fl_sim.records import InputSpec, ModelSpec
from fl_sim.specs import Framing, Scalar
from judges.auxiliary import Source, examples, informed, source_of
from judges.bench.execution import run_plan
from judges.bench.gradient_inversion.added import attack_run
from judges.bench.live import LiveAttack
from judges.plans.gradient_inversion import make_plan
from judges.runs.identity import SWAPPED
from judges.runs.manifest import read_manifest, without_people
from judges.runs.rows import Score, read_scores
from tests.judges.bench.test_audit import audit, leave_captures
from tests.judges.bench.test_audit_public import pictures
from tests.judges.bench.test_gradient_inversion import quiet, times

RAW: dict[str, Any] = {
    "name": "given",
    "dataset": {"name": "digits", "split": "test", "size": 12},
    "model": "lenet",
    "federation": {"clients": 2},
    "attack": {"name": "learned", "auxiliary": "digits", "auxiliary_count": 60},
    "judge": "none",
}
SPEC = InputSpec(channels=1, height=12, width=12, classes=10)
LEARNED = Source("digits", "train", 60, 0, SPEC, size=12)


def attacked(rows: list[Score]) -> list[Score]:
    return [row for row in rows if not row.is_control]


def test_a_run_gives_an_attack_its_data_and_says_so_everywhere(tmp_path: Path) -> None:
    run_plan(make_plan(RAW), tmp_path / "one", quiet())
    rows = read_scores(tmp_path / "one" / "scores.csv")
    assert {(row.adversary, row.auxiliary) for row in attacked(rows)} == {("D", "digits train 60")}
    assert {(row.adversary, row.auxiliary) for row in rows if row.is_control and row.control != SWAPPED} == {("", "")}
    own, mean = attacked(rows), torch.stack([*examples(LEARNED).inputs]).mean(0)
    no_op = [row for row in rows if row.control == "no-op"]
    truth = load_dataset("digits", size=12).test.batch()[0]
    errors = (truth - mean).square().mean((1, 2, 3))
    assert all(float((errors - row.mse).abs().min()) < 1e-6 for row in no_op)  # it starts from the mean of its data
    assert sum(row.mse for row in own) < sum(row.mse for row in no_op)
    told = "60 of the 1,297 examples of the train split of 'digits'"
    assert read_manifest(tmp_path / "one")["auxiliary"] == {"learned": told}
    page = (tmp_path / "one" / "report.md").read_text()
    assert f"the attacks' adversaries are: learned D. Besides updates, 'learned' also has {told}." in page

    before = times(tmp_path / "one")
    run_plan(make_plan(RAW), tmp_path / "one", quiet())
    assert times(tmp_path / "one") == before  # its answers name their data, so they are known to be done

    attack_run(tmp_path / "one", ["attack.auxiliary_count=30"], quiet())
    named = {row.auxiliary for row in attacked(read_scores(tmp_path / "one" / "scores.csv"))}
    assert named == {"digits train 60", "digits train 30"}
    assert len(read_manifest(tmp_path / "one")["auxiliary"]) == 2
    with pytest.raises(ConfigError, match="may hold the victims' own examples"):
        attack_run(tmp_path / "one", ["attack.auxiliary_split=test"], quiet())


def test_an_audit_learns_from_public_pictures_and_anew_if_these_change(tmp_path: Path) -> None:
    spec = ModelSpec("lenet", InputSpec(channels=1, height=8, width=8, classes=4, low=-1.0))
    leave_captures(tmp_path / "mine", sealed=2, count=2, spec=spec)
    pictures(tmp_path / "public")
    assignments = ("attack=learned", f"public={tmp_path / 'public'}")
    audit(tmp_path / "mine", *assignments)
    rows = attacked(read_scores(tmp_path / "mine" / "scores.csv"))
    assert [(row.adversary, row.auxiliary) for row in rows] == [("D", "public 4000")] * 2
    told = read_manifest(tmp_path / "mine")["auxiliary"]
    assert told == {"learned": f"all 10 public pictures in '{tmp_path / 'public'}'"}
    (tmp_path / "public" / "a" / "0.png").unlink()
    audit(tmp_path / "mine", *assignments)
    assert [row.mse for row in attacked(read_scores(tmp_path / "mine" / "scores.csv"))] != [row.mse for row in rows]


def test_examples_are_drawn_from_the_split_and_scaled_to_the_model() -> None:
    train = load_dataset("digits", size=12).train.batch()[0].flatten(1)
    few, more = (examples(replace(LEARNED, count=count)).inputs for count in (5, 20))
    assert few.shape == (5, 1, 12, 12)
    assert more[:5].equal(few)
    assert all(bool((train == one).all(1).any()) for one in more.flatten(1))
    assert len(examples(replace(LEARNED, count=9999)).inputs) == len(train)
    wide = examples(replace(LEARNED, count=5, spec=replace(SPEC, low=-3.0, high=1.0))).inputs
    assert wide.allclose(4.0 * few - 3.0)
    assert not examples(replace(LEARNED, count=5, seed=1)).inputs.equal(few)


def test_another_process_draws_the_same_examples() -> None:
    sent = ForkingPickler.loads(ForkingPickler.dumps(LEARNED))
    assert sent == LEARNED
    assert sent is not LEARNED
    assert examples(sent).inputs.equal(examples(LEARNED).inputs)


def test_recordings_are_cut_into_frames_as_those_of_the_victims() -> None:
    victims = DatasetSettings(name="digits_dvs", split="test", size=12, time_bins=3)
    spec = InputSpec(channels=2, height=12, width=12, classes=10, timesteps=3)
    settings: dict[str, Scalar] = {"auxiliary": "digits_dvs", "auxiliary_split": "train", "auxiliary_count": 4}
    source = source_of(settings, spec, victims, seed=0)
    assert source is not None
    assert examples(source).inputs.shape == (3, 4, 2, 12, 12)
    assert source.framing == Framing(time_bins=3)
    with pytest.raises(ConfigError, match=r"'digits' holds images, and the victims' model takes recordings of events"):
        replace(source, name="digits").dataset()
    with pytest.raises(ConfigError, match=r"of 'digits_dvs' are \(3, 2, 12, 12\), and .* takes \(4, 2, 12, 12\)"):
        replace(source, spec=replace(spec, timesteps=4)).dataset()


def test_a_run_whose_data_do_not_fit_stops_before_anything_is_written(tmp_path: Path) -> None:
    raw = {**RAW, "dataset": {"name": "digits_dvs", "split": "test", "size": 12}, "model": "spiking_lenet"}
    with pytest.raises(ConfigError, match="holds images, and the victims' model takes recordings"):
        run_plan(make_plan({**raw, "attack": {"name": "learned", "auxiliary": "mnist"}}), tmp_path / "run", quiet())
    assert not (tmp_path / "run").exists()


def test_an_attack_without_the_method_is_told_apart() -> None:
    with pytest.raises(ConfigError, match="DLG has no method `informed`"):
        informed(build_attack("dlg"), LEARNED)
    assert informed(build_attack("dlg"), None).__class__.__name__ == "DLG"


def test_a_live_attack_has_no_auxiliary_data(tmp_path: Path) -> None:
    for name, settings in (("learned", {}), ("feature_kalman", {"auxiliary": "digits"})):
        with pytest.raises(ConfigError, match="a live attack has no auxiliary data"):
            LiveAttack(tmp_path, attack=name, settings=settings)


def test_answers_learned_from_people_are_hidden_with_any_victims() -> None:
    shown = {"digits": {"people": False}, "faces": {"people": True}}
    assert without_people({"datasets": shown}, "digits")
    assert not without_people({"datasets": shown, "auxiliary": {"learned": "all faces"}}, "digits")
    assert not without_people({"datasets": shown}, "faces")
    assert not without_people({}, "digits")
