"""What all report pages share: a run's manifest and config, and templates in which everything printed is escaped."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jinja2

from fl_sim.errors import DataError
from fl_sim.files import atomic_write
from judges import wording

TEMPLATES = Path(__file__).parent / "templates"
FILTERS = ("number", "error", "percent", "interval", "rate_interval", "tone", "way", "per_cent", "beside")
"""Functions of `judges.wording` that every template may use."""


def write_page(
    run_dir: Path,
    template: str,
    manifest: Mapping[str, Any],
    context: Mapping[str, Any],
    filters: Mapping[str, Callable[..., object]] | None = None,
) -> Path:
    """Write report.html and report.md into a run folder and return the path of the HTML page.

    Args:
        run_dir: holds config.toml.
        template: TEMPLATE.html.j2 and TEMPLATE.md.j2 are filled.
        manifest: of the run.
        context: what the templates print; title, provenance and config are added.
        filters: beside, or in place of, `FILTERS`.

    Raises:
        DataError: there is no readable config.
    """
    shared = {
        "title": str(manifest.get("title") or manifest.get("experiment") or run_dir.resolve().name),
        "provenance": list(_flat(manifest)),
        "config": _config(run_dir / "config.toml"),
    }
    texts = {
        html: _render(f"{template}.{'html' if html else 'md'}.j2", {**shared, **context}, filters or {}, html=html)
        for html in (False, True)
    }
    atomic_write(run_dir / "report.md", texts[False])
    return atomic_write(run_dir / "report.html", texts[True])


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


def without_people(manifest: Mapping[str, Any], dataset: str) -> bool:
    """Return whether the manifest says that a data set's pictures show no people (`datasets.NAME.people = false`)."""
    datasets = manifest.get("datasets")
    entry = datasets.get(dataset) if isinstance(datasets, dict) else None
    return isinstance(entry, dict) and entry.get("people") is False


def _render(
    template: str, context: Mapping[str, Any], filters: Mapping[str, Callable[..., object]], *, html: bool
) -> str:
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
    environment.filters |= {name: getattr(wording, name) for name in FILTERS} | dict(filters)
    return environment.get_template(template).render(context)


def _markdown(value: object) -> object:
    """Return text that can stand in a cell of a Markdown table and starts no markup."""
    if not isinstance(value, str):
        return value
    text = " ".join(value.split("\n")).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for sign in "\\`*_[]|#":
        text = text.replace(sign, f"\\{sign}")
    return text


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
