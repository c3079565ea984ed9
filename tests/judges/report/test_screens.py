"""The report of the demo in a real browser, on a desk and on a telephone: what a reader sees of it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from fl_sim.config import read_toml
from judges.bench.execution import run_plan
from judges.plans.gradient_inversion import make_plan
from judges.progress import Watch
from tests.judges.browser import BROWSER, measured, screenshot

pytestmark = BROWSER
DESK, TELEPHONE = 1280, 390
SMALLEST_TEXT = 11.0
"""In pixels, on a telephone."""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the report of the demo with fewer federations, attacks, steps and training than the demo has."""
    raw: dict[str, Any] = read_toml(Path(__file__).parents[3] / "configs" / "demo.toml")
    raw |= {"repeats": 2, "judge": {"name": "lenet", "max_epochs": 1}}
    raw["attack"] |= {"name": ["dlg", "idlg"], "iterations": 2, "restarts": 1}
    folder = tmp_path_factory.mktemp("screens")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPIKELEAK_CACHE", str(folder / "cache"))
        return run_plan(make_plan(raw), folder / "demo", Watch(Console(file=io.StringIO())))


@pytest.fixture(scope="module", params=[DESK, TELEPHONE])
def found(request: pytest.FixtureRequest, page: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    width: int = request.param
    return {**measured(page.read_text(encoding="utf-8"), tmp_path_factory.mktemp("frame"), width), "asked": width}


def test_the_page_does_not_scroll_sideways(found: dict[str, Any]) -> None:
    assert found["inner"] == found["asked"]
    assert found["width"] <= found["inner"]


def test_every_figure_is_loaded_and_as_wide_as_it_can_be_read(found: dict[str, Any]) -> None:
    figures = [image for image in found["shown"] if image["alt"].startswith(("strip", "firing", "matching"))]
    assert found["broken"] == 0
    assert len([image for image in figures if image["alt"].startswith("strip")]) == 8  # one of each cell
    for image in figures:
        assert image["width"] >= 0.97 * image["natural"]  # else its text, of 11.3 pixels, is smaller than 11


def test_truth_and_reconstruction_are_seen(found: dict[str, Any]) -> None:
    pairs = [image for image in found["shown"] if image["alt"].startswith(("truth", "reconstruction"))]
    assert len(pairs) >= 2 * 8 * 3
    for image in pairs:
        assert image["natural"] >= 28
        assert image["width"] >= 84


def test_text_is_large_enough_to_read(found: dict[str, Any]) -> None:
    assert len(found["sizes"]) > 3
    assert {size: text for size, text in found["sizes"].items() if float(size) < SMALLEST_TEXT} == {}


def test_the_first_pictures_are_on_the_first_screen(page: Path, tmp_path: Path) -> None:
    """The truth at the top of the page, and the answer beside it, are seen at 1280 x 900 without scrolling."""
    found = measured(page.read_text(encoding="utf-8"), tmp_path, DESK)
    first, second = found["shown"][:2]
    assert first["alt"].startswith("truth")
    assert second["alt"].startswith("answer of")
    assert max(first["bottom"], second["bottom"]) <= 900


def test_a_picture_leads_to_all_about_its_victim(page: Path, tmp_path: Path) -> None:
    """A link to a closed fold opens it, without a script."""
    frame = f'<iframe src="{page.as_uri()}#victim-2" width="{DESK}" height="900"></iframe>'
    (tmp_path / "link.html").write_text(f"<!DOCTYPE html><meta charset=utf-8>{frame}")
    shut = f'<iframe src="{page.as_uri()}" width="{DESK}" height="900"></iframe>'
    (tmp_path / "top.html").write_text(f"<!DOCTYPE html><meta charset=utf-8>{shut}")
    there, top = (np.asarray(screenshot(tmp_path / name, tmp_path, DESK, 900)) for name in ("link.html", "top.html"))
    assert (there != top).any()
    fold = there[60:260, 60:500]  # digits on black, below the summary
    assert (fold.max(axis=2) < 128).mean() > 0.05


@pytest.mark.parametrize("width", [DESK, 500])
def test_the_screen_is_not_blank(page: Path, tmp_path: Path, width: int) -> None:
    """The browser opens no window narrower than 500 pixels; the frame of the tests above is."""
    picture = np.asarray(screenshot(page, tmp_path, width, 4000))
    assert picture.shape == (4000, width, 3)
    bands = (picture.astype(np.int32) @ [65536, 256, 1]).reshape(8, -1)
    assert all(len(np.unique(colours)) > 8 for colours in bands)  # ink in every half thousand lines
    assert (picture > 240).all(axis=2).mean() > 0.6  # on paper
