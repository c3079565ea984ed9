"""What all reports share: a run's manifest and config, and templates that escape everything they print.

A page loads nothing and runs nothing: its policy allows only embedded pictures and its own style, by its hash.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from fl_sim.errors import DataError
from fl_sim.files import atomic_write
from judges.report.answer import Answer
from judges.report.formats import counted, error, number, percent
from judges.report.latex import latex_page
from judges.report.table import Column, Group, Section, Table
from judges.report.words import Words
from judges.runs.manifest import FAILED, failed_cells, plain_text

TEMPLATES = Path(__file__).parent / "templates"

FILES = ("scores.csv", "summary.json", "manifest.json", "report.md", "report.tex", "figures/",
         "ladder/report.html", "model_inversion/report.html", "membership/report.html")  # fmt: skip
"""Files and folders beside the page to which it links, where they are there."""

_BREAKS = re.compile("[\\n\\r\\v\\f\\x1c-\\x1e\\x85\\u2028\\u2029]+")
_UNSEEN = re.compile("[\\x00-\\x08\\x0e-\\x1b\\x7f\\u061c\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069\\ud800-\\udfff]")
"""Characters that cannot be seen but change how others look: controls, directions of writing, half characters."""


def write_page(
    run_dir: Path,
    manifest: Mapping[str, Any],
    sections: Sequence[Section],
    *,
    words: Words,
    findings: Sequence[str],
    answer: Answer,
    first: Section,
    articles: Sequence[Section] = (),
) -> Path:
    """Write report.html, report.md and report.tex into a run folder and return the path of the HTML page.

    Args:
        run_dir: holds the config.
        manifest: of the run.
        sections: a section on the cells that could not be computed comes before them.
        words, findings: what stands around the sections.
        answer: what the page says at its top.
        first: the section below that.
        articles: sections with further tables, for LaTeX only.

    Raises:
        DataError: there is no readable config.
    """
    failed = failed_cells(manifest)
    shown = [section for section in (first, _not_computed(failed), *sections) if section.shown]
    context = {
        "title": str(manifest.get("title") or manifest.get("experiment") or run_dir.resolve().name),
        "provenance": list(_flat({key: value for key, value in manifest.items() if key not in (FAILED, "cells")})),
        "sections": shown,
        "top": [first] if first.shown else [],
        "rest": [section for section in shown if section is not first],
        "style_hash": style_hash("report.css"),
        "config": _config(run_dir / "config.toml"),
        "findings": findings,
        "answer": answer if not failed else answer.warned(_left_out(failed)),
        "files": [name for name in FILES if (run_dir / name).exists() or name in ("report.md", "report.tex")],
        **words._asdict(),
    }
    texts = {kind: render(f"page.{kind}.j2", context) for kind in ("md", "html")}
    texts |= {"tex": latex_page(str(context["title"]), [*articles, *shown], _one_line), "html": texts.pop("html")}
    return [atomic_write(run_dir / f"report.{kind}", text) for kind, text in texts.items()][-1]


def _not_computed(failed: Mapping[str, str]) -> Section:
    """Return the section on the cells that could not be computed."""
    columns: list[Column[tuple[str, str]]] = [
        Column("Cell", lambda item: item[0]),
        Column("Reason", lambda item: item[1], left=True, long=True),
    ]
    table = Table("Cells that could not be computed", columns, [Group(list(failed.items()))], css="plain reasons")
    return Section("failed", "Not computed", [table], lead=_left_out(failed))


def _left_out(failed: Mapping[str, str]) -> str:
    """Return how many cells could not be computed, in a sentence."""
    them = "it" if len(failed) == 1 else "them"
    return f"{counted(len(failed), 'cell')} could not be computed; nothing else in this report is about {them}."


def style_hash(sheet: str) -> str:
    """Return the hash by which a page's policy allows one of the style sheets beside the templates, in base64."""
    return base64.b64encode(hashlib.sha256((TEMPLATES / sheet).read_bytes()).digest()).decode()


def render(template: str, context: Mapping[str, Any]) -> str:
    """Return a filled template such as "page.html.j2", for whose kind of text everything printed is escaped."""
    kind = template.split(".")[1]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=kind == "html",  # noqa: S701 - the other is escaped by `finalize`
        finalize={"html": _visible, "md": _markdown}[kind],
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"number": number, "error": error, "percent": percent}
    return environment.get_template(template).render(context)


def _visible(value: object) -> object:
    """Return text, but not markup of our own, with a replacement for each character that cannot be seen."""
    return _UNSEEN.sub("\N{REPLACEMENT CHARACTER}", value) if type(value) is str else value


def _one_line(text: str) -> str:
    """Return text that ends no line, and in which every character can be seen."""
    return _UNSEEN.sub("\N{REPLACEMENT CHARACTER}", _BREAKS.sub(" ", text))


def _markdown(value: object) -> object:
    """Return text, but not markup of our own, that can stand in a cell of a Markdown table and starts no markup."""
    if type(value) is not str:
        return value
    return re.sub(r"[\\`*_\[\]|#]", r"\\\g<0>", html.escape(_one_line(value), quote=False))


def _config(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected a config in TOML ({error}).") from error


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield (key, text) of a nested table; an inner table of plain values becomes one line."""
    for key, value in table.items():
        if isinstance(value, dict) and any(isinstance(item, dict) for item in value.values()):
            yield from _flat(value, f"{prefix}{key} \N{MIDDLE DOT} ")
        elif isinstance(value, dict):
            yield f"{prefix}{key}", ", ".join(f"{name} {plain_text(item)}" for name, item in value.items())
        else:
            yield f"{prefix}{key}", plain_text(value)
