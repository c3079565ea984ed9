"""Figures as files: every format at both widths, the same bytes each time, and nothing of an earlier call left."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image

from judges.figures.dots import Dots, dot_strips
from judges.figures.files import CAPTIONS, WIDTHS, captioned, write_figures

GROUPS = {"digits, LeNet": [Dots("DLG", [0.1, 0.9, float("nan")], (0.2, 0.6, 0.4)), Dots("$x_1$", [0.5])]}


def drawn(width: float) -> Figure:
    return dot_strips(GROUPS, measure="SSIM", ends=(0.0, 1.0), threshold=0.5, width_inches=width)


def test_every_figure_has_three_formats_and_two_widths(tmp_path: Path) -> None:
    files = write_figures(tmp_path, {"a": drawn})
    assert [path.name for path in files] == [
        "a-1col.pdf", "a-1col.svg", "a-1col.png", "a-2col.pdf", "a-2col.svg", "a-2col.png",
    ]  # fmt: skip
    for name, inches in (("1col", 3.5), ("2col", 7.16)):
        assert WIDTHS[name] == inches
        folder = tmp_path / "figures"
        with Image.open(folder / f"a-{name}.png") as picture:
            assert picture.width == pytest.approx(300 * inches, abs=1)
        (wide,) = re.findall(r'<svg[^>]* width="([\d.]+)pt"', (folder / f"a-{name}.svg").read_text())
        assert float(wide) == pytest.approx(72 * inches)
        pdf = (folder / f"a-{name}.pdf").read_bytes()
        box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+)", pdf)
        assert box is not None
        assert float(box[1]) == pytest.approx(72 * inches)


def test_the_same_figure_gives_the_same_bytes(tmp_path: Path) -> None:
    first = [path.read_bytes() for path in write_figures(tmp_path / "one", {"a": drawn})]
    second = [path.read_bytes() for path in write_figures(tmp_path / "two", {"a": drawn})]
    assert first == second
    for content in first:
        assert not re.search(rb"CreationDate|dc:date|Software|Matplotlib v", content)


def test_captions_say_what_files_show(tmp_path: Path) -> None:
    files = write_figures(tmp_path, {"a": captioned(drawn, "digits,\nclipping"), "b": drawn})
    assert (tmp_path / "figures" / CAPTIONS).read_text() == "a: digits, clipping\n"
    assert tmp_path / "figures" / CAPTIONS in files
    assert b"<dc:title>digits, clipping</dc:title>" in (tmp_path / "figures" / "a-1col.svg").read_bytes()
    write_figures(tmp_path, {"b": drawn})
    assert not (tmp_path / "figures" / CAPTIONS).exists()


def test_figures_of_an_earlier_call_are_removed_and_other_files_stay(tmp_path: Path) -> None:
    write_figures(tmp_path, {"a": drawn, "b": drawn})
    (tmp_path / "figures" / "mine.txt").write_text("x")
    write_figures(tmp_path, {"b": drawn})
    assert {path.name[:2] for path in (tmp_path / "figures").iterdir()} == {"b-", "mi"}
    (tmp_path / "figures" / "mine.txt").unlink()
    assert write_figures(tmp_path, {}) == []
    assert not (tmp_path / "figures").exists()


def test_strips_without_a_row_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        dot_strips({"empty": []}, measure="SSIM", ends=(0.0, 1.0), threshold=None, width_inches=3.5)


def test_names_are_no_formulas_and_no_value_is_needed() -> None:
    svg = io.BytesIO()
    groups = {"a": [Dots("$bad", []), Dots("x" * 90, [float("inf")])]}
    figure = dot_strips(groups, measure="l2", ends=(0.0, 9.0), threshold=None, width_inches=3.5)
    figure.savefig(svg, format="svg")
    assert "<!-- $bad -->" in svg.getvalue().decode()
