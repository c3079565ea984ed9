from __future__ import annotations

import base64
import io
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image

from judges.report.model_inversion.report import write_inversion_report
from judges.runs.pictures import ANSWER
from tests.judges.class_runs import STEPS, Toy, central_run
from tests.judges.pages import cells_of, text_of
from tests.judges.report.model_inversion.reading import images_of, line_of, page_of, shown_of

HIDDEN = "faces are shown on request"


def test_the_last_round_is_shown_and_two_classes_along_the_rounds(federated: Path) -> None:
    text = text_of(page_of(federated), "pictures")
    assert "federation after round 5" in text
    assert "round 1 round 3 round 5" in text
    rows = [row[0] for row in cells_of(page_of(federated), "pictures")]
    for name in ("MI-Face, class 0", "MI-Face, class 3", "BrainLeaks-v2, class 0", "BrainLeaks-v2, class 3"):
        assert any(row.startswith(name) for row in rows)


def test_under_each_answer_stands_what_was_believed(central: Path) -> None:
    (row,) = [row for row in line_of(central, "pictures", "BrainLeaks-v1") if "target 99 %" in row[1]][:1]
    assert row[1] == "judge 90 % target 99 %"
    assert row[10] == "judge 5 % target 99 % seen as class 0"
    assert line_of(central, "pictures", "Ground truth")[0][1:] == [""] * 10


def test_many_classes_stand_in_rows_of_ten_and_half_of_them_fold(tmp_path: Path) -> None:
    write_inversion_report(central_run().write(tmp_path), show_faces=True)
    page = page_of(tmp_path)
    opened, folded = page.split("The other classes: AT&amp;T faces (split 8:9)")
    assert "class 19</th>" in opened
    assert "class 20</th>" not in opened
    assert "class 20</th>" in folded
    assert "class 39</th>" in folded
    assert max(len(row) for row in cells_of(page, "pictures")) == 11


def test_people_are_hidden_unless_asked_for(central: Path, tmp_path: Path) -> None:
    assert page_of(central).count(HIDDEN) == 1
    assert "AT&T faces" not in shown_of(central)
    assert "MNIST" in shown_of(central)
    write_inversion_report(central_run().write(tmp_path), show_faces=True)
    assert HIDDEN not in page_of(tmp_path)
    assert "AT&T faces" in shown_of(tmp_path)


def test_a_data_set_that_the_manifest_does_not_know_is_hidden(tmp_path: Path) -> None:
    toy = Toy()
    toy.attack(toy.target("mnist", "spiking_mlp"), "brainleaks_v2", 9)
    write_inversion_report(toy.write(tmp_path))
    assert page_of(tmp_path).count(HIDDEN) == 1
    assert shown_of(tmp_path) == ""


def test_each_spiking_attack_moves_once_in_every_data_set(central: Path) -> None:
    films = [image for image in images_of(central) if image["src"].startswith("data:image/gif")]
    assert [film["alt"].rpartition(" of the answer of ")[2] for film in films] == [
        f"{attack}, class {label}, {dataset}, over {STEPS} time steps"
        for attack, dataset, label in (
            ("BrainLeaks-v1", "MNIST", "class 3"),
            ("BrainLeaks-v2", "MNIST", "class 3"),
            ("BrainLeaks-v1", "DVS128 Gesture", "class 3"),
            ("BrainLeaks-v2", "DVS128 Gesture", "class 3"),
            ("BrainLeaks-v2 (sparsity=0.1)", "toy", "class 2"),
        )
    ]
    for film in films:
        picture = Image.open(io.BytesIO(base64.b64decode(film["src"].partition(",")[2])))
        assert picture.n_frames == STEPS  # type: ignore[attr-defined]  # of GIF files only
        assert picture.width >= 112
    rasters = [image for image in images_of(central) if image["alt"].startswith("raster plot")]
    assert len(rasters) == len(films)


def test_answers_that_are_flat_or_not_finite_are_drawn(tmp_path: Path) -> None:
    toy = Toy(people={"mnist": False})
    toy.attack(toy.target("mnist", "mlp"), "mi_face", 9)
    toy.albums[0].images[ANSWER][0] = 0.5
    toy.albums[0].images[ANSWER][1] = torch.nan
    write_inversion_report(toy.write(tmp_path))
    assert len(images_of(tmp_path)) >= 20


def test_searches_that_kept_pictures_are_shown_step_by_step_and_written_as_a_figure(tmp_path: Path) -> None:
    toy = Toy(people={"mnist": False})
    toy.attack(toy.target("mnist", "mlp"), "mi_face", 9)
    (album,) = toy.albums
    answers, most = album.images[ANSWER], len(album.subjects)
    steps = torch.tensor([[0, 5, 9], *[[0, 4, -1]] * (most - 1)])
    toy.albums = [replace(album, snapshots=torch.stack([0 * answers, answers / 2, answers], 1), snapshot_steps=steps)]
    write_inversion_report(toy.write(tmp_path), figures=True)
    opened, _, folded = page_of(tmp_path).partition("The searches for the other classes")
    shown = text_of(opened, "pictures").split("From the first step to the last")[1]
    assert f"class {album.subjects[album.spikes_of]}" in shown
    assert "step 0 step 4" in shown
    assert "step 0 step 5 step 9" in text_of(page_of(tmp_path), "pictures")
    assert "after 9 steps" in folded
    assert any((tmp_path / "figures").glob("search-1*.pdf"))
    bare = Toy(people={"mnist": False})
    bare.attack(bare.target("mnist", "mlp"), "mi_face", 9)
    write_inversion_report(bare.write(tmp_path / "bare"), figures=True)
    assert "From the first step to the last" not in page_of(tmp_path / "bare")
    assert not any((tmp_path / "bare" / "figures").glob("search-*"))
