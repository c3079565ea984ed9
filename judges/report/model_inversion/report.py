"""The run folder of a model inversion -> one self-contained HTML page and the same tables in Markdown and LaTeX.

Reads files of the run folder only: config.toml, manifest.json, scores.csv, summary.json and gallery/*.safetensors.
"""

from __future__ import annotations

from pathlib import Path

from judges.report.judges import judges_section
from judges.report.model_inversion import wording
from judges.report.model_inversion.pictures import picture_blocks
from judges.report.model_inversion.sentences import findings
from judges.report.model_inversion.tables import attack_sections
from judges.report.model_inversion.tables_accuracy import accuracy_sections
from judges.report.model_inversion.tables_record import control_section, memory_section, record_section
from judges.report.model_inversion.tables_rounds import round_section
from judges.report.page import write_page
from judges.report.table import Drawing, Section
from judges.runs.class_rows import ClassScore
from judges.runs.identity import REAL
from judges.runs.manifest import read_manifest, without_people
from judges.runs.pictures import GALLERY, load_pictures
from judges.runs.tables import read_rows
from judges.summaries.model_inversion import Inversions, judge_key, read_inversions


def write_inversion_report(run_dir: Path, *, show_faces: bool = False) -> Path:
    """Write report.html, report.md and report.tex into the folder of a run and return the path of the HTML page.

    Pictures of a data set are shown only where the manifest says that it shows no people
    (`datasets.NAME.people = false`), or with `show_faces`.

    Args:
        run_dir: holds config.toml, manifest.json, scores.csv, summary.json, and gallery/*.safetensors if any.
        show_faces: show the pictures of real people too.

    Raises:
        DataError: one of the files is missing or corrupt.
    """
    manifest = read_manifest(run_dir)
    summary = read_inversions(run_dir / "summary.json")
    rows = read_rows(ClassScore, run_dir / "scores.csv")
    albums = load_pictures(run_dir / GALLERY, [(cell.group, cell.cell) for cell in summary.cells])
    blocks = picture_blocks(albums, summary, lambda name: show_faces or without_people(manifest, name))
    pictures, figures = Drawing("pictures.html.j2", blocks), "Figures 3 and 4"
    attacks, rounds = attack_sections(summary), round_section(summary)
    unfolded = not any(section.shown for section in (*attacks, rounds))
    sections = [
        *accuracy_sections(summary),
        *attacks,
        control_section(summary),
        rounds,
        Section("pictures", "Truth beside answers", [pictures], reference=figures, lead=wording.NOTES["pictures"]),
        memory_section(summary),
        record_section(summary, rows, unfolded=unfolded),
        judges_section(summary.judges, _ceilings(summary), "On real examples", wording.NOTES["judges"]),
    ]
    return write_page(
        run_dir,
        manifest,
        sections,
        threat_model=wording.THREAT_MODEL,
        findings=findings(summary),
        definitions=wording.DEFINITIONS,
    )


def _ceilings(summary: Inversions) -> dict[str, float | None]:
    """Return each judge's accuracy on the real examples beside the attacks, where it was measured."""
    real = {judge_key(cell.dataset, cell.judge): cell.accuracy.share for cell in summary.cells if cell.control == REAL}
    return {name: real.get(name) for name in summary.judges}
