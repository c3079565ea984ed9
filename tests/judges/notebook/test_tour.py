"""The notebook that comes with the project, executed in a folder of its own, and what one shows of progress."""

from __future__ import annotations

import io
import json
import os
import sys
import warnings
from pathlib import Path

import nbformat
import pytest
import spikeleak
from PIL import Image

from judges.notebook.display import OneLine, working
from judges.plans.reading import shipped_configs
from tests.readmes import block

TOUR = shipped_configs()["demo"].with_name("tour.ipynb")


def test_the_notebook_is_stored_without_outputs_and_tells_no_paths() -> None:
    notebook = json.loads(TOUR.read_text())
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert 6 <= len(code) <= 12
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    nbformat.validate(notebook)
    text = "".join("".join(cell["source"]) for cell in notebook["cells"])
    assert not [word for word in ("/home", "/work", "/tmp", "configs/", "http") if word in text]  # noqa: S108


@pytest.mark.endurance
def test_the_notebook_runs_in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    roots = [Path(spikeleak.__file__).parents[1], Path(spikeleak.__file__).parents[3]]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, roots)))
    monkeypatch.setenv("SPIKELEAK_DATA", str(tmp_path / "none"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of jupyter_client
        from nbclient import NotebookClient

        notebook = nbformat.read(TOUR, 4)  # type: ignore[no-untyped-call]
        NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    pages = [one.data["text/html"] for cell in outputs for one in cell if one.get("data", {}).get("text/html")]
    verdicts = ("<b>recovered</b>", "<b>diverged</b>", "<b>recovered</b>", "", "The model is sure of")
    assert len(pages) == len(verdicts)
    for page, verdict in zip(pages, verdicts, strict=True):
        assert verdict in page
        assert 'src="data:image/png;base64,' in page
    assert [one for cell in outputs for one in cell if "image/png" in one.get("data", {})]
    assert not [one for cell in outputs for one in cell if one.output_type == "stream"]
    assert list(tmp_path.iterdir()) == []


def test_the_ten_lines_of_the_readme_show_a_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code = block("judges/README.md", "digits_notebook.py")
    assert len([line for line in code.splitlines() if line and not line.startswith("#")]) <= 10
    exec(code, {})  # noqa: S102 - the README's own lines
    assert "recovered" in capsys.readouterr().out
    with Image.open("search.png") as picture:
        assert picture.width > picture.height


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_one_line_that_is_cleared(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with working(progress=True) as watch:
        with watch.task("search") as advance:
            advance(1, 2)
        watch.say("a note")
        watch.say("a note")
    assert terminal.getvalue() == "\rsearch\rsearch: 1 of 2\r              \r"
    assert watch.notes == ["a note"]
    quiet = Terminal()
    monkeypatch.setattr(sys, "stderr", quiet)
    with OneLine(shown=False).task("search"):
        pass
    assert quiet.getvalue() == ""
