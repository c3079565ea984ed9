"""Reads what stands in the report of a run folder."""

from __future__ import annotations

from pathlib import Path

from tests.judges.pages import Tags, cells_of


def page_of(folder: Path) -> str:
    return (folder / "report.html").read_text()


def images_of(folder: Path) -> list[dict[str, str]]:
    return [attributes for tag, attributes in Tags(page_of(folder)).tags if tag == "img"]


def shown_of(folder: Path) -> str:
    """Return what the pictures of examples and answers are of."""
    pictures = ("training example", "answer of", "spikes of", "raster plot")
    return " ".join(image["alt"] for image in images_of(folder) if image["alt"].startswith(pictures))


def line_of(folder: Path, section: str, first: str) -> list[list[str]]:
    """Return the lines of a section whose first cell begins so."""
    return [row for row in cells_of(page_of(folder), section) if row and row[0].startswith(first)]
