"""Reports on a spiking network whose package is not installed: its rows say that it spikes, and nothing else does."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fl_sim.models import MODELS
from judges.kinds import kind_in
from judges.report.gradient_inversion.trends import by_timesteps
from judges.report.model_inversion.pictures import picture_blocks
from judges.report.model_inversion.sentences import findings
from judges.report.model_inversion.tables import attack_sections
from judges.report.model_inversion.tables_accuracy import accuracy_sections
from judges.report.model_inversion.tables_rounds import federations
from judges.report.table import Section
from judges.runs.identity import Attacked
from judges.runs.manifest import GALLERY
from judges.runs.names import attack_name
from judges.runs.pictures import load_pictures
from judges.runs.rows import Score, read_scores, write_scores
from judges.summaries.gradient_inversion import read_summary, summarise, write_summary
from judges.summaries.model_inversion import read_inversions
from tests.judges.class_runs import DRAWN, Toy

NAME = "my_snn"
Row = Callable[..., Score]


@pytest.fixture(autouse=True)
def not_installed() -> None:
    assert NAME not in MODELS
    assert not NAME.startswith("spiking")


def renamed(row: Any) -> Any:
    """Return a row, or an album, of a spiking network under the name of the one that is not installed."""
    assert isinstance(row, Attacked)
    return replace(row, model=NAME) if row.spiking else row


def inverted(folder: Path, *, number: int = 0) -> Path:
    """Write the folder of a run of model inversion on an ANN and its spiking twin; of a federation where `number`."""
    toy = Toy(people={"toy": False})
    for at in range(1, number + 1) if number else [0]:
        toy.attack(toy.target("toy", "mlp", classes=12, number=at), "mi_face", 12)
        toy.attack(toy.target("toy", "spiking_mlp", classes=12, number=at), "brainleaks_v2", 12, draws=DRAWN)
    for part in (toy.rows, toy.targets, toy.albums):
        part[:] = map(renamed, part)
    toy.write(folder)
    (folder / "config.toml").write_text(f'task = "model_inversion"\nname = "toy"\nmodel = ["mlp", "{NAME}"]\n')
    return folder


def report_of(folder: Path) -> str:
    """Write the report of a run anew, as the command does, and return its page."""
    page: Path = kind_in(folder).part("report")(folder)
    return page.read_text(encoding="utf-8")


def rows_of(section: Section) -> list[Any]:
    """Return the rows of a section that has one table of one group."""
    (table,) = section.tables
    (group,) = table.groups
    return list(group.rows)


def attacks_of(section: Section) -> list[tuple[str, str]]:
    """Return the networks and attacks that a section has numbers of, in its order."""
    return list(dict.fromkeys((line.cell.model, attack_name(line.cell)) for line in rows_of(section)))


def test_a_model_inversion_files_it_under_the_snns(tmp_path: Path) -> None:
    page = report_of(inverted(tmp_path))
    summary = read_inversions(tmp_path / "summary.json")
    table_3, table_4 = map(attacks_of, attack_sections(summary))
    assert table_3 == [(NAME, "BrainLeaks-v2")]
    assert table_4 == [("mlp", "MI-Face"), (NAME, "BrainLeaks-v2")]
    ((ann, snn),) = rows_of(accuracy_sections(summary)[0])
    assert (ann.spiking, snn.spiking) == (False, True)
    assert [one.ours.under[0].split(",")[0] for one in (ann, snn)] == ["MLP", NAME]
    for part in (f"SNN {NAME}", "ANN MLP"):
        assert part in page
    for part in (f"ANN {NAME}", "SNN MLP"):
        assert part not in page


def test_its_findings_and_pictures_are_those_of_an_snn(tmp_path: Path) -> None:
    inverted(tmp_path)
    summary = read_inversions(tmp_path / "summary.json")
    headline, pair, *_ = findings(summary)
    assert headline.startswith("Classes came back from the SNN (toy) and from the ANN (toy). The SNN is no safer")
    assert "MI-Face on the ANN" in pair
    assert "BrainLeaks-v2 on the SNN" in pair
    albums = load_pictures(tmp_path / GALLERY, [(cell.group, cell.cell) for cell in summary.cells])
    (block,) = picture_blocks(albums, summary, lambda _: True)
    notes = [(row.title, row.note) for row in block.parts[0].sheets[0].rows]
    assert notes[1:] == [("MI-Face", "ANN MLP"), ("BrainLeaks-v2", f"SNN {NAME}, mean over time")]
    assert [len(part.figures) for part in block.parts if part.title == "One answer over time"] == [1]


def test_the_rounds_of_a_federation_set_it_beside_its_twin(tmp_path: Path) -> None:
    page = report_of(inverted(tmp_path, number=2))
    (told,) = federations(read_inversions(tmp_path / "summary.json"))
    assert {target.family for target in told.targets} == {"mlp"}
    assert [(target.round, target.model) for target in told.targets] == [(1, "mlp"), (1, NAME), (2, "mlp"), (2, NAME)]
    assert [cell.model for cell in told.cells] == ["mlp", NAME] * 2
    assert f"ANN MLP, SNN {NAME}" in page  # the panels of the figure, in words


def attacked(row: Row, folder: Path) -> list[Score]:
    """Write the folder of a run of gradient inversion on an ANN and on the network with several T; return its rows."""
    networks: list[dict[str, Any]] = [{"model": "lenet"}]
    for steps in (2, 5):
        varied = {"timesteps": steps}
        networks.append({"model": NAME, "family": "lenet", "spiking": True, "varied": varied, "timesteps": steps})
    rows = []
    for number, network in enumerate(networks):
        for index in range(3):
            shared = {**network, "capture_id": f"v{number}/r001-c{index:03d}", "repeat": index}
            rows.append(row(**shared, cell=f"f{number}/idlg", ssim=0.9 - 0.1 * number))
            rows.append(row(**shared, control="black", guess="", cell=f"f{number}/control: black", ssim=0.1))
    write_scores(rows, folder / "scores.csv")
    write_summary(summarise(rows), folder / "summary.json")
    (folder / "manifest.json").write_text(json.dumps({"title": "toy", "datasets": {"toy": {"people": False}}}))
    (folder / "config.toml").write_text(f'name = "toy"\nmodel = ["lenet", "{NAME}"]\n')
    return rows


def test_a_gradient_inversion_keeps_it_apart_from_its_twin(row: Row, tmp_path: Path) -> None:
    rows = attacked(row, tmp_path)
    page = report_of(tmp_path)
    assert read_scores(tmp_path / "scores.csv") == rows
    summary = read_summary(tmp_path / "summary.json")
    told = [(one.group.spiking, one.group.family, one.model, dict(one.varied)) for one in summary.cells]
    assert told[::2] == told[1::2]  # each attack beside its control
    assert told[::2] == [
        (False, "lenet", "lenet", {}),
        (True, "lenet", NAME, {"timesteps": 2}),
        (True, "lenet", NAME, {"timesteps": 5}),
    ]
    (trend,) = by_timesteps(summary, rows)
    assert [(line.model, line.place, round(line.ssim.mean, 3)) for line in trend.rows if line.ssim] == [
        (NAME, 2, 0.8),
        (NAME, 5, 0.7),
        ("LeNet", None, 0.9),
    ]
    for part in (f"{NAME} (T=2)", f"{NAME} (T=5)", "Leak against T"):
        assert part in page
    assert kind_in(tmp_path).part("results")(tmp_path) is not None
