"""Pages beside the report, each of a template of its own: the statement of a run, and a board of many runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fl_sim.files import atomic_write
from judges.report.page import render, style_hash

KINDS = ("md", "html")


def write_sheet(folder: Path, name: str, context: Mapping[str, Any], *, style: str) -> Path:
    """Write NAME.md and NAME.html into a folder and return the path of the HTML page, which loads and runs nothing.

    Args:
        folder: where to write.
        name: name of the templates, NAME.md.j2 and NAME.html.j2, and of the files.
        context: what the templates print; `style_hash` is added.
        style: the style sheet that the page includes.
    """
    filled = {**context, "style_hash": style_hash(style)}
    texts = {kind: render(f"{name}.{kind}.j2", filled) for kind in KINDS}
    return [atomic_write(folder / f"{name}.{kind}", text) for kind, text in texts.items()][-1]
