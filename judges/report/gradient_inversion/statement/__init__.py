"""A run or an audit of gradient inversion on one page for a data-protection officer.

Reads files of the run folder only: config.toml, manifest.json, scores.csv, summary.json, and ladder/summary.json.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from fl_sim.errors import DataError
from judges.report.formats import joined
from judges.report.gradient_inversion.statement.limits import not_tried, protection
from judges.report.gradient_inversion.statement.results import attacks_part, headline, reads_parts
from judges.report.gradient_inversion.statement.subject import adversary_part, knows, subject, system_part
from judges.report.ladder import ladder_of_run
from judges.report.rounds.audited import audited, audited_parts
from judges.report.statements import Account, Statement, origin, title_of, write_statement
from judges.runs.manifest import LADDER, WARNINGS, manifest_so_far, read_manifest
from judges.runs.rows import read_scores
from judges.summaries.gradient_inversion import read_summary


def write_attack_statement(run_dir: Path) -> Path:
    """Write statement.html and statement.md into a run folder and return the path of the HTML page.

    Args:
        run_dir: holds config.toml, manifest.json, scores.csv, summary.json, and ladder/summary.json if a ladder was
            climbed.

    Raises:
        DataError: one of the files is missing or corrupt.
    """
    manifest, summary = read_manifest(run_dir), read_summary(run_dir / "summary.json")
    scores, config = read_scores(run_dir / "scores.csv"), _config(run_dir / "config.toml")
    ladder = ladder_of_run(run_dir)
    threats = audited(run_dir, manifest)
    parts = [
        system_part(summary, scores, manifest, config),
        adversary_part(summary, manifest),
        *reads_parts(summary),
        attacks_part(summary),
        *audited_parts(threats),
        protection(summary, ladder),
        not_tried(summary, scores, manifest, ladder, _remarks(run_dir)),
        origin(run_dir, manifest),
    ]
    result = joined(headline(summary, scores), threats.headline if threats is not None else "", by=" ")
    statement = Statement(title_of(run_dir, manifest), subject(manifest), result, parts)
    return write_statement(run_dir, statement)


def account_of_attacks(run_dir: Path) -> Account:
    """Return what a statement of several threats says of a run; a DataError if a file of it is missing or corrupt."""
    manifest, summary = read_manifest(run_dir), read_summary(run_dir / "summary.json")
    scores, config = read_scores(run_dir / "scores.csv"), _config(run_dir / "config.toml")
    cells = [cell for cell in summary.cells if not cell.is_control]
    return Account(
        {cell.attack: cell.adversary for cell in cells},
        knows(summary, manifest),
        [
            fact
            for fact in system_part(summary, scores, manifest, config).facts
            if fact.term not in ("Model", "Assumed")
        ],
        [cell.verdict for cell in cells],
        not_tried(summary, scores, manifest, ladder_of_run(run_dir), _remarks(run_dir)).facts,
    )


def _remarks(run_dir: Path) -> list[str]:
    """Return what the ladder in a run's folder says of itself: which rungs it lacks, and why."""
    told = manifest_so_far(run_dir / LADDER).get(WARNINGS)
    return [str(text) for text in told] if isinstance(told, list) else []


def _config(path: Path) -> dict[str, Any]:
    """Return a config as it is written; a DataError if it is missing or no TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: expected a config in TOML ({error}).") from error
