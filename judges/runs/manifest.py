"""The files of a run folder, and its manifest: the origin of its results (versions, seeds, data hashes, commit)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fl_sim.errors import DataError
from fl_sim.files import atomic_write

FILE = "manifest.json"
FAILED = "failed"
"""Key of the manifest for the cells that could not be computed."""

CONTROLS = "controls"
"""Key of the manifest for where controls of other examples come from, or that they are lacking: text."""

AUXILIARY = "auxiliary"
"""Key of the manifest for auxiliary data: {attack, with the settings that vary: which examples it was given}."""

FEDERATIONS = "federations"
"""Key of the manifest for what each finished federation must contain: {name: `fl_sim.contents.Contents`}."""

ROWS, ADDED_ROWS = "rows", "added_rows"
"""Keys of the manifest for the hashes of the rows, by cell: those of the run, and those of added attacks."""

ADDED_BY = "added_by"
"""Key of the manifest for what `spikeleak attack` was told: {added cell: its assignments KEY=VALUE}."""

PUBLIC = "public"
"""Key of the manifest for the public pictures of an audit."""

CLIENTS = "clients"
"""Key of the manifest for what an audit took its clients to do: a list, one table for each kind of client."""

LADDER = "ladder"
"""Folder of the ladder in that of its audit or run."""

THREATS = ("gradient_inversion", "model_inversion", "membership")
"""Tables of a config of an experiment over rounds, and the folders of the threats' own runs in that of such a run; an
audit has folders of the last two."""

RUNS_OF_THREATS = "threats"
"""Key of the manifest for those of `THREATS` whose runs are in folders of a run over rounds, or of an audit."""

UNTRIED = "untried"
"""Key of the manifest for the threats that an audit was asked for and did not attempt: {threat: why}."""

WARNINGS = "warnings"
"""Key of the manifest for the reasons to doubt scores, as sentences."""

NO_CHECKOUT = "not a checkout"
"""Instead of a commit in the manifest, where the code runs from an installed package."""

GALLERY, ANSWERS = "gallery", "answers"
"""Folders of pictures: answers with a known truth, and answers without one. A cell of an audit may have both."""

TIMELINES = "timelines"
"""Folder of how answers to recordings of events fare over time."""

WRITTEN = (
    "config.toml", FILE, "federations", "captures", "sealed", "models", "reconstructions", "inversions", "observed",
    "inferences", "live", GALLERY, ANSWERS, TIMELINES, "scores.csv", "summary.json", "report.html", "report.md",
    "report.tex", "figures", "statement.html", "statement.md", "files.sha256",
)  # fmt: skip


def read_manifest(run_dir: Path) -> dict[str, Any]:
    """Return the manifest of a run folder, a free-form table; a DataError if it is missing or not a JSON table."""
    path = run_dir / FILE
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:  # JSON may be nested a thousand levels deep
        raise DataError(f"{path}: expected a manifest in JSON ({error}).") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected a table in JSON, found a {type(content).__name__}.")
    return content


def manifest_so_far(folder: Path) -> dict[str, Any]:
    """Return the manifest that an earlier call left in the folder, or {}."""
    return read_manifest(folder) if (folder / FILE).is_file() else {}


def threats_of(folder: Path) -> list[str]:
    """Return the threats whose own runs are in folders of these names: of a run over rounds or an audit; else []."""
    try:
        told = read_manifest(folder).get(RUNS_OF_THREATS, [])
    except DataError:
        return []
    return [threat for threat in THREATS if isinstance(told, list) and threat in told]


def untried_threats(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Return {threat: why it was not attempted} from the manifest of an audit."""
    told = manifest.get(UNTRIED)
    return {threat: plain_text(told[threat]) for threat in THREATS if threat in told} if isinstance(told, dict) else {}


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write the manifest into a run folder, atomically."""
    atomic_write(folder / FILE, json.dumps(manifest, indent=1) + "\n")


def without_people(manifest: Mapping[str, Any], dataset: str) -> bool:
    """Return whether the manifest says that a data set's pictures show no people (`datasets.NAME.people = false`).

    Where attacks had auxiliary data, their answers may look like any data set of the run, so none may show people.
    """
    datasets = manifest.get("datasets")
    if not isinstance(datasets, dict):
        return False
    names = datasets if auxiliary_data(manifest) else [dataset]
    entries = [datasets.get(name) for name in (dataset, *names)]
    return all(isinstance(entry, dict) and entry.get("people") is False for entry in entries)


def failed_cells(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Return {cell: why it could not be computed} from the manifest."""
    failed = manifest.get(FAILED)
    return {str(cell): plain_text(reason) for cell, reason in failed.items()} if isinstance(failed, dict) else {}


def told_controls(manifest: Mapping[str, Any]) -> list[str]:
    """Return what the manifest says of where controls come from, as a list of at most one text."""
    told = manifest.get(CONTROLS)
    return [told] if isinstance(told, str) else []


def auxiliary_data(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Return {attack: which auxiliary examples it was given} from the manifest."""
    given = manifest.get(AUXILIARY)
    return {str(attack): plain_text(told) for attack, told in given.items()} if isinstance(given, dict) else {}


def plain_text(value: object) -> str:
    """Return a JSON value as text."""
    if isinstance(value, list):
        return ", ".join(plain_text(item) for item in value)
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "\N{EN DASH}"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)
