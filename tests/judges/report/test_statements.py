"""The statement of a run on one page: what it says of real audits, what it never says, and that it fits."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from fl_sim.captures import SealedStore
from fl_sim.errors import DataError
from fl_sim.records import InputSpec, ModelSpec, save_record
from judges.bench.audit.ladder import carried_out, climb
from judges.bench.gradient_inversion.added import attack_run
from judges.kinds import kind_in
from judges.plans.audit import read_audit
from judges.progress import Watch
from judges.report.gradient_inversion.statement import write_attack_statement
from judges.report.model_inversion.statement import write_inversion_statement
from judges.report.statements import few
from judges.runs.integrity import verify
from judges.runs.rows import Score, read_scores
from tests.judges.bench.test_audit import audit, leave_a_batch, leave_captures
from tests.judges.bench.test_gradient_inversion import RAW, quiet, run
from tests.judges.browser import BROWSER, browse
from tests.judges.cli.test_runs import ask
from tests.judges.pages import Tags, policy_of
from tests.judges.report.golden_runs import gradient_run, inversion_run
from tests.judges.report.gradient_inversion.test_reads import reads_of, write

CLAIMS = ("defended", "secure", "no risk", "private by", "cannot be attacked", "is safe")
DENSE = ModelSpec("mlp", InputSpec(channels=1, height=8, width=8, classes=4))


@pytest.fixture(scope="module")
def half_sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an audit of four clients: two sealed, one sealed another's truth, one sealed nothing."""
    folder = tmp_path_factory.mktemp("statements") / "half"
    leave_captures(folder, sealed=3, count=4)
    store = SealedStore(folder / "sealed")
    wrong = replace(store.load("mine/r001-c000"), capture_id="mine/r001-c002")
    save_record(wrong, store.path("mine/r001-c002"))
    audit(folder, "attack.iterations=60", "assumed.loss=cross_entropy", "checks=1")
    return folder


def state(folder: Path) -> str:
    """Write the statement of a run and return it in Markdown, without escapes."""
    kind_in(folder).part("statement")(folder)
    return (folder / "statement.md").read_text().replace("\\", "").replace("\N{NO-BREAK SPACE}", " ")


def test_an_audit_is_stated(half_sealed: Path) -> None:
    text = state(half_sealed)
    found = [row.success for row in read_scores(half_sealed / "scores.csv") if not row.is_control]
    assert (len(found), any(found)) == (2, True)
    assert f"**At least one attack recovered {sum(found)} of 2 scored examples ({50 * sum(found)} %, 95 % inter" in text
    assert "4 updates of 4 examples attacked, 2 updates with 2 examples scored" in text
    assert "- **Clients share:** the gradient of one batch\n" in text
    assert "- **Known:** local steps 1, batch size 1, number of examples 1\n" in text
    assert "- **Assumed:** loss cross_entropy\n" in text
    assert "- **Data:** those of the clients of the audited federation\n" in text
    assert ", with the parameters that the server sent to its clients\n" in text
    assert "other settings at the default of torch (named in manifest.json)\n" in text
    assert "- **Unknown, taken to be:** optimiser sgd, momentum 0, weight decay 0, clip norm 0, mode train" in text
    assert "- **Knows:** A: the update only\n" in text
    assert "- **Labels:** certain in 4 of 4 updates\n" in text
    line = rf"\| A \| iDLG \| \d+ \| [\d.]+ \| {sum(found)} of 2 \[\d+, 100\] % \| 0\.\d\d \| 100 % \| recovered \|"
    assert re.search(line, text)
    assert "- **Ladder:** not climbed, so nothing is said" in text
    assert "- **Not scored:** 2 of 4 updates: no client sealed a truth that fits them" in text
    assert "mine/r001-c002" in text.partition("Reasons to doubt")[2]
    assert "not tried: B (a prior of the inputs, too); C (how the client trains, too); D (" in text
    assert "no evidence that the data are safe" in text


def test_page_and_text_say_the_same_and_load_nothing(half_sealed: Path) -> None:
    text, page = state(half_sealed), (half_sealed / "statement.html").read_text()
    assert "img-src" not in policy_of(page)
    assert "<script" not in page
    told = Tags(page).text
    for heading in re.findall(r"^## (.*)$", text, flags=re.MULTILINE):
        assert heading in told
    assert "@page { size: A4 portrait" in page


def test_hashes_are_those_of_the_files(half_sealed: Path) -> None:
    text = state(half_sealed)
    listed = dict(line.split("  ")[::-1] for line in (half_sealed / "files.sha256").read_text().splitlines())
    for name in ("config.toml", "manifest.json", "scores.csv", "summary.json"):
        assert f"{name} {listed[name][:16]}" in text


def test_without_a_truth_nothing_is_claimed(tmp_path: Path) -> None:
    leave_captures(tmp_path, sealed=0, count=1)
    audit(tmp_path, "attack.iterations=1")
    text = state(tmp_path)
    assert "**No answer could be scored" in text
    assert "nothing follows about what the attacks found" in text
    assert "- **Attacks:** none was scored" in text
    assert "the results of none are known" in text
    assert "recovered" not in text


def test_what_an_update_contains_is_no_question_of_attacks(tmp_path: Path) -> None:
    """The gradient of a dense first layer is an outer product with its input."""
    leave_captures(tmp_path, sealed=1, count=2, spec=DENSE)
    audit(tmp_path, "attack.iterations=1", "attack.inner_iterations=1")
    text = state(tmp_path)
    assert "**2 of 2 updates contain the input itself, by division and without a search." in text
    assert "- **Inputs:** 2 of 2 updates give it in closed form (the input itself)\n" in text


def test_counts_that_are_not_certain_are_estimates(tmp_path: Path) -> None:
    write(tmp_path, reads_of(updates=1, how={"counts": 1}, certain=0.0, inputs={"input": 1}, input_error=0.5))
    text = state(tmp_path)
    certain, _, estimated = text.partition("What the updates tell for certain")[2].partition("What the updates suggest")
    assert "- **Labels:** certain in 0 of 1 update\n" in certain
    assert "- **Inputs:** 1 gives it with an error, so it is no gradient of one example alone\n" in certain
    assert "Classes" not in certain
    assert "- **Classes:** estimated examples of each: 0: 5, 3: 3 (certain in no update)\n" in estimated
    write(tmp_path, reads_of(certain=0.5))
    assert "0: 5, 3: 3 (certain in 4 of 8 updates, estimated in the others)\n" in state(tmp_path)


def test_sentences_are_not_joined_by_semicolons() -> None:
    assert few(["The truth is its own.", "So is that."], by=" ") == "The truth is its own. So is that."
    assert few(["one.", "two.", "three.", "four."]) == "one; two; three; and 1 more in report.html"
    assert few(["One.", "Two.", "Three.", "Four."], by=" ") == "One. Two. Three. (1 more in report.html)"


def test_a_failed_search_is_never_a_defence(tmp_path: Path) -> None:
    leave_captures(tmp_path, sealed=2, count=2)
    audit(tmp_path, "attack.iterations=1", "attack.inner_iterations=1", "defence=noise")
    text = state(tmp_path)
    assert "**No attack tried here recovered an example: 0 of 2 scored examples (0 %, 95 % interval [0, 84])" in text
    assert "It is no evidence that the data are safe" in text.partition("## 1.")[0]
    assert "- **Defence:** clipping and noise (as the owner of the federation says)\n" in text
    assert "nothing is said about what protects these clients" in text
    assert not [claim for claim in CLAIMS if claim in text.lower()]


def test_the_ladder_is_stated_where_there_is_one(tmp_path: Path) -> None:
    leave_captures(tmp_path, sealed=1, count=1)
    settings = ["attack=idlg", "attack.iterations=1", "attack.inner_iterations=1", "checks=0", "ladder.examples=1"]
    audit(tmp_path, *settings)
    assert "not climbed" in state(tmp_path)
    climb(read_audit(settings), tmp_path, Watch.silent(), options=None)
    text = (tmp_path / "statement.md").read_text()  # the ladder has written it anew
    assert "not climbed" not in text
    assert "iDLG does not recover the examples in its best case either" in text
    assert "so the ladder cannot tell what protects these clients" in text
    page = (tmp_path / "report.html").read_text()  # and the audit's own report
    assert "iDLG does not recover the examples in its best case either" in page
    assert '<a href="ladder/report.html">' in page
    assert verify(tmp_path).is_sound


def test_what_only_the_ladder_tried_is_no_gap(tmp_path: Path) -> None:
    """Its bound on time is said before the audit, which itself looks for nothing in so large a batch."""
    leave_a_batch(tmp_path)
    settings = ["attack=idlg", "attack.most_examples=2", "attack.iterations=60", "checks=1", "ladder.examples=1"]
    told = io.StringIO()
    list(carried_out(read_audit(settings), tmp_path, Watch(Console(file=told, width=1000))))
    lines = told.getvalue().splitlines()
    (forecast,) = (place for place, line in enumerate(lines) if "the attacks on the ladder take at most" in line)
    assert forecast < next(place for place, line in enumerate(lines) if line.startswith("warning: idlg does not look"))
    text = state(tmp_path)
    assert "- **Adversaries:** on the ladder only: A; not tried: B (a prior" in text
    assert "- **Sanity checks:** of the attacks were made on the ladder only, where none failed\n" in text
    assert "iDLG recovers the examples on the rungs below" in text
    assert "- **Controls:** Two controls are lacking" in text


TINY = {**RAW, "model": "lenet", "attack": {"name": "dlg", "iterations": 1, "inner_iterations": 1}}


def test_a_run_is_stated_and_a_later_call_renews_that(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    run(folder, TINY)
    assert not (folder / "statement.html").exists()
    code, out = ask("statement", folder)
    assert (code, out.startswith("statement: file://")) == (0, True)
    assert verify(folder).is_sound
    first = (folder / "statement.md").read_text().replace("\\", "")
    assert "Experiment: a simulated federation" in first
    assert (
        "- **Known:** strategy FedSGD, clients 2, rounds 1, batch size 1, local steps 1, learning rate 0.1\n" in first
    )
    attack_run(folder, ["attack=idlg", "attack.iterations=1"], quiet())
    second = (folder / "statement.md").read_text()
    assert ("| iDLG" in first, "| iDLG" in second) == (False, True)
    assert verify(folder).is_sound
    (folder / "scores.csv").write_text((folder / "scores.csv").read_text() + "\n")
    with pytest.raises(DataError, match="of which no page is written"):
        ask("statement", folder)
    with pytest.raises(DataError, match="expected the folder of a run"):
        ask("statement", folder / "captures")


def test_many_cells_are_put_together_and_what_failed_is_named(tmp_path: Path, row: Callable[..., Score]) -> None:
    folder = gradient_run(tmp_path, row)
    write_attack_statement(folder)
    text = (folder / "statement.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("| ") and "group" in line]
    assert 0 < len(lines) <= 8
    assert "- **Not computed:** mnist/grnn (no memory: 3 GB &amp; more)" in text


def test_model_inversions_are_stated(tmp_path: Path) -> None:
    inversion_run(tmp_path)
    write_inversion_statement(tmp_path)
    text = (tmp_path / "statement.md").read_text()
    assert "no update of a client was used" in text
    assert "An adversary holds the trained model" in text
    assert "| BrainLeaks-v2 | MNIST, SNN spiking MLP, 10 epochs | 60 |" in text
    assert "BrainLeaks-v1 on DVS128 Gesture, SNN spiking MLP, 10 epochs: attack failed" in text
    assert not [claim for claim in CLAIMS if claim in text.lower()]


class TestPrinted:
    """In a browser."""

    pytestmark = BROWSER

    def test_an_audit_fits_on_one_page(self, half_sealed: Path, tmp_path: Path) -> None:
        state(half_sealed)
        assert pages_of(half_sealed / "statement.html", tmp_path) == 1

    def test_so_does_a_run_of_many_cells(self, tmp_path: Path, row: Callable[..., Score]) -> None:
        folder = gradient_run(tmp_path, row)
        write_attack_statement(folder)
        assert pages_of(folder / "statement.html", tmp_path) == 1


def pages_of(page: Path, folder: Path) -> int:
    """Return on how many pages of A4 a page is printed."""
    browse(page.as_uri(), folder, "--no-pdf-header-footer", f"--print-to-pdf={folder / 'printed.pdf'}")
    printed = (folder / "printed.pdf").read_bytes()
    (size,) = set(re.findall(rb"/MediaBox\s*\[([^\]]*)\]", printed))
    assert [round(float(side)) for side in size.split()] == [0, 0, 595, 842]  # in points
    return len(re.findall(rb"/Type\s*/Page\b", printed))
