"""Figures as files for articles: each as PDF, SVG and PNG, for one column and for two."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from fl_sim.files import atomic_write
from judges.figures.drawing import style

FOLDER = "figures"
WIDTHS = {"1col": 3.5, "2col": 7.16}
"""Widths of one and of two columns of an article, in inches."""

_METADATA: dict[str, dict[str, str | None]] = {
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
}
"""What would otherwise tell the time and the version, so that two files of one figure are not the same."""

_DPI = 300

Draw = Callable[[float], Figure]
"""Draws a figure of a width in inches."""


def write_figures(run_dir: Path, drawings: Mapping[str, Draw]) -> list[Path]:
    """Write each figure into the folder `figures` of a run, and remove those that an earlier call wrote there.

    The same figures always give the same bytes.

    Args:
        run_dir: folder of a run.
        drawings: {name of a file without its ending: what draws it}.

    Returns:
        The files `NAME-1col.pdf`, `NAME-2col.pdf`, and the same as .svg and .png.

    Raises:
        WriteError: the folder cannot be written.
    """
    written = []
    for name, draw in drawings.items():
        for width, inches in WIDTHS.items():
            figure = draw(inches)
            for kind in _METADATA:
                path = run_dir / FOLDER / f"{name}-{width}.{kind}"
                written.append(atomic_write(path, content_of(figure, kind)))
    _remove_others(run_dir / FOLDER, written)
    return written


def content_of(figure: Figure, kind: str) -> bytes:
    """Return a figure as the content of a file: "pdf", "svg" or "png"."""
    content = io.BytesIO()
    with style(), mpl.rc_context({"pdf.fonttype": 42}):  # publishers refuse fonts of type 3
        figure.savefig(content, format=kind, dpi=_DPI, metadata=_METADATA[kind])
    return content.getvalue()


def _remove_others(folder: Path, kept: list[Path]) -> None:
    """Remove the figures of an earlier call, and the folder if nothing is left in it."""
    if folder.is_dir():
        for path in sorted(folder.iterdir()):
            if path.suffix.removeprefix(".") in _METADATA and path not in kept:
                path.unlink()
        if not any(folder.iterdir()):
            folder.rmdir()
