"""Figures as files for articles: each as PDF, SVG and PNG, for one column and for two."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from fl_sim.files import atomic_write
from judges.figures.drawing import style

FOLDER, CAPTIONS = "figures", "captions.txt"
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


def captioned(draw: Draw, caption: str) -> Draw:
    """Return what draws a figure with a caption, which says what it shows but is not drawn: articles have their own."""

    def drawn(width: float) -> Figure:
        figure = draw(width)
        figure.set_label(" ".join(caption.split()))
        return figure

    return drawn


def write_figures(run_dir: Path, drawings: Mapping[str, Draw]) -> list[Path]:
    """Write each figure into the folder `figures` of a run, and remove those that an earlier call wrote there.

    The same figures always give the same bytes.

    Args:
        run_dir: folder of a run.
        drawings: {name of a file without its ending: what draws it}.

    Returns:
        The files `NAME-1col.pdf`, `NAME-2col.pdf`, and the same as .svg and .png, and a list of the captions.

    Raises:
        WriteError: the folder cannot be written.
    """
    written, captions = list[Path](), dict[str, str]()
    for name, draw in drawings.items():
        for width, inches in WIDTHS.items():
            figure = draw(inches)
            captions[name] = str(figure.get_label())
            for kind in _METADATA:
                path = run_dir / FOLDER / f"{name}-{width}.{kind}"
                written.append(atomic_write(path, content_of(figure, kind)))
    told = "".join(f"{name}: {caption}\n" for name, caption in captions.items() if caption)
    if told:
        written.append(atomic_write(run_dir / FOLDER / CAPTIONS, told))
    _remove_others(run_dir / FOLDER, written)
    return written


def content_of(figure: Figure, kind: str) -> bytes:
    """Return a figure as the content of a file: "pdf", "svg" or "png"."""
    content = io.BytesIO()
    with style(), mpl.rc_context({"pdf.fonttype": 42}):  # publishers refuse fonts of type 3
        title = {"Title": str(figure.get_label())} if figure.get_label() else {}
        figure.savefig(content, format=kind, dpi=_DPI, metadata={**_METADATA[kind], **title})
    return content.getvalue()


def _remove_others(folder: Path, kept: list[Path]) -> None:
    """Remove the figures of an earlier call, and the folder if nothing is left in it."""
    if folder.is_dir():
        for path in sorted(folder.iterdir()):
            ours = path.name == CAPTIONS or path.suffix.removeprefix(".") in _METADATA
            if ours and path not in kept:
                path.unlink()
        if not any(folder.iterdir()):
            folder.rmdir()
