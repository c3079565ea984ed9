"""Submissions of a real run on a fixed victim set: what they say, what a board refuses, how it ranks the others."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from fl_sim.captures import SealedStore
from fl_sim.errors import ConfigError, DataError
from fl_sim.records import SealedBatch, save_record
from judges.bench.execution import run_plan
from judges.board.entries import submission_of
from judges.board.fixed import fixed_sets
from judges.board.page import write_board
from judges.board.ranking import board_of
from judges.board.submission import SCHEMA, read_submission, schema, to_json
from judges.kinds import read_plan
from judges.plans.reading import find_config, shipped_configs
from judges.runs.integrity import verify
from judges.runs.manifest import read_manifest
from judges.scoring.victims import victims_of
from judges.summaries.gradient_inversion import read_summary
from tests.judges.bench.test_audit import audit, leave_captures
from tests.judges.bench.test_gradient_inversion import quiet
from tests.judges.pages import policy_of

Call = Callable[..., tuple[int, str, str]]
Edit = Callable[[dict[str, Any]], object]

NAME = "board/digits_lenet"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run on a fixed victim set, with next to no budget."""
    folder = tmp_path_factory.mktemp("board") / "mine"
    few = ["attack=idlg", "attack.iterations=1", "attack.inner_iterations=2"]
    run_plan(read_plan(find_config(Path(NAME)), few), folder, quiet())
    return folder


@pytest.fixture(scope="module")
def handed(finished: Path) -> dict[str, Any]:
    """Return its submission as JSON holds it."""
    content: dict[str, Any] = json.loads(to_json(submission_of(finished, by="somebody").model_dump(mode="json")))
    return content


def write(folder: Path, name: str, content: dict[str, Any], edit: Edit = lambda _: None, *, scores: str = "") -> None:
    """Write a submission that somebody has edited, with other hashes if it is to be that of another run."""
    own = copy.deepcopy(content)
    edit(own)
    if scores:
        own["hashes"]["scores"] = scores * 64
    (folder / name).write_text(json.dumps(own))


def entry(content: dict[str, Any]) -> dict[str, Any]:
    first: dict[str, Any] = content["entries"][0]
    return first


# What a submission says


def test_a_submission_has_the_published_schema_which_is_that_of_the_code(handed: dict[str, Any]) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    published = json.loads(SCHEMA.read_text())
    assert published == json.loads(json.dumps(schema()))
    jsonschema.Draft202012Validator.check_schema(published)
    jsonschema.validate(handed, published)
    for edit in (lambda one: one.pop("hashes"), lambda one: one.update(more=1), lambda one: entry(one).update(n=0)):
        other = copy.deepcopy(handed)
        edit(other)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(other, published)


def test_an_entry_has_the_figures_of_its_cell(finished: Path, handed: dict[str, Any]) -> None:
    (cell,) = (one for one in read_summary(finished / "summary.json").cells if not one.is_control)
    assert len(handed["entries"]) == 1
    told = entry(handed)
    assert (told["n"], told["attack"], told["adversary"]) == (20, "idlg", "A")
    assert (told["settings"]["iterations"], told["settings"]["label_rule"]) == (1, "bias")
    assert cell.ssim is not None
    low, high = cell.intervals["ssim"] or (0.0, 0.0)
    assert told["ssim"] == {"mean": cell.ssim.mean, "low": low, "high": high}
    assert told["evaluations"] == cell.gradient_evaluations
    assert handed["hashes"]["scores_without_times"] == read_manifest(finished)["scores_sha256"]


def test_every_board_config_has_its_victims_and_this_run_attacked_them(handed: dict[str, Any]) -> None:
    assert {f"board/{name}" for name in fixed_sets()} == {one for one in shipped_configs() if one.startswith("board/")}
    victims = entry(handed)["victims"]
    assert victims["set"] == "digits_lenet"
    assert victims["digest"] == fixed_sets()["digits_lenet"].digest
    assert victims["sent"] == pytest.approx(fixed_sets()["digits_lenet"].sent, rel=1e-6)


def test_the_identity_of_victims_is_that_of_pictures_labels_and_training(tmp_path: Path) -> None:
    leave_captures(tmp_path, sealed=3)
    store = SealedStore(tmp_path / "sealed")

    def digest(change: Callable[[SealedBatch], SealedBatch] = lambda one: one, **settings: object) -> str:
        path = store.path("mine/r001-c001")
        before = store.load("mine/r001-c001")
        save_record(change(before), path)
        found = victims_of(tmp_path, ["mine"], settings)
        save_record(before, path)
        assert (found.updates, found.examples, len(found.sent)) == (3, 3, 1)
        return found.digest

    def in_8_bits(one: SealedBatch) -> SealedBatch:
        return replace(one, inputs=(one.inputs * 255).round() / 255)

    plain = digest(in_8_bits, rounds=1)
    assert digest(in_8_bits, rounds=1) == plain
    assert digest(lambda one: replace(in_8_bits(one), inputs=in_8_bits(one).inputs + 1e-5), rounds=1) == plain
    assert digest(in_8_bits, rounds=2) != plain
    assert digest(lambda one: replace(in_8_bits(one), labels=one.labels + 1), rounds=1) != plain
    assert digest(lambda one: replace(one, inputs=torch.rand_like(one.inputs)), rounds=1) != plain


# What a board refuses


def _second(content: dict[str, Any]) -> None:
    content["entries"].append(copy.deepcopy(content["entries"][0]))


REFUSED: dict[str, tuple[Edit, str]] = {
    "no hashes": (lambda one: one.pop("hashes"), "is not of the schema: hashes: Field required"),
    "another format": (lambda one: one.update(format="spikeleak-submission/2"), "is not of the schema: format"),
    "two of a cell": (_second, "two entries of the cell"),
    "an interval": (lambda one: entry(one)["ssim"].update(low=0.8, high=0.9), "interval of ssim, 0.8 to 0.9, does not"),
    "an impossible mean": (lambda one: entry(one)["mse"].update(mean=-1.0, low=-2.0), "mean mse of -1 is impossible"),
    "half an interval": (lambda one: entry(one)["ssim"].update(low=None), "one end only"),
    "a share": (lambda one: entry(one)["solved"].update(share=0.5), "share of solved is 0.5, but 0 of 20 is 0"),
    "a count": (lambda one: entry(one)["recovered"].update(count=21), "recovered is 21 of 20"),
    "recovered, not recognisable": (
        lambda one: entry(one)["recovered"].update(count=10, share=0.5, high=1.0), "10 are recovered, but only 0 recogn"
    ),
    "diverged": (lambda one: entry(one).update(diverged=21), "21 diverged are more than n 20"),
    "labels": (lambda one: entry(one).update(label_accuracy=0.99), "no whole number of 20 labels"),
    "n": (lambda one: entry(one).update(n=10), "n is 10, but its victims have 20"),
    "a verdict": (lambda one: entry(one).update(verdict="recovered"), "its verdict is 'recovered', but 0 %"),
    "an unknown verdict": (lambda one: entry(one).update(verdict="defended"), "verdict 'defended' is not known"),
    "a letter": (lambda one: entry(one).update(attack="ensemble"), "its adversary is A, but that of 'ensemble'"),
    "no set": (lambda one: entry(one)["victims"].update(set=""), "those of no fixed set"),
    "an unknown set": (lambda one: entry(one)["victims"].update(set="mine"), "fixed set 'mine' is not known"),
    "other victims": (lambda one: entry(one)["victims"].update(digest="0" * 64), "0000000000000000 is not that of"),
    "fewer victims": (lambda one: entry(one)["victims"].update(updates=10), "20 examples in 10 updates, but digits"),
    "other models": (lambda one: entry(one)["victims"]["sent"].reverse(), "models that its server sent are not those"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_is_not_what_it_says_is_refused_and_the_others_are_ranked(
    name: str, tmp_path: Path, handed: dict[str, Any]
) -> None:
    edit, reason = REFUSED[name]
    write(tmp_path, "bad.json", handed, edit)
    write(tmp_path, "good.json", handed)
    found = board_of(tmp_path)
    assert list(found.refused) == ["bad.json"]
    assert reason in found.refused["bad.json"]
    assert [place.file for standing in found.standings for place in standing.places] == ["good.json"]


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[" * 100_000, b'{"format": NaN}', b"[]"])
def test_garbage_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "odd.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"odd\.json: is not of the schema"):
        read_submission(path)


def test_a_run_counts_once(tmp_path: Path, handed: dict[str, Any]) -> None:
    write(tmp_path, "a.json", handed)
    write(tmp_path, "b.json", handed, lambda one: one.update(by="somebody else"))
    assert board_of(tmp_path).refused == {"b.json": "it is the same run as a.json."}


# How it ranks


def _found(count: int, ssim: float, evaluations: float) -> Edit:
    """Return what makes an entry one that recovered so many of 20."""
    rate = {"count": count, "of": 20, "share": count / 20, "low": count / 20, "high": count / 20}
    verdict = "recovered" if count >= 10 else "partly recovered" if count else "nothing found"
    mean = {"mean": ssim, "low": ssim, "high": ssim}
    values = {"recovered": rate, "recognisable": rate, "ssim": mean, "evaluations": evaluations, "verdict": verdict}
    return lambda one: entry(one).update(copy.deepcopy(values))


def test_the_order_is_by_share_then_ssim_then_budget_and_by_letter(tmp_path: Path, handed: dict[str, Any]) -> None:
    write(tmp_path, "a.json", handed, _found(4, 0.9, 10), scores="a")
    write(tmp_path, "b.json", handed, _found(12, 0.5, 90), scores="b")
    write(tmp_path, "c.json", handed, _found(12, 0.5, 30), scores="c")
    write(tmp_path, "d.json", handed, _found(12, 0.6, 900), scores="d")
    write(tmp_path, "e.json", handed, _found(4, 0.9, 10), scores="e")

    def more(one: dict[str, Any]) -> None:
        _found(20, 1.0, 1)(one)
        entry(one).update(attack="somebody_else_s", adversary="B")

    write(tmp_path, "f.json", handed, more, scores="f")
    first, second = board_of(tmp_path).standings
    assert [(place.rank, place.file) for place in first.places] == [
        (1, "d.json"), (2, "c.json"), (3, "b.json"), (4, "a.json"), (4, "e.json")
    ]  # fmt: skip
    assert (first.adversary, second.adversary) == ("A", "B")
    assert [place.file for place in second.places] == ["f.json"]


def test_settings_that_differ_tell_entries_of_one_attack_apart(tmp_path: Path, handed: dict[str, Any]) -> None:
    write(tmp_path, "a.json", handed, scores="a")
    write(tmp_path, "b.json", handed, lambda one: entry(one)["settings"].update(iterations=300), scores="b")
    (standing,) = board_of(tmp_path).standings
    assert {place.file: place.settings for place in standing.places} == {
        "a.json": {"iterations": 1},
        "b.json": {"iterations": 300},
    }


def test_the_page_loads_and_runs_nothing_whatever_a_file_says(tmp_path: Path, handed: dict[str, Any]) -> None:
    hostile = "<script>alert(1)</script>|*"
    write(tmp_path, "a.json", handed, lambda one: one.update(by=hostile))
    (tmp_path / "b|<b>.json").write_text("{}")
    page = write_board(tmp_path, board_of(tmp_path)).read_text()
    told = (tmp_path / "board.md").read_text()
    assert "<script" not in page
    assert "<b>" not in page
    assert "script-src" not in policy_of(page)
    assert "default-src 'none'" in policy_of(page)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "digits_lenet, adversary A" in page
    assert "Field required" in page
    assert r"&lt;script&gt;alert(1)&lt;/script&gt;\|\*" in told


# The commands


def test_the_commands_hand_in_and_rank(finished: Path, tmp_path: Path, spikeleak: Call) -> None:
    code, out, err = spikeleak("submit", str(finished), "--by", "me", "--out", str(tmp_path / "me.json"))
    assert (code, err) == (0, "")
    assert out == f"1 entries in {tmp_path / 'me.json'}, on digits_lenet\n"
    assert verify(finished).is_sound
    code, out, err = spikeleak("board", str(tmp_path))
    assert (code, err) == (0, "")
    assert "digits_lenet, adversary A: idlg (me.json)" in out
    (tmp_path / "bad.json").write_text("{}")
    code, out, err = spikeleak("board", str(tmp_path))
    assert code == DataError.exit_code
    assert "bad.json: refused: is not of the schema" in err
    assert "me.json" in out
    assert "bad.json" in (tmp_path / "board.html").read_text()


def test_what_cannot_be_handed_in_or_ranked_is_said(finished: Path, tmp_path: Path, spikeleak: Call) -> None:
    code, _, err = spikeleak("submit", str(finished), "--out", str(finished / "me.json"))
    assert (code, "lies in the folder of the run" in err) == (ConfigError.exit_code, True)
    leave_captures(tmp_path / "audit", sealed=0, count=1)
    audit(tmp_path / "audit", "attack.iterations=1")
    code, _, err = spikeleak("submit", str(tmp_path / "audit"))
    assert (code, "nobody else can attack the victims of this run" in err) == (ConfigError.exit_code, True)
    code, _, err = spikeleak("board", str(tmp_path))
    assert (code, "expected submissions" in err) == (DataError.exit_code, True)
    code, _, err = spikeleak("board", str(tmp_path / "nowhere"))
    assert (code, "expected a folder of submissions" in err) == (DataError.exit_code, True)
