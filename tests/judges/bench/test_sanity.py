"""The sanity checks of attacks: an honest attack passes, one that does not need the update is caught, none is lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import pytest
import torch
from torch import Tensor

from attacks import ATTACKS, AttackEntry
from attacks.contracts import Reconstruction, StopReason
from attacks.settings import InversionSettings
from fl_sim.captures import SealedStore
from fl_sim.errors import ConfigError
from fl_sim.records import CapturedUpdate
from judges.bench.gradient_inversion.added import attack_run
from judges.cli.terminal import print_results
from judges.runs.measures import SanityCheck
from judges.runs.rows import read_scores
from judges.summaries.gradient_inversion import read_summary
from tests.judges.bench.test_audit import audit, leave_a_batch, leave_captures
from tests.judges.bench.test_gradient_inversion import RAW, quiet, run, times


class CheatSettings(InversionSettings):
    steps: int = 1
    refuses: bool = False
    together: bool = False  # whether it finds nothing of a victim that is alone

    def untouched(self) -> Self:
        return self.model_copy(update={"steps": 0})


class Cheat:
    """Answers with what it remembers of a victim, whatever the update; its guess is black."""

    remembered: dict[str, Tensor] = {}  # noqa: RUF012 - what one test knows
    seen: list[dict[str, Tensor]] = []  # noqa: RUF012

    def __init__(self, settings: CheatSettings | None = None) -> None:
        self.settings = settings or CheatSettings()

    def reconstruct(self, captures: Sequence[CapturedUpdate], *, seed: int, **_: Any) -> list[Reconstruction]:
        answers = []
        for capture in captures:
            if self.settings.refuses and len(self.seen) >= 4:  # two guesses and two answers
                raise ConfigError("expected an update of a client")
            self.seen.append(dict(capture.update))
            found = min(self.settings.steps, 1) and not (self.settings.together and len(captures) == 1)
            inputs = self.remembered[capture.id] * found
            answers.append(_answer(capture.id, self.settings, inputs, seed))
        return answers


def _answer(capture_id: str, settings: CheatSettings, inputs: Tensor, seed: int) -> Reconstruction:
    return Reconstruction(
        capture_id=capture_id, attack="cheat", settings=settings.model_dump(), inputs=inputs,
        labels=torch.full((len(inputs),), -1), matching_loss=0.0, last_inputs=inputs.clone(),
        loss_history=torch.empty(0), iterations=settings.steps,
        gradient_evaluations=settings.steps, restarts=1, stop_reason=StopReason.BUDGET,
        seconds=0.0, seed=seed,
    )  # fmt: skip


@pytest.fixture
def cheated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield a folder with three sealed captures that the attack "cheat" remembers."""
    leave_captures(tmp_path, sealed=3)
    monkeypatch.setitem(ATTACKS, "cheat", AttackEntry(Cheat, CheatSettings, "A", "for tests", matching=False))
    Cheat.remembered = {batch.capture_id: batch.inputs for batch in SealedStore(tmp_path / "sealed")}
    Cheat.seen = []
    yield tmp_path
    Cheat.remembered, Cheat.seen = {}, []


def checks_in(folder: Path) -> tuple[SanityCheck, ...]:
    return read_summary(folder / "summary.json").checks


def test_an_attack_that_reads_the_update_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    leave_captures(tmp_path, sealed=3)
    page = audit(tmp_path, "attack.iterations=10", "checks=2", "seed=1")
    (check,) = checks_in(tmp_path)
    assert (check.attack, check.cell, check.measure, check.failure) == ("idlg", "lenet/idlg", "SSIM", "")
    assert (check.victims, check.examples) == (("mine/r001-c000", "mine/r001-c001"), 2)
    assert (check.truth_is_fixed, check.random_finds_nothing, check.noise_hurts) == (True, True, True)
    assert check.truth is not None
    assert check.truth < 1e-5
    rows = {name: [row for row in read_scores(tmp_path / "scores.csv") if row.control == name][:2]
            for name in ("", *check.controls)}  # fmt: skip
    assert set(check.controls) == {"no-op", "swapped", "black", "grey"}
    assert check.plain == pytest.approx(sum(row.similarity for row in rows[""]) / 2)
    assert check.plain > 0.9
    assert check.controls["black"] == pytest.approx(sum(row.similarity for row in rows["black"]) / 2)
    best = [max(rows[name][at].similarity for name in check.controls) for at in (0, 1)]
    assert check.best_control == pytest.approx(sum(best) / 2)
    print_results(page, tmp_path)
    printed = [line for line in capsys.readouterr().out.splitlines() if ": passed (" in line]
    assert (len(printed), check.moved) == (4, 0)
    assert "## Sanity checks" in (tmp_path / "report.md").read_text()
    assert "Sanity check failed" not in page.read_text()


def test_an_attack_that_needs_no_update_is_caught(cheated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = audit(cheated, "attack=cheat", "checks=2")
    (check,) = checks_in(cheated)
    assert (check.plain, check.noisy, check.random) == pytest.approx((1.0, 1.0, 1.0))
    assert (check.truth_is_fixed, check.random_finds_nothing, check.noise_hurts) == (True, False, False)
    told = (cheated / "report.md").read_text()
    assert told.count("Sanity check failed: cheat on captures") == 2
    print_results(page, cheated)
    assert capsys.readouterr().out.count(": FAILED (") == 2
    assert len(Cheat.seen) == 3 + 3 + 2 + 2 + 2  # answers, guesses, and two victims with either disturbance and alone


def test_an_attack_whose_answers_depend_on_the_other_victims_is_caught(cheated: Path) -> None:
    audit(cheated, "attack=cheat", "attack.together=true", "checks=2")
    (check,) = checks_in(cheated)
    assert (check.moved, check.is_own) == (2, False)
    told = "that a victim's result is its own does not hold (2 of 2 come out otherwise when attacked alone)"
    assert told in (cheated / "report.md").read_text()


def test_a_single_victim_has_no_company(tmp_path: Path) -> None:
    leave_captures(tmp_path, sealed=1, count=1)
    audit(tmp_path, "attack.iterations=2", "checks=2")
    (check,) = checks_in(tmp_path)
    assert check.moved is None
    assert check.random is not None


def test_an_attack_that_refuses_a_disturbed_update_is_not_checked(cheated: Path) -> None:
    for path in list((cheated / "captures").rglob("*c002*")):
        path.unlink()
    audit(cheated, "attack=cheat", "attack.refuses=true", "checks=2")
    (check,) = checks_in(cheated)
    assert (check.truth_is_fixed, check.random_finds_nothing, check.noise_hurts) == (True, None, None)
    assert check.failure.startswith("on a random update the attack 'cheat' (added by hand) failed on mine/r001-c000")
    assert ": ConfigError: expected an update of a client" in check.failure
    assert "expected an update of a client" in (cheated / "report.md").read_text()


def test_checks_are_made_later_and_kept_without_another_attack(cheated: Path) -> None:
    audit(cheated, "attack=cheat", "checks=0")
    assert checks_in(cheated) == ()
    assert "Sanity checks" not in (cheated / "report.md").read_text()
    before, Cheat.seen = times(cheated), []
    audit(cheated, "attack=cheat", "checks=2")
    (check,) = checks_in(cheated)
    assert len(Cheat.seen) == 3 + 2 + 2 + 2  # the guesses are not kept
    assert times(cheated) == before
    Cheat.seen = []
    audit(cheated, "attack=cheat", "checks=2")
    assert (checks_in(cheated), len(Cheat.seen)) == ((check,), 3)
    store = SealedStore(cheated / "sealed")
    for truth in list(store):  # of all clients: a single one that does not fit is left out
        store(replace(truth, inputs=truth.inputs.flip(-1)))
    audit(cheated, "attack=cheat", "checks=2")
    (other,) = checks_in(cheated)
    assert other.random == pytest.approx(other.plain)
    assert other.plain < 0.9


def test_labels_without_a_search_are_not_checked(tmp_path: Path) -> None:
    leave_a_batch(tmp_path)
    audit(tmp_path, "attack.most_examples=2", "checks=2")
    assert checks_in(tmp_path) == ()


def test_an_added_attack_is_checked_beside_those_of_the_run(tmp_path: Path) -> None:
    raw = {**RAW, "model": "lenet", "attack": {"name": "dlg", "iterations": 1, "inner_iterations": 2}, "checks": 1}
    run(tmp_path / "run", raw)
    (own,) = checks_in(tmp_path / "run")
    assert set(own.controls) >= {"no-op", "swapped", "black", "grey", "mean image"}
    attack_run(tmp_path / "run", ["attack=idlg", "attack.iterations=1"], quiet())
    first, added = checks_in(tmp_path / "run")
    assert first == own
    assert (added.attack, added.victims) == ("idlg", own.victims)
    assert set(added.controls) == set(own.controls)
    run(tmp_path / "run", {**raw, "checks": 0})
    assert checks_in(tmp_path / "run") == (added,)
