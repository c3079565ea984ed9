from __future__ import annotations

import base64
import dataclasses
import io
import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from attacks.contracts import Reconstruction, StopReason
from fl_sim.errors import DataError
from fl_sim.records import InputSpec, SealedBatch
from judges.classifiers.cache import Judge
from judges.report.figures import loss_figure, picture_uri, strip_figure
from judges.report.formats import error, interval, number, percent
from judges.report.gradient_inversion import WORDS
from judges.report.gradient_inversion.report import write_report
from judges.runs.names import in_words
from judges.runs.pictures import save_pictures
from judges.runs.rows import Context, Score, write_scores
from judges.scoring.assignment import assigned
from judges.scoring.controls import Means, control_reconstructions
from judges.scoring.gallery import build_gallery
from judges.scoring.gradient_inversion import score
from judges.summaries.gradient_inversion import summarise, write_summary
from tests.judges.pages import POLICY, Tags, policy_of

EVIL = "<script>alert(1)</script>"
HIDDEN = "faces are shown on request"
ATTACKS = ("dlg", "idlg", EVIL)
Answer = Callable[..., Reconstruction]


@pytest.fixture
def run_dir(tmp_path: Path, answer: Answer, spec: InputSpec, judge: Judge) -> Path:
    """A run folder of three attacks on two batches of two data sets; one attack has diverged and one returned NaN."""
    generator = torch.Generator().manual_seed(2)
    rows: list[Score] = []
    for dataset in ("toy", "mnist"):
        batches = [
            SealedBatch(f"{dataset}/r001-c{i:03d}", torch.rand(1, 1, 12, 12, generator=generator), torch.tensor([i]))
            for i in range(3)
        ]
        context = Context(experiment="e", dataset=dataset, model="lenet", family="lenet", init="uniform")
        for attack in ATTACKS:
            answers = [
                answer(
                    batch,
                    attack=attack,
                    inputs=batch.inputs * (math.nan if attack == "dlg" and index == 0 else 0.95),
                    stop_reason=StopReason.DIVERGED if attack == "dlg" else StopReason.BUDGET,
                    loss_history=torch.tensor([3.0, math.nan, 0.0]),
                )
                for index, batch in enumerate(batches)
            ]
            told = dataclasses.replace(context, cell=f"{dataset}-{attack}", attack=attack)
            pairs = list(zip(answers, batches, strict=True))
            own = [row for pair in pairs for row in score(*pair, spec=spec, judge=judge, context=told)]
            rows += own
            orders = [assigned(item.inputs, batch.inputs) for item, batch in pairs]
            save_pictures(build_gallery(own, answers, batches, orders, spec=spec), tmp_path)
        for batch in batches:
            means = Means(torch.full((1, 12, 12), 0.5), {})
            for control, item in control_reconstructions(batch, spec, means).items():
                told = dataclasses.replace(context, control=control)
                rows += score(item, batch, spec=spec, judge=judge, context=told)
    write_scores(rows, tmp_path / "scores.csv")
    summary = summarise(rows, judges={"toy": judge.facts(), EVIL: {"accuracy": 0.5}})
    write_summary(summary, tmp_path / "summary.json")
    manifest = {
        "title": f"A & B {EVIL}",
        "versions": {"torch": "2.0", "note": EVIL},
        "datasets": {"toy": {"people": False, "digest": "abc123"}, "mnist": {"people": True}},
        "wall_seconds": 12.5,
        "git_commit": None,
    }
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "config.toml").write_text(f'experiment = "{EVIL}"\n')
    return tmp_path


def test_names_are_escaped_everywhere(run_dir: Path) -> None:
    page = write_report(run_dir).read_text()
    tags = Tags(page)
    assert "script" not in {tag for tag, _ in tags.tags}
    assert "<script" not in page.lower()
    assert tags.text.count(EVIL) >= 8
    assert not {name for _, attributes in tags.tags for name in attributes if name.startswith("on")}
    markdown = (run_dir / "report.md").read_text()
    assert "<script" not in markdown
    assert "&lt;script&gt;" in markdown


def test_the_page_is_one_file(run_dir: Path) -> None:
    page = write_report(run_dir).read_text()
    tags = Tags(page)
    assert {tag for tag, _ in tags.tags}.isdisjoint({"script", "link", "iframe", "object", "embed", "base", "form"})
    assert all(source.startswith("data:image/") for source in tags.attributes("src"))
    assert len(tags.attributes("src")) > 10
    inside = {f"#{name}" for name in tags.attributes("id")}
    beside = {"scores.csv", "summary.json", "manifest.json", "report.md", "report.tex"}
    assert set(tags.attributes("href")) <= inside | beside
    assert beside | {"#victim-1", "#definitions"} <= set(tags.attributes("href"))
    assert not tags.attributes("srcset")
    for reference in ("http:", "https:", "url(", "@import"):
        assert reference not in page
    assert policy_of(page) == POLICY


def test_figures_refer_to_nothing_outside() -> None:
    uri = strip_figure({"idlg $x_1$": [0.1, 0.9], "control: black": [0.2]}, threshold=0.5)
    svg = base64.b64decode(uri.partition(",")[2]).decode()
    assert "<script" not in svg
    references = [part.split('"')[0] for part in svg.split('href="')[1:]]
    assert references
    assert all(reference.startswith("#") for reference in references)
    assert strip_figure({"idlg $x_1$": [0.1, 0.9], "control: black": [0.2]}, threshold=0.5) == uri


def test_every_cell_stands_in_the_page_and_in_markdown(run_dir: Path) -> None:
    text = Tags(write_report(run_dir).read_text()).text
    markdown = (run_dir / "report.md").read_text()
    for dataset in ("toy", "MNIST"):
        for attack in ATTACKS:
            assert f"{in_words(attack)} on {dataset}, LeNet, uniform initialisation" in text
        assert f"| {dataset}, LeNet, uniform initialisation |" in markdown
    rows = [line for line in markdown.splitlines() if line.startswith("| ") and "---" not in line]
    for attack in ("DLG", "iDLG", "&lt;script", "black", "mean image"):
        assert len([line for line in rows if f"uniform initialisation | {attack}" in line]) >= 2
    assert "88.3" in text  # the paper's iDLG on MNIST
    assert "(ceiling " in text
    assert "chance 25" in text
    for term, _ in WORDS.definitions:
        assert term in text
        assert term in markdown
    for fact in ("abc123", "12.5", "torch 2.0"):
        assert fact in text
        assert fact in markdown


def test_every_row_of_markdown_has_all_columns(run_dir: Path) -> None:
    write_report(run_dir)
    tables: list[list[int]] = [[]]
    for line in (run_dir / "report.md").read_text().splitlines():
        if line.startswith("|"):
            tables[-1].append(line.replace("\\|", "").count("|"))
        elif tables[-1]:
            tables.append([])
    assert len([table for table in tables if table]) == 6
    assert all(len(set(table)) <= 1 for table in tables)


def pictures_of(run_dir: Path, *, show_faces: bool = False) -> list[str]:
    tags = Tags(write_report(run_dir, show_faces=show_faces).read_text())
    return [attributes["alt"] for tag, attributes in tags.tags if tag == "img" and "of " in attributes["alt"]]


def test_people_are_hidden_unless_asked_for(run_dir: Path) -> None:
    hidden = pictures_of(run_dir)
    assert any("toy/r001" in alt for alt in hidden)
    assert not any("mnist/r001" in alt for alt in hidden)
    assert (run_dir / "report.html").read_text().count(HIDDEN) == 2  # line-up and pictures of the one data set
    assert any("mnist/r001" in alt for alt in pictures_of(run_dir, show_faces=True))
    assert HIDDEN not in (run_dir / "report.html").read_text()


def test_figures_are_written_on_request_and_never_of_people_unless_asked_for(run_dir: Path) -> None:
    """The page leads to them where they are; without the option those of an earlier call are gone."""
    galleries = [
        {path.name for path in (run_dir / "figures").glob("gallery-*-2col.pdf")}
        for faces in (True, False)
        if "figures/" in Tags(write_report(run_dir, figures=True, show_faces=faces).read_text()).attributes("href")
    ]
    assert galleries == [{"gallery-1-2col.pdf", "gallery-2-2col.pdf"}, {"gallery-1-2col.pdf"}]
    assert {path.name.partition("-")[0] for path in (run_dir / "figures").iterdir()} == {
        "gallery",
        "victims",
        "captions.txt",
    }
    page = write_report(run_dir).read_text()
    assert not (run_dir / "figures").exists()
    assert "spikeleak report RUN --figures" in page


def test_a_data_set_that_the_manifest_does_not_know_is_hidden(run_dir: Path) -> None:
    (run_dir / "manifest.json").write_text("{}")
    assert not any("r001" in alt for alt in pictures_of(run_dir))
    assert f"<title>{run_dir.name}" in (run_dir / "report.html").read_text()


@pytest.mark.parametrize("name", ["manifest.json", "scores.csv", "summary.json", "config.toml"])
def test_a_missing_file_is_named(run_dir: Path, name: str) -> None:
    (run_dir / name).unlink()
    with pytest.raises(DataError, match=name):
        write_report(run_dir)
    assert not (run_dir / "report.html").exists()


def test_a_manifest_that_is_no_table_is_refused(run_dir: Path) -> None:
    (run_dir / "manifest.json").write_text("[1]")
    with pytest.raises(DataError, match="list"):
        write_report(run_dir)


def test_a_corrupt_gallery_is_named(run_dir: Path) -> None:
    (run_dir / "gallery" / "broken.safetensors").write_bytes(b"no")
    with pytest.raises(DataError, match="broken"):
        write_report(run_dir)


def test_the_report_needs_no_attack_and_no_federation() -> None:
    loaded = "any(name in sys.modules for name in ('attacks', 'flwr', 'ray'))"
    code = f"import sys, judges.report.gradient_inversion.report; sys.exit({loaded})"
    root = Path(__file__).parents[4]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


def test_a_picture_is_enlarged_pixel_by_pixel() -> None:
    picture = torch.linspace(-1, 1, 28 * 28).reshape(1, 28, 28)
    picture[0, 0, 0], picture[0, 0, 1] = torch.nan, 7.0
    pixels = pixels_of(picture_uri(picture, low=-1.0, high=1.0))
    assert pixels.shape == (84, 84)
    assert (pixels[:3, :3] == 0).all()
    assert (pixels[:3, 3:6] == 255).all()
    assert (pixels[-3:, -3:] == 255).all()
    middle = picture[0, 14, 5].item()
    assert (pixels[42:45, 15:18] == round((middle + 1) / 2 * 255)).all()


def test_colour_and_events() -> None:
    red = torch.tensor([1.0, 0.0, 0.0]).reshape(3, 1, 1).expand(3, 32, 32)
    pixels = pixels_of(picture_uri(red, low=0.0, high=1.0))
    assert pixels.shape == (96, 96, 3)
    assert pixels[0, 0].tolist() == [255, 0, 0]
    two = torch.stack([torch.ones(30, 30), torch.zeros(30, 30)])
    assert pixels_of(picture_uri(two, low=0.0, high=1.0)).mean() == pytest.approx(128, abs=1)


def pixels_of(uri: str) -> np.ndarray:
    kind, _, content = uri.partition(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


def test_loss_curves_of_any_length_are_drawn() -> None:
    empty = loss_figure(torch.empty(2, 0), [True, False])
    lost = loss_figure(torch.full((2, 5), torch.nan), [True, False])
    drawn = loss_figure(torch.rand(2, 500), [True, False])
    assert empty == lost
    assert drawn != lost
    assert len(drawn) < 60_000


def test_numbers_in_words() -> None:
    assert [number(-0.5), number(None), number(12.345, 1)] == ["\u22120.50", "\u221e", "12.3"]
    assert [error(0.0), error(0.0123), error(2e-7), error(None)] == ["0.0000", "0.0123", "2e\u22127", "\u221e"]
    assert [percent(0.874), percent(None)] == ["87\u00a0%", "\u2013"]
    assert [interval((0.1, 0.25)), interval(None)] == ["[0.10, 0.25]", ""]


def test_two_cells_of_one_attack_are_told_apart(run_dir: Path, row: Callable[..., Score]) -> None:
    rows = [
        row(cell=cell, capture_id=f"v{index}", ssim=0.1 * index)
        for cell in ("300 steps", "30 steps")
        for index in range(3)
    ]
    write_scores(rows, run_dir / "scores.csv")
    write_summary(summarise([dataclasses.replace(item) for item in rows]), run_dir / "summary.json")
    text = Tags(write_report(run_dir).read_text()).text
    assert "300 steps" in text
    assert "30 steps" in text


def test_pictures_smaller_than_the_window_are_reported_beside_others(tmp_path: Path, row: Callable[..., Score]) -> None:
    """Of two groups, one has no SSIM anywhere, and answers of infinite distance."""
    small = {"ssim": None, "last_ssim": None, "recognisable": None, "dataset": "tiny", "judge_correct": None}
    rows = []
    for index in range(4):
        own = {"repeat": index, "capture_id": f"f{index}/r001-c000", "round": 1 + index % 2}
        rows += [row(**own), row(**own, control="black", ssim=0.2, label_recovered=-1)]
        lost = {"mse": math.inf, "l2": math.inf, "psnr_db": 0.0} if index == 3 else {"mse": 0.01, "l2": 0.2}
        rows += [row(**own, **small, **lost), row(**own, **small, control="black", mse=0.4, l2=2.0)]
    write_scores(rows, tmp_path / "scores.csv")
    write_summary(summarise(rows), tmp_path / "summary.json")
    (tmp_path / "manifest.json").write_text("{}")
    (tmp_path / "config.toml").write_text("")
    page = write_report(tmp_path).read_text()
    told = (tmp_path / "report.md").read_text()
    for text in (page, told):
        assert text.count(WORDS.notes["small"]) == 1
    lines = {line.split(" | ")[0]: line for line in told.splitlines() if line.startswith("| iDLG on ")}
    assert "| \N{EN DASH} |" in lines["| iDLG on tiny"]
    assert "0.90 [0.90, 0.90]".replace("[", r"\[").replace("]", r"\]") in lines["| iDLG on toy"]
    rounds = told.partition("## Leak against the server round")[2].partition("\n## ")[0]
    assert "toy" in rounds
    assert "tiny" not in rounds
    alts = Tags(page).attributes("alt")
    assert any(alt.startswith("strip of the l2 of") and "iDLG on tiny" in alt for alt in alts)
    assert not any(alt.startswith("strip of the SSIM of") and "on tiny" in alt for alt in alts)


@pytest.mark.parametrize(
    ("line", "told"), [("share_labels = true", True), ("share_labels = false", False), ("", False)]
)
def test_the_report_says_that_clients_share_their_labels(run_dir: Path, line: str, told: bool) -> None:
    (run_dir / "config.toml").write_text(f"[federation]\n{line}\n", encoding="utf-8")
    page = write_report(run_dir).with_suffix(".md").read_text(encoding="utf-8")
    assert ("Clients tell the server their labels" in page) is told
