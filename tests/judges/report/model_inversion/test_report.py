from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path

import pytest

from fl_sim.errors import DataError
from judges.report.model_inversion.report import write_inversion_report
from judges.report.model_inversion.wording import WORDS
from tests.judges.class_runs import DRAWN, Toy
from tests.judges.pages import POLICY, Tags, cells_of, policy_of, text_of
from tests.judges.report.model_inversion.reading import images_of, line_of, page_of

EVIL = "<script>alert(1)</script>"
DASH, TIMES = "\N{EN DASH}", " \N{MULTIPLICATION SIGN} "


def test_targets_stand_beside_the_paper_where_they_are_of_its_kind(central: Path) -> None:
    rows = {row[0]: row[1:] for row in cells_of(page_of(central), "targets")}
    ours = "2 trainings, on its training data 100.0"
    assert rows["MNIST"] == [f"96.5 ± 0.7 MLP, {ours}", "98.0", f"96.5 ± 0.7 spiking MLP, {ours}", "96.6"]
    assert rows["DVS128 Gesture"] == [DASH, "", "78.0 spiking MLP, 1 training, on its training data 100.0", "78.3"]
    assert rows["toy"][2:] == ["90.0 spiking MLP (T=5), 1 training, on its training data 100.0", ""]
    judges = {row[0]: row[1:] for row in cells_of(page_of(central), "classifiers")}
    assert judges["AT&T faces (split 8:9)"][1::2] == ["95.0", "97.5"]
    assert judges["toy"][1::2] == ["", ""]


def test_the_paper_does_not_stand_beside_inputs_of_another_size(tmp_path: Path) -> None:
    toy = Toy(people={"mnist": False})
    toy.attack(toy.target("mnist", "spiking_mlp", shape=(1, 8, 8)), "brainleaks_v2", 9)
    write_inversion_report(toy.write(tmp_path))
    assert "theirs" not in page_of(tmp_path).partition("</style>")[2]
    assert not line_of(tmp_path, "table-3", "paper")
    for number in ("96.6", "98.4", "94.6", "Italics", "italics"):
        assert number not in text_of(page_of(tmp_path), "targets") + text_of(page_of(tmp_path), "classifiers")
        assert number not in text_of(page_of(tmp_path), "table-3")


def test_the_two_deviations_are_named_and_never_mixed(central: Path) -> None:
    rows = cells_of(page_of(central), "table-3")
    at = next(index for index, row in enumerate(rows) if row[0] == "AT&T faces (split 8:9)")
    ours, drawn, paper = rows[at + 1 : at + 4]
    assert ours[0] == "BrainLeaks-v2 SNN spiking MLP mean ± over 4 attacks"
    assert ours[1:3] == [f"2{TIMES}2{TIMES}40", "36.2 ± 1.4 [22, 50]"]
    assert drawn[0] == "mean ± over 2 draws of one answer"
    assert [cell.strip() for cell in drawn[2:6]] == ["68.0 ± 2.0", "89.0 ± 1.0", "41.0 ± 1.0", "95.0 ± 5.0"]
    assert paper[0] == "paper, mean ± over its draws"
    assert [cell.strip() for cell in paper[2:6]] == ["71.3 ± 2.2", "89.3 ± 1.9", "42.0", "100.0"]
    (v1,) = [row for row in rows if row[0].startswith("BrainLeaks-v1") and "one attack" in row[0]]
    assert v1[2] == "10.0 [0, 30]"  # no deviation of a single attack
    told = text_of(page_of(central), "table-3")
    assert "over draws from the Bernoulli parameters" in told
    assert "not our ± over attacks" in told


def test_controls_stand_beside_every_attack(central: Path) -> None:
    for section in ("table-3", "table-4"):
        attacks = [row for row in cells_of(page_of(central), section) if len(row) == 8 and TIMES in row[1]]
        assert attacks
        for row in attacks:
            for name in ("shuffled", "class mean", "real", "chance"):
                assert name in row[6]
    (faces,) = line_of(central, "table-4", "MI-Face ANN MLP mean ± over 2 attacks")[1:]
    assert faces[6] == "shuffled 0.0, class mean 98.8, real 96.2, chance 2.5"
    controls = [row[0] for row in cells_of(page_of(central), "controls")]
    for name in ("BrainLeaks-v1, shuffled", "MI-Face, shuffled", "class mean", "real examples", "chance"):
        assert controls.count(name) >= 2


def test_the_ann_stands_beside_the_snn(central: Path) -> None:
    names = [row[0].partition(" ")[0] for row in cells_of(page_of(central), "table-4")[1:]]
    assert names == ["MNIST", "MI-Face", "paper", "BrainLeaks-v2", "mean", "paper",
                     "AT&T", "MI-Face", "paper", "BrainLeaks-v2", "mean", "paper,"]  # fmt: skip


def test_a_table_without_cells_is_left_out(federated: Path, tmp_path: Path) -> None:
    text = Tags(page_of(federated)).text
    for title in ("Table 1", "Table 2", "Table 3", "Table 4"):
        assert title not in text
        assert title not in (federated / "report.md").read_text()
    toy = Toy()
    toy.attack(toy.target("mnist", "mlp"), "mi_face", 9)
    write_inversion_report(toy.write(tmp_path))
    text = Tags(page_of(tmp_path)).text
    assert "Table 3" not in text
    assert "Along the rounds" not in text
    assert "Table 4" in text


def test_every_round_has_its_numbers_and_the_figure_tells_them(federated: Path) -> None:
    rows = [row for row in cells_of(page_of(federated), "rounds") if row[0][0].isdigit()]
    assert [row[0].split()[0] for row in rows] == ["1", "1", "3", "3", "5", "5"]
    assert [row[2].split()[0] for row in rows] == ["20.0", "19.0", "60.0", "57.0", "100.0", "95.0"]
    assert rows[4][3] == "91.7 [75, 100]"
    assert rows[5][3].startswith("87.5 ± 5.9 [")
    assert [row[-1] for row in rows[:2]] == ["fools the target only"] * 2
    assert rows[4][-1] == "classes recovered"
    (figure,) = [image for image in images_of(federated) if image.get("class") == "sweep"]
    svg = base64.b64decode(figure["src"].partition(",")[2]).decode()
    for name in ("ANN MLP", "SNN spiking MLP", "attack accuracy, MI-Face", "judge's confidence, BrainLeaks-v2",
                 "target's test accuracy", "round"):  # fmt: skip
        assert name in svg
    assert svg.index("<!-- ANN MLP") < svg.index("<!-- SNN spiking MLP")


def test_nearest_examples_fold_and_memorisation_is_measured(central: Path) -> None:
    assert "Nearest training examples: MNIST" in text_of(page_of(central), "pictures")
    (row,) = line_of(central, "memory", "MI-Face")[:1]
    assert row == ["MI-Face", "20", "6.20", "6.40", "50.0 [20, 80]"]
    assert line_of(central, "memory", "real examples")[0][2:] == ["6.20", DASH, DASH]


def test_the_record_has_every_attack_and_why(central: Path) -> None:
    rows = line_of(central, "record", "BrainLeaks-v1")
    assert rows[0] == [
        "BrainLeaks-v1 classes recovered", f"60 2{TIMES}3{TIMES}10", "85.0 [60, 100]", "100.0", "77.2",
        "85.0 [65, 100]", "99.0", "100.0", "0", "21.0", "50.0", "120", "1.25",
    ]  # fmt: skip
    assert any("nothing follows about the model" in row[-1] for row in rows)
    assert len(cells_of(page_of(central), "record")) == 1 + 6 + 8 + 1 + 8  # heads, targets, attacks; their reasons


def test_names_are_escaped_everywhere(tmp_path: Path) -> None:
    toy = Toy(people={EVIL: False}, names={EVIL: (EVIL,) * 10})
    toy.attack(toy.target(EVIL, f"mlp {EVIL}"), f"mi_face-{EVIL}", 9)
    snn = toy.target(EVIL, f"spiking_mlp {EVIL}", number=2)
    toy.attack(snn, EVIL, 5, draws=DRAWN)
    toy.write(tmp_path, title=f"A & B {EVIL}", versions={"torch": "2.0", "note": EVIL})
    (tmp_path / "config.toml").write_text(f'name = "{EVIL}"\n')
    tags = Tags(write_inversion_report(tmp_path).read_text())
    assert "script" not in {tag for tag, _ in tags.tags}
    assert "<script" not in page_of(tmp_path).lower()
    assert tags.text.count(EVIL) > 40
    assert not {name for _, attributes in tags.tags for name in attributes if name.startswith("on")}
    markdown = (tmp_path / "report.md").read_text()
    assert "<script" not in markdown
    assert "&lt;script&gt;" in markdown
    for source in tags.attributes("src"):
        assert b"<script" not in base64.b64decode(source.partition(",")[2])


@pytest.mark.parametrize("run", ["central", "federated"])
def test_the_page_is_one_file(run: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(run)
    tags = Tags(page_of(folder))
    assert {tag for tag, _ in tags.tags}.isdisjoint({"script", "link", "iframe", "object", "embed", "base", "form"})
    assert all(source.startswith("data:image/") for source in tags.attributes("src") + tags.attributes("srcset"))
    assert all(image["alt"] for image in images_of(folder))
    inside = {f"#{name}" for name in tags.attributes("id")}
    beside = {"scores.csv", "summary.json", "manifest.json", "report.md", "report.tex"}
    assert set(tags.attributes("href")) <= inside | beside
    for reference in ("http:", "https:", "url(", "@import"):
        assert reference not in page_of(folder)
    assert policy_of(page_of(folder)) == POLICY


def test_markdown_has_the_same_tables(central: Path, federated: Path) -> None:
    for folder, titles in (
        (central, ("Table 1", "Table 2", "Table 3", "Table 4", "Controls", "Memorisation", "The judge")),
        (federated, ("Along the rounds", "Controls", "Memorisation", "Complete record", "The judge")),
    ):
        markdown = (folder / "report.md").read_text()
        assert all(title in markdown for title in titles)
        assert "data:image" not in markdown
        tables: list[list[int]] = [[]]
        for line in markdown.splitlines():
            if line.startswith("|"):
                tables[-1].append(line.replace("\\|", "").count("|"))
            elif tables[-1]:
                tables.append([])
        assert all(len(set(table)) <= 1 for table in tables)
    drawn = [line for line in (central / "report.md").read_text().splitlines() if "over 2 draws of one answer" in line]
    assert all("68.0 ± 2.0" in line for line in drawn)
    assert len(drawn) == 3 + 2  # of Tables 3 and 4


def test_definitions_and_provenance_are_there(central: Path) -> None:
    text, markdown = Tags(page_of(central)).text, (central / "report.md").read_text()
    for term, _ in WORDS.definitions:
        assert term in text
        assert term in markdown
    assert "abc123" in text
    assert "toy inversions" in text


@pytest.mark.parametrize("name", ["manifest.json", "scores.csv", "summary.json", "config.toml"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    toy = Toy()
    toy.attack(toy.target("mnist", "mlp"), "mi_face", 9, picture=False)
    (toy.write(tmp_path) / name).unlink()
    with pytest.raises(DataError, match=name):
        write_inversion_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_a_run_without_pictures_or_attacks_has_a_report(tmp_path: Path) -> None:
    toy = Toy()
    toy.target("mnist", "mlp")
    text = Tags(write_inversion_report(toy.write(tmp_path)).read_text()).text
    assert "No attack was scored in this run." in text
    assert "Truth beside answers" not in text
    assert "Table 4" not in text


def test_the_report_needs_no_attack_and_no_federation() -> None:
    code = (
        "import sys, judges.report.model_inversion.report, judges.report.console; "
        "sys.exit(any(name in sys.modules for name in ('attacks', 'flwr', 'ray')))"
    )
    root = Path(__file__).parents[4]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
