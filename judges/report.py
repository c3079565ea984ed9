"""A run folder -> one self-contained HTML page and the same tables in Markdown.

Reads files of the run folder only: config.toml, manifest.json, scores.csv, summary.json and gallery/*.safetensors.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from fl_sim.errors import DataError
from fl_sim.files import atomic_write
from fl_sim.records import load_record
from judges import wording
from judges.gallery import Gallery
from judges.plots import loss_figure, picture_uri, strip_figure
from judges.rows import RECOGNISABLE_SSIM, Score, read_scores
from judges.summary import CellSummary, Summary, read_summary

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Pair:
    """One victim of a gallery: truth above, reconstruction below, and what stands under them."""

    role: str
    capture_id: str
    label: int
    truth: str
    reconstruction: str
    ssim: float
    psnr_db: float
    diverged: bool


@dataclass(frozen=True)
class Panel:
    """The pictures and the loss curves of one cell. `pairs` is empty where the pictures are hidden."""

    title: str
    cell: CellSummary | None
    hidden: bool
    pairs: tuple[Pair, ...]
    loss: str
    curves: int


@dataclass(frozen=True)
class Group:
    """All lines on the same victims: attacks, then controls.

    Attributes:
        name: what was attacked.
        cells: the lines.
        best: index of the line with the highest mean SSIM.
        strip: data URI of the figure of every victim's SSIM.
    """

    name: str
    cells: tuple[CellSummary, ...]
    best: int
    strip: str


def write_report(run_dir: Path, *, show_faces: bool = False) -> Path:
    """Write report.html and report.md into a run folder and return the path of the HTML page.

    Pictures of a data set are shown only where the manifest says that it shows no people
    (`datasets.NAME.people = false`), or with `show_faces`.

    Args:
        run_dir: holds config.toml, manifest.json, scores.csv, summary.json, and gallery/*.safetensors if any.
        show_faces: show the pictures of real people too.

    Raises:
        DataError: one of the files is missing or corrupt.
    """
    manifest = read_manifest(run_dir)
    summary = read_summary(run_dir / "summary.json")
    scores = read_scores(run_dir / "scores.csv")
    galleries = _galleries(run_dir / "gallery", summary)
    context = {
        "title": str(manifest.get("title") or manifest.get("experiment") or run_dir.resolve().name),
        "threat_model": wording.THREAT_MODEL,
        "findings": wording.findings(summary),
        "groups": list(_groups(summary, scores)),
        "panels": [_panel(item, summary, _hidden(item, manifest, show_faces)) for item in galleries],
        "summary": summary,
        "ceilings": _ceilings(summary),
        "definitions": wording.DEFINITIONS,
        "provenance": list(_flat(manifest)),
        "config": _config(run_dir / "config.toml"),
    }
    atomic_write(run_dir / "report.md", _render("report.md.j2", context, html=False))
    return atomic_write(run_dir / "report.html", _render("report.html.j2", context, html=True))


def _render(template: str, context: Mapping[str, Any], *, html: bool) -> str:
    """Return a filled template; everything that is printed is escaped, for HTML or for Markdown."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=html,  # noqa: S701 - Markdown is escaped by `finalize`
        finalize=None if html else _markdown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    for name in ("number", "error", "percent", "interval", "rate_interval", "success_rate", "tone"):
        environment.filters[name] = getattr(wording, name)
    return environment.get_template(template).render(context)


def _markdown(value: object) -> object:
    """Return text that can stand in a cell of a Markdown table and starts no markup."""
    if not isinstance(value, str):
        return value
    text = " ".join(value.split("\n")).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for sign in "\\`*_[]|#":
        text = text.replace(sign, f"\\{sign}")
    return text


def _groups(summary: Summary, scores: Sequence[Score]) -> Iterator[Group]:
    """Yield the groups of the main table in the order of the summary."""
    cells: dict[tuple[str, ...], list[CellSummary]] = defaultdict(list)
    for cell in summary.cells:
        cells[cell.group].append(cell)
    values: dict[tuple[str, ...], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for score in scores:
        values[score.group][_line_name(score, cells[score.group])].append(score.ssim)
    for group, lines in cells.items():
        best = max(range(len(lines)), key=lambda index: lines[index].ssim.mean or 0.0)
        ordered = {name: values[group][name] for name in (_line_name(line, lines) for line in lines)}
        strip = strip_figure({name: dots for name, dots in ordered.items() if dots}, threshold=RECOGNISABLE_SSIM)
        yield Group(wording.name_of_group(group), tuple(lines), best, strip)


def _line_name(line: CellSummary | Score, lines: Sequence[CellSummary]) -> str:
    """Return the attack's name, with the cell's where two cells of a group share the attack."""
    namesakes = [other for other in lines if other.attack == line.attack]
    return f"{line.attack} ({line.cell})" if len(namesakes) > 1 else line.attack


def _galleries(folder: Path, summary: Summary) -> list[Gallery]:
    """Return the galleries of a folder in the order of the summary's cells; those of no cell last."""
    keys = [(*cell.group, cell.attack, cell.cell) for cell in summary.cells]
    galleries = [load_record(Gallery, path) for path in sorted(folder.glob("*.safetensors"))]
    return sorted(galleries, key=lambda item: keys.index(item.key) if item.key in keys else len(keys))


def _panel(gallery: Gallery, summary: Summary, hidden: bool) -> Panel:
    """Return the pictures of a gallery, or the panel that stands for them."""
    cells = {(*cell.group, cell.attack, cell.cell): cell for cell in summary.cells}
    return Panel(
        title=f"{gallery.attack} on {wording.name_of_group(gallery.key[:4])}",
        cell=cells.get(gallery.key),
        hidden=hidden,
        pairs=() if hidden else tuple(_pairs(gallery)),
        loss=loss_figure(gallery.loss_curves, gallery.curve_recognisable),
        curves=len(gallery.loss_curves),
    )


def _pairs(gallery: Gallery) -> Iterator[Pair]:
    """Yield the pictures of a gallery, best SSIM first."""
    for index, role in enumerate(gallery.roles):
        truth, ours = (
            picture_uri(pictures[index], low=gallery.low, high=gallery.high)
            for pictures in (gallery.truth, gallery.reconstructions)
        )
        yield Pair(
            role=role,
            capture_id=gallery.capture_ids[index],
            label=gallery.labels[index],
            truth=truth,
            reconstruction=ours,
            ssim=gallery.ssim[index],
            psnr_db=gallery.psnr_db[index],
            diverged=gallery.stop_reasons[index] == "diverged",
        )


def _hidden(gallery: Gallery, manifest: Mapping[str, Any], show_faces: bool) -> bool:
    """Return whether a gallery's pictures are withheld: unless the manifest says that they show no people."""
    datasets = manifest.get("datasets")
    entry = datasets.get(gallery.dataset) if isinstance(datasets, dict) else None
    return not show_faces and not (isinstance(entry, dict) and entry.get("people") is False)


def _ceilings(summary: Summary) -> dict[str, float | None]:
    """Return the judge's accuracy on the true inputs of all victims of a data set, where it was measured."""
    ceilings: dict[str, float | None] = {}
    for name in summary.judges:
        told = [(cell.ceiling, cell.n) for cell in summary.cells if cell.dataset == name and cell.ceiling is not None]
        ceilings[name] = sum(share * n for share, n in told) / sum(n for _, n in told) if told else None
    return ceilings


def read_manifest(run_dir: Path) -> dict[str, Any]:
    """Return the manifest of a run folder, a free-form table.

    Raises:
        DataError: there is none, or it is no JSON table.
    """
    path = run_dir / "manifest.json"
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: expected a manifest in JSON ({error}).") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected a table in JSON, found a {type(content).__name__}.")
    return content


def _config(path: Path) -> str:
    """Return the config as it was written."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected a config in TOML ({error}).") from error


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield (key, text) of a nested table; an inner table of plain values is one line."""
    for key, value in table.items():
        if isinstance(value, dict) and any(isinstance(item, dict) for item in value.values()):
            yield from _flat(value, f"{prefix}{key} \N{MIDDLE DOT} ")
        elif isinstance(value, dict):
            yield f"{prefix}{key}", ", ".join(f"{name} {_plain(item)}" for name, item in value.items())
        else:
            yield f"{prefix}{key}", _plain(value)


def _plain(value: object) -> str:
    """Return a JSON value as text."""
    if isinstance(value, list):
        return ", ".join(_plain(item) for item in value)
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "\N{EN DASH}"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)
