"""A reference of all keys of a config in Markdown, generated from the settings classes without importing torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from fl_sim.config.training import TrainingSettings
from fl_sim.errors import unknown_name
from fl_sim.specs import PresetSettings, Scalar, Settings
from judges.plans import model_inversion
from judges.plans.keys import Entry, Place, literal, ordered, summary_of, tables_of

COMMAND = "spikeleak config reference > configs/REFERENCE.md"
_HEAD = f"""# All keys of a config

Written by `{COMMAND}`; a test compares the two. `spikeleak config reference KEY` prints one key.

A key in a table is written `table.key` here and after `--set`. A plain value in place of a table is its `name`. The
columns give the allowed values of a key, its default, its readers, and whether a list of values is an axis of the grid:
yes, no (one value for the whole experiment), or the readers for which it is. The readers:
"""
_FEDERATED = 'Model inversion and membership inference read this table only with `target = "federation"`.'
_CENTRAL = (
    'Model inversion reads this table only with `target = "central"`; membership inference trains shadow models by it '
    "for federations too."
)


def reference(entries: Iterable[Entry], read_by: Sequence[Place]) -> str:
    """Return the whole reference in Markdown, of the entries of all keys and the places that read them."""
    every = ordered(entries)
    parts = [_HEAD + "\n".join(f"* {place.name}: {place.what}." for place in read_by)]
    for table in dict.fromkeys(entry.table for entry in every):
        parts += [f"## `[{table}]`" if table else "## Top level", *_introduction(table, read_by)]
        parts.append(_rows([entry for entry in every if entry.table == table]))
        parts += _presets(table, read_by)
    return "\n\n".join(parts) + "\n"


def entry_of(key: str, entries: Iterable[Entry]) -> str:
    """Return the entries of a key in Markdown; the name of a table means its key `name`.

    Raises:
        ConfigError: the key is not known; the message suggests the nearest.
    """
    every = list(entries)
    matching = [entry for entry in every if entry.key in (key, f"{key}.name")]
    if not matching:
        raise unknown_name("config reference", key, {entry.key for entry in every})
    return "\n".join(map(_lines, matching))


def _lines(entry: Entry) -> str:
    """Return an entry as a heading and a list."""
    facts = {
        "values": entry.values,
        "default": entry.default,
        "of": ", ".join(entry.owners),
        "read by": ", ".join(entry.places),
        "a list is an axis": entry.axis,
    }
    lines = "\n".join(f"* {name}: {value}" for name, value in facts.items() if value)
    return f"`{entry.key}`: {entry.sentence}\n\n{lines}\n"


def _rows(entries: Sequence[Entry]) -> str:
    """Return the entries of one table of a config as a table of Markdown."""
    owned = any(entry.owners for entry in entries)
    columns = ["key", *(["of"] if owned else []), "values", "default", "read by", "axis", "what it is"]
    rows = [columns, ["---"] * len(columns)]
    for entry in entries:
        owners = [", ".join(entry.owners)] if owned else []
        cells = [entry.values, entry.default, ", ".join(entry.places), entry.axis, entry.sentence]
        rows.append([f"`{entry.key}`", *owners, *cells])
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in escaped)


def _introduction(table: str, read_by: Sequence[Place]) -> list[str]:
    """Return the paragraphs above the rows of a table: the summaries of its classes, and further remarks."""
    summaries: dict[str, list[str]] = {}
    for place in read_by:
        kind = tables_of(place.settings).get(table)
        if kind is not None:
            summaries.setdefault(summary_of(kind), []).append(place.name)
    labelled = [f"{', '.join(names)}: {text}" for text, names in summaries.items()]
    paragraphs = labelled if len(summaries) > 1 else list(summaries)
    if table in ("federation", "strategy", "defence"):
        paragraphs.append(_FEDERATED)
    elif table == "training":
        paragraphs.append(_CENTRAL)
    elif table == "dataset":
        framings = (f"`{name}` {_settings(own)}" for name, own in model_inversion.AUTHORS_FRAMING.items())
        paragraphs.append(f"In model inversion, event data sets have other defaults: {'; '.join(framings)}.")
    return paragraphs


def _presets(table: str, read_by: Sequence[Place]) -> list[str]:
    """Return the paragraphs below the rows of a table: the values of each preset."""
    kinds: dict[str, type[Settings]] = {"training": TrainingSettings} if table == "training" else {}
    for place in read_by:
        kinds |= place.owners.get(table, {})
    lines = []
    for name, kind in kinds.items():
        if issubclass(kind, PresetSettings):
            presets = "; ".join(f"`{preset}` {_settings(own)}" for preset, own in kind.PRESETS.items())
            lines.append(f"* {name}: {presets}.")
    return ["Values that the presets set in place of the defaults above:", "\n".join(lines)] if lines else []


def _settings(settings: Mapping[str, Scalar]) -> str:
    return ", ".join(f"{key} = {literal(value)}" for key, value in settings.items()) or "nothing"
