"""The run folder of a membership inference -> one self-contained HTML page, and its tables in Markdown and LaTeX."""

from __future__ import annotations

from pathlib import Path

from judges.figures.files import write_figures
from judges.report.membership.answer import answer, leaked, strongest
from judges.report.membership.figures import roc_drawing, roc_files
from judges.report.membership.tables import attack_section, record_section
from judges.report.membership.wording import NOTES, WORDS
from judges.report.page import write_page
from judges.report.table import Section
from judges.runs.manifest import read_manifest
from judges.summaries.membership import read_memberships


def write_membership_report(
    run_dir: Path,
    *,
    show_faces: bool = False,  # noqa: ARG001 - it shows no pictures
    figures: bool = False,
) -> Path:
    """Write the three files of the report into a run folder and return the path of the HTML page.

    Raises:
        DataError: manifest.json or summary.json is missing or corrupt.
    """
    manifest, summary = read_manifest(run_dir), read_memberships(run_dir / "summary.json")
    write_figures(run_dir, dict(roc_files(summary)) if figures else {})
    first = Section("roc", "ROC curves", [roc_drawing(summary)], lead=NOTES["roc"])
    return write_page(
        run_dir,
        manifest,
        [attack_section(summary), record_section(summary)],
        words=WORDS,
        findings=[f"{leaked(cell)}." for cell in strongest(summary)] or ["No attack was scored in this run."],
        answer=answer(summary),
        first=first,
    )
